//! Looking for messages by their words, newest first, in the chats that the asker may see.
//!
//! Words go into the index by the message's own commit, so the index reaches up to the newest message there is. What
//! is cut out as a snippet is the same on both databases. Who asks for the next page gets what is older than the page
//! before.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use uuid::Uuid;

use super::Shared;
use super::access;
use super::database::{Row, Sql, Transaction, Value, values};
use super::error::Result;
use super::limits::{self, PAGE_MAX};
use super::page::Below;
use super::rows::{self, message_columns};
use super::types::{Actor, ChatId, Message, MessageId, Role};
use super::upkeep::{Found, Hit, Reach, SearchRequest};
use super::words::{self, Scope};

/// Words that can be looked for at once.
const WORDS_MAX: usize = 16;

/// Characters of a snippet, and of what it shows before the first word.
const SNIPPET: usize = 160;
const LEAD: usize = 40;

/// Messages that say all of the words.
pub(super) async fn search(store: &Shared, who: &Actor, request: &SearchRequest) -> Result<Found> {
    let words = words::distinct(&request.text);
    if words.is_empty() || words.len() > WORDS_MAX {
        let found = format!("{} words", words.len());
        return limits::invalid("q", format!("1 to {WORDS_MAX} words"), found);
    }
    let scope = match request.chat {
        Some(chat) => Scope::Chat(chat),
        None => Scope::Org(&who.org),
    };
    let limit = limits::limit(request.page.limit, PAGE_MAX);
    let mut tx = store.database.snapshot().await?;
    if let Some(chat) = request.chat {
        access::look_in(&mut tx, who, chat).await?;
    }
    let cursor = request.page.cursor.as_deref();
    let (rows, next) = if tx.is_alone() {
        in_sqlite(&mut tx, who, &words, scope, cursor, limit).await?
    } else {
        in_postgres(&mut tx, who, &words, scope, cursor, limit).await?
    };
    let mut items = rows
        .iter()
        .map(|row| Ok(hit(rows::message(row)?, &words)))
        .collect::<Result<Vec<_>>>()?;
    items.sort_by_key(|hit| Reverse(hit.message.id));
    let reaches = reach(&mut tx, who, request.chat).await?;
    Ok(Found {
        items,
        next,
        reaches,
    })
}

/// FTS5 walks its lists from the newest row on and stops when there are enough.
async fn in_sqlite(
    tx: &mut Transaction,
    who: &Actor,
    words: &BTreeSet<String>,
    scope: Scope<'_>,
    cursor: Option<&str>,
    limit: i64,
) -> Result<(Vec<Row>, Option<String>)> {
    const KEYS: &str = "SELECT w.rowid AS place FROM message_words w \
         LEFT JOIN messages x ON x.key = w.rowid \
         LEFT JOIN messages_archive a ON a.key = w.rowid \
         JOIN chats c ON c.id = COALESCE(x.chat_id, a.chat_id) \
         LEFT JOIN members m ON m.chat_id = c.id AND m.person = $4 \
         WHERE message_words MATCH $1 AND w.rowid < $2 AND c.org = $3 \
             AND (c.audience = 1 OR m.participating = 1 OR $5 = 1) \
         ORDER BY w.rowid DESC LIMIT $6";
    const MESSAGES: &str = concat!(
        "SELECT ",
        message_columns!(),
        " FROM messages WHERE key IN (SELECT value FROM json_each($1)) UNION ALL SELECT ",
        message_columns!(),
        " FROM messages_archive WHERE key IN (SELECT value FROM json_each($1))"
    );
    let Below(below) = Below::parse(cursor)?;
    let expression = words::match_expression(words, scope);
    let sees_all = who.role == Role::Admin;
    let asked = values![expression, below, &who.org, &who.id, sees_all, limit + 1];
    let found = tx.rows(KEYS, asked).await?;
    let keys = found
        .iter()
        .map(|row| row.get("place"))
        .collect::<Result<Vec<i64>>>()?;
    let (keys, next) = cut(keys, limit);
    let next = next.map(|key| Below(key).to_string());
    Ok((tx.rows(MESSAGES, values![keys]).await?, next))
}

