//! Who may see a chat, and the chat's lock: every act on a chat begins here.
//!
//! Visible is an open chat to its organisation but for guests, any chat to its participants, and all of an organisation's
//! to its admins. To everybody else there is none. Writing is for those it is meant for: an admin from outside takes part
//! first.

use super::database::{Database, Row, Transaction, values};
use super::error::{Error, Result, Thing};
use super::rows;
use super::types::{Actor, Audience, ChatId, Role, UnixMs};

/// A chat as somebody has found it, with what is known of the asker there.
pub(super) struct Seen {
    pub(super) audience: Audience,
    pub(super) created_by: String,
    pub(super) last_activity_at: UnixMs,
    pub(super) last_seq: i64,
    pub(super) rev: i64,
    pub(super) message_count: i64,
    pub(super) participant_count: i64,
    pub(super) archived_seq: i64,
    pub(super) lock_token: i64,
    pub(super) standing: Option<Standing>,
}

/// The asker's own row in a chat.
pub(super) struct Standing {
    pub(super) participating: bool,
    pub(super) delivered_seq: i64,
    pub(super) read_seq: i64,
    pub(super) unread: i64,
}

impl Seen {
    pub(super) fn is_participant(&self) -> bool {
        self.standing
            .as_ref()
            .is_some_and(|standing| standing.participating)
    }

    /// Refuses whoever may only look.
    pub(super) fn may_write(&self) -> Result<()> {
        if self.is_participant() || self.audience == Audience::Org {
            return Ok(());
        }
        Err(Error::Forbidden {
            expected: "a participant",
        })
    }

    fn checked(row: Option<Row>, who: &Actor) -> Result<Self> {
        let seen = row.map(|row| Self::of(&row)).transpose()?;
        seen.filter(|seen| {
            let is_open = seen.audience == Audience::Org && !who.role.is_guest();
            seen.is_participant() || is_open || who.role == Role::Admin
        })
        .ok_or(Error::NotFound(Thing::Chat))
    }

    fn of(row: &Row) -> Result<Self> {
        let participating: Option<i64> = row.get("participating")?;
        let standing = participating.map(|_| rows::standing(row)).transpose()?;
        Ok(Self {
            audience: audience(row)?,
            created_by: row.get("created_by")?,
            last_activity_at: row.time("last_activity_at")?,
            last_seq: row.get("last_seq")?,
            rev: row.get("rev")?,
            message_count: row.get("message_count")?,
            participant_count: row.get("participant_count")?,
            archived_seq: row.get("archived_seq")?,
            lock_token: row.get("lock_token")?,
            standing,
        })
    }
}

/// How far somebody sees, as statements are asked: 0 is no further than they take part, 1 what is open besides, 2 is all.
/// So a chat is visible where this and its column `audience` make 2, or to its participants.
pub(super) const fn sight(who: &Actor) -> i64 {
    match who.role {
        Role::Guest => 0,
        Role::Member | Role::Moderator => 1,
        Role::Admin => 2,
    }
}

/// Refuses guests.
pub(super) const fn no_guest(who: &Actor) -> Result<()> {
    if who.role.is_guest() {
        return Err(Error::Forbidden {
            expected: "a member",
        });
    }
    Ok(())
}

/// Whom a chat is for, by its column.
pub(super) fn audience(row: &Row) -> Result<Audience> {
    Ok(if row.flag("audience")? {
        Audience::Org
    } else {
        Audience::Participants
    })
}

const SEEN: &str = "SELECT c.audience, c.created_by, c.last_activity_at, c.last_seq, c.rev, c.message_count, \
        c.participant_count, c.archived_seq, c.lock_token, m.participating, m.delivered_seq, m.read_seq, m.unread \
    FROM chats c LEFT JOIN members m ON m.chat_id = c.id AND m.person = $3 \
    WHERE c.id = $1 AND c.org = $2";

/// Looks at a chat, at this instant.
pub(super) async fn look(database: &Database, who: &Actor, chat: ChatId) -> Result<Seen> {
    let row = database.row(SEEN, values![chat, &who.org, &who.id]).await?;
    Seen::checked(row, who)
}

/// Looks at a chat, at the instant of a snapshot.
pub(super) async fn look_in(tx: &mut Transaction, who: &Actor, chat: ChatId) -> Result<Seen> {
    let row = tx.row(SEEN, values![chat, &who.org, &who.id]).await?;
    Seen::checked(row, who)
}

/// Locks a chat until the transaction ends, and looks at it then. Whoever else is about to change it waits; so its
/// numbers have no holes, and nobody writes who was removed meanwhile.
pub(super) async fn lock(tx: &mut Transaction, who: &Actor, chat: ChatId) -> Result<Seen> {
    lock_row(tx, &who.org, chat).await?;
    // A statement of its own: on PostgreSQL it sees what was committed while the one before has waited.
    look_in(tx, who, chat).await
}

/// Locks the row of a chat, whoever asks.
pub(super) async fn lock_row(tx: &mut Transaction, org: &str, chat: ChatId) -> Result<()> {
    if tx.is_alone() {
        return Ok(());
    }
    let lock = "SELECT id FROM chats WHERE id = $1 AND org = $2 FOR NO KEY UPDATE";
    match tx.row(lock, values![chat, org]).await? {
        Some(_) => Ok(()),
        None => Err(Error::NotFound(Thing::Chat)),
    }
}
