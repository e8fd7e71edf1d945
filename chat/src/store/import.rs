//! A history from elsewhere is put behind what a chat has: many messages by one commit, with the times they had.
//!
//! Nobody is told, since nothing has happened: who shows the chat reads it anew. Whatever is counted is counted, and
//! every message is found by its words, so nothing tells it from what was sent here.

use std::collections::BTreeMap;

use super::Shared;
use super::access;
use super::database::{Transaction, Value, values};
use super::error::Result;
use super::limits;
use super::messages;
use super::rows;
use super::types::{ChatId, MessageId, NewMessage};
use super::upkeep::Imported;
use super::words;

/// Puts messages behind those of a chat; answers the number of the last.
pub(super) async fn import(
    store: &Shared,
    org: &str,
    chat: ChatId,
    imported: &[Imported],
) -> Result<i64> {
    limits::imported(imported)?;
    let mut tx = store.database.begin().await?;
    access::lock_row(&mut tx, org, chat).await?;
    let place = "SELECT last_seq, rev, last_activity_at FROM chats WHERE id = $1 AND org = $2";
    let row = tx.row(place, values![chat, org]).await?;
    let row = row.ok_or(super::Error::NotFound(super::Thing::Chat))?;
    let mut last = Last {
        seq: row.get("last_seq")?,
        rev: row.get("rev")?,
        at: row.time("last_activity_at")?.0,
    };
    let is_empty = last.seq == 0;
    let mut written = Vec::with_capacity(imported.len());
    for message in imported {
        // A chat that has none yet begins with the first, however old.
        let earliest = if is_empty && last.seq == 0 {
            0
        } else {
            last.at
        };
        last = Last {
            seq: last.seq + 1,
            rev: last.rev + 1,
            at: message.created_at.0.max(earliest),
        };
        written.push(Written { message, at: last });
    }
    if tx.is_alone() {
        in_sqlite(&mut tx, store, org, chat, &written).await?;
    } else {
        in_postgres(&mut tx, store, org, chat, &written).await?;
    }
    count(&mut tx, chat, imported, last).await?;
    tx.commit().await?;
    Ok(last.seq)
}

/// How far the chat is.
#[derive(Clone, Copy)]
struct Last {
    seq: i64,
    rev: i64,
    at: i64,
}

/// A message, and its place.
struct Written<'a> {
    message: &'a Imported,
    at: Last,
}

impl Written<'_> {
    fn id(&self, store: &Shared) -> MessageId {
        MessageId(store.id_at(super::UnixMs(self.at.at)))
    }

    /// As if it had been sent, so that a client that sends it again is answered with it.
    fn hash(&self) -> Vec<u8> {
        messages::content_hash(&NewMessage {
            body: self.message.body.clone(),
            attachments: self.message.attachments.clone(),
            ..NewMessage::default()
        })
    }
}

async fn in_sqlite(
    tx: &mut Transaction,
    store: &Shared,
    org: &str,
    chat: ChatId,
    written: &[Written<'_>],
) -> Result<()> {
    let insert = "INSERT INTO messages (id, chat_id, seq, rev, sender, sender_name, client_msg_id, content_hash, body, \
             attachments, created_at, unguarded) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0) RETURNING key";
    for one in written {
        let Imported { sender, body, .. } = one.message;
        let row = values![
            one.id(store),
            chat,
            one.at.seq,
            one.at.rev,
            &sender.person,
            &sender.name,
            &one.message.client_msg_id,
            one.hash(),
            body,
            rows::to_json(&one.message.attachments),
            one.at.at,
        ];
        if let Some(row) = tx.row(insert, row).await? {
            words::add(tx, row.get("key")?, org, chat, body).await?;
        }
    }
    Ok(())
}

async fn in_postgres(
    tx: &mut Transaction,
    store: &Shared,
    org: &str,
    chat: ChatId,
    written: &[Written<'_>],
) -> Result<()> {
    // Lists of lists have to be of one length, so words come as a text; none has a space.
    let insert = "INSERT INTO messages (chat_id, org, id, seq, rev, sender, sender_name, client_msg_id, content_hash, \
             body, attachments, created_at, unguarded, words) \
         SELECT $1, $2, x.id, x.seq, x.rev, x.sender, x.sender_name, x.client_msg_id, decode(x.hash, 'hex'), x.body, \
             x.attachments, x.created_at, 0, array_to_tsvector(string_to_array(x.words, ' ')) \
         FROM unnest($3::uuid[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::text[], \
             $10::text[], $11::text[], $12::bigint[], $13::text[]) \
             AS x (id, seq, rev, sender, sender_name, client_msg_id, hash, body, attachments, created_at, words)";
    let texts = |of: &dyn Fn(&Written<'_>) -> String| -> Value {
        written.iter().map(of).collect::<Vec<String>>().into()
    };
    let numbers = |of: &dyn Fn(&Written<'_>) -> i64| -> Value {
        written.iter().map(of).collect::<Vec<i64>>().into()
    };
    let ids: Vec<_> = written.iter().map(|one| one.id(store).0).collect();
    let columns = values![
        chat,
        org,
        ids,
        numbers(&|one| one.at.seq),
        numbers(&|one| one.at.rev),
        texts(&|one| one.message.sender.person.clone()),
        texts(&|one| one.message.sender.name.clone()),
        texts(&|one| one.message.client_msg_id.clone()),
        texts(&|one| one
            .hash()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()),
        texts(&|one| one.message.body.clone()),
        texts(&|one| rows::to_json(&one.message.attachments)),
        numbers(&|one| one.at.at),
        texts(&|one| words::lexemes(org, chat, &one.message.body).join(" ")),
    ];
    tx.run(insert, columns).await?;
    Ok(())
}

/// Counts them: for the chat, and for whoever has not read them.
async fn count(
    tx: &mut Transaction,
    chat: ChatId,
    imported: &[Imported],
    last: Last,
) -> Result<()> {
    let all = i64::try_from(imported.len()).unwrap_or(i64::MAX);
    tx.run(
        "UPDATE chats SET last_seq = $2, rev = $3, last_activity_at = $4, message_count = message_count + $5 \
         WHERE id = $1",
        values![chat, last.seq, last.rev, last.at, all],
    )
    .await?;
    tx.run(
        "UPDATE members SET unread = unread + $2, last_activity_at = $3 WHERE chat_id = $1",
        values![chat, all, last.at],
    )
    .await?;
    let mut own: BTreeMap<&str, i64> = BTreeMap::new();
    for message in imported {
        *own.entry(&message.sender.person).or_default() += 1;
    }
    for (person, own) in own {
        tx.run(
            "UPDATE members SET unread = unread - $3 WHERE chat_id = $1 AND person = $2",
            values![chat, person, own],
        )
        .await?;
    }
    Ok(())
}
