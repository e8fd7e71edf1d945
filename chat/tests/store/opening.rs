//! A database is opened by whoever understands it, and by nobody else; what was kept is there when it is opened again.
//! Only here do tests reach below the store, to make a database of another version.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use tenure_chat::store::{Error, Store, StoreOptions};

use crate::place::{Place, all, member, on_both, on_sqlite, private, talk};

on_both!(
    what_was_kept_is_there_again,
    several_open_it_at_once,
    a_newer_database_is_left_alone,
    a_changed_step_is_seen,
);

async fn what_was_kept_is_there_again(place: Arc<Place>) {
    let store = place.open().await;
    store.ready().await.expect("it answers");
    let chat = private(&store, &["bob"]).await;
    talk(&place, &store, chat, 5).await;
    let before = all(&store, &member("bob"), chat).await;
    store.close().await;
    assert!(store.ready().await.is_err(), "it was closed");
    let store = place.open().await;
    assert_eq!(all(&store, &member("bob"), chat).await, before);
    talk(&place, &store, chat, 1).await;
    assert_eq!(all(&store, &member("bob"), chat).await.len(), 6);
}

async fn several_open_it_at_once(place: Arc<Place>) {
    let opened = (0..4).map(|_| {
        let place = Arc::clone(&place);
        tokio::spawn(async move { place.open().await })
    });
    let mut stores = Vec::new();
    for opened in opened.collect::<Vec<_>>() {
        stores.push(opened.await.expect("it can be opened"));
    }
    let chat = private(&stores[0], &["bob"]).await;
    let senders = stores.iter().map(|store| {
        let (place, store) = (Arc::clone(&place), store.clone());
        tokio::spawn(async move { talk(&place, &store, chat, 10).await })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.expect("nobody is refused");
    }
    let numbers: Vec<i64> = all(&stores[1], &member("bob"), chat)
        .await
        .iter()
        .map(|message| message.seq)
        .collect();
    assert_eq!(numbers, (1..=40).collect::<Vec<_>>());
}

/// Whoever makes the file wants it alone for a moment, and the others come just then.
#[test]
fn a_file_may_be_made_by_several_at_once() {
    for _ in 0..20 {
        on_sqlite(async |place| {
            let openers = (0..8).map(|_| {
                let place = Arc::clone(&place);
                tokio::spawn(async move { place.open().await.close().await })
            });
            for opener in openers.collect::<Vec<_>>() {
                opener.await.expect("nobody is refused");
            }
        });
    }
}

async fn a_newer_database_is_left_alone(place: Arc<Place>) {
    place.open().await.close().await;
    tamper(
        &place,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         SELECT 9999, 'later', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
    )
    .await;
    let message = refusal(&place.url).await;
    assert!(
        message.contains("step 9999 of a newer tenure-chat"),
        "{message}"
    );
}

async fn a_changed_step_is_seen(place: Arc<Place>) {
    place.open().await.close().await;
    tamper(
        &place,
        "UPDATE _sqlx_migrations SET checksum = (SELECT checksum FROM _sqlx_migrations WHERE version = 2) \
         WHERE version = 1",
    )
    .await;
    let message = refusal(&place.url).await;
    assert!(message.contains("has been modified"), "{message}");
}

#[tokio::test]
async fn what_is_no_database_is_refused() {
    for (url, expected) in [
        ("mysql://x/y", "expected a database as sqlite:PATH"),
        ("chat.db", "expected a database as sqlite:PATH"),
        ("sqlite::memory:", "expected a file"),
    ] {
        let message = refusal(url).await;
        assert!(message.contains(expected), "{url}: {message}");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("chat.db");
    std::fs::write(&file, "this is a letter and not a database, as can be seen").expect("written");
    let message = refusal(&format!("sqlite:{}", file.display())).await;
    assert!(message.contains("not a database"), "{message}");
    let nowhere = folder.path().join("none/chat.db");
    let message = refusal(&format!("sqlite:{}", nowhere.display())).await;
    assert!(message.contains("unable to open"), "{message}");
}

async fn refusal(url: &str) -> String {
    match Store::open(url, StoreOptions::default()).await {
        Ok(_) => panic!("expected {url} to be refused, found it open"),
        Err(error @ (Error::Unusable(_) | Error::Database(_))) => error.to_string(),
        Err(other) => panic!("expected an operator's sentence, found {other:?}"),
    }
}

async fn tamper(place: &Place, sql: &str) {
    let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
    if place.is_sqlite() {
        let mut file = SqliteConnection::connect(&place.url).await.expect("a file");
        sql.execute(&mut file).await.expect("it can be written");
        file.close().await.expect("it can be closed");
    } else {
        let mut server = PgConnection::connect(&place.url).await.expect("a server");
        sql.execute(&mut server).await.expect("it can be written");
        server.close().await.expect("it can be closed");
    }
}
