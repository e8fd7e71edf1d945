//! `tenure run` and `tenure hold`: what keeps a lock for as long as it runs, what it does when the lock is lost, and what
//! it leaves behind.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a panic in a test is its message")]

mod cli_support;
mod support;

use std::process::Stdio;
use std::time::{Duration, Instant};

use cli_support::{Running, Tenure, eventually, is_alive};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const TENURE: &str = env!("CARGO_BIN_EXE_tenure");

impl Tenure {
    /// Runs a script of the shell under a lock.
    fn run_script(&self, options: &[&str], script: &str) -> Running {
        let run = ["run", "acme", "a"];
        self.spawn(&[&run, options, &["--", "sh", "-c", script]].concat())
    }

    fn force(&self, reason: &str) {
        self.run(&["force-release", "acme", "a", "--reason", reason])
            .is(0, "ended 1 hold\n");
    }

    #[track_caller]
    fn is_free(&self) {
        self.run(&["status", "acme", "a"]).is(1, "free\n");
    }
}

#[test]
fn a_command_is_told_what_it_holds_and_ends_as_it_will() {
    let tenure = Tenure::start();
    let script = "echo $TENURE_ORG $TENURE_PATH $TENURE_TOKEN; cat; exit 7";
    let mut command = tenure.command(&["run", "acme", "a", "--", "sh", "-c", script]);
    let input = std::fs::File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/LICENSE-MIT"));
    command.stdin(Stdio::from(input.unwrap()));
    let ended = Running::of(&mut command).ended();
    ended.is(7, "acme a ").is(7, "Permission is hereby granted");
    let token = ended.out.split_whitespace().nth(2).unwrap();
    assert!(token.parse::<u64>().unwrap() > 0);
    assert_eq!(ended.err, "");
    tenure.is_free();

    let killed = tenure.run_script(&[], "kill -s KILL $$").ended();
    killed.is(128 + 9, "");
    tenure
        .run(&["run", "acme", "a", "--", "./no-such-command"])
        .is_trouble("tenure: cannot run ./no-such-command: No such file");
    tenure.is_free();
}

#[test]
fn a_lock_outlives_its_ttl_while_the_command_runs() {
    let tenure = Tenure::start();
    let script = format!("sleep 1.6; {TENURE} status acme a --token $TENURE_TOKEN");
    let ended = tenure.run_script(&["--ttl", "1s"], &script).ended();
    ended.is(0, "the token is current\n");
}

#[test]
fn two_runs_of_one_user_keep_each_other_out() {
    let tenure = Tenure::start();
    let first = tenure.run_script(&[], "echo running; read forever || sleep 60");
    assert_eq!(first.line(), "running");
    let second = tenure.run_script(&[], "echo must not run").ended();
    second.is(1, "");
    assert!(second.out.is_empty(), "{second:?}");
    assert!(second.err.starts_with("tenure: held by "), "{second:?}");
    assert!(second.err.contains(" (sh) for "), "{second:?}");
    let options = ["--json", "--conflict-exit-code", "75", "--wait", "50ms"];
    let third = tenure.run_script(&options, "echo must not run").ended();
    third.is(75, "");
    let refused = serde_json::from_str::<Value>(&third.err).unwrap();
    assert_eq!(refused["op"], "lock.acquire");
    assert_eq!(refused["status"], "wait_ended");
    assert_eq!(refused["truth"]["holders"][0]["name"], "sh");

    let fourth = tenure.run_script(&["--wait", "1m"], "echo my turn");
    eventually("it waits", || (tenure.waiters("a") == 1).then_some(()));
    first.signal(Signal::SIGTERM);
    first.ended().is(128 + 15, "");
    fourth.ended().is(0, "my turn\n");
}

#[test]
fn a_command_that_loses_its_lock_is_stopped_with_all_it_started() {
    let tenure = Tenure::start();
    let script = "trap 'echo asked to stop; exit 0' TERM; sleep 60 & echo $!; wait";
    let run = tenure.run_script(&["--json"], script);
    let child = run.line();
    tenure.force("the end");
    let ended = run.ended();
    ended.is(1, "asked to stop\n");
    let lost = serde_json::from_str::<Value>(&ended.err).unwrap();
    assert_eq!(lost["op"], "lock.lost");
    let cause = json!({"kind": "forced", "by": "anyone", "reason": "the end"});
    assert_eq!(lost["cause"], cause);
    assert!(!is_alive(&child), "the grandchild is gone too");

    // One that does not listen, nor do its children.
    let script = "trap '' TERM; sleep 60 & echo $!; while :; do sleep 60; done";
    let run = tenure.run_script(&["--kill-after", "200ms"], script);
    let child = run.line();
    let began = Instant::now();
    tenure.force("really");
    let ended = run.ended();
    ended.is(1, "");
    assert!(began.elapsed() >= Duration::from_millis(200));
    let why = "the lock is lost: ended by anyone: \"really\"; stopping the command";
    assert!(ended.err.contains(why), "{ended:?}");
    eventually("the grandchild is gone too", || {
        (!is_alive(&child)).then_some(())
    });
}

