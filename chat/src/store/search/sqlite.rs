//! Searching in SQLite: FTS5 walks its lists from the newest row on, and stops when there are enough.
//!
//! What it finds is looked at whether the asker may see it, a bounded number at first: who sees little of a large
//! organisation would have it walk through all that others say. Then it is told which chats to look in.

use super::super::access;
use super::super::database::{Transaction, values};
use super::super::error::Result;
use super::super::page::Below;
use super::super::rows::{self, message_columns};
use super::super::types::{Message, Role};
use super::super::words::{self, Scope};
use super::{Asked, FEW, Part, cut, visible};

/// Rows that are found before it is known how many of them may be seen.
const WALKS: [i64; 2] = [250, 2_500];

/// A part of what is found.
pub(super) async fn part(tx: &mut Transaction, asked: &Asked<'_>) -> Result<Part> {
    const MESSAGES: &str = concat!(
        "SELECT key, ",
        message_columns!(),
        " FROM messages WHERE key IN (SELECT value FROM json_each($1)) UNION ALL SELECT key, ",
        message_columns!(),
        " FROM messages_archive WHERE key IN (SELECT value FROM json_each($1)) ORDER BY key DESC"
    );
    let Below(below) = Below::parse(asked.cursor)?;
    let found = match asked.chat {
        Some(chat) => in_scope(tx, asked, Scope::Chat(chat), below).await?,
        None if asked.who.role == Role::Admin => {
            in_scope(tx, asked, Scope::Org(&asked.who.org), below).await?
        }
        None => in_org(tx, asked, below).await?,
    };
    let (keys, next) = cut(found, asked.limit);
    let rows = tx.rows(MESSAGES, values![keys]).await?;
    Ok(Part {
        messages: rows
            .iter()
            .map(rows::message)
            .collect::<Result<Vec<Message>>>()?,
        next: next.map(|key| Below(key).to_string()),
    })
}

/// Where all may be seen.
async fn in_scope(
    tx: &mut Transaction,
    asked: &Asked<'_>,
    scope: Scope<'_>,
    below: i64,
) -> Result<Vec<i64>> {
    let keys = "SELECT rowid AS place FROM message_words WHERE message_words MATCH $1 AND rowid < $2 \
                ORDER BY rowid DESC LIMIT $3";
    let expression = words::match_expression(asked.words, scope);
    let found = tx
        .rows(keys, values![expression, below, asked.limit + 1])
        .await?;
    found.iter().map(|row| row.get("place")).collect()
}

/// Where the asker sees some.
async fn in_org(tx: &mut Transaction, asked: &Asked<'_>, below: i64) -> Result<Vec<i64>> {
    const WALK: &str = concat!(
        "SELECT w.place, ",
        visible!("COALESCE(x.chat_id, a.chat_id)", "$6"),
        " AS seen FROM (SELECT rowid AS place FROM message_words \
             WHERE message_words MATCH $3 AND rowid < $4 ORDER BY rowid DESC LIMIT $5) w \
         LEFT JOIN messages x ON x.key = w.place \
         LEFT JOIN messages_archive a ON a.key = w.place \
         ORDER BY w.place DESC"
    );
    let expression = words::match_expression(asked.words, Scope::Org(&asked.who.org));
    let whose = values![&asked.who.org, &asked.who.id];
    let sight = access::sight(asked.who);
    let enough = usize::try_from(asked.limit + 1).unwrap_or(usize::MAX);
    for most in WALKS {
        let mut walked = whose.clone();
        walked.extend(values![&expression, below, most, sight]);
        let met = tx.rows(WALK, walked).await?;
        let is_all = i64::try_from(met.len()).is_ok_and(|met| met < most);
        let seen = super::seen(&met, |row| row.get("place"))?;
        if is_all || seen.len() >= enough {
            return Ok(seen);
        }
    }
    let own = super::own_chats(tx, asked.who).await?;
    if let Some(own) = own.filter(|own| own.messages <= FEW) {
        if own.chats.is_empty() {
            return Ok(Vec::new());
        }
        return in_scope(tx, asked, Scope::Chats(&own.chats), below).await;
    }
    // As far as it takes.
    const SEEN: &str = concat!(
        "SELECT w.rowid AS place FROM message_words w \
         LEFT JOIN messages x ON x.key = w.rowid \
         LEFT JOIN messages_archive a ON a.key = w.rowid \
         WHERE message_words MATCH $3 AND w.rowid < $4 AND ",
        visible!("COALESCE(x.chat_id, a.chat_id)", "$6"),
        " ORDER BY w.rowid DESC LIMIT $5"
    );
    let mut walked = whose;
    walked.extend(values![&expression, below, asked.limit + 1, sight]);
    let found = tx.rows(SEEN, walked).await?;
    found.iter().map(|row| row.get("place")).collect()
}
