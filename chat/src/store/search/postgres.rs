//! Searching in PostgreSQL, which can walk through messages from the newest on, or gather all that say the words by its
//! inverted index, and does not know which is less.
//!
//! So it is asked for the first with a bound, and what that has met decides: what nearly every message says is found at
//! once, what hardly any says is gathered. Whoever sees few messages has those looked at instead. Bounds stand in the
//! statements as they are, since a plan that does not know them takes them for large.

use uuid::Uuid;

use super::super::access;
use super::super::database::{Transaction, values};
use super::super::error::Result;
use super::super::limits;
use super::super::page::Below;
use super::super::rows::{self, message_columns};
use super::super::types::{ChatId, Message, MessageId, Role};
use super::super::words::{self, Scope};
use super::{Asked, FEW, Part, cut, visible};

/// More than this of the 5,000 that were walked through make gathering dear.
const COMMON: usize = 80;

/// Messages of one's own that are sooner looked at than all that say something common are gathered.
const SOME: i64 = 200_000;

/// A part of what is found.
pub(super) async fn part(tx: &mut Transaction, asked: &Asked<'_>) -> Result<Part> {
    const MESSAGES: &str = concat!(
        "SELECT ",
        message_columns!(),
        " FROM messages WHERE id = ANY($1) UNION ALL SELECT ",
        message_columns!(),
        " FROM messages_archive WHERE id = ANY($1)"
    );
    // Every way of looking has its index. Where the archive holds one chat so far, the plan would read all of it for each.
    tx.run("SET LOCAL enable_seqscan = off", values![]).await?;
    let (ids, next) = match asked.chat {
        Some(chat) => {
            let Below(below) = Below::parse(asked.cursor)?;
            let found = in_chat(tx, asked, chat, below).await?;
            let (found, next) = cut(found, asked.limit);
            let ids = found.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
            (ids, next.map(|(_, seq)| Below(seq).to_string()))
        }
        None => {
            let (ids, next) = cut(in_org(tx, asked).await?, asked.limit);
            (ids, next.map(|id| id.simple().to_string()))
        }
    };
    let rows = tx.rows(MESSAGES, values![ids.clone()]).await?;
    let mut messages = rows
        .iter()
        .map(rows::message)
        .collect::<Result<Vec<Message>>>()?;
    messages.sort_by_key(|message| {
        let MessageId(id) = message.id;
        ids.iter().position(|found| *found == id)
    });
    Ok(Part { messages, next })
}

/// In one chat, by number.
async fn in_chat(
    tx: &mut Transaction,
    asked: &Asked<'_>,
    chat: ChatId,
    below: i64,
) -> Result<Vec<(Uuid, i64)>> {
    const WALK: &str = "SELECT w.id, w.seq FROM ( \
             (SELECT id, seq, words FROM messages WHERE chat_id = $1 AND seq < $2 ORDER BY seq DESC LIMIT 5000) \
             UNION ALL (SELECT id, seq, words FROM messages_archive WHERE chat_id = $1 AND seq < $2 \
                        ORDER BY seq DESC LIMIT 5000) \
             ORDER BY seq DESC LIMIT 5000) w \
         WHERE w.words @@ $3::tsquery ORDER BY w.seq DESC LIMIT $4";
    const GATHER: &str = "WITH found AS MATERIALIZED ( \
             SELECT id, seq FROM messages WHERE words @@ $2::tsquery AND (seq < $1) IS TRUE \
             UNION ALL SELECT id, seq FROM messages_archive WHERE words @@ $2::tsquery AND (seq < $1) IS TRUE) \
         SELECT id, seq FROM found ORDER BY seq DESC LIMIT $3";
    let query = words::tsquery(asked.words, None);
    let walked = values![chat, below, query, asked.limit + 1];
    let mut found = tx.rows(WALK, walked).await?;
    if found.len() <= usize::try_from(asked.limit).unwrap_or(usize::MAX) {
        let query = words::tsquery(asked.words, Some(Scope::Chat(chat)));
        let gathered = values![below, query, asked.limit + 1];
        found = tx.rows(GATHER, gathered).await?;
    }
    found
        .iter()
        .map(|row| Ok((row.get("id")?, row.get("seq")?)))
        .collect()
}

/// A statement that walks through so many messages of an organisation, and gives up to so many of those that say the
/// words, with whether the asker may see each.
macro_rules! walk {
    ($most:literal, $met:literal) => {
        concat!(
            "SELECT w.id, CAST(($5 = 2 OR ",
            visible!("w.chat_id", "$5"),
            ") AS INTEGER)::BIGINT AS seen FROM ( \
                 (SELECT id, chat_id, words FROM messages WHERE org = $1 AND id < $3 ORDER BY id DESC LIMIT ",
            $most,
            ") UNION ALL (SELECT id, chat_id, words FROM messages_archive WHERE org = $1 AND id < $3 \
                 ORDER BY id DESC LIMIT ",
            $most,
            ") ORDER BY id DESC LIMIT ",
            $most,
            ") w WHERE w.words @@ $4::tsquery ORDER BY w.id DESC LIMIT ",
            $met
        )
    };
}

