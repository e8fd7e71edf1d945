//! What operators do from a shell: keys and roles, policies, lists and force releases of more than fits one answer.
//!
//! Says nothing about what the server decides; that is in the tests of its promises.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its message")]

mod cli_support;
mod support;

use std::fs;
use std::process::Stdio;

use cli_support::{Running, Tenure};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use tempfile::TempDir;

/// A server with a key for each role.
fn guarded() -> (TempDir, Tenure) {
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("tenure.toml");
    let mut text = String::new();
    for role in ["observer", "member", "moderator", "admin"] {
        fs::write(folder.path().join(role), format!("the-key-of-{role}")).unwrap();
        text += &format!(
            "[[keys]]\nname = \"{role}\"\nkey_file = \"{role}\"\nrole = \"{role}\"\norgs = [\"acme\"]\n"
        );
    }
    fs::write(&config, text).unwrap();
    let tenure = Tenure::with(&["--config", config.to_str().unwrap()]);
    (folder, tenure)
}

#[test]
fn a_key_decides_who_may_do_what() {
    let (_folder, mut tenure) = guarded();
    let acquire = ["acquire", "acme", "a", "--owner", "alice"];
    tenure.run(&acquire).is_trouble("TENURE_KEY");
    tenure.use_key("a-wrong-key");
    let wrong = tenure.run(&acquire);
    wrong.is_trouble("(bad_credentials); is the key in TENURE_KEY or --key right?");
    assert!(!wrong.err.contains("a-wrong-key"), "{wrong:?}");
    let help = tenure.run(&["acquire", "--help"]);
    assert!(!help.out.contains("a-wrong-key"), "{help:?}");

    let hold = tenure.run(&["hold", "acme", "a"]);
    hold.is_trouble("(bad_credentials); is the key in TENURE_KEY or --key right?");

    tenure.use_key("the-key-of-observer");
    tenure.run(&acquire).is_trouble("(role_too_low)");
    tenure.run(&["status", "acme", "a"]).is(1, "free\n");
    let (pong, code) = tenure.json(&["ping", "--count", "3"]);
    assert_eq!((&pong["role"], code), (&json!("observer"), Some(0)));
    assert_eq!(pong["principal"], "observer");
    assert_eq!(pong["round_trip_us"]["count"], 3);
    tenure.run(&["ping"]).is(0, "you are observer, observer\n");

    tenure.use_key("the-key-of-member");
    tenure.run(&acquire).is(0, "granted");
    tenure
        .run(&["status", "other", "a"])
        .is_trouble("(org_not_allowed)");
    let force = ["force-release", "acme", "--all", "--reason", "because"];
    tenure
        .run(&force)
        .is_trouble("use a key with a higher role");
    tenure.use_key("the-key-of-admin");
    tenure.run(&force).is(0, "ended 1 hold\n");
}

#[test]
fn a_policy_is_shown_and_changed_in_part() {
    let tenure = Tenure::start();
    let (before, _) = tenure.json(&["policy", "show", "acme", "doc"]);
    assert_eq!(before["policy"]["ttl_max_ms"], 86_400_000);
    tenure
        .run(&[
            "policy",
            "set",
            "acme",
            "doc",
            "--ttl-max",
            "1m",
            "--queue-max",
            "7",
        ])
        .is(0, "ttl-max                1m          1m\n");
    let set = ["policy", "set", "acme", "doc", "--ttl-default", "30s"];
    let (after, code) = tenure.json(&[&set[..], &["--unset", "queue-max"]].concat());
    assert_eq!(code, Some(0));
    assert_eq!(after["layer"]["ttl_max_ms"], 60_000);
    assert_eq!(after["layer"]["queue_max"], json!(null));
    assert_eq!(after["policy"]["ttl_default_ms"], 30_000);
    tenure
        .run(&["acquire", "acme", "doc/1", "--ttl", "1h"])
        .is(0, ", for 1m\n");
    tenure
        .run(&["policy", "set", "acme", "doc", "--grace", "1m"])
        .is_trouble("ttl_default_ms");
    let (cleared, _) = tenure.json(&["policy", "set", "acme", "doc", "--clear"]);
    assert_eq!(cleared, before);
}

#[test]
fn an_audit_says_who_did_what_to_whom_and_why() {
    let (_folder, mut tenure) = guarded();
    tenure.use_key("the-key-of-admin");
    tenure.run(&["audit", "acme"]).is(1, "0 acts\n");
    tenure.use_key("the-key-of-member");
    tenure
        .run(&["acquire", "acme", "doc/1", "--owner", "alice"])
        .is(0, "granted");
    let seize = ["acquire", "acme", "doc/1", "--owner", "mo", "--seize"];
    tenure.use_key("the-key-of-moderator");
    tenure
        .run(&[&seize[..], &["alice has left"]].concat())
        .is(0, "granted");
    tenure
        .run(&["audit", "acme"])
        .is_trouble("use a key with a higher role");
    tenure.use_key("the-key-of-admin");
    tenure.run(&["force-release", "acme", "--all", "--reason", "a\tb"]);
    tenure.run(&["policy", "set", "acme", "doc", "--queue-max", "7"]);

    let told = tenure.run(&["audit", "acme"]);
    let lines: Vec<_> = told.out.lines().collect();
    let [heading, seized, forced, set] = lines[..] else {
        panic!("a heading and three acts: {told:?}");
    };
    assert!(heading.starts_with("WHEN "), "{heading}");
    for (line, words) in [
        (
            seized,
            &[
                "moderator ",
                " seize ",
                " doc/1 ",
                " alice ",
                " alice has left",
            ][..],
        ),
        (
            forced,
            &["admin ", " force_release ", " doc/1 ", " mo ", " a\\tb"],
        ),
        (set, &["admin ", " policy_set ", " doc/ ", " queue_max=7"]),
    ] {
        for word in words {
            assert!(line.contains(word), "{word:?} in {line:?}");
        }
    }

    let acts = tenure.run(&["audit", "acme", "--json"]).objects();
    let brief = |key: &str| -> Vec<_> { acts.iter().map(|act| act[key].clone()).collect() };
    assert_eq!(brief("act"), ["seize", "force_release", "policy_set"]);
    assert_eq!(brief("principal"), ["moderator", "admin", "admin"]);
    assert_eq!(brief("owner"), [json!("alice"), json!("mo"), json!(null)]);
    assert_eq!(acts[1]["reason"], "a\tb");
    assert_eq!(acts[2]["layer"]["queue_max"], 7);

    let recent = tenure.run(&["audit", "acme", "--since", "1h", "--json"]);
    assert_eq!(recent.objects(), acts);
    std::thread::sleep(std::time::Duration::from_millis(300));
    tenure
        .run(&["audit", "acme", "--since", "100ms"])
        .is(1, "0 acts\n");
}

