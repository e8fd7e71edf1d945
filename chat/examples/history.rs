//! Pages of long histories, from a companion that runs: fills some chats with messages by the shortest way, then asks for
//! parts of them one after another, and says how long an answer took.
//!
//! ```console
//! $ tenure-chat --rate-read 100000
//! $ cargo run --release -p tenure-chat --example history -- sqlite:tenure-chat.db 1000000
//! ```
//!
//! Arguments: database, messages in all, chats (10), address (127.0.0.1:7430), file of the development key. What is filled
//! in is not in the index of words, and nobody is told of it.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for a terminal: what goes wrong ends it"
)]

mod caller;

use std::time::Instant;

use caller::{Caller, Tokens, part};
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, PgConnection, SqliteConnection};
use uuid::Uuid;

/// Answers that are timed, of each kind.
const ASKED: usize = 2000;

/// Messages on a page.
const LIMIT: i64 = 50;

const FILL_SQLITE: &str = "WITH RECURSIVE n (seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM n WHERE seq < $2) \
    INSERT INTO messages (id, chat_id, seq, rev, sender, sender_name, client_msg_id, content_hash, body, attachments, \
        created_at, unguarded) \
    SELECT randomblob(16), $1, seq, seq, 'p' || seq % 7, 'P', 'm-' || seq, randomblob(32), \
        'What is the state of order ' || seq || '?', '[]', 1700000000000 + seq, 0 FROM n";

const FILL_POSTGRES: &str = "INSERT INTO messages (id, org, chat_id, seq, rev, sender, sender_name, client_msg_id, \
        content_hash, body, attachments, created_at, unguarded) \
    SELECT gen_random_uuid(), (SELECT org FROM chats WHERE id = $1), $1, seq, seq, 'p' || seq % 7, 'P', 'm-' || seq, sha256('x'), \
        'What is the state of order ' || seq || '?', '[]', 1700000000000 + seq, 0 FROM generate_series(1, $2) AS seq";

const COUNT: &str = "UPDATE chats SET last_seq = $2, rev = $2, message_count = $2 WHERE id = $1";

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let text = |at: usize, default: &'static str| arguments.get(at).map_or(default, String::as_str);
    let number = |at: usize, default: i64| {
        arguments
            .get(at)
            .map_or(default, |text| text.parse().unwrap())
    };
    let database = text(0, "sqlite:tenure-chat.db");
    let (messages, chats) = (number(1, 1_000_000), number(2, 10));
    let tokens = Tokens::of(text(4, "tenure-chat-development.key"));
    let mut caller = Caller::new(text(3, "127.0.0.1:7430"), tokens.token("reader")).await;
    let mut ids = Vec::new();
    for _ in 0..chats {
        let (status, chat) = caller
            .ask("POST", "/v1/chats", &json!({"audience": "org"}))
            .await;
        assert_eq!(status, 201, "{chat}");
        ids.push(chat["id"].as_str().unwrap().parse().unwrap());
    }
    let each = messages / chats;
    let began = Instant::now();
    fill(database, &ids, each).await;
    println!(
        "{messages} messages in {chats} chats, filled in {:?}",
        began.elapsed()
    );
    let pages = each / LIMIT;
    let anywhere = || fastrand::i64(1..=each);
    measure("newest", &mut caller, &ids, String::new).await;
    measure("before", &mut caller, &ids, || {
        format!("&before={}", anywhere())
    })
    .await;
    measure("after", &mut caller, &ids, || {
        format!("&after={}", anywhere())
    })
    .await;
    measure("around", &mut caller, &ids, || {
        format!("&around={}", anywhere())
    })
    .await;
    measure("page", &mut caller, &ids, || {
        format!("&page={}", fastrand::i64(1..=pages))
    })
    .await;
}

async fn measure(kind: &str, caller: &mut Caller, chats: &[Uuid], part_of: impl Fn() -> String) {
    let mut took = Vec::with_capacity(ASKED);
    let mut shown = 0;
    for _ in 0..ASKED {
        let chat = chats[fastrand::usize(..chats.len())];
        let path = format!("/v1/chats/{chat}/messages?limit={LIMIT}{}", part_of());
        let began = Instant::now();
        let (status, page) = caller.ask("GET", &path, &Value::Null).await;
        took.push(began.elapsed());
        assert_eq!(status, 200, "{page}");
        shown += page["items"].as_array().unwrap().len();
    }
    println!(
        "{kind}: {ASKED} pages of {} messages on average: p50 {:?}, p99 {:?}, longest {:?}",
        shown / ASKED,
        part(&mut took, 50),
        part(&mut took, 99),
        part(&mut took, 100)
    );
}

async fn fill(database: &str, chats: &[Uuid], each: i64) {
    if database.starts_with("sqlite:") {
        let mut connection = SqliteConnection::connect(database).await.unwrap();
        for chat in chats {
            for statement in [FILL_SQLITE, COUNT] {
                let filled = sqlx::query(statement).bind(chat).bind(each);
                connection.execute(filled).await.unwrap();
            }
        }
    } else {
        let mut connection = PgConnection::connect(database).await.unwrap();
        for chat in chats {
            for statement in [FILL_POSTGRES, COUNT] {
                let filled = sqlx::query(statement).bind(chat).bind(each);
                connection.execute(filled).await.unwrap();
            }
        }
        connection.execute("ANALYZE messages").await.unwrap();
    }
}