/// In all that the asker may see, by id.
async fn in_org(tx: &mut Transaction, asked: &Asked<'_>) -> Result<Vec<Uuid>> {
    let below = match asked.cursor.map(Uuid::try_parse) {
        None => Uuid::max(),
        Some(Ok(id)) => id,
        Some(Err(_)) => {
            return limits::invalid("cursor", "one that the page before has named", "another");
        }
    };
    let who = asked.who;
    let enough = usize::try_from(asked.limit + 1).unwrap_or(usize::MAX);
    let query = words::tsquery(asked.words, None);
    let walked = values![&who.org, &who.id, below, query, access::sight(who)];
    let met = tx.rows(walk!("500", "500"), walked.clone()).await?;
    let found = super::seen(&met, |row| row.get("id"))?;
    if found.len() >= enough {
        return Ok(found);
    }
    if !met.is_empty() {
        let met = tx.rows(walk!("5000", "1000"), walked.clone()).await?;
        let found = super::seen(&met, |row| row.get("id"))?;
        if found.len() >= enough {
            return Ok(found);
        }
        if met.len() > COMMON {
            return common(tx, asked, below).await;
        }
    }
    gather(tx, asked, below).await
}

/// What many messages say, of which the asker sees few.
async fn common(tx: &mut Transaction, asked: &Asked<'_>, below: Uuid) -> Result<Vec<Uuid>> {
    const WALK: &str = concat!(
        "SELECT w.id FROM ( \
             (SELECT id, chat_id, words FROM messages WHERE org = $1 AND id < $3 ORDER BY id DESC LIMIT 50000) \
             UNION ALL (SELECT id, chat_id, words FROM messages_archive WHERE org = $1 AND id < $3 \
                        ORDER BY id DESC LIMIT 50000) \
             ORDER BY id DESC LIMIT 50000) w \
         WHERE w.words @@ $4::tsquery AND ($5 = 2 OR ",
        visible!("w.chat_id", "$5"),
        ") ORDER BY w.id DESC LIMIT $6"
    );
    let who = asked.who;
    let own = match who.role {
        Role::Admin => None,
        Role::Guest | Role::Member | Role::Moderator => super::own_chats(tx, who).await?,
    };
    if let Some(own) = own.as_ref().filter(|own| own.messages <= FEW) {
        return in_chats(tx, asked, &own.chats, below).await;
    }
    let query = words::tsquery(asked.words, None);
    let sight = access::sight(who);
    let walked = values![&who.org, &who.id, below, query, sight, asked.limit + 1];
    let found = tx.rows(WALK, walked).await?;
    if i64::try_from(found.len()).is_ok_and(|found| found > asked.limit) {
        return found.iter().map(|row| row.get("id")).collect();
    }
    match own.filter(|own| own.messages <= SOME) {
        Some(own) => in_chats(tx, asked, &own.chats, below).await,
        None => gather(tx, asked, below).await,
    }
}

/// In these chats: every message of theirs is looked at. `IS TRUE` keeps the plan from asking the inverted index for each
/// chat, 23 times half a million rows for somebody who sees 23.
async fn in_chats(
    tx: &mut Transaction,
    asked: &Asked<'_>,
    chats: &[Uuid],
    below: Uuid,
) -> Result<Vec<Uuid>> {
    const LOOK: &str = "SELECT x.id FROM unnest($1::uuid[]) AS own (id) CROSS JOIN LATERAL ( \
             SELECT id FROM messages WHERE chat_id = own.id AND (words @@ $3::tsquery) IS TRUE \
                 AND (id < $2) IS TRUE \
             UNION ALL SELECT id FROM messages_archive \
                 WHERE chat_id = own.id AND (words @@ $3::tsquery) IS TRUE \
                 AND (id < $2) IS TRUE) x \
         ORDER BY x.id DESC LIMIT $4";
    let query = words::tsquery(asked.words, None);
    let looked = values![chats.to_vec(), below, query, asked.limit + 1];
    let found = tx.rows(LOOK, looked).await?;
    found.iter().map(|row| row.get("id")).collect()
}

/// By the inverted index. `IS TRUE` keeps the plan from walking the index of ids besides.
async fn gather(tx: &mut Transaction, asked: &Asked<'_>, below: Uuid) -> Result<Vec<Uuid>> {
    const GATHER: &str = concat!(
        "WITH found AS MATERIALIZED ( \
             SELECT id, chat_id FROM messages WHERE words @@ $4::tsquery AND (id < $3) IS TRUE AND (org = $1) IS TRUE \
             UNION ALL SELECT id, chat_id FROM messages_archive \
                 WHERE words @@ $4::tsquery AND (id < $3) IS TRUE AND (org = $1) IS TRUE) \
         SELECT f.id FROM found f WHERE $5 = 2 OR ",
        visible!("f.chat_id", "$5"),
        " ORDER BY f.id DESC LIMIT $6"
    );
    let who = asked.who;
    let query = words::tsquery(asked.words, Some(Scope::Org(&who.org)));
    let sight = access::sight(who);
    let gathered = values![&who.org, &who.id, below, query, sight, asked.limit + 1];
    let found = tx.rows(GATHER, gathered).await?;
    found.iter().map(|row| row.get("id")).collect()
}
