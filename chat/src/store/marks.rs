//! How far everybody is, and what that leaves unread.
//!
//! Marks only go up. `unread` is a counter, and is at every commit what a count of the rows would say: messages of
//! others above one's read mark that are not deleted. A mark at the end makes it nothing; one in between counts what
//! it passes over, so each message is counted at most once for each reader.

use serde::Serialize;

use super::access::{self, Seen, Standing};
use super::database::{Row, Transaction, values};
use super::error::Result;
use super::limits::{self, PARTICIPANTS_MAX, RECEIPTS_MAX};
use super::outbox::{self, Told};
use super::rows::{self, member_columns};
use super::types::{
    Actor, ChatId, Mark, Marked, Member, Receipts, Recounted, UnixMs, UnreadTotals,
};
use super::upkeep::{EventName, NewAudit, Notify};
use super::{Done, Shared};

/// Says how far somebody is.
pub(super) async fn mark(store: &Shared, who: &Actor, chat: ChatId, mark: Mark) -> Result<Marked> {
    let seen = access::look(&store.database, who, chat).await?;
    seen.may_write()?;
    let before = Standing::of(&seen);
    if !before.with(mark, seen.last_seq).changed {
        return Ok(before.unmoved());
    }
    let mut tx = store.database.begin().await?;
    let marked = mark_in(&mut tx, who, chat, mark, store.now()).await;
    store.settle(tx, marked).await
}

async fn mark_in(
    tx: &mut Transaction,
    who: &Actor,
    chat: ChatId,
    mark: Mark,
    now: UnixMs,
) -> Result<Done<Marked>> {
    let seen = access::lock(tx, who, chat).await?;
    seen.may_write()?;
    let before = Standing::of(&seen);
    let mut after = before.with(mark, seen.last_seq);
    if !after.changed {
        return Ok(Done::Unchanged(before.unmoved()));
    }
    after.unread = if after.read_seq == seen.last_seq {
        0
    } else {
        before.unread - passed_over(tx, who, chat, &before, after.read_seq, &seen).await?
    };
    let member = Member {
        person: who.id.clone(),
        name: who.name.clone(),
        participating: before.participating,
        delivered_seq: after.delivered_seq,
        read_seq: after.read_seq,
        rev: seen.rev + 1,
    };
    write(tx, who, chat, &seen, &member, after.unread).await?;
    let told = Told {
        event: EventName::MessagesRead,
        rev: member.rev,
        notify: to_oneself(who, &before, &after),
        payload: rows::to_json(&MessagesRead {
            chat,
            rev: member.rev,
            member: &member,
        }),
    };
    outbox::tell(tx, who, chat, now, told).await?;
    Ok(Done::Changed(after))
}

/// How far the participants of a chat are.
pub(super) async fn receipts(store: &Shared, who: &Actor, chat: ChatId) -> Result<Receipts> {
    let participants = concat!(
        "SELECT ",
        member_columns!(),
        " FROM members WHERE chat_id = $1 AND participating = 1 ORDER BY joined_rev LIMIT $2"
    );
    let everybody = i64::try_from(PARTICIPANTS_MAX).unwrap_or(i64::MAX);
    let mut tx = store.database.snapshot().await?;
    let seen = access::look_in(&mut tx, who, chat).await?;
    let rows = tx.rows(participants, values![chat, everybody]).await?;
    let people = rows.iter().map(rows::member).collect::<Result<Vec<_>>>()?;
    let least = |of: fn(&Member) -> i64| {
        let others = people.iter().filter(|member| member.person != who.id);
        others.map(of).min().unwrap_or(seen.last_seq)
    };
    Ok(Receipts {
        delivered_to_all: least(|member| member.delivered_seq),
        read_by_all: least(|member| member.read_seq),
        participant_count: seen.participant_count,
        people: if people.len() <= RECEIPTS_MAX {
            people
        } else {
            Vec::new()
        },
    })
}

/// What somebody has not read in all the chats of one's own.
pub(super) async fn unread(store: &Shared, who: &Actor) -> Result<UnreadTotals> {
    let unread = "SELECT COUNT(*) AS chats, CAST(COALESCE(SUM(unread), 0) AS BIGINT) AS messages FROM members \
                  WHERE org = $1 AND person = $2 AND participating = 1 AND unread > 0";
    let row = store
        .database
        .row(unread, values![&who.org, &who.id])
        .await?;
    let Some(row) = row else {
        return Ok(UnreadTotals {
            chats: 0,
            messages: 0,
        });
    };
    Ok(UnreadTotals {
        chats: row.get("chats")?,
        messages: row.get("messages")?,
    })
}

