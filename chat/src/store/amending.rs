//! What becomes of a message later: it is edited, or it becomes a tombstone. Its number stays; its `rev` rises, so
//! that the changes feed shows it again.
//!
//! What is deleted is gone from the row and from the index of words at once, also in the archive; what is left is that
//! there was something. A message in the archive is not edited any more.

use super::access::{self, Seen};
use super::audit;
use super::database::{Row, Sql, Transaction, values};
use super::error::{Error, Result, Thing};
use super::limits;
use super::messages::{AboutMessage, to_notify};
use super::outbox::{self, Told};
use super::rows::{self, message_columns};
use super::types::{Actor, ChatId, Message, MessageId, Role, UnixMs};
use super::upkeep::{EventName, NewAudit, Notify};
use super::words;
use super::{Done, Shared};

/// Changes what one's own message says.
pub(super) async fn edit(
    store: &Shared,
    who: &Actor,
    chat: ChatId,
    id: MessageId,
    body: String,
) -> Result<Message> {
    let mut tx = store.database.begin().await?;
    let edited = edit_in(&mut tx, who, (chat, id), body, store.now()).await;
    store.settle(tx, edited).await
}

async fn edit_in(
    tx: &mut Transaction,
    who: &Actor,
    (chat, id): (ChatId, MessageId),
    body: String,
    now: UnixMs,
) -> Result<Done<Message>> {
    let seen = access::lock(tx, who, chat).await?;
    let found = find(tx, chat, id, &seen).await?;
    let mut message = found.message;
    if message.sender != who.id {
        return Err(Error::Forbidden {
            expected: "whoever has sent it",
        });
    }
    if message.deleted_at.is_some() {
        return Err(Error::Final("deleted"));
    }
    if found.is_archived {
        return Err(Error::Final("archived"));
    }
    limits::body(&body, !message.attachments.is_empty())?;
    if message.body == body {
        return Ok(Done::Unchanged(message));
    }
    message.body = body;
    message.rev = seen.rev + 1;
    message.edited_at = Some(now.max(message.created_at));
    write_body(tx, who, &message).await?;
    advance(tx, &message, 0).await?;
    let event = EventName::MessageUpdated;
    tell(tx, who, &message, now, event, Vec::new()).await?;
    Ok(Done::Changed(message))
}

/// Makes a tombstone of a message.
pub(super) async fn delete(
    store: &Shared,
    who: &Actor,
    chat: ChatId,
    id: MessageId,
) -> Result<Message> {
    let mut tx = store.database.begin().await?;
    let deleted = delete_in(&mut tx, who, (chat, id), store.now()).await;
    store.settle(tx, deleted).await
}

async fn delete_in(
    tx: &mut Transaction,
    who: &Actor,
    (chat, id): (ChatId, MessageId),
    now: UnixMs,
) -> Result<Done<Message>> {
    let seen = access::lock(tx, who, chat).await?;
    let found = find(tx, chat, id, &seen).await?;
    let mut message = found.message;
    if message.sender != who.id && who.role < Role::Moderator {
        return Err(Error::Forbidden {
            expected: "whoever has sent it, or a moderator",
        });
    }
    if message.deleted_at.is_some() {
        return Ok(Done::Unchanged(message));
    }
    message.body.clear();
    message.attachments.clear();
    message.rev = seen.rev + 1;
    message.deleted_at = Some(now.max(message.created_at));
    bury(tx, &message, found.is_archived).await?;
    advance(tx, &message, 1).await?;
    let fewer = tx
        .rows(
            "UPDATE members SET unread = unread - 1 WHERE chat_id = $1 AND person <> $2 AND read_seq < $3 \
             RETURNING person, participating, unread",
            values![chat, &message.sender, message.seq],
        )
        .await?;
    if message.sender != who.id {
        let line = NewAudit {
            act: "message.deleted".to_owned(),
            chat: Some(chat),
            detail: serde_json::json!({ "message": message.id, "sender": message.sender }),
        };
        audit::add(tx, &who.org, &who.id, now, &line).await?;
    }
    let notify = to_notify(&fewer, who)?;
    let event = EventName::MessageDeleted;
    tell(tx, who, &message, now, event, notify).await?;
    Ok(Done::Changed(message))
}

