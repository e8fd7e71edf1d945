//! What takes a lock, looks at it and lets it go, call by call, as a shell script sees it: what is said, in words and in
//! JSON, and how it ends. Nothing here keeps a process.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its message")]

mod cli_support;
mod support;

use std::net::TcpListener;

use cli_support::{Running, Tenure, eventually, tenure};
use nix::sys::signal::Signal;
use serde_json::json;

#[test]
fn the_readme_does_what_it_says() {
    let tenure = Tenure::start();
    let acquire = ["acquire", "acme", "doc/quote-123"];
    let acquire = |owner: &[&str]| tenure.run(&[&acquire, owner].concat());
    let granted = acquire(&["--owner", "alice", "--ttl", "5m"]);
    granted.is(0, "granted, token ").is(0, ", for 5m\n");

    acquire(&["--owner", "bob"])
        .is(1, "held by alice for ")
        .is(1, " left\n");

    let (status, code) = tenure.json(&["status", "acme", "doc/quote-123"]);
    assert_eq!(code, Some(0));
    let truth = &status["truth"];
    let token = truth["token"].as_u64().unwrap();
    assert!(granted.out.contains(&token.to_string()), "{granted:?}");
    assert_eq!(truth["mode"], "exclusive");
    assert_eq!(truth["holder_count"], 1);
    assert_eq!(truth["holders"][0]["owner"], "alice");
    assert_eq!(truth["holders"][0]["orphaned"], true);

    let force = ["force-release", "acme", "doc/quote-123", "--reason"];
    let force = || tenure.run(&[&force[..], &["alice is on holiday"]].concat());
    force()
        .is(0, "doc/quote-123  alice")
        .is(0, "ended 1 hold\n");
    force().is(1, "nothing is held there\n");
    tenure
        .run(&["status", "acme", "doc/quote-123"])
        .is(1, "free\n");

    let (bob, _) = tenure.json(&["acquire", "acme", "doc/quote-123", "--owner", "bob"]);
    assert!(bob["grant"]["token"].as_u64().unwrap() > token);
}

#[test]
fn one_call_acquires_another_renews_a_third_releases() {
    let tenure = Tenure::start();
    // Nobody is named: the same user on the same machine is the same owner.
    let (granted, _) = tenure.json(&["acquire", "acme", "a", "--ttl", "1m", "--name", "Ada"]);
    let token = granted["grant"]["token"].to_string();
    assert_eq!(granted["status"], "granted");
    assert_eq!(granted["grant"]["ttl_ms"], 60_000);
    assert_eq!(granted["grant"]["kind"], "fresh");
    let (again, code) = tenure.json(&["acquire", "acme", "a"]);
    assert_eq!((&again["grant"]["kind"], code), (&json!("joined"), Some(0)));

    let renew = ["renew", "acme", "a", "--token", &token];
    let (renewed, code) = tenure.json(&[&renew[..], &["--ttl", "10m"]].concat());
    assert_eq!(code, Some(0));
    let left = renewed["grant"]["remaining_ms"].as_u64().unwrap();
    assert!((590_000..=600_000).contains(&left), "{left}");
    tenure
        .run(&renew)
        .is(0, &format!("renewed, token {token}, for 10m\n"));
    tenure
        .run(&["status", "acme", "a", "--token", &token])
        .is(0, "the token is current\n");
    tenure
        .run(&["status", "acme", "a", "--token", "7"])
        .is(1, &format!("the token is not current; {token} is\n"));

    tenure
        .run(&["release", "acme", "a", "--owner", "somebody else"])
        .is(1, "not held by somebody else; held by ")
        .is(1, "(Ada)");
    tenure
        .run(&["release", "acme", "a", "--token", "7"])
        .is(1, "");
    tenure.run(&["release", "acme", "a"]).is(0, "released\n");
    tenure.run(&["release", "acme", "a"]).is(1, "; free\n");
    tenure
        .run(&["renew", "acme", "a", "--owner", "ada"])
        .is(1, "not held by ada; free\n");
    let (not_held, _) = tenure.json(&["renew", "acme", "a"]);
    assert_eq!(not_held["status"], "not_held");
    assert_eq!(not_held["truth"]["mode"], json!(null));
}

