//! The way to the lock server: with TLS and an API key, and what becomes of it when they are not as they should be.
//!
//! What is the same on both databases is shown on one.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use tenure::config::{Config as TenureConfig, Settings};
use tenure::server::Server;
use tenure_chat::service::Service;
use tenure_chat::store::Role;
use tokio_util::sync::CancellationToken;

use crate::support::{Place, on_sqlite};

/// Long enough for the lock server, and known to nobody else.
const SECRET: &str = "a secret of the companion's own, 0123456789";

/// Another, which is for another organisation alone.
const ELSEWHERE: &str = "a secret for elsewhere, 0123456789 0123456789";

/// Vouches for names.
fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Where a companion looks for the lock server, and how: as its options say.
#[derive(Clone)]
struct Way {
    tenure: String,
    ca: String,
    key: String,
}

impl Way {
    fn options(&self) -> [&str; 6] {
        let Self { tenure, ca, key } = self;
        let (ca_flag, key_flag) = ("--tenure-ca", "--tenure-key-file");
        ["--tenure", tenure, ca_flag, ca, key_flag, key]
    }
}

/// A lock server that takes TLS alone, by a certificate for `localhost`, and the key, which has this role; and the way there.
async fn secured(place: &Place, role: &str) -> (SocketAddr, Way, CancellationToken) {
    let authority = authority();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let cert = params.signed_by(&key, &authority).unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(place.file(name), text).unwrap();
        place.file(name).display().to_string()
    };
    let (cert, key) = (
        write("tenure.pem", &cert.pem()),
        write("tenure.key", &key.serialize_pem()),
    );
    let settings = write(
        "tenure.toml",
        &format!(
            "listen = \"127.0.0.1:0\"\nadmin = \"off\"\ndurability = \"memory\"\n\
             tls_cert = {cert:?}\ntls_key = {key:?}\n\
             [[keys]]\nname = \"chat\"\nkey = {SECRET:?}\nrole = {role:?}\norgs = [\"*\"]\n\
             [[keys]]\nname = \"elsewhere\"\nkey = {ELSEWHERE:?}\nrole = \"admin\"\norgs = [\"elsewhere\"]\n"
        ),
    );
    let config = TenureConfig::load(Some(settings.as_ref()), Settings::default()).unwrap();
    let server = Server::bind(config).await.unwrap();
    let addr = server.local_addr();
    let stop = CancellationToken::new();
    tokio::spawn(server.serve(stop.clone()));
    let way = Way {
        tenure: format!("localhost:{}", addr.port()),
        ca: write("ca.pem", &authority.pem()),
        key: write("companion.key", &format!("{SECRET}\n")),
    };
    (addr, way, stop)
}

#[test]
fn the_lock_server_is_spoken_to_by_tls_and_key() {
    on_sqlite(async |mut place: Place| {
        place.tenure.kill();
        let (addr, way, stop) = secured(&place, "admin").await;
        let companion = place.companion(&way.options()).await;
        companion.is_connected(true).await;
        let mut ada = companion.person("ada").with_session().await;
        let chat = ada.chat_with(&["bob"]).await;
        let mut feed = ada.hear().await;
        feed.next_named("ready").await;
        assert!(ada.lock(&chat).await > 0);
        feed.next_named("chat.locked").await;
        let message = ada.send(&chat, "m-1", "over TLS").await.expect(201);
        assert_eq!(message["unguarded"], false);
        feed.next_named("message.created").await;
        // The key is an admin's, so admins are.
        let root = companion.with_role("root", Role::Admin);
        let all = json!({"reason": "maintenance"});
        let freed = root.post("/v1/locks/clear", all).await.expect(200);
        assert_eq!(freed["ended"].as_array().unwrap().len(), 1);

        // Whoever is not vouched for, or has another key, is not spoken to: chats go on, locks do not.
        let other = place.file("other.pem").display().to_string();
        std::fs::write(&other, authority().pem()).unwrap();
        let wrong_key = place.file("wrong.key").display().to_string();
        std::fs::write(&wrong_key, "another secret, 0123456789 0123456789").unwrap();
        let (mut unknown, mut unnamed, mut unlike) = (way.clone(), way.clone(), way.clone());
        unknown.ca = other;
        unnamed.tenure = addr.to_string();
        unlike.key = wrong_key;
        for (what, way) in [
            ("another authority", &unknown),
            ("another name", &unnamed),
            ("another key", &unlike),
        ] {
            let companion = place.companion(&way.options()).await;
            let ada = companion.person("ada");
            let sent = ada.send(&chat, what, "into the dark").await.expect(201);
            assert_eq!(sent["unguarded"], true, "{what}");
            ada.post(&format!("/v1/chats/{chat}/lock"), json!({}))
                .await
                .refused(503, "tenure_away");
        }
        let plain = ["--tenure", &way.tenure, "--tenure-key-file", &way.key];
        let companion = place.companion(&plain).await;
        companion
            .person("ada")
            .get(&format!("/v1/chats/{chat}/lock"))
            .await
            .refused(503, "tenure_away");
        stop.cancel();
    });
}

