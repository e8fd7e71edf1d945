//! Who asks: sessions belong to persons, tokens end, pages of other origins stay out, and the document tells all of it.
//!
//! What is the same on both databases is shown on one.

use std::time::Duration;

use serde_json::json;
use tenure_chat::store::Role;

use crate::support::{Http, Place, on_sqlite};

#[test]
fn a_session_is_its_persons_alone() {
    on_sqlite(async |place: Place| {
        let (here, there) = (place.companion(&[]).await, place.companion(&[]).await);
        let ada = here.person("ada").with_session().await;
        let lock = ada
            .post("/v1/locks/acquire", json!({"path": "doc/1"}))
            .await
            .expect(200);
        for companion in [&here, &there] {
            let mut eve = companion.person("eve");
            eve.session = ada.session.clone();
            eve.post("/v1/locks/release", json!({"path": "doc/1"}))
                .await
                .refused(410, "session_over");
        }
        let mut other = here.of_org("other", "ada", Role::Admin, Duration::from_secs(60));
        other.session = ada.session.clone();
        other
            .post("/v1/locks/release", json!({"path": "doc/1"}))
            .await
            .refused(410, "session_over");
        let status = ada.get("/v1/locks/status?path=doc/1").await.expect(200);
        assert_eq!(status["token"], lock["token"], "the lock was left alone");
        let forged = ada.session.clone().unwrap();
        let mut forged = forged.split_at(forged.len() - 2).0.to_owned();
        forged.push_str("00");
        let mut wrong = ada.clone();
        wrong.session = Some(forged);
        wrong
            .post("/v1/locks/release", json!({"path": "doc/1"}))
            .await
            .refused(410, "session_over");
    });
}

#[test]
fn a_token_that_is_over_is_told_apart() {
    on_sqlite(async |place: Place| {
        let companion = place.companion(&[]).await;
        let ada = companion.of_org("acme", "ada", Role::Member, Duration::from_secs(1));
        ada.get("/v1/me").await.expect(200);
        tokio::time::sleep(Duration::from_secs(8)).await;
        ada.get("/v1/me").await.refused(401, "token_expired");
    });
}

#[test]
fn pages_of_other_origins_stay_out_unless_they_are_named() {
    on_sqlite(async |place: Place| {
        let closed = place.companion(&[]).await;
        let open = place
            .companion(&["--cors-origins", "https://app.example"])
            .await;
        let preflight = |origin| {
            [
                ("origin", origin),
                ("access-control-request-method", "POST"),
                ("access-control-request-headers", "authorization"),
            ]
        };
        for (companion, origin, allowed) in [
            (&closed, "https://app.example", None),
            (&open, "https://app.example", Some("https://app.example")),
            (&open, "https://evil.example", None),
        ] {
            let asked = Http::ask(
                companion.addr,
                "OPTIONS",
                "/v1/chats",
                &preflight(origin),
                None,
            )
            .await
            .unwrap();
            let answer = asked.whole().await.unwrap();
            assert_eq!(
                answer.header("access-control-allow-origin"),
                allowed,
                "{origin}"
            );
        }
    });
}

#[test]
fn the_document_names_every_route_and_its_page_loads_nothing() {
    on_sqlite(async |place: Place| {
        let companion = place.companion(&[]).await;
        let ada = companion.person("ada");
        let document = ada.get("/openapi.json").await.expect(200);
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let paths = document["paths"].as_object().unwrap();
        assert!(paths.len() > 30, "{}", paths.len());
        for (path, item) in paths {
            for (method, operation) in item.as_object().unwrap() {
                assert!(operation["summary"].is_string(), "{method} {path}");
                if path.starts_with("/v1/") {
                    assert!(operation["responses"]["401"].is_object(), "{method} {path}");
                }
            }
        }
        let page = ada.get("/docs").await;
        assert_eq!(page.status, 200);
        for path in paths.keys() {
            assert!(
                page.text.contains(&format!("<code>{path}</code>")),
                "{path}"
            );
        }
        for elsewhere in ["http://", "https://", "src=", "<script", "@import", "url("] {
            assert!(!page.text.contains(elsewhere), "{elsewhere}");
        }
        assert_eq!(ada.get("/healthz").await.text, "alive\n");
        assert!(
            ada.get("/metrics")
                .await
                .text
                .contains("tenure_chat_requests_total")
        );
    });
}
