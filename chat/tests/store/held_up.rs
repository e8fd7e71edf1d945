//! PostgreSQL alone: whoever keeps a chat's row and says no more holds others up for a while, and then they are told.
//!
//! The other half, that such a transaction is ended, is shown over HTTP with a companion that stands still.

use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tenure_chat::store::{ChatId, Error};

use crate::place::{Place, member, on_postgres, private};

/// Locks the row of a chat, as another program might.
async fn keep(place: &Place, chat: ChatId) -> PgConnection {
    let mut other = PgConnection::connect(&place.url).await.expect("connected");
    for statement in [
        "BEGIN".to_owned(),
        format!("SELECT id FROM chats WHERE id = '{chat}' FOR UPDATE"),
    ] {
        sqlx::query(AssertSqlSafe(statement))
            .execute(&mut other)
            .await
            .expect("locked");
    }
    other
}

/// How long a send takes that cannot be done.
async fn held_up(place: &Place) -> Duration {
    let store = place.open().await;
    let ann = member("ann");
    let chat = private(&store, &[]).await;
    let other = keep(place, chat).await;
    let began = Instant::now();
    let sent = store.send(&ann, chat, place.message("hello")).await;
    let error = sent.expect_err("nobody else writes meanwhile");
    assert!(error.is_temporary(), "{error}");
    assert!(matches!(error, Error::Database(_)), "{error}");
    let waited = began.elapsed();
    drop(other);
    // The chat is as it was, and goes on.
    let message = loop {
        if let Ok(sent) = store.send(&ann, chat, place.message("again")).await {
            break sent.into_inner();
        }
    };
    assert_eq!(message.seq, 1);
    store.close().await;
    waited
}

#[test]
fn a_row_is_waited_for_for_a_while() {
    on_postgres(async |place| {
        let waited = held_up(&place).await;
        // Five seconds, and what a busy machine takes.
        assert!((4.0..25.0).contains(&waited.as_secs_f64()), "{waited:?}");
    });
}

#[test]
fn what_an_operator_has_set_is_left() {
    on_postgres(async |place| {
        let mut admin = PgConnection::connect(&place.url).await.expect("connected");
        let name = sqlx::query_scalar::<_, String>("SELECT current_database()::text");
        let name = name.fetch_one(&mut admin).await.expect("a name");
        let set = format!("ALTER DATABASE {name} SET lock_timeout = 300");
        sqlx::query(AssertSqlSafe(set))
            .execute(&mut admin)
            .await
            .expect("set");
        let waited = held_up(&place).await;
        // Less than without that.
        assert!(waited < Duration::from_secs(4), "{waited:?}");
    });
}
