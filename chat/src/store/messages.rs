//! Sending: a message, its number, who has not read it, and what has to be told of it, by one commit.
//!
//! A message is known for good by chat, sender and the name that the sender's client gave it, in the message's own
//! table. The chat is locked from the first look on, so numbers are dense, and the lock's token is compared at the
//! very instant of the insert: that is what a fencing token is for.

use aws_lc_rs::digest::{Context, SHA256};
use serde::Serialize;

use super::access::{self, Seen};
use super::audit;
use super::database::{Sql, Transaction, values};
use super::error::{Error, Result, Thing};
use super::limits::{self, MISSED_MAX};
use super::outbox::{self, Told};
use super::rows::{self, message_columns};
use super::types::{Actor, ChatId, Message, MessageId, NewMessage, Stored};
use super::upkeep::{EventName, NewAudit, Notify};
use super::words;
use super::{Done, Shared};

/// Sends a message.
pub(super) async fn send(
    store: &Shared,
    who: &Actor,
    chat: ChatId,
    new: NewMessage,
) -> Result<Stored<Message>> {
    limits::message(&new)?;
    let mut tx = store.database.begin().await?;
    let sent = send_in(&mut tx, store, who, chat, new).await;
    store.settle(tx, sent).await
}

async fn send_in(
    tx: &mut Transaction,
    store: &Shared,
    who: &Actor,
    chat: ChatId,
    new: NewMessage,
) -> Result<Done<Stored<Message>>> {
    let hash = content_hash(&new);
    let seen = access::lock(tx, who, chat).await?;
    seen.may_write()?;
    let message = message(store, who, chat, &seen, new.clone());
    if let Some(refusal) = refusal(tx, chat, &seen, &new).await? {
        let original = original(tx, who, chat, &new.client_msg_id, &seen).await?;
        return original.map_or(Err(refusal), |original| original.replay(&hash));
    }
    if is_archived(tx, who, chat, &new.client_msg_id, &seen).await?
        || !insert(tx, who, &message, &hash).await?
    {
        let original = original(tx, who, chat, &new.client_msg_id, &seen).await?;
        let original = original.ok_or(Error::NotFound(Thing::Message))?;
        return original.replay(&hash);
    }
    count(tx, who, &message, &seen, new.lock_token).await?;
    if is_forced(&seen, &new) {
        let line = forced(&message, &new, &seen);
        audit::add(tx, &who.org, &who.id, message.created_at, &line).await?;
    }
    Ok(Done::Changed(Stored::New(message)))
}

/// What a send compares with, of one that came before.
struct Original {
    message: Message,
    hash: Vec<u8>,
}

impl Original {
    fn replay(self, hash: &[u8]) -> Result<Done<Stored<Message>>> {
        if self.hash == hash {
            Ok(Done::Unchanged(Stored::Replayed(self.message)))
        } else {
            Err(Error::Mismatch)
        }
    }
}

/// The payload of events about one message.
#[derive(Serialize)]
pub(super) struct AboutMessage<'a> {
    pub(super) chat: ChatId,
    pub(super) rev: i64,
    pub(super) message: &'a Message,
}

fn message(store: &Shared, who: &Actor, chat: ChatId, seen: &Seen, new: NewMessage) -> Message {
    // Within a chat, time does not run backwards, whichever clocks companions have.
    let created_at = store.now().max(seen.last_activity_at);
    Message {
        id: MessageId(store.id_at(created_at)),
        chat,
        seq: seen.last_seq + 1,
        rev: seen.rev + 1,
        sender: who.id.clone(),
        sender_name: who.name.clone(),
        client_msg_id: new.client_msg_id,
        body: new.body,
        attachments: new.attachments,
        created_at,
        edited_at: None,
        deleted_at: None,
        unguarded: new.unguarded,
    }
}

macro_rules! count_for_chat {
    () => {
        "UPDATE chats SET last_seq = $2, rev = $3, message_count = message_count + 1, last_activity_at = $4, \
             lock_owner = CASE WHEN $5 > lock_token THEN $6 ELSE lock_owner END, \
             lock_token = CASE WHEN $5 > lock_token THEN $5 ELSE lock_token END \
         WHERE id = $1"
    };
}

macro_rules! count_for_members {
    () => {
        "UPDATE members SET unread = unread + CASE WHEN person = $6 THEN 0 ELSE 1 END, last_activity_at = $4 \
         WHERE chat_id = $1"
    };
}

