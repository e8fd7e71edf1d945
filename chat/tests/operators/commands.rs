//! What the commands answer: to people, to programs, and to whoever is in the wrong folder.
//! Exit status and JSON are for scripts, so they are looked at as closely as words.

use std::fs;
use std::io::Read as _;
use std::process::Stdio;

use serde_json::Value;
use tenure_chat::store::{ChatId, NewAudit, NewChat, Role};

use crate::place::{Place, actor, chat, old, on_both};

on_both!(
    what_was_done_is_in_the_audit_log,
    counters_are_counted_again,
    a_dry_run_says_what_there_is_and_does_nothing,
);

#[test]
fn help_teaches() {
    let place = Place::empty();
    for command in ["archive", "audit", "recount", "token"] {
        let told = place.run(&[command, "--help"]);
        assert_eq!(told.code, 0);
        for part in ["Examples:", "Exit status: 0", "--json", "2 trouble"] {
            assert!(told.stdout.contains(part), "{command}: {}", told.stdout);
        }
    }
    let told = place.run(&["--help"]);
    for part in [
        "archive",
        "audit",
        "recount",
        "token",
        "--archive-every",
        "[default: 24h]",
    ] {
        assert!(told.stdout.contains(part), "{part}: {}", told.stdout);
    }
    assert_eq!(place.run(&["archive", "--nonsense"]).code, 2);
    assert_eq!(place.run(&["archive", "--older-than", "long"]).code, 2);
}

