//! Looking for messages by their words, newest first, in the chats that the asker may see.
//!
//! Words go into the index by the message's own commit, so the index reaches up to the newest message there is. How
//! they are found is each database's own (`search/`); what is found, and what is cut out as a snippet, is the same on
//! both. Who asks for the next page gets what is older than the page before.

mod postgres;
mod sqlite;

use std::collections::BTreeSet;

use uuid::Uuid;

use super::Shared;
use super::access;
use super::database::{Row, Sql, Transaction, Value, values};
use super::error::Result;
use super::limits::{self, PAGE_MAX};
use super::types::{Actor, ChatId, Message, MessageId};
use super::upkeep::{Found, Hit, Reach, SearchRequest};
use super::words;

/// Words that can be looked for at once.
const WORDS_MAX: usize = 16;

/// Characters of a snippet, and of what it shows before the first word.
const SNIPPET: usize = 160;
const LEAD: usize = 40;

/// Whoever sees no more chats than this may have those looked at.
const OWN_CHATS_MAX: usize = 256;

/// Whoever has no more messages in them has them looked at before anything that takes long.
const FEW: i64 = 20_000;

/// Whether a chat, by its column, is to be seen by the person `$2` of the organisation `$1`, who is no admin and sees so
/// far ([`access::sight`]).
macro_rules! visible {
    ($chat:literal, $sight:literal) => {
        concat!(
            "(EXISTS (SELECT 1 FROM chats c WHERE c.id = ",
            $chat,
            " AND c.org = $1 AND c.audience = 1 AND ",
            $sight,
            " > 0) OR EXISTS (SELECT 1 FROM members m WHERE m.chat_id = ",
            $chat,
            " AND m.org = $1 AND m.person = $2 AND m.participating = 1))"
        )
    };
}
use visible;

/// What is looked for.
struct Asked<'a> {
    who: &'a Actor,
    words: &'a BTreeSet<String>,
    /// One that the asker sees.
    chat: Option<ChatId>,
    cursor: Option<&'a str>,
    limit: i64,
}

/// What is found, newest first, and what the next page begins after.
struct Part {
    messages: Vec<Message>,
    next: Option<String>,
}

/// Messages that say all of the words.
pub(super) async fn search(store: &Shared, who: &Actor, request: &SearchRequest) -> Result<Found> {
    limits::search(&request.text)?;
    let words = words::distinct(&request.text);
    if words.is_empty() || words.len() > WORDS_MAX {
        let found = format!("{} words", words.len());
        return limits::invalid("q", format!("1 to {WORDS_MAX} words"), found);
    }
    let mut tx = store.database.snapshot().await?;
    if let Some(chat) = request.chat {
        access::look_in(&mut tx, who, chat).await?;
    }
    let asked = Asked {
        who,
        words: &words,
        chat: request.chat,
        cursor: request.page.cursor.as_deref(),
        limit: limits::limit(request.page.limit, PAGE_MAX),
    };
    let part = if tx.is_alone() {
        sqlite::part(&mut tx, &asked).await?
    } else {
        postgres::part(&mut tx, &asked).await?
    };
    let messages = part.messages.into_iter();
    let reaches = reach(&mut tx, who, request.chat).await?;
    Ok(Found {
        items: messages.map(|message| hit(message, &words)).collect(),
        next: part.next,
        reaches,
    })
}

/// Of what was met, what may be seen.
fn seen<T>(met: &[Row], named: impl Fn(&Row) -> Result<T>) -> Result<Vec<T>> {
    let mut seen = Vec::new();
    for row in met {
        if row.flag("seen")? {
            seen.push(named(row)?);
        }
    }
    Ok(seen)
}

/// Chats, and how many messages they have.
struct Own {
    chats: Vec<Uuid>,
    messages: i64,
}

/// The chats that somebody sees without being an admin, if they are few.
async fn own_chats(tx: &mut Transaction, who: &Actor) -> Result<Option<Own>> {
    let own = "SELECT c.id, c.last_seq FROM members m JOIN chats c ON c.id = m.chat_id \
                   WHERE m.org = $1 AND m.person = $2 AND m.participating = 1 \
               UNION ALL SELECT id, last_seq FROM chats WHERE org = $1 AND audience = 1 AND $4 > 0 LIMIT $3";
    // One that is open and one's own comes twice.
    let most = i64::try_from(OWN_CHATS_MAX * 2).unwrap_or(i64::MAX);
    let asked = values![&who.org, &who.id, most, access::sight(who)];
    let rows = tx.rows(own, asked).await?;
    let mut chats = BTreeSet::new();
    let mut messages = 0;
    for row in &rows {
        if chats.insert(row.get::<Uuid>("id")?) {
            messages += row.get::<i64>("last_seq")?;
        }
    }
    let are_few = rows.len() < OWN_CHATS_MAX * 2 && chats.len() <= OWN_CHATS_MAX;
    Ok(are_few.then(|| Own {
        chats: chats.into_iter().collect(),
        messages,
    }))
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
        None => (OF_ALL, values![&who.org, &who.id, access::sight(who)]),
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
         UNION SELECT * FROM (SELECT id FROM chats WHERE org = $1 AND audience = 1 AND $3 > 0 AND last_seq > 0 \
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