/// Why it cannot be sent, if it was not sent before.
async fn refusal(
    tx: &mut Transaction,
    chat: ChatId,
    seen: &Seen,
    new: &NewMessage,
) -> Result<Option<Error>> {
    let current = seen.lock_token;
    if new.lock_token.is_some_and(|token| token < current) {
        return Ok(Some(Error::StaleToken { current }));
    }
    let Some(expected) = new.expected_last_seq else {
        return Ok(None);
    };
    if expected >= seen.last_seq || new.force {
        return Ok(None);
    }
    let missed = concat!(
        "SELECT ",
        message_columns!(),
        " FROM messages WHERE chat_id = $1 AND seq > $2 ORDER BY seq LIMIT $3"
    );
    let rows = tx.rows(missed, values![chat, expected, MISSED_MAX]).await?;
    Ok(Some(Error::StaleView {
        last_seq: seen.last_seq,
        missed: rows.iter().map(rows::message).collect::<Result<_>>()?,
    }))
}

async fn original(
    tx: &mut Transaction,
    who: &Actor,
    chat: ChatId,
    client_msg_id: &str,
    seen: &Seen,
) -> Result<Option<Original>> {
    const LIVE: &str = concat!(
        "SELECT content_hash, ",
        message_columns!(),
        " FROM messages WHERE chat_id = $1 AND sender = $2 AND client_msg_id = $3"
    );
    const ARCHIVED: &str = concat!(
        "SELECT content_hash, ",
        message_columns!(),
        " FROM messages_archive WHERE chat_id = $1 AND sender = $2 AND client_msg_id = $3"
    );
    let named = values![chat, &who.id, client_msg_id];
    let mut row = tx.row(LIVE, named.clone()).await?;
    if row.is_none() && seen.archived_seq > 0 {
        row = tx.row(ARCHIVED, named).await?;
    }
    let Some(row) = row else {
        return Ok(None);
    };
    Ok(Some(Original {
        hash: row.get("content_hash")?,
        message: rows::message(&row)?,
    }))
}

/// Whether it was sent so long ago that the table of messages does not know.
async fn is_archived(
    tx: &mut Transaction,
    who: &Actor,
    chat: ChatId,
    client_msg_id: &str,
    seen: &Seen,
) -> Result<bool> {
    if seen.archived_seq == 0 {
        return Ok(false);
    }
    let sent = "SELECT seq FROM messages_archive WHERE chat_id = $1 AND sender = $2 AND client_msg_id = $3";
    let named = values![chat, &who.id, client_msg_id];
    Ok(tx.row(sent, named).await?.is_some())
}

/// Puts it into the table, and its words into the index; not if it is there.
async fn insert(tx: &mut Transaction, who: &Actor, message: &Message, hash: &[u8]) -> Result<bool> {
    const INSERT: Sql = Sql::each(
        "INSERT INTO messages (id, chat_id, seq, rev, sender, sender_name, client_msg_id, content_hash, body, \
             attachments, created_at, unguarded) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
         ON CONFLICT (chat_id, sender, client_msg_id) DO NOTHING RETURNING key",
        "INSERT INTO messages (id, chat_id, seq, rev, sender, sender_name, client_msg_id, content_hash, body, \
             attachments, created_at, unguarded, words, org) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, array_to_tsvector($13), $14) \
         ON CONFLICT (chat_id, sender, client_msg_id) DO NOTHING RETURNING seq AS key",
    );
    let mut inserted = values![
        message.id,
        message.chat,
        message.seq,
        message.rev,
        &message.sender,
        &message.sender_name,
        &message.client_msg_id,
        hash.to_vec(),
        &message.body,
        rows::to_json(&message.attachments),
        message.created_at,
        message.unguarded,
    ];
    if !tx.is_alone() {
        inserted.push(words::lexemes(&who.org, message.chat, &message.body).into());
        inserted.push(who.org.as_str().into());
    }
    let Some(row) = tx.row(INSERT, inserted).await? else {
        return Ok(false);
    };
    if tx.is_alone() {
        words::add(tx, row.get("key")?, &who.org, message.chat, &message.body).await?;
    }
    Ok(true)
}

