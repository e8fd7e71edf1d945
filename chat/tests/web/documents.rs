//! Locks of documents over HTTP: who holds them, for how long, and what admins may do.
//!
//! Knows the routes and nothing behind them.

use serde_json::json;
use tenure_chat::store::Role;

use crate::support::Place;

on_both!(a_document_is_locked_kept_and_given_back, admins_free_locks);

async fn a_document_is_locked_kept_and_given_back(place: Place) {
    let companion = place.companion(&[]).await;
    let ada = companion.person("ada").with_session().await;
    let bob = companion.person("bob");
    let doc = json!({"path": "doc/quote-123"});
    let lock = ada
        .post(
            "/v1/locks/acquire",
            json!({"path": "doc/quote-123", "ttl_ms": 60_000}),
        )
        .await
        .expect(200);
    let held = bob
        .post("/v1/locks/acquire", doc.clone())
        .await
        .refused(409, "held");
    assert_eq!(held["lock"]["holders"][0]["name"], "Ada");
    let status = bob
        .get("/v1/locks/status?path=doc/quote-123")
        .await
        .expect(200);
    assert_eq!(
        (&status["held"], &status["token"]),
        (&json!(true), &lock["token"])
    );
    let again = ada.post("/v1/locks/acquire", doc.clone()).await.expect(200);
    assert_eq!(again["token"], lock["token"], "the same person renews");
    let extended = ada
        .post(
            "/v1/locks/extend",
            json!({"path": "doc/quote-123", "ttl_ms": 120_000}),
        )
        .await
        .expect(200);
    assert!(
        extended["remaining_ms"].as_u64().unwrap() > 110_000,
        "{extended}"
    );
    let listed = bob.get("/v1/locks?prefix=doc/").await.expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    bob.post("/v1/locks/release", doc.clone())
        .await
        .refused(409, "held");
    bob.post("/v1/locks/extend", doc.clone())
        .await
        .refused(400, "bad_request");
    assert_eq!(
        ada.post("/v1/locks/release", doc.clone()).await.expect(200)["released"],
        "ended"
    );
    ada.post("/v1/locks/extend", doc.clone())
        .await
        .refused(410, "lock_lost");
    ada.post("/v1/locks/release", doc)
        .await
        .refused(410, "lock_lost");

    let beside = json!({"path": "doc/shared", "shared": 2});
    ada.post("/v1/locks/acquire", beside.clone())
        .await
        .expect(200);
    bob.post("/v1/locks/acquire", beside.clone())
        .await
        .expect(200);
    companion
        .person("eve")
        .post("/v1/locks/acquire", beside)
        .await
        .refused(409, "held");
    for wrong in [
        json!({"path": ""}),
        json!({"path": "a//b"}),
        json!({"path": "doc/1", "ttl_ms": 1}),
    ] {
        ada.post("/v1/locks/acquire", wrong)
            .await
            .refused(422, "invalid");
    }
}

async fn admins_free_locks(place: Place) {
    let companion = place.companion(&[]).await;
    let ada = companion.person("ada").with_session().await;
    let root = companion.with_role("root", Role::Admin);
    let mut feed = ada.hear().await;
    feed.next_named("ready").await;
    for number in 1..=3 {
        ada.post(
            "/v1/locks/acquire",
            json!({"path": format!("doc/{number}")}),
        )
        .await
        .expect(200);
    }
    let force = json!({"path": "doc/1", "reason": "left for the day"});
    ada.post("/v1/locks/force-release", force.clone())
        .await
        .refused(403, "forbidden");
    let freed = root
        .post("/v1/locks/force-release", force)
        .await
        .expect(200);
    assert_eq!(freed["ended"][0]["person"], "ada");
    let lost = feed.next_named("lock.lost").await;
    assert_eq!(
        (&lost["path"], &lost["cause"]),
        (&json!("doc/1"), &json!("forced"))
    );
    let freed = root
        .post(
            "/v1/locks/clear",
            json!({"prefix": "doc/", "reason": "maintenance"}),
        )
        .await
        .expect(200);
    assert_eq!(freed["ended"].as_array().unwrap().len(), 2);
    assert_eq!(root.get("/v1/locks").await.expect(200)["items"], json!([]));
    let audit = root.get("/v1/audit").await.expect(200);
    let forced = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|line| line["act"] == "lock.force_released");
    assert_eq!(forced.count(), 2);
}