#[test]
fn in_an_empty_folder_nothing_is_made_but_a_token() {
    let place = Place::empty();
    for arguments in [
        &["archive"] as &[&str],
        &["archive", "--dry-run"],
        &["audit", "acme"],
        &["recount", "acme"],
    ] {
        let told = place.run(arguments);
        assert_eq!((told.code, told.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(told.stderr.contains("tenure-chat.db"), "{}", told.stderr);
    }
    assert_eq!(fs::read_dir(place.folder()).unwrap().count(), 0);
    let told = place.run(&["audit", "acme", "--database", "mysql://x"]);
    assert_eq!(told.code, 2);
    assert!(told.stderr.contains("sqlite:PATH"), "{}", told.stderr);

    let token = place.run(&["token", "ada", "--role", "admin"]);
    assert_eq!((token.code, token.stdout.lines().count()), (0, 1));
    assert_eq!(token.stdout.split('.').count(), 3, "{}", token.stdout);
    let made = place.run(&["token", "bob", "--for", "1h", "--json"]).json();
    assert_eq!(
        (&made["org"], &made["person"], &made["role"]),
        (
            &Value::from("acme"),
            &Value::from("bob"),
            &Value::from("member")
        )
    );
    assert_eq!(made["token"].as_str().unwrap().split('.').count(), 3);
    assert!(made["expires_at"].as_str().unwrap().ends_with('Z'));
    let wrong = place.run(&["token", "eve", "--role", "god"]);
    assert_eq!(wrong.code, 2);
}

#[test]
fn what_cannot_be_meant_is_refused_with_what_was_expected() {
    let place = Place::empty();
    for command in [
        &["audit", "acme corp"] as &[&str],
        &["recount", "acme corp"],
        &["archive", "--org", "acme corp"],
        &["token", "eve", "--org", "acme corp"],
    ] {
        let told = place.run(command);
        assert_eq!((told.code, told.stdout.as_str()), (2, ""), "{command:?}");
        assert!(told.stderr.contains("letters, digits"), "{}", told.stderr);
    }
    let told = place.run(&["token", "eve", "--for", "0s"]);
    assert_eq!((told.code, told.stdout.as_str()), (2, ""));
    assert!(told.stderr.contains("1s or more"), "{}", told.stderr);

    // A public key is no secret: whoever has it could sign.
    let key = place.folder().join("login.pem");
    let text = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAAAAA\n-----END PUBLIC KEY-----\n";
    fs::write(&key, text).unwrap();
    let told = place.run(&["token", "eve", "--jwt-key-file", "login.pem"]);
    assert_eq!((told.code, told.stdout.as_str()), (2, ""));
    assert!(told.stderr.contains("--jwt-algorithm"), "{}", told.stderr);

    // Its cause is said once, and what to look at.
    let told = place.run(&["--database", "sqlite:nowhere/chat.db"]);
    assert_eq!(told.code, 2);
    let causes = told.stderr.matches("unable to open").count();
    assert_eq!(causes, 1, "{}", told.stderr);
    assert!(
        told.stderr.contains("is the folder there"),
        "{}",
        told.stderr
    );
}

async fn what_was_done_is_in_the_audit_log(place: Place) {
    let store = place.open().await;
    let root = actor("root", Role::Admin);
    for number in 0..250 {
        let line = NewAudit {
            act: "lock.forced".to_owned(),
            chat: (number == 0).then_some(ChatId(uuid::Uuid::max())),
            detail: serde_json::json!({"number": number}),
        };
        store.audit_add(&root, line).await.unwrap();
    }
    store.close().await;
    let told = place.run(&["audit", "acme"]);
    assert_eq!(told.code, 0, "{}", told.stderr);
    let lines: Vec<&str> = told.stdout.lines().collect();
    assert_eq!(lines.len(), 251);
    assert!(lines[0].starts_with("WHEN"), "{}", lines[0]);
    assert!(
        lines[1].contains("root") && lines[1].contains("\"number\":249"),
        "{}",
        lines[1]
    );
    let told = place.run(&["audit", "acme", "--json"]);
    let lines: Vec<Value> = told
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let numbers: Vec<_> = lines
        .iter()
        .map(|line| line["detail"]["number"].as_i64().unwrap())
        .collect();
    assert_eq!(numbers, (0..250).rev().collect::<Vec<_>>());
    let nobody = place.run(&["audit", "rival"]);
    assert_eq!((nobody.code, nobody.stdout.as_str()), (1, ""));
    assert_eq!(place.run(&["audit", "rival", "--json"]).stderr, "");
    // Whoever stops reading is no trouble.
    let mut child = place
        .command(&["audit", "acme"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert!(child.wait().unwrap().success(), "{stderr}");
    assert_eq!(stderr, "");
}

async fn counters_are_counted_again(place: Place) {
    let store = place.open().await;
    let chat = chat(&store).await;
    old(&store, chat, 3).await;
    store.close().await;
    let told = place.run(&["recount", "acme", "--json"]);
    assert_eq!(told.code, 0, "{}", told.stderr);
    let counted = told.json();
    assert_eq!(
        (&counted["wrong"], &counted["drift"]),
        (&Value::from(0), &Value::from(0))
    );
    place.spoil_counters().await;
    let told = place.run(&["recount", "acme", "--person", "bob"]);
    assert_eq!(told.code, 1, "{}", told.stdout);
    assert!(told.stdout.contains("1 wrong, by 40"), "{}", told.stdout);
    assert_eq!(place.run(&["recount", "acme"]).code, 0);
}

async fn a_dry_run_says_what_there_is_and_does_nothing(place: Place) {
    let store = place.open().await;
    let chat = chat(&store).await;
    old(&store, chat, 25).await;
    let empty = store
        .create_chat(&actor("ann", Role::Member), NewChat::default())
        .await;
    empty.unwrap();
    for _ in 0..2 {
        let told = place.run(&["archive", "--dry-run", "--empty-for", "0s", "--json"]);
        assert_eq!(told.code, 0, "{}", told.stderr);
        let there = told.json();
        assert_eq!(
            (&there["messages"], &there["chats"]),
            (&Value::from(24), &Value::from(1))
        );
    }
    let told = place.run(&["archive", "--dry-run"]);
    assert!(
        told.stdout.starts_with("24 messages would move"),
        "{}",
        told.stdout
    );
    assert_eq!(told.stderr, "", "no bar where nobody watches");
    let others = place
        .run(&["archive", "--dry-run", "--org", "rival", "--json"])
        .json();
    assert_eq!(
        (&others["messages"], &others["chats"]),
        (&Value::from(0), &Value::from(0))
    );
}