/// Chats that are recounted between two looks at which there are.
const RECOUNT_PAGE: i64 = 100;

/// Counts again what is counted, chat by chat, and puts right what was wrong.
pub(super) async fn recount(store: &Shared, org: &str, person: Option<&str>) -> Result<Recounted> {
    const OF_ORG: &str = "SELECT id FROM chats WHERE org = $1 AND id > $2 ORDER BY id LIMIT $3";
    const OF_PERSON: &str = "SELECT chat_id AS id FROM members \
                             WHERE org = $1 AND chat_id > $2 AND person = $4 AND participating = 1 \
                             ORDER BY chat_id LIMIT $3";
    let mut all = Recounted::default();
    let mut after = uuid::Uuid::nil();
    loop {
        let mut asked = values![org, after, RECOUNT_PAGE];
        let sql = match person {
            Some(person) => {
                asked.push(person.into());
                OF_PERSON
            }
            None => OF_ORG,
        };
        let chats = store.database.rows(sql, asked).await?;
        let Some(last) = chats.last() else {
            break;
        };
        after = last.get("id")?;
        for row in &chats {
            recount_chat(store, org, ChatId(row.get("id")?), person, &mut all).await?;
        }
    }
    if all.wrong > 0 {
        let mut tx = store.database.begin().await?;
        let line = NewAudit {
            act: "unread.repaired".to_owned(),
            chat: None,
            detail: serde_json::json!(all),
        };
        super::audit::add(&mut tx, org, "system", store.now(), &line).await?;
        tx.commit().await?;
    }
    Ok(all)
}

async fn recount_chat(
    store: &Shared,
    org: &str,
    chat: ChatId,
    person: Option<&str>,
    all: &mut Recounted,
) -> Result<()> {
    const UNREAD: &str = "SELECT m.person, m.unread AS counted, \
            (SELECT COUNT(*) FROM messages x WHERE x.chat_id = m.chat_id AND x.seq > m.read_seq \
                 AND x.sender <> m.person AND x.deleted_at IS NULL) \
          + (SELECT COUNT(*) FROM messages_archive x WHERE x.chat_id = m.chat_id AND x.seq > m.read_seq \
                 AND x.sender <> m.person AND x.deleted_at IS NULL) AS truth \
        FROM members m WHERE m.chat_id = $1 AND ($2 = '' OR m.person = $2)";
    const OF_CHAT: &str = "SELECT c.message_count, c.participant_count, \
            (SELECT COUNT(*) FROM messages x WHERE x.chat_id = c.id AND x.deleted_at IS NULL) \
          + (SELECT COUNT(*) FROM messages_archive x WHERE x.chat_id = c.id AND x.deleted_at IS NULL) AS messages, \
            (SELECT COUNT(*) FROM members m WHERE m.chat_id = c.id AND m.participating = 1) AS participants \
        FROM chats c WHERE c.id = $1";
    let mut tx = store.database.begin().await?;
    if access::lock_row(&mut tx, org, chat).await.is_err() {
        // Cleaned up meanwhile.
        return Ok(());
    }
    for row in tx.rows(UNREAD, values![chat, person.unwrap_or("")]).await? {
        let (counted, truth): (i64, i64) = (row.get("counted")?, row.get("truth")?);
        if compare(all, counted, truth) {
            let person: String = row.get("person")?;
            let repair = "UPDATE members SET unread = $3 WHERE chat_id = $1 AND person = $2";
            tx.run(repair, values![chat, person, truth]).await?;
        }
    }
    if let Some(row) = tx.row(OF_CHAT, values![chat]).await? {
        repair_chat(&mut tx, chat, &row, all).await?;
    }
    tx.commit().await
}

async fn repair_chat(
    tx: &mut Transaction,
    chat: ChatId,
    row: &Row,
    all: &mut Recounted,
) -> Result<()> {
    let messages: i64 = row.get("messages")?;
    if compare(all, row.get("message_count")?, messages) {
        let repair = "UPDATE chats SET message_count = $2 WHERE id = $1";
        tx.run(repair, values![chat, messages]).await?;
    }
    let participants: i64 = row.get("participants")?;
    if compare(all, row.get("participant_count")?, participants) {
        let repair = "UPDATE chats SET participant_count = $2 WHERE id = $1";
        tx.run(repair, values![chat, participants]).await?;
    }
    Ok(())
}

