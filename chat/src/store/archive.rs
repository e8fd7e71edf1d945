//! What is old moves to the archive, and chats that are empty go. In steps that never keep a sender waiting for long,
//! which may stop anywhere and go on at any time: each is one commit for one chat.
//!
//! Within a chat times rise with numbers, so what is old is a beginning, and the chat knows up to where. Its last
//! message stays.

use serde::Serialize;
use uuid::Uuid;

use super::Shared;
use super::access;
use super::audit;
use super::database::{Sql, Transaction, Value, values};
use super::error::Result;
use super::limits;
use super::outbox::{self, Told};
use super::rows;
use super::types::ChatId;
use super::upkeep::{ArchiveRun, ArchiveStep, EventName, Notify};

/// Rows of one step at most.
const STEP_MAX: u32 = 10_000;

/// Chats that one statement looks at, so that none takes long where there is nothing to do.
const WINDOW: i64 = 5_000;

/// Chats of one step of a clean-up.
const CHATS_MAX: i64 = 100;

/// A chat of more tombstones than this is not cleaned up: it would take long.
const TOMBSTONES_MAX: i64 = 10_000;

/// How many messages are to move.
pub(super) async fn count(store: &Shared, run: &ArchiveRun) -> Result<i64> {
    let old = "SELECT COUNT(*) AS old FROM messages x JOIN chats c ON c.id = x.chat_id \
               WHERE x.id < $1 AND x.created_at < $2 AND x.seq < c.last_seq AND ($3 = '' OR c.org = $3)";
    let asked = values![store.first_id_at(run.before), run.before, org(run)];
    let row = store.database.row(old, asked).await?;
    row.map_or(Ok(0), |row| row.get("old"))
}

/// Moves a batch of one chat, the first after `from` that has any.
pub(super) async fn step(
    store: &Shared,
    run: &ArchiveRun,
    from: Option<ChatId>,
) -> Result<ArchiveStep> {
    let from = from.map_or_else(Uuid::nil, |chat| chat.0);
    let Some((chat, org)) = next_chat(store, run, from).await? else {
        return Ok(ArchiveStep {
            done: 0,
            next: next_window(store, from).await?,
        });
    };
    let batch = limits::limit(run.batch, STEP_MAX);
    let mut tx = store.database.begin().await?;
    let moved = if access::lock_row(&mut tx, &org, chat).await.is_ok() {
        move_old(&mut tx, chat, run, batch).await?
    } else {
        0
    };
    if moved > 0 {
        let act = "messages.archived";
        audit::count(&mut tx, &org, store.now(), run, act, moved).await?;
        tx.commit().await?;
    }
    Ok(ArchiveStep {
        done: moved,
        next: Some(if moved > 0 { chat } else { after(chat) }),
    })
}

/// The first chat of the window whose first message outside of the archive is old, and not its last. A look without a
/// lock.
async fn next_chat(
    store: &Shared,
    run: &ArchiveRun,
    from: Uuid,
) -> Result<Option<(ChatId, String)>> {
    let next = "SELECT c.id, c.org FROM \
                    (SELECT id, org, archived_seq, last_seq FROM chats WHERE id >= $1 ORDER BY id LIMIT $4) c \
                JOIN messages x ON x.chat_id = c.id AND x.seq = c.archived_seq + 1 AND x.created_at < $2 \
                WHERE c.last_seq > c.archived_seq + 1 AND ($3 = '' OR c.org = $3) \
                ORDER BY c.id LIMIT 1";
    let row = store
        .database
        .row(next, values![from, run.before, org(run), WINDOW])
        .await?;
    row.map(|row| Ok((ChatId(row.get("id")?), row.get("org")?)))
        .transpose()
}

/// Where the window after this one begins.
async fn next_window(store: &Shared, from: Uuid) -> Result<Option<ChatId>> {
    let next = "SELECT id FROM chats WHERE id >= $1 ORDER BY id LIMIT 1 OFFSET $2";
    let row = store.database.row(next, values![from, WINDOW]).await?;
    row.map(|row| Ok(ChatId(row.get("id")?))).transpose()
}