#[test]
fn a_command_is_stopped_when_the_lock_cannot_be_renewed() {
    let tenure = Tenure::start();
    let mut command = tenure.command(&["run", "acme", "a", "--ttl", "1s", "--"]);
    command.args(["sh", "-c", "echo running; sleep 60"]);
    let run = Running::of(&mut command);
    assert_eq!(run.line(), "running");
    let began = Instant::now();
    drop(tenure);
    let ended = run.ended();
    ended.is(1, "");
    assert!(ended.err.contains("not be renewed in time"), "{ended:?}");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn signals_are_passed_on() {
    let tenure = Tenure::start();
    for (signal, name) in [
        (Signal::SIGINT, "INT"),
        (Signal::SIGTERM, "TERM"),
        (Signal::SIGHUP, "HUP"),
    ] {
        let script =
            format!("trap 'echo {name}; exit 9' {name}; echo ready; while :; do sleep 0.05; done");
        let run = tenure.run_script(&[], &script);
        assert_eq!(run.line(), "ready");
        run.signal(signal);
        run.ended().is(9, &format!("{name}\n"));
        tenure.is_free();
    }
}

#[test]
fn who_is_interrupted_while_waiting_leaves_nothing_behind() {
    let tenure = Tenure::start();
    tenure.run(&["acquire", "acme", "a"]).is(0, "");
    let run = tenure.run_script(&["--wait", "1m"], "echo must not run");
    let hold = tenure.spawn(&["hold", "acme", "a", "--wait", "1m"]);
    eventually("both wait", || (tenure.waiters("a") == 2).then_some(()));
    run.signal(Signal::SIGTERM);
    run.ended().is_trouble("interrupted, and no longer waiting");
    hold.signal(Signal::SIGINT);
    hold.ended()
        .is_trouble("interrupted, and no longer waiting");
    assert_eq!(tenure.waiters("a"), 0);
}

#[test]
fn programs_are_told_how_a_wait_goes_on() {
    let tenure = Tenure::start();
    let hold = tenure.spawn(&["hold", "acme", "a", "--ttl", "1m", "--json"]);
    let granted = hold.object();
    assert_eq!(granted["grant"]["ttl_ms"], 60_000, "{granted}");
    let first = tenure.spawn(&["hold", "acme", "a", "--wait", "1m", "--json"]);
    let place = |place| json!({"op": "lock.place", "path": "a", "place": place});
    assert_eq!(first.object(), place(1));
    let second = tenure.spawn(&["hold", "acme", "a", "--wait", "1m", "--json"]);
    assert_eq!(second.object(), place(2));
    hold.signal(Signal::SIGINT);
    hold.ended().is(0, "");
    assert_eq!(first.object()["status"], "granted");
    assert_eq!(second.object(), place(1));
    first.signal(Signal::SIGINT);
    first.ended().is(0, "");
    assert_eq!(second.object()["status"], "granted");
    second.signal(Signal::SIGINT);
    second.ended().is(0, "");
}

#[test]
fn a_holder_is_told_who_asks_and_how_it_was_lost() {
    let tenure = Tenure::start();
    let hold = tenure.spawn(&["hold", "acme", "a", "--json", "--name", "Ada"]);
    let granted = hold.object();
    assert_eq!(granted["op"], "lock.acquire");
    assert_eq!(granted["status"], "granted");
    let token = granted["grant"]["token"].clone();
    let ask = ["acquire", "acme", "a", "--owner", "bob", "--name", "Bob"];
    let ask = [&ask[..], &["--wait", "100ms", "--note", "may I?"]].concat();
    tenure.run(&ask).is(1, "waited in vain; held by ");
    let asked = hold.object();
    assert_eq!(asked["op"], "lock.asked");
    assert!(asked["wait"].as_u64().unwrap() > 0, "{asked}");
    assert_eq!(asked["who"], json!({"owner": "bob", "name": "Bob"}));
    assert_eq!(asked["note"], "may I?");
    tenure.run(&["acquire", "acme", "a", "--owner", "bob", "--seize", "now"]);
    let ended = hold.ended();
    assert_eq!(ended.status, Some(1));
    let lost = ended.json();
    assert_eq!((&lost["op"], &lost["token"]), (&json!("lock.lost"), &token));
    assert_eq!(lost["cause"]["kind"], "seized");
    assert_eq!(lost["cause"]["by"]["owner"], "bob");
    tenure.run(&["hold", "acme", "a"]).is(1, "held by bob for ");
    tenure
        .run(&["release", "acme", "a", "--owner", "bob"])
        .is(0, "");

    let hold = tenure.spawn(&["hold", "acme", "a"]);
    assert!(hold.line().starts_with("granted, token "));
    tenure.run(&ask).is(1, "");
    assert_eq!(hold.line(), "bob (Bob) asks for it: \"may I?\"");
    hold.signal(Signal::SIGTERM);
    hold.ended().is(0, "released\n");
    tenure.is_free();
}

#[test]
fn a_holder_that_is_killed_loses_the_lock_when_its_grace_is_over() {
    let tenure = Tenure::start();
    let hold = tenure.spawn(&["hold", "acme", "a", "--grace", "800ms"]);
    assert!(hold.line().starts_with("granted, token "));
    hold.signal(Signal::SIGKILL);
    drop(hold);
    let killed = Instant::now();
    eventually("the server notices", || {
        let (status, _) = tenure.json(&["status", "acme", "a"]);
        let is_orphaned = status["truth"]["holders"][0]["orphaned"] == true;
        is_orphaned.then_some(())
    });
    tenure
        .run(&["acquire", "acme", "a", "--owner", "bob", "--wait", "1m"])
        .is(0, "granted");
    let free_after = killed.elapsed();
    assert!(free_after >= Duration::from_millis(700), "{free_after:?}");
}

/// Runs a script of the shell under a lock, as the first process of a terminal, types, and gives all that is shown.
#[cfg(target_os = "linux")]
fn at_a_terminal(tenure: &Tenure, script: &str, prompt: &str, typed: &str) -> (String, i32) {
    use std::fs::File;
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsRawFd as _;

    let pty = nix::pty::openpty(None, None).unwrap();
    let slave = std::fs::read_link(format!("/proc/self/fd/{}", pty.slave.as_raw_fd())).unwrap();
    // The first process of a session has the terminal that it opens.
    let open = format!("exec <>{} >&0 2>&0; exec \"$@\"", slave.display());
    let mut command = std::process::Command::new("setsid");
    let run = tenure.command(&["run", "acme", "a", "--", "sh", "-c", script]);
    command.args(["sh", "-c", &open, "sh"]).arg(TENURE);
    command.args(run.get_args()).stdin(Stdio::null());
    command.env("TENURE_SERVER", tenure.server.addr.to_string());
    let running = Running::of(&mut command);
    let (sender, shown) = std::sync::mpsc::channel();
    let mut screen = File::from(pty.master);
    let mut keyboard = screen.try_clone().unwrap();
    std::thread::spawn(move || {
        let mut bytes = [0; 1024];
        while let Ok(count @ 1..) = screen.read(&mut bytes) {
            let _ = sender.send(String::from_utf8_lossy(&bytes[..count]).into_owned());
        }
    });
    let mut all = String::new();
    while !all.contains(prompt) {
        all += &shown.recv_timeout(support::PATIENCE).expect(prompt);
    }
    keyboard.write_all(typed.as_bytes()).unwrap();
    let status = running.ended().status.unwrap();
    drop(pty.slave);
    all.extend(shown.iter());
    (all, status)
}

#[cfg(target_os = "linux")]
#[test]
fn a_command_has_the_terminal() {
    let tenure = Tenure::start();
    let script = "echo ready; read line; echo \"<$line>\"";
    let (shown, status) = at_a_terminal(&tenure, script, "ready", "hello\n");
    assert!(shown.contains("<hello>"), "{shown}");
    assert_eq!(status, 0, "{shown}");

    // Ctrl-C.
    let (shown, status) = at_a_terminal(&tenure, "echo ready; exec sleep 60", "ready", "\x03");
    assert_eq!(status, 130, "{shown}");
    tenure.is_free();
}