/// Counts a message for its chat and for whoever is there. One way to the database for both.
const COUNT: Sql = Sql::each(
    concat!(
        count_for_chat!(),
        "; ",
        count_for_members!(),
        " RETURNING person, participating, unread"
    ),
    concat!(
        "WITH chat AS (",
        count_for_chat!(),
        ") ",
        count_for_members!(),
        " RETURNING person, participating, unread"
    ),
);

/// Counts it: for the chat, for whoever has not read it, and for the outbox.
async fn count(
    tx: &mut Transaction,
    who: &Actor,
    message: &Message,
    seen: &Seen,
    token: Option<i64>,
) -> Result<()> {
    // A row of the sender's own is a change of its own.
    let is_first = seen.standing.is_none();
    let rev = message.rev + i64::from(is_first);
    let counted = values![
        message.chat,
        message.seq,
        rev,
        message.created_at,
        token.unwrap_or(0),
        &who.id,
    ];
    let rows = tx.rows(COUNT, counted).await?;
    if is_first {
        first_word(tx, who, message, seen).await?;
    }
    let told = Told {
        event: EventName::MessageCreated,
        rev,
        notify: to_notify(&rows, who)?,
        payload: rows::to_json(&AboutMessage {
            chat: message.chat,
            rev,
            message,
        }),
    };
    outbox::tell(tx, who, message.chat, message.created_at, told).await
}

/// Somebody writes in an open chat without taking part, for the first time.
async fn first_word(
    tx: &mut Transaction,
    who: &Actor,
    message: &Message,
    seen: &Seen,
) -> Result<()> {
    tx.run(
        "INSERT INTO members (chat_id, person, org, name, participating, joined_rev, unread, rev, last_activity_at) \
         VALUES ($1, $2, $3, $4, 0, $5, $6, $5, $7)",
        values![
            message.chat,
            &who.id,
            &who.org,
            &who.name,
            message.rev + 1,
            seen.message_count,
            message.created_at,
        ],
    )
    .await?;
    Ok(())
}

/// Participants but the actor, with what they have not read.
pub(super) fn to_notify(rows: &[super::database::Row], who: &Actor) -> Result<Vec<Notify>> {
    let mut notify = Vec::with_capacity(rows.len());
    for row in rows {
        let person: String = row.get("person")?;
        if row.flag("participating")? && person != who.id {
            notify.push(Notify {
                person,
                unread: row.get("unread")?,
            });
        }
    }
    Ok(notify)
}

fn is_forced(seen: &Seen, new: &NewMessage) -> bool {
    new.force
        && new
            .expected_last_seq
            .is_some_and(|expected| expected < seen.last_seq)
}

fn forced(message: &Message, new: &NewMessage, seen: &Seen) -> NewAudit {
    NewAudit {
        act: "message.forced".to_owned(),
        chat: Some(message.chat),
        detail: serde_json::json!({
            "message": message.id,
            "expected_last_seq": new.expected_last_seq,
            "last_seq": seen.last_seq,
        }),
    }
}

/// What makes two sends the same: what they say and what hangs on them. Every part has its length before it, so that
/// nothing can move from one to the next.
pub(super) fn content_hash(new: &NewMessage) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    let mut part = |bytes: &[u8]| {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        context.update(&length.to_be_bytes());
        context.update(bytes);
    };
    part(new.body.as_bytes());
    for attachment in &new.attachments {
        part(attachment.name.as_bytes());
        part(attachment.media_type.as_bytes());
        part(&attachment.bytes.to_be_bytes());
        part(attachment.url.as_bytes());
    }
    context.finish().as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::types::Attachment;

    #[test]
    fn nothing_moves_from_one_part_to_the_next() {
        let attachment = |name: &str, media_type: &str| Attachment {
            name: name.to_owned(),
            media_type: media_type.to_owned(),
            bytes: 1,
            url: "https://x".to_owned(),
        };
        let sent = |body: &str, attachments: Vec<Attachment>| NewMessage {
            body: body.to_owned(),
            attachments,
            ..NewMessage::default()
        };
        let all = [
            sent("ab", vec![]),
            sent("a", vec![attachment("b", "c/d")]),
            sent("a", vec![attachment("bc", "/d")]),
            sent("a", vec![attachment("b", "c/d"), attachment("b", "c/d")]),
        ];
        let hashes: std::collections::HashSet<_> = all.iter().map(content_hash).collect();
        assert_eq!(hashes.len(), all.len());
    }
}