async fn move_old(tx: &mut Transaction, chat: ChatId, run: &ArchiveRun, batch: i64) -> Result<i64> {
    const UP_TO: &str = "SELECT c.archived_seq, \
            (SELECT MAX(x.seq) FROM messages x WHERE x.chat_id = c.id AND x.seq > c.archived_seq \
                 AND x.seq <= c.archived_seq + $3 AND x.seq < c.last_seq AND x.created_at < $2) AS up_to \
        FROM chats c WHERE c.id = $1";
    const COPY: Sql = Sql::each(
        "INSERT INTO messages_archive (key, id, chat_id, seq, rev, sender, sender_name, client_msg_id, content_hash, \
             body, attachments, created_at, edited_at, deleted_at, unguarded) \
         SELECT key, id, chat_id, seq, rev, sender, sender_name, client_msg_id, content_hash, body, attachments, \
             created_at, edited_at, deleted_at, unguarded \
         FROM messages WHERE chat_id = $1 AND seq <= $2",
        "INSERT INTO messages_archive (id, chat_id, seq, rev, sender, sender_name, client_msg_id, content_hash, body, \
             attachments, created_at, edited_at, deleted_at, unguarded, words, org) \
         SELECT id, chat_id, seq, rev, sender, sender_name, client_msg_id, content_hash, body, attachments, \
             created_at, edited_at, deleted_at, unguarded, words, org \
         FROM messages WHERE chat_id = $1 AND seq <= $2",
    );
    let row = tx.row(UP_TO, values![chat, run.before, batch]).await?;
    let Some(up_to) = row
        .map(|row| row.get::<Option<i64>>("up_to"))
        .transpose()?
        .flatten()
    else {
        return Ok(0);
    };
    let old = values![chat, up_to];
    let moved = tx.run(COPY, old.clone()).await?;
    let gone = "DELETE FROM messages WHERE chat_id = $1 AND seq <= $2";
    tx.run(gone, old.clone()).await?;
    let noted = "UPDATE chats SET archived_seq = $2 WHERE id = $1";
    tx.run(noted, old).await?;
    Ok(i64::try_from(moved).unwrap_or(i64::MAX))
}

/// How many chats are to go.
pub(super) async fn cleanup_count(store: &Shared, run: &ArchiveRun) -> Result<i64> {
    let empty = "SELECT COUNT(*) AS empty FROM chats WHERE message_count = 0 AND last_activity_at < $1 \
                 AND last_seq <= $2 AND ($3 = '' OR org = $3)";
    let row = store.database.row(empty, empty_before(run)).await?;
    row.map_or(Ok(0), |row| row.get("empty"))
}

/// Makes a batch of empty chats go.
pub(super) async fn cleanup_step(store: &Shared, run: &ArchiveRun) -> Result<ArchiveStep> {
    let empty = "SELECT id, org FROM chats WHERE message_count = 0 AND last_activity_at < $1 AND last_seq <= $2 \
                 AND ($3 = '' OR org = $3) ORDER BY last_activity_at, id LIMIT $4";
    let most = limits::limit(run.batch, STEP_MAX).min(CHATS_MAX);
    let mut asked = empty_before(run);
    asked.push(most.into());
    let chats = store.database.rows(empty, asked).await?;
    let mut done = 0;
    for row in &chats {
        let (chat, org) = (ChatId(row.get("id")?), row.get::<String>("org")?);
        done += i64::from(clean_up(store, run, &org, chat).await?);
    }
    let may_have_more = done > 0 && i64::try_from(chats.len()).is_ok_and(|found| found == most);
    Ok(ArchiveStep {
        done,
        next: may_have_more.then_some(ChatId(Uuid::nil())),
    })
}

/// Makes a chat go, if it is empty still.
async fn clean_up(store: &Shared, run: &ArchiveRun, org: &str, chat: ChatId) -> Result<bool> {
    let now = store.now();
    let mut tx = store.database.begin().await?;
    if access::lock_row(&mut tx, org, chat).await.is_err() {
        return Ok(false);
    }
    let still = "SELECT rev FROM chats WHERE id = $4 AND message_count = 0 AND last_activity_at < $1 \
                 AND last_seq <= $2 AND ($3 = '' OR org = $3)";
    let mut asked = empty_before(run);
    asked.push(chat.into());
    let Some(row) = tx.row(still, asked).await? else {
        return Ok(false);
    };
    let rev = row.get::<i64>("rev")? + 1;
    let people = "SELECT person FROM members WHERE chat_id = $1 AND participating = 1";
    let people = tx.rows(people, values![chat]).await?;
    let notify = people
        .iter()
        .map(|row| {
            Ok(Notify {
                person: row.get("person")?,
                unread: 0,
            })
        })
        .collect::<Result<_>>()?;
    for table in [
        "DELETE FROM members WHERE chat_id = $1",
        "DELETE FROM messages WHERE chat_id = $1",
        "DELETE FROM messages_archive WHERE chat_id = $1",
        "DELETE FROM chats WHERE id = $1",
    ] {
        tx.run(table, values![chat]).await?;
    }
    let told = Told {
        event: EventName::ChatDeleted,
        rev,
        notify,
        payload: rows::to_json(&ChatDeleted { chat, rev }),
    };
    outbox::tell_org(&mut tx, org, chat, now, told).await?;
    audit::count(&mut tx, org, now, run, "chats.cleaned_up", 1).await?;
    store.commit_and_ring(tx).await?;
    Ok(true)
}

fn empty_before(run: &ArchiveRun) -> Vec<Value> {
    values![run.before, TOMBSTONES_MAX, org(run)]
}

/// The organisation, or none for all.
fn org(run: &ArchiveRun) -> &str {
    run.org.as_deref().unwrap_or("")
}

/// The next id there could be.
fn after(chat: ChatId) -> ChatId {
    ChatId(Uuid::from_u128(chat.0.as_u128().saturating_add(1)))
}

#[derive(Serialize)]
struct ChatDeleted {
    chat: ChatId,
    rev: i64,
}
