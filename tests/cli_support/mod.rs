//! What the tests of the command line stand on: a server as a process of its own, and `tenure` as a user runs it, with
//! its exit status and what it says.
//!
//! Rule: nothing in here waits without a limit, and no variable of whoever runs the tests gets through.

#![allow(
    dead_code,
    reason = "every test file is a crate of its own and uses a part of this"
)]
#![allow(clippy::unwrap_used, reason = "a panic in a test is its message")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::{ANSWERED, PATIENCE, Process};

/// A server, and what talks to it.
pub(crate) struct Tenure {
    pub(crate) server: Process,
    key: Option<&'static str>,
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A command that runs. It is killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    errors: thread::JoinHandle<String>,
}

/// `tenure`, without the variables of whoever runs the tests.
pub(crate) fn tenure() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("TENURE_") {
            command.env_remove(variable);
        }
    }
    command
}

impl Tenure {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// A server with more arguments.
    pub(crate) fn with(arguments: &[&str]) -> Self {
        Self {
            server: Process::start(arguments),
            key: None,
        }
    }

    /// Shows this key from here on.
    pub(crate) const fn use_key(&mut self, key: &'static str) {
        self.key = Some(key);
    }

    /// The command, to be changed before it runs.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = tenure();
        command
            .args(arguments)
            .env("TENURE_SERVER", self.server.addr.to_string());
        if let Some(key) = self.key {
            command.env("TENURE_KEY", key);
        }
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Answer {
        Answer::of(
            self.command(arguments)
                .stdin(Stdio::null())
                .output()
                .unwrap(),
        )
    }

    /// What it answers in one object, and whether that was a yes.
    pub(crate) fn json(&self, arguments: &[&str]) -> (Value, Option<i32>) {
        let answer = self.run(&[arguments, &["--json"]].concat());
        (answer.json(), answer.status)
    }

    /// Runs it in the background.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Running {
        Running::of(self.command(arguments).stdin(Stdio::null()))
    }

    /// How many wait for a path.
    pub(crate) fn waiters(&self, path: &str) -> u64 {
        let (status, _) = self.json(&["status", "acme", path]);
        status["truth"]["waiters"].as_u64().unwrap()
    }
}

impl Answer {
    fn of(output: Output) -> Self {
        Self {
            status: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The one object that it is.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.out.lines().count(), 1, "{self:?}");
        serde_json::from_str(&self.out).unwrap()
    }

    /// The objects that it is, one a line.
    pub(crate) fn objects(&self) -> Vec<Value> {
        let object = |line| serde_json::from_str(line).unwrap();
        self.out.lines().map(object).collect()
    }

    #[track_caller]
    pub(crate) fn is(&self, status: i32, out: &str) -> &Self {
        assert_eq!(self.status, Some(status), "{self:?}");
        assert!(self.out.contains(out), "expected {out:?} in {self:?}");
        self
    }

    /// Trouble: nothing on stdout, and this on stderr.
    #[track_caller]
    pub(crate) fn is_trouble(&self, err: &str) -> &Self {
        assert_eq!(self.status, Some(2), "{self:?}");
        assert!(self.out.is_empty(), "{self:?}");
        assert!(self.err.contains(err), "expected {err:?} in {self:?}");
        self
    }
}

impl Running {
    pub(crate) fn of(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = child.stderr.take().unwrap();
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in stdout.lines() {
                // Whoever asked may have what it wanted.
                let _ = sender.send(line.unwrap());
            }
        });
        let errors = thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            text
        });
        Self {
            child,
            lines,
            errors,
        }
    }

    /// The next line that it says.
    #[track_caller]
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(ANSWERED).expect("a line")
    }

    pub(crate) fn object(&self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    /// Waits for its end. What it said and was not read yet is in the answer.
    #[track_caller]
    pub(crate) fn ended(mut self) -> Answer {
        let status = within(ANSWERED, "the command ends", || {
            self.child.try_wait().unwrap()
        });
        let out = self.lines.iter().map(|line| line + "\n").collect();
        let errors = std::mem::replace(&mut self.errors, thread::spawn(String::new));
        Answer {
            status: status.code(),
            out,
            err: errors.join().unwrap(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Looks again and again until there is something to see.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look)
}

#[track_caller]
fn within<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(began.elapsed() < limit, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process is there; one that is dead and not yet buried is not.
pub(crate) fn is_alive(pid: &str) -> bool {
    let state = Command::new("ps")
        .args(["-o", "stat=", "-p", pid])
        .output()
        .unwrap();
    let state = String::from_utf8(state.stdout).unwrap();
    !state.trim().is_empty() && !state.starts_with('Z')
}