/// PostgreSQL finds the rows by its inverted index, in both tables. `IS TRUE` keeps it from walking the index of ids
/// besides: a plan that does not know how far the cursor is takes all of it, 0.3 s for a million messages.
async fn in_postgres(
    tx: &mut Transaction,
    who: &Actor,
    words: &BTreeSet<String>,
    scope: Scope<'_>,
    cursor: Option<&str>,
    limit: i64,
) -> Result<(Vec<Row>, Option<String>)> {
    const IDS: &str = "SELECT x.id FROM ( \
             SELECT id, chat_id FROM messages WHERE words @@ $1::tsquery AND (id < $2) IS TRUE \
             UNION ALL SELECT id, chat_id FROM messages_archive WHERE words @@ $1::tsquery AND (id < $2) IS TRUE) x \
         JOIN chats c ON c.id = x.chat_id \
         LEFT JOIN members m ON m.chat_id = c.id AND m.person = $4 \
         WHERE c.org = $3 AND (c.audience = 1 OR m.participating = 1 OR $5 = 1) \
         ORDER BY x.id DESC LIMIT $6";
    const MESSAGES: &str = concat!(
        "SELECT ",
        message_columns!(),
        " FROM messages WHERE id = ANY($1) UNION ALL SELECT ",
        message_columns!(),
        " FROM messages_archive WHERE id = ANY($1)"
    );
    let below = match cursor.map(Uuid::try_parse) {
        None => Uuid::max(),
        Some(Ok(id)) => id,
        Some(Err(_)) => {
            return limits::invalid("cursor", "one that the page before has named", "another");
        }
    };
    let query = words::tsquery(words, scope);
    let sees_all = who.role == Role::Admin;
    let asked = values![query, below, &who.org, &who.id, sees_all, limit + 1];
    let found = tx.rows(IDS, asked).await?;
    let ids = found
        .iter()
        .map(|row| row.get("id"))
        .collect::<Result<Vec<Uuid>>>()?;
    let (ids, next) = cut(ids, limit);
    let next = next.map(|id| id.simple().to_string());
    Ok((tx.rows(MESSAGES, values![ids]).await?, next))
}

/// A page of what was found, and what the next one begins after.
fn cut<T: Copy>(mut found: Vec<T>, limit: i64) -> (Vec<T>, Option<T>) {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().copied().filter(|_| has_more);
    (found, next)
}

/// The newest message of where was looked. A chat's last one is never in the archive.
async fn reach(tx: &mut Transaction, who: &Actor, chat: Option<ChatId>) -> Result<Option<Reach>> {
    const OF_CHAT: &str = "SELECT l.id, l.chat_id, l.seq FROM chats c \
         JOIN messages l ON l.chat_id = c.id AND l.seq = c.last_seq WHERE c.id = $1";
    const OF_ALL: Sql = Sql::each(REACH_OF_ALL, REACH_OF_ALL);
    let (sql, asked): (Sql, Vec<Value>) = match chat {
        Some(chat) => (OF_CHAT.into(), values![chat]),
        None => (OF_ALL, values![&who.org, &who.id]),
    };
    let Some(row) = tx.row(sql, asked).await? else {
        return Ok(None);
    };
    Ok(Some(Reach {
        chat: ChatId(row.get("chat_id")?),
        message: MessageId(row.get("id")?),
        seq: row.get("seq")?,
    }))
}

const REACH_OF_ALL: &str = "SELECT l.id, l.chat_id, l.seq FROM ( \
         SELECT * FROM (SELECT m.chat_id AS id FROM members m JOIN chats c ON c.id = m.chat_id AND c.last_seq > 0 \
             WHERE m.org = $1 AND m.person = $2 AND m.participating = 1 \
             ORDER BY m.last_activity_at DESC, m.chat_id DESC LIMIT 1) own \
         UNION SELECT * FROM (SELECT id FROM chats WHERE org = $1 AND audience = 1 AND last_seq > 0 \
             ORDER BY last_activity_at DESC, id DESC LIMIT 1) opened) newest \
     JOIN chats c ON c.id = newest.id \
     JOIN messages l ON l.chat_id = c.id AND l.seq = c.last_seq \
     ORDER BY c.last_activity_at DESC, c.id DESC LIMIT 1";

/// A message, and the part of it around the first of the words.
fn hit(message: Message, words: &BTreeSet<String>) -> Hit {
    let said = words::words(&message.body);
    let mut met = said.iter().filter(|word| words.contains(&word.text));
    let first = met.next().map_or(0, |word| word.from);
    let from = first.saturating_sub(LEAD);
    let place = |at: usize| u32::try_from(at - from).unwrap_or(u32::MAX);
    let matches = said
        .iter()
        .filter(|word| words.contains(&word.text))
        .filter(|word| word.from >= from && word.to <= from + SNIPPET)
        .map(|word| (place(word.from), place(word.to)))
        .collect();
    Hit {
        snippet: message.body.chars().skip(from).take(SNIPPET).collect(),
        matches,
        message,
    }
}