#[test]
fn nobody_may_more_than_the_key() {
    on_sqlite(async |mut place: Place| {
        place.tenure.kill();
        let (_, way, stop) = secured(&place, "member").await;
        let companion = place.companion(&way.options()).await;
        companion.is_connected(true).await;
        let mut ada = companion.person("ada").with_session().await;
        let chat = ada.chat_with(&[]).await;
        ada.lock(&chat).await;
        ada.send(&chat, "m-1", "hello").await.expect(201);
        let root = companion.with_role("root", Role::Admin);
        let force = json!({"path": format!("chat/{chat}"), "reason": "maintenance"});
        root.post("/v1/locks/force-release", force)
            .await
            .refused(403, "forbidden");
        stop.cancel();
    });
}

/// Operations of the document, each as method and path, that may be answered 403 as far as it says.
fn said_to_be_forbidden(document: &Value) -> BTreeSet<String> {
    let mut forbidden = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation["responses"].get("403").is_some() {
                forbidden.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
    }
    forbidden
}

#[test]
fn what_may_be_forbidden_stands_in_the_document_and_nothing_else() {
    on_sqlite(async |mut place: Place| {
        place.tenure.kill();
        let (_, way, stop) = secured(&place, "admin").await;
        let companion = place.companion(&way.options()).await;
        companion.is_connected(true).await;
        // Another companion of the same chats, whose key is for another organisation.
        let mut elsewhere = way.clone();
        elsewhere.key = place.file("elsewhere.key").display().to_string();
        std::fs::write(&elsewhere.key, ELSEWHERE).unwrap();
        let elsewhere = place.companion(&elsewhere.options()).await;
        elsewhere.is_connected(true).await;

        let ada = companion.person("ada").with_session().await;
        let chat = ada.chat_with(&["bob", "gus"]).await;
        let message = ada.send(&chat, "m-1", "hello").await.expect(201);
        let message = message["id"].as_str().unwrap().to_owned();
        let gus = companion.with_role("gus", Role::Guest).with_session().await;
        let root = companion.with_role("root", Role::Admin);
        let people = [gus, companion.person("bob"), root, ada.at(&elsewhere)];

        let document = ada.get("/openapi.json").await.expect(200);
        let mut forbidden = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys() {
                let method = method.to_uppercase();
                let (query, body) = asked(&method, path);
                let at = path.replace("{chat}", &chat).replace("{message}", &message);
                for person in &people {
                    // Their feeds would not end, unless they are refused.
                    if path == "/v1/feed" && person.addr == companion.addr {
                        continue;
                    }
                    let answer = person
                        .ask(&method, &format!("{at}{query}"), body.clone())
                        .await;
                    if answer.status == 403 {
                        answer.refused(403, "forbidden");
                        forbidden.insert(format!("{method} {path}"));
                    }
                }
            }
        }
        assert_eq!(forbidden, said_to_be_forbidden(&document));
        stop.cancel();
    });
}

/// A query and a body by which somebody is forbidden it, if anybody is.
fn asked(method: &str, path: &str) -> (&'static str, Option<Value>) {
    let own = json!({"path": "doc/1", "token": 1, "ask": 1, "reason": "maintenance"});
    match (method, path) {
        ("GET", "/v1/locks/status") => ("?path=doc/1", None),
        ("GET", "/v1/search") => ("?q=hello", None),
        ("GET" | "DELETE", _) | ("POST", "/v1/sessions" | "/v1/unread/recount") => ("", None),
        ("POST", "/v1/locks/clear") => ("", Some(json!({"reason": "maintenance"}))),
        (_, path) if path.starts_with("/v1/locks") => ("", Some(own)),
        (_, path) if path.ends_with("/participants") => ("", Some(json!({"remove": ["bob"]}))),
        (_, path) if path.ends_with("/marks") => ("", Some(json!({"read_seq": 1}))),
        (_, path) if path.ends_with("/presence") || path.ends_with("/typing") => {
            let internally = json!({"activity": "typing", "internal": true});
            ("", Some(internally))
        }
        ("POST", path) if path.ends_with("/messages") => {
            ("", Some(json!({"client_msg_id": "m-2", "body": "hello"})))
        }
        ("PATCH", _) => ("", Some(json!({"body": "hello"}))),
        _ => ("", Some(json!({}))),
    }
}

#[test]
fn what_cannot_be_spoken_with_is_said_at_the_start() {
    on_sqlite(async |place: Place| {
        let nothing = place.file("nothing").display().to_string();
        std::fs::write(&nothing, "\n").unwrap();
        let missing = place.file("missing").display().to_string();
        for (flag, file) in [
            ("--tenure-ca", &missing),
            ("--tenure-key-file", &missing),
            ("--tenure-key-file", &nothing),
            ("--tenure-ca", &nothing),
        ] {
            let config = place.config(&[flag, file]);
            let Err(error) = Service::bind(config).await else {
                panic!("started with {flag} {file}");
            };
            assert!(format!("{error:#}").contains(flag), "{error:#}");
        }
    });
}