/// Whether a counter is wrong.
fn compare(all: &mut Recounted, counted: i64, truth: i64) -> bool {
    all.counters += 1;
    all.wrong += i64::from(counted != truth);
    all.drift += (counted - truth).abs();
    counted != truth
}

impl Standing {
    /// What the asker has in a chat; somebody without a row has read nothing.
    fn of(seen: &Seen) -> Self {
        match &seen.standing {
            Some(standing) => Self { ..*standing },
            None => Self {
                participating: false,
                delivered_seq: 0,
                read_seq: 0,
                unread: seen.message_count,
            },
        }
    }

    /// The marks as they are after this one, `unread` not yet counted.
    fn with(&self, mark: Mark, last_seq: i64) -> Marked {
        let (delivered, read) = match mark {
            Mark::Delivered(seq) => (seq, 0),
            Mark::Read(seq) => (seq, seq),
        };
        let delivered_seq = self.delivered_seq.max(delivered.min(last_seq));
        let read_seq = self.read_seq.max(read.min(last_seq));
        Marked {
            delivered_seq,
            read_seq,
            unread: self.unread,
            changed: (delivered_seq, read_seq) != (self.delivered_seq, self.read_seq),
        }
    }

    fn unmoved(&self) -> Marked {
        Marked {
            delivered_seq: self.delivered_seq,
            read_seq: self.read_seq,
            unread: self.unread,
            changed: false,
        }
    }
}

/// Unread messages between the old mark and the new one.
async fn passed_over(
    tx: &mut Transaction,
    who: &Actor,
    chat: ChatId,
    before: &Standing,
    read_seq: i64,
    seen: &Seen,
) -> Result<i64> {
    const LIVE: &str = "SELECT COUNT(*) AS passed FROM messages \
                        WHERE chat_id = $1 AND seq > $2 AND seq <= $3 AND sender <> $4 AND deleted_at IS NULL";
    const ARCHIVED: &str = "SELECT COUNT(*) AS passed FROM messages_archive \
                            WHERE chat_id = $1 AND seq > $2 AND seq <= $3 AND sender <> $4 AND deleted_at IS NULL";
    let mut passed = 0;
    if read_seq == before.read_seq {
        return Ok(passed);
    }
    let range = values![chat, before.read_seq, read_seq, &who.id];
    if let Some(row) = tx.row(LIVE, range.clone()).await? {
        passed += row.get::<i64>("passed")?;
    }
    if before.read_seq < seen.archived_seq
        && let Some(row) = tx.row(ARCHIVED, range).await?
    {
        passed += row.get::<i64>("passed")?;
    }
    Ok(passed)
}

async fn write(
    tx: &mut Transaction,
    who: &Actor,
    chat: ChatId,
    seen: &Seen,
    member: &Member,
    unread: i64,
) -> Result<()> {
    tx.run(
        "INSERT INTO members (chat_id, person, org, name, participating, joined_rev, delivered_seq, read_seq, unread, \
             rev, last_activity_at) \
         VALUES ($1, $2, $3, $4, 0, $5, $6, $7, $8, $5, $9) \
         ON CONFLICT (chat_id, person) DO UPDATE SET name = excluded.name, delivered_seq = excluded.delivered_seq, \
             read_seq = excluded.read_seq, unread = excluded.unread, rev = excluded.rev",
        values![
            chat,
            &who.id,
            &who.org,
            &who.name,
            member.rev,
            member.delivered_seq,
            member.read_seq,
            unread,
            seen.last_activity_at,
        ],
    )
    .await?;
    let advance = "UPDATE chats SET rev = $2 WHERE id = $1";
    tx.run(advance, values![chat, member.rev]).await?;
    Ok(())
}

/// The reader's other devices, when something was read.
fn to_oneself(who: &Actor, before: &Standing, after: &Marked) -> Vec<Notify> {
    if after.read_seq == before.read_seq {
        return Vec::new();
    }
    vec![Notify {
        person: who.id.clone(),
        unread: after.unread,
    }]
}

#[derive(Serialize)]
struct MessagesRead<'a> {
    chat: ChatId,
    rev: i64,
    member: &'a Member,
}

/// What a mark may be.
pub(super) fn check(mark: Mark) -> Result<()> {
    let (Mark::Delivered(seq) | Mark::Read(seq)) = mark;
    limits::number("seq", seq)
}
