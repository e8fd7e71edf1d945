//! `tenure watch`, `tenure who` and `tenure publish`: what is said as it happens, in words and in JSON, from where on, and
//! how each ends.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a panic in a test is its message")]

mod cli_support;
mod support;

use std::io::Write as _;
use std::process::Stdio;

use cli_support::{Running, Tenure, eventually};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tenure_client::{Activity, Client};

impl Tenure {
    /// Watches, and is heard by what is published from here on.
    fn watch(&self, arguments: &[&str]) -> Running {
        let before = self.listeners();
        let watch = self.spawn(&[&["watch", "acme"], arguments].concat());
        eventually("it listens", || (self.listeners() > before).then_some(()));
        watch
    }

    /// How many connections listen to a path that nobody else cares for.
    fn listeners(&self) -> u64 {
        self.publish(&["probe", "probe"])["listeners"]
            .as_u64()
            .unwrap()
    }

    fn publish(&self, arguments: &[&str]) -> Value {
        let (published, code) = self.json(&[&["publish", "acme"], arguments].concat());
        assert_eq!(code, Some(0));
        published
    }
}

/// The next that is not the probe by which a test sees that it is listened to.
fn next(watch: &Running) -> Value {
    loop {
        let object = watch.object();
        if object["event"]["path"] != "probe" {
            return object;
        }
    }
}

#[test]
fn what_happens_is_said_as_it_happens() {
    let tenure = Tenure::start();
    let words = tenure.watch(&["doc/**", "chat/42", "probe"]);
    let objects = tenure.watch(&["--json"]);
    let acquire = ["acquire", "acme", "doc/a", "--name", "Alice", "--owner"];
    let (granted, _) = tenure.json(&[&acquire[..], &["alice"]].concat());
    let token = &granted["grant"]["token"];
    tenure
        .run(&["release", "acme", "doc/a", "--owner", "alice"])
        .is(0, "released");
    tenure.publish(&["other", "refresh"]);
    tenure.publish(&["chat/42", "message.new", "{\"seq\":12}", "--id", "m-1"]);

    let told = next(&objects);
    assert_eq!(
        (&told["op"], &told["org"]),
        (&json!("stream.event"), &json!("acme"))
    );
    let alice = json!({"owner": "alice", "name": "Alice"});
    let expected = json!({
        "kind": "lock.granted", "path": "doc/a", "who": alice, "mode": "exclusive", "token": token, "waited_ms": 0,
    });
    assert_eq!(told["event"], expected);
    // The call that acquired it has gone, and keeps it.
    assert_eq!(next(&objects)["event"]["kind"], "lock.orphaned");
    let ended = next(&objects);
    assert_eq!(ended["event"]["cause"], json!({"kind": "released"}));
    assert_eq!(next(&objects)["event"]["path"], "other");
    let published = next(&objects);
    let hex = "7b22736571223a31327d";
    let expected = json!({
        "kind": "published", "path": "chat/42", "event": "message.new", "payload": hex, "event_id": "m-1",
    });
    assert_eq!(published["event"], expected);

    words.signal(Signal::SIGINT);
    let said = words.ended();
    let granted = format!("Z  doc/a  granted to alice (Alice), exclusive, token {token}\n");
    said.is(0, &granted)
        .is(0, ": released by its owner\n")
        .is(0, "Z  chat/42  message.new \"{\"seq\":12}\"\n");
    assert!(!said.out.contains("other"), "{said:?}");
    let position = &published["position"];
    let since = format!("--since {}:{}\n", position["epoch"], position["offset"]);
    assert_eq!(said.err, format!("to go on from here: {since}"));
}

#[test]
fn an_earlier_position_is_gone_on_from_and_what_is_lost_is_said() {
    let tenure = Tenure::start();
    let _keeps_the_stream = tenure.watch(&[]);
    let first = tenure.publish(&["a", "first"])["position"].clone();
    tenure.publish(&["a", "second"]);
    tenure.publish(&["b", "third"]);
    let since = |offset: &Value| format!("{}:{offset}", first["epoch"]);
    let watch = |since: &str, count: &str| {
        let options = ["--since", since, "-n", count, "--json"];
        tenure
            .run(&[&["watch", "acme"], &options[..]].concat())
            .objects()
    };
    let told = watch(&since(&first["offset"]), "2");
    assert_eq!(told[0]["op"], "stream.recovered");
    assert_eq!(told[1]["event"]["event"], "second");
    assert_eq!(told[2]["event"]["event"], "third");

    let ahead = ["watch", "acme", "--json", "-n", "1", "--since"];
    let ahead = tenure.spawn(&[&ahead[..], &[&since(&json!(9_000_000))]].concat());
    let lost = ahead.object();
    assert_eq!(
        (&lost["op"], &lost["why"]),
        (&json!("stream.lost"), &json!("ahead"))
    );
    tenure.publish(&["a", "fourth"]);
    assert_eq!(ahead.object()["event"]["event"], "fourth");
    assert_eq!(ahead.ended().status, Some(0));
}