/// A server with a certificate for `localhost`, and the folder of its authority, `ca.pem`.
fn encrypted() -> (TempDir, Tenure) {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    for authority in ["ca", "other"] {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        write(&format!("{authority}.pem"), &issuer.pem());
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![String::from("127.0.0.1")]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        write(&format!("server-of-{authority}.pem"), &certificate.pem());
        write(&format!("server-of-{authority}.key"), &key.serialize_pem());
    }
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (cert, key) = (path("server-of-ca.pem"), path("server-of-ca.key"));
    let tenure = Tenure::with(&["--tls-cert", &cert, "--tls-key", &key]);
    (folder, tenure)
}

#[test]
fn an_encrypted_server_is_checked_and_whoever_forgets_is_reminded() {
    let (folder, tenure) = encrypted();
    let authority = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (right, wrong) = (authority("ca.pem"), authority("other.pem"));
    // What goes over the wire of the command line, and what goes by the client.
    for ask in [
        &["acquire", "acme", "a"][..],
        &["run", "acme", "b", "--", "echo", "granted"],
    ] {
        let with = |authority: &str| {
            let mut command = tenure.command(ask);
            command.env("TENURE_TLS_CA", authority);
            Running::of(&mut command).ended()
        };
        with(&right).is(0, "granted");
        with(&wrong).is_trouble("is --tls-ca FILE the authority of the server's certificate");
        tenure
            .run(ask)
            .is_trouble("does the server want TLS (--tls, --tls-ca FILE)");
    }
    let plain = Tenure::start();
    for ask in [&["status", "acme", "a"][..], &["hold", "acme", "a"]] {
        let mut command = plain.command(ask);
        command.env("TENURE_TLS_CA", &right);
        let answer = Running::of(&mut command).ended();
        answer.is_trouble("does the server have TLS? if not, leave --tls and --tls-ca out");
    }
}

/// More than two pages, on two prefixes, of two owners.
async fn fill(server: std::net::SocketAddr) {
    let mut client = support::Client::introduced(server).await;
    let (alice, bob) = (
        client.open("acme", "alice").await.number,
        client.open("acme", "bob").await.number,
    );
    for n in 0..600 {
        let (session, prefix) = if n % 2 == 0 {
            (alice, "even")
        } else {
            (bob, "odd")
        };
        let path = format!("{prefix}/{n:03}");
        client.take(support::exclusive(session, &path)).await;
    }
    client.take(support::shared(bob, "shared/1", None)).await;
}

#[test]
fn lists_have_all_pages_and_end_when_nobody_reads() {
    let tenure = Tenure::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // The connection is kept, and with it the holds.
    runtime.block_on(fill(tenure.server.addr));

    let all = tenure.run(&["locks", "acme"]);
    all.is(0, "PATH      OWNER  MODE       TOKEN");
    assert_eq!(all.out.lines().count(), 602);
    let count = |arguments: &[&str]| {
        let list = tenure.run(&[&["locks", "acme", "--json"], arguments].concat());
        let objects = list.objects();
        assert_eq!(list.status, Some(i32::from(objects.is_empty())));
        objects.len()
    };
    assert_eq!(count(&[]), 601);
    assert_eq!(count(&["odd/"]), 300);
    assert_eq!(count(&["--owner", "alice"]), 300);
    assert_eq!(count(&["odd/29", "--owner", "bob"]), 5);
    assert_eq!(count(&["odd/29", "--owner", "alice"]), 0);
    assert_eq!(count(&["--mode", "shared"]), 1);
    assert_eq!(count(&["--older-than", "1h"]), 0);
    let first = &tenure.run(&["locks", "acme", "--json"]).objects()[0];
    assert_eq!(
        (&first["path"], &first["waiters"]),
        (&json!("even/000"), &json!(0))
    );
    assert_eq!(first["holder"]["owner"], "alice");
    tenure.run(&["locks", "globex"]).is(1, "0 holds\n");

    // As `tenure locks acme | true`.
    let mut unread = tenure.command(&["locks", "acme"]);
    let mut child = unread
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]));

    let force = ["force-release", "acme", "--reason", "spring cleaning"];
    let force = |arguments: &[&str]| tenure.run(&[&force, arguments].concat());
    force(&["--prefix", "even/", "--dry-run"]).is(0, "would end 300 holds\n");
    force(&["--prefix", "even/"]).is(0, "ended 300 holds\n");
    force(&["--prefix", "even/"]).is(1, "nothing is held there\n");
    assert_eq!(force(&["--owner", "bob", "--json"]).objects().len(), 301);
    assert_eq!(count(&[]), 0);
}
