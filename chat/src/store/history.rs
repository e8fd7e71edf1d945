//! What was said, by number, and what has changed since.
//!
//! Numbers are dense, so every page is a range of them that is known before anything is read, and says of itself
//! whether there is more on either side. What lies in the archive is shown like the rest. Each answer is of one
//! instant.

use super::Shared;
use super::access;
use super::database::{Transaction, values};
use super::error::{Error, Result, Thing};
use super::limits::{self, CHANGES_MAX, EXPORT_MAX, HISTORY_MAX};
use super::rows::{self, member_columns, message_columns};
use super::types::{
    Actor, Change, Changes, ChatId, History, HistoryPage, Message, MessageId, Totals,
};

/// A part of a history.
pub(super) async fn history(
    store: &Shared,
    who: &Actor,
    chat: ChatId,
    page: HistoryPage,
) -> Result<History> {
    let mut tx = store.database.snapshot().await?;
    let seen = access::look_in(&mut tx, who, chat).await?;
    let range = Range::of(page, seen.last_seq);
    let items = read(&mut tx, chat, range, seen.archived_seq).await?;
    let (oldest, newest) = (
        items.first().map(|item| item.seq),
        items.last().map(|item| item.seq),
    );
    Ok(History {
        has_older: range.from > 1 && seen.last_seq > 0,
        has_newer: range.to < seen.last_seq,
        oldest,
        newest,
        last_seq: seen.last_seq,
        rev: seen.rev,
        totals: totals(page, seen.last_seq),
        items,
    })
}

/// One message.
pub(super) async fn message(
    store: &Shared,
    who: &Actor,
    chat: ChatId,
    id: MessageId,
) -> Result<Message> {
    const ANYWHERE: &str = concat!(
        "SELECT ",
        message_columns!(),
        " FROM messages WHERE id = $1 AND chat_id = $2 UNION ALL SELECT ",
        message_columns!(),
        " FROM messages_archive WHERE id = $1 AND chat_id = $2"
    );
    let mut tx = store.database.snapshot().await?;
    access::look_in(&mut tx, who, chat).await?;
    let row = tx.row(ANYWHERE, values![id, chat]).await?;
    rows::message(&row.ok_or(Error::NotFound(Thing::Message))?)
}

/// The messages after a number.
pub(super) async fn export(
    store: &Shared,
    who: &Actor,
    chat: ChatId,
    after_seq: i64,
    limit: u32,
) -> Result<Vec<Message>> {
    let mut tx = store.database.snapshot().await?;
    let seen = access::look_in(&mut tx, who, chat).await?;
    let limit = limits::limit(limit, EXPORT_MAX);
    let range = Range::after(after_seq, limit, seen.last_seq);
    read(&mut tx, chat, range, seen.archived_seq).await
}

/// The chats that an export of all is made of.
pub(super) async fn export_chats(
    store: &Shared,
    who: &Actor,
    after: Option<ChatId>,
    limit: u32,
) -> Result<Vec<ChatId>> {
    let own = "SELECT chat_id FROM members WHERE org = $1 AND person = $2 AND participating = 1 AND chat_id > $3 \
               UNION SELECT id FROM chats WHERE org = $1 AND audience = 1 AND $5 > 0 AND id > $3 \
               ORDER BY chat_id LIMIT $4";
    let after = after.map_or_else(uuid::Uuid::nil, |chat| chat.0);
    let limit = limits::limit(limit, EXPORT_MAX);
    let rows = store
        .database
        .rows(
            own,
            values![&who.org, &who.id, after, limit, access::sight(who)],
        )
        .await?;
    rows.iter()
        .map(|row| Ok(ChatId(row.get("chat_id")?)))
        .collect()
}

/// What has changed in a chat.
pub(super) async fn changes(
    store: &Shared,
    who: &Actor,
    chat: ChatId,
    after_rev: i64,
    limit: u32,
) -> Result<Changes> {
    const LIVE: &str = concat!(
        "SELECT ",
        message_columns!(),
        " FROM messages WHERE chat_id = $1 AND rev > $2 ORDER BY rev LIMIT $3"
    );
    const ARCHIVED: &str = concat!(
        "SELECT ",
        message_columns!(),
        " FROM messages_archive WHERE chat_id = $1 AND rev > $2 ORDER BY rev LIMIT $3"
    );
    const MEMBERS: &str = concat!(
        "SELECT ",
        member_columns!(),
        " FROM members WHERE chat_id = $1 AND rev > $2 ORDER BY rev LIMIT $3"
    );
    let mut tx = store.database.snapshot().await?;
    let seen = access::look_in(&mut tx, who, chat).await?;
    let limit = limits::limit(limit, CHANGES_MAX);
    let after = values![chat, after_rev, limit + 1];
    let mut messages = tx.rows(LIVE, after.clone()).await?;
    if seen.archived_seq > 0 {
        messages.extend(tx.rows(ARCHIVED, after.clone()).await?);
    }
    let members = tx.rows(MEMBERS, after).await?;
    let messages = messages
        .iter()
        .map(|row| rows::message(row).map(Change::Message));
    let members = members
        .iter()
        .map(|row| rows::member(row).map(Change::Member));
    let mut items = messages.chain(members).collect::<Result<Vec<_>>>()?;
    items.sort_by_key(Change::rev);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = items.len() > limit;
    items.truncate(limit);
    // Past the last change there is nothing to ask for again, not even by whoever is ahead of it.
    let next_rev = match items.last() {
        Some(last) if has_more => last.rev(),
        _ => seen.rev,
    };
    Ok(Changes {
        items,
        next_rev,
        has_more,
    })
}