#[test]
fn who_is_where_is_said_and_seen_to_change() {
    let tenure = Tenure::start();
    tenure.run(&["who", "acme"]).is(1, "0 viewers\n");
    let watch = tenure.watch(&["chat/**", "probe", "--presence"]);
    let address = tenure.server.addr.to_string();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (_client, _ada, here) = runtime.block_on(async {
        let client = Client::connect(address).await.unwrap();
        let ada = client.session("acme", "ada").name("Ada").await.unwrap();
        let here = ada.enter("chat/42").activity(Activity::Editing);
        let here = here.await.unwrap();
        (client, ada, here)
    });
    let said = eventually("it is said", || {
        Some(watch.line()).filter(|line| !line.contains("probe"))
    });
    assert!(
        said.ends_with("Z  chat/42  ada (Ada) is editing (1 here)"),
        "{said}"
    );

    let who = tenure.run(&["who", "acme", "chat/42"]);
    who.is(0, "PATH     OWNER      DOES     FOR ");
    who.is(0, "chat/42  ada (Ada)  editing  ");
    let (who, code) = tenure.json(&["who", "acme", "chat/**"]);
    assert_eq!(
        (&who["path"], &who["total"]),
        (&json!("chat/42"), &json!(1))
    );
    assert_eq!(
        (&who["viewers"][0]["owner"], code),
        (&json!("ada"), Some(0))
    );
    tenure.run(&["who", "acme", "doc/**"]).is(1, "0 viewers\n");

    drop(here);
    let said = eventually("it is said", || {
        Some(watch.line()).filter(|line| !line.contains("probe"))
    });
    assert!(
        said.ends_with("Z  chat/42  ada has left (0 here)"),
        "{said}"
    );
}

#[test]
fn a_script_can_wait_for_something() {
    let tenure = Tenure::start();
    let waits = tenure.watch(&["--event", "deploy", "-n", "1"]);
    tenure.publish(&["site", "refresh"]);
    tenure.publish(&["site", "deploy"]);
    waits.ended().is(0, "Z  site  deploy\n");
}

#[test]
fn publishing_again_by_an_id_publishes_once() {
    let tenure = Tenure::start();
    let watch = tenure.watch(&["a", "probe", "--json"]);
    let first = tenure.publish(&["a", "e", "--id", "m-1"]);
    let again = tenure.publish(&["a", "e", "--id", "m-1"]);
    assert_eq!(
        (&first["repeated"], &again["repeated"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(first["position"], again["position"]);
    tenure.publish(&["a", "last"]);
    assert_eq!(next(&watch)["event"]["event"], "e");
    assert_eq!(next(&watch)["event"]["event"], "last");
    tenure
        .run(&["publish", "acme", "a", "e"])
        .is(0, "published at ")
        .is(0, ", to 1 listener\n");
}

#[test]
fn a_payload_can_come_from_elsewhere() {
    let tenure = Tenure::start();
    let watch = tenure.watch(&["a", "probe", "--json"]);
    let publish = |bytes: &[u8]| {
        let mut command = tenure.command(&["publish", "acme", "a", "e", "-"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        child.wait_with_output().unwrap()
    };
    assert!(publish(b"\x00\xffx").status.success());
    assert_eq!(next(&watch)["event"]["payload"], "00ff78");
    let too_much = publish(&vec![b'x'; 65_537]);
    assert_eq!(too_much.status.code(), Some(2));
    let said = String::from_utf8(too_much.stderr).unwrap();
    assert!(said.contains("expected at most 65536 bytes"), "{said}");
}

#[test]
fn mistakes_are_named_before_anything_is_asked() {
    let tenure = Tenure::start();
    tenure
        .run(&["watch", "acme", "doc//a"])
        .is_trouble("found an empty segment");
    tenure
        .run(&["who", "acme", "doc/*"])
        .is_trouble("found a segment that is a wildcard");
    tenure
        .run(&["watch", "acme", "--since", "yesterday"])
        .is_trouble("expected EPOCH:OFFSET, such as");
    tenure
        .run(&["publish", "acme", "a", "new message"])
        .is_trouble("letters, digits");
}

#[test]
fn whoever_has_read_enough_ends_it() {
    let tenure = Tenure::start();
    let mut command = tenure.command(&["watch", "acme"]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let status = eventually("it ends", || {
        tenure.publish(&["a", "e"]);
        child.try_wait().unwrap()
    });
    assert_eq!(status.code(), Some(0));
}