struct Found {
    message: Message,
    is_archived: bool,
}

async fn find(tx: &mut Transaction, chat: ChatId, id: MessageId, seen: &Seen) -> Result<Found> {
    let live = tx.row(LIVE, values![id, chat]).await?;
    if let Some(row) = live {
        return found(&row, false);
    }
    if seen.archived_seq > 0
        && let Some(row) = tx.row(ARCHIVED, values![id, chat]).await?
    {
        return found(&row, true);
    }
    Err(Error::NotFound(Thing::Message))
}

fn found(row: &Row, is_archived: bool) -> Result<Found> {
    Ok(Found {
        message: rows::message(row)?,
        is_archived,
    })
}

const LIVE: &str = concat!(
    "SELECT ",
    message_columns!(),
    " FROM messages WHERE id = $1 AND chat_id = $2"
);

const ARCHIVED: &str = concat!(
    "SELECT ",
    message_columns!(),
    " FROM messages_archive WHERE id = $1 AND chat_id = $2"
);

async fn write_body(tx: &mut Transaction, who: &Actor, message: &Message) -> Result<()> {
    const WRITE: Sql = Sql::each(
        "UPDATE messages SET body = $2, rev = $3, edited_at = $4 WHERE id = $1 RETURNING key",
        "UPDATE messages SET body = $2, rev = $3, edited_at = $4, words = array_to_tsvector($5) WHERE id = $1 \
         RETURNING seq AS key",
    );
    let mut written = values![message.id, &message.body, message.rev, message.edited_at];
    if !tx.is_alone() {
        written.push(words::lexemes(&who.org, message.chat, &message.body).into());
    }
    let row = tx.row(WRITE, written).await?;
    if let Some(row) = row.filter(|_| tx.is_alone()) {
        let key = row.get("key")?;
        words::remove(tx, key).await?;
        words::add(tx, key, &who.org, message.chat, &message.body).await?;
    }
    Ok(())
}

/// Takes out of a message what it said.
async fn bury(tx: &mut Transaction, message: &Message, is_archived: bool) -> Result<()> {
    const LIVE: Sql = Sql::each(
        "UPDATE messages SET body = '', attachments = '[]', rev = $2, deleted_at = $3 WHERE id = $1 RETURNING key",
        "UPDATE messages SET body = '', attachments = '[]', rev = $2, deleted_at = $3, words = ''::tsvector \
         WHERE id = $1 RETURNING seq AS key",
    );
    const ARCHIVED: Sql = Sql::each(
        "UPDATE messages_archive SET body = '', attachments = '[]', rev = $2, deleted_at = $3 WHERE id = $1 \
         RETURNING key",
        "UPDATE messages_archive SET body = '', attachments = '[]', rev = $2, deleted_at = $3, words = ''::tsvector \
         WHERE id = $1 RETURNING seq AS key",
    );
    let bury = if is_archived { ARCHIVED } else { LIVE };
    let buried = values![message.id, message.rev, message.deleted_at];
    let row = tx.row(bury, buried).await?;
    if let Some(row) = row.filter(|_| tx.is_alone()) {
        words::remove(tx, row.get("key")?).await?;
    }
    Ok(())
}

async fn advance(tx: &mut Transaction, message: &Message, fewer: i64) -> Result<()> {
    tx.run(
        "UPDATE chats SET rev = $2, message_count = message_count - $3 WHERE id = $1",
        values![message.chat, message.rev, fewer],
    )
    .await?;
    Ok(())
}

async fn tell(
    tx: &mut Transaction,
    who: &Actor,
    message: &Message,
    now: UnixMs,
    event: EventName,
    notify: Vec<Notify>,
) -> Result<()> {
    let told = Told {
        event,
        rev: message.rev,
        notify,
        payload: rows::to_json(&AboutMessage {
            chat: message.chat,
            rev: message.rev,
            message,
        }),
    };
    outbox::tell(tx, who, message.chat, now, told).await
}