/// Messages by number, both ends included; empty if it ends before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    from: i64,
    to: i64,
}

impl Range {
    fn of(page: HistoryPage, last_seq: i64) -> Self {
        let most = |limit| limits::limit(limit, HISTORY_MAX);
        match page {
            HistoryPage::Newest { limit } => Self::before(last_seq.saturating_add(1), most(limit)),
            HistoryPage::Before { seq, limit } => {
                Self::before(seq.clamp(1, last_seq + 1), most(limit))
            }
            HistoryPage::After { seq, limit } => Self::after(seq, most(limit), last_seq),
            HistoryPage::Around { seq, limit } => {
                let limit = most(limit);
                let middle = seq.clamp(1, last_seq.max(1));
                // As many as asked for, also near an end.
                let from = (middle - limit / 2).min(last_seq - limit + 1).max(1);
                Self {
                    from,
                    to: (from + limit - 1).min(last_seq),
                }
            }
            HistoryPage::Numbered { page, limit } => {
                let limit = most(limit);
                let skipped = (i64::from(page.max(1)) - 1).saturating_mul(limit);
                Self::before((last_seq - skipped).max(0) + 1, limit)
            }
        }
    }

    fn before(seq: i64, limit: i64) -> Self {
        Self {
            from: (seq - limit).max(1),
            to: seq - 1,
        }
    }

    fn after(seq: i64, limit: i64, last_seq: i64) -> Self {
        let seq = seq.clamp(0, last_seq);
        Self {
            from: seq + 1,
            to: seq.saturating_add(limit).min(last_seq),
        }
    }
}

fn totals(page: HistoryPage, total: i64) -> Option<Totals> {
    match page {
        HistoryPage::Numbered { page, limit } => {
            let limit = limit.clamp(1, HISTORY_MAX);
            Some(Totals {
                page: page.max(1),
                limit,
                total,
                pages: total.div_euclid(i64::from(limit))
                    + i64::from(total.rem_euclid(i64::from(limit)) > 0),
            })
        }
        HistoryPage::Newest { .. }
        | HistoryPage::Before { .. }
        | HistoryPage::After { .. }
        | HistoryPage::Around { .. } => None,
    }
}

/// The messages of a range: first those in the archive, which ends at a number, then the rest.
async fn read(
    tx: &mut Transaction,
    chat: ChatId,
    Range { from, to }: Range,
    archived_seq: i64,
) -> Result<Vec<Message>> {
    const LIVE: &str = concat!(
        "SELECT ",
        message_columns!(),
        " FROM messages WHERE chat_id = $1 AND seq BETWEEN $2 AND $3 ORDER BY seq"
    );
    const ARCHIVED: &str = concat!(
        "SELECT ",
        message_columns!(),
        " FROM messages_archive WHERE chat_id = $1 AND seq BETWEEN $2 AND $3 ORDER BY seq"
    );
    let mut found = Vec::new();
    if from <= to.min(archived_seq) {
        found = tx
            .rows(ARCHIVED, values![chat, from, to.min(archived_seq)])
            .await?;
    }
    let from = from.max(archived_seq + 1);
    if from <= to {
        found.extend(tx.rows(LIVE, values![chat, from, to]).await?);
    }
    found.iter().map(rows::message).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(page: HistoryPage, last_seq: i64, expected: (i64, i64)) {
        let Range { from, to } = Range::of(page, last_seq);
        assert_eq!((from, to), expected, "{page:?} of {last_seq}");
    }

    #[test]
    fn pages_are_ranges() {
        use HistoryPage::{After, Before, Newest};
        check(Newest { limit: 3 }, 10, (8, 10));
        check(Newest { limit: 30 }, 10, (1, 10));
        check(Newest { limit: 3 }, 0, (1, 0));
        check(Before { seq: 8, limit: 3 }, 10, (5, 7));
        check(Before { seq: 1, limit: 3 }, 10, (1, 0));
        check(
            Before {
                seq: i64::MAX,
                limit: 3,
            },
            10,
            (8, 10),
        );
        check(
            Before {
                seq: i64::MIN,
                limit: 3,
            },
            10,
            (1, 0),
        );
        check(After { seq: 8, limit: 3 }, 10, (9, 10));
        check(After { seq: 10, limit: 3 }, 10, (11, 10));
        check(
            After {
                seq: i64::MAX,
                limit: 3,
            },
            10,
            (11, 10),
        );
        check(
            After {
                seq: i64::MIN,
                limit: 3,
            },
            10,
            (1, 3),
        );
    }

    #[test]
    fn pages_around_and_by_number_are_ranges() {
        use HistoryPage::{Around, Numbered};
        check(Around { seq: 5, limit: 4 }, 10, (3, 6));
        check(Around { seq: 1, limit: 4 }, 10, (1, 4));
        check(
            Around {
                seq: i64::MAX,
                limit: 4,
            },
            10,
            (7, 10),
        );
        check(Around { seq: 5, limit: 4 }, 0, (1, 0));
        check(Numbered { page: 1, limit: 4 }, 10, (7, 10));
        check(Numbered { page: 3, limit: 4 }, 10, (1, 2));
        check(Numbered { page: 4, limit: 4 }, 10, (1, 0));
        check(
            Numbered {
                page: u32::MAX,
                limit: 200,
            },
            10,
            (1, 0),
        );
    }
}