#[test]
fn who_waits_gets_it_or_is_told_or_leaves_nothing_behind() {
    let tenure = Tenure::start();
    tenure
        .run(&["acquire", "acme", "a", "--owner", "alice"])
        .is(0, "");
    let wait = ["acquire", "acme", "a", "--json", "--owner", "bob", "--wait"];
    let in_vain = tenure.run(&[&wait[..], &["50ms"]].concat());
    assert_eq!(in_vain.status, Some(1));
    assert_eq!(in_vain.json()["status"], "wait_ended");
    assert_eq!(in_vain.json()["why"], json!({"kind": "timed_out"}));
    assert_eq!(in_vain.json()["truth"]["holders"][0]["owner"], "alice");

    let bob = tenure.spawn(&[&wait[..], &["1m"]].concat());
    eventually("bob waits", || (tenure.waiters("a") == 1).then_some(()));
    let carol = ["acquire", "acme", "a", "--owner", "carol", "--wait", "1m"];
    let carol = tenure.spawn(&carol);
    eventually("carol waits", || (tenure.waiters("a") == 2).then_some(()));
    carol.signal(Signal::SIGINT);
    carol
        .ended()
        .is_trouble("interrupted, and no longer waiting");
    assert_eq!(tenure.waiters("a"), 1);

    tenure
        .run(&["release", "acme", "a", "--owner", "alice"])
        .is(0, "");
    let granted = bob.ended();
    assert_eq!(granted.status, Some(0), "{granted:?}");
    assert_eq!(granted.json()["grant"]["kind"], "fresh");
    tenure.run(&["status", "acme", "a"]).is(0, "held by bob ");
}

#[test]
fn locks_are_shared_and_seized() {
    let tenure = Tenure::start();
    for owner in ["alice", "bob"] {
        tenure
            .run(&["acquire", "acme", "room", "--shared=2", "--owner", owner])
            .is(0, "granted, shared, token ");
    }
    tenure
        .run(&["acquire", "acme", "room", "--shared=2", "--owner", "carol"])
        .is(1, "held by 2 (shared, at most 2), longest by alice for ");
    tenure
        .run(&["acquire", "acme", "room", "--shared", "--owner", "carol"])
        .is(1, "refused: it is shared with another limit; held by 2");
    let seize = [
        "acquire", "acme", "room", "--owner", "mod", "--seize", "I must",
    ];
    tenure.run(&seize).is(0, "granted, token ");
    let metadata = "{\"tab\":3}\x1b[2J";
    tenure
        .run(&[
            "acquire",
            "acme",
            "room",
            "--owner",
            "mod",
            "--metadata",
            metadata,
        ])
        .is(0, "(the owner held it already)\n");
    tenure
        .run(&["status", "acme", "room"])
        .is(0, "held by mod for ")
        .is(0, "metadata \"{\"tab\":3}\\u{1b}[2J\"\n");
}

#[test]
fn whoever_cannot_be_reached_is_named_with_what_to_do() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    let ask = || {
        let mut ping = tenure();
        ping.args(["ping", "--server", &address, "--json"]);
        Running::of(&mut ping).ended()
    };
    drop(free);
    ask().is_trouble(&format!(
        "tenure: cannot reach {address}: connection refused; is a server running? start one with: \
         tenure serve --listen {address}\n"
    ));

    // Something else listens there.
    let other = TcpListener::bind(&address).unwrap();
    std::thread::spawn(move || drop(other.accept()));
    ask().is_trouble(&format!(
        "{address} has ended the connection before it said hello"
    ));

    // What stays at it says the same: of one that is there and says nothing, too.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_address = silent.local_addr().unwrap().to_string();
    let mut watch = tenure();
    watch.args(["watch", "acme", "--server", &silent_address]);
    Running::of(&mut watch).ended().is_trouble(&format!(
        "cannot reach {silent_address}: no answer within 5s; is --server HOST:PORT right"
    ));
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    std::thread::spawn(move || drop(other.accept()));
    let mut watch = tenure();
    watch.args(["watch", "acme", "--server", &address]);
    Running::of(&mut watch).ended().is_trouble(&format!(
        "{address} has ended the connection before it said hello"
    ));

    let mut elsewhere = tenure();
    elsewhere.args(["status", "acme", "a", "--server", "no-such-host.invalid"]);
    Running::of(&mut elsewhere)
        .ended()
        .is_trouble("cannot find no-such-host.invalid:7420");
}

#[test]
fn a_mistake_is_trouble_and_nothing_is_asked() {
    let tenure = Tenure::start();
    for (arguments, what) in [
        (&["acquire", "acme"][..], "<PATH>"),
        (&["acquire", "acme", "a", "--ttl", "5"], "such as 250ms"),
        (&["acquire", "acme", "a", "--ttl", "1ms"], "expected 1s to"),
        (&["acquire", "acme", "a//b"], "path: expected"),
        (&["acquire", "a c", "a"], "org: expected"),
        (&["acquire", "acme", "a", "--note", "please"], "--wait"),
        (&["force-release", "acme", "--all"], "--reason"),
        (&["force-release", "acme", "--reason", "x"], "--owner"),
        (
            &["force-release", "acme", "a", "--all", "--reason", "x"],
            "--all",
        ),
        (&["policy", "set", "acme"], "--ttl-default"),
        (&["run", "acme", "a"], "<COMMAND>"),
    ] {
        tenure.run(arguments).is_trouble(what);
    }
}
