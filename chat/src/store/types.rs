//! The words that the store is spoken with: who asks, what is asked, what is answered.
//!
//! What is answered is also what is told: history, changes and events show a message as the same JSON, in snake case,
//! with times in RFC 3339. Knows no SQL and no HTTP. What comes in is checked by `limits.rs` before a statement sees
//! it.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// A chat, UUIDv7.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(transparent)]
pub struct ChatId(pub Uuid);

/// A message, UUIDv7: sorts by the time at which it was stored.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(transparent)]
pub struct MessageId(pub Uuid);

impl fmt::Display for ChatId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A point in time, in milliseconds since the Unix epoch; RFC 3339 in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2026-11-20T09:30:00.000Z")]
pub struct UnixMs(pub i64);

impl UnixMs {
    /// By the clock of this machine.
    #[must_use]
    pub fn now() -> Self {
        let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self(elapsed.map_or(0, |elapsed| {
            i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
        }))
    }

    /// So much earlier; never before 1970.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        let span = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(span).max(0))
    }
}

impl From<UnixMs> for SystemTime {
    fn from(at: UnixMs) -> Self {
        Self::UNIX_EPOCH + Duration::from_millis(u64::try_from(at.0).unwrap_or(0))
    }
}

impl fmt::Display for UnixMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_millis((*self).into()).fmt(f)
    }
}

impl Serialize for UnixMs {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UnixMs {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = humantime::parse_rfc3339(&text).map_err(serde::de::Error::custom)?;
        let elapsed = time.duration_since(SystemTime::UNIX_EPOCH);
        let elapsed = elapsed.map_err(serde::de::Error::custom)?;
        i64::try_from(elapsed.as_millis())
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

/// On whose behalf the store is asked. Whoever builds one has checked who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The organisation; nothing of another one is ever seen.
    pub org: String,
    /// The person, as the lock server's owner.
    pub id: String,
    /// How others see the person.
    pub name: String,
    /// What the person may beyond taking part.
    pub role: Role,
}

/// What a person may, in rising order.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Come from outside, as customers do: see the chats that they take part in alone, write there, and hold no locks.
    Guest,
    /// Take part: own chats, and those that are open to the organisation.
    #[default]
    Member,
    /// Delete others' messages and remove participants, in chats that are the person's to see.
    Moderator,
    /// See every chat of the organisation, and its audit log.
    Admin,
}

impl Role {
    /// Whether it is for people from outside, to whom what is internal is not shown.
    #[must_use]
    pub const fn is_guest(self) -> bool {
        matches!(self, Self::Guest)
    }
}

/// Whom a chat is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// Its participants; nobody else knows that it exists.
    #[default]
    Participants,
    /// Everybody of the organisation, and guests who take part in it.
    Org,
}

/// A chat that is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewChat {
    /// Whom it is for.
    #[serde(default)]
    pub audience: Audience,
    /// What it is called: at most 200 characters.
    #[serde(default)]
    pub title: Option<String>,
    /// Who takes part, besides whoever makes it: at most 256 in all.
    #[serde(default)]
    pub participants: Vec<NewParticipant>,
    /// Makes it once: a chat that the same person has made with the same key is answered again, as it is by then. 1 to
    /// 64 characters.
    #[serde(default)]
    pub client_chat_id: Option<String>,
}

/// Somebody who is to take part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewParticipant {
    /// The person: 1 to 128 bytes.
    pub person: String,
    /// How others see the person: at most 200 characters.
    pub name: String,
}

/// Something that was stored once: by this request, or by an earlier one that it repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored<T> {
    /// By this request.
    New(T),
    /// By an earlier one. As it is by now: it may have been edited since.
    Replayed(T),
}

impl<T> Stored<T> {
    /// What is stored, whoever did it.
    pub fn into_inner(self) -> T {
        match self {
            Self::New(stored) | Self::Replayed(stored) => stored,
        }
    }

    /// Whether an earlier request did it.
    pub fn is_replay(&self) -> bool {
        matches!(self, Self::Replayed(_))
    }
}

/// A chat as one person sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChatView {
    /// Its id.
    pub id: ChatId,
    /// Whom it is for.
    pub audience: Audience,
    /// What it is called.
    pub title: Option<String>,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: UnixMs,
    /// When its last message came; when it was made, if there is none.
    pub last_activity_at: UnixMs,
    /// Number of its last message; 0 if there is none.
    pub last_seq: i64,
    /// Number of its last change, of whatever kind.
    pub rev: i64,
    /// Messages that are not deleted.
    pub message_count: i64,
    /// Its last message, deleted or not.
    pub last_message: Option<Message>,
    /// Who takes part, in the order of joining: all of them for one chat, the first 16 in a list.
    pub participants: Vec<Participant>,
    /// How many take part.
    pub participant_count: i64,
    /// Whether the asker takes part.
    pub participating: bool,
    /// Up to where messages have reached one of the asker's devices.
    pub delivered_seq: i64,
    /// Up to where the asker has read.
    pub read_seq: i64,
    /// Messages of others above `read_seq` that are not deleted.
    pub unread: i64,
    /// The highest lock token that the chat has seen; a send with a lower one is refused. 0 before the first.
    pub lock_token: i64,
    /// Who held the lock with that token.
    pub lock_owner: Option<String>,
}

/// Somebody who takes part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Participant {
    /// The person.
    pub person: String,
    /// How others see the person.
    pub name: String,
}

/// Somebody in a chat, with how far: a participant, or somebody of the organisation who has written or read in an open
/// chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Member {
    /// The person.
    pub person: String,
    /// How others see the person.
    pub name: String,
    /// Whether the person takes part; a participant who was removed stays as one who does not.
    pub participating: bool,
    /// Up to where messages have reached one of the person's devices.
    pub delivered_seq: i64,
    /// Up to where the person has read.
    pub read_seq: i64,
    /// Number of the change of the chat that made it so.
    pub rev: i64,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// The chat it is in.
    pub chat: ChatId,
    /// Its place in the chat: dense, from 1.
    pub seq: i64,
    /// Number of the change of the chat that made it what it is.
    pub rev: i64,
    /// Who has sent it.
    pub sender: String,
    /// What the sender was called then.
    pub sender_name: String,
    /// What the sender's client has called it.
    pub client_msg_id: String,
    /// What it says; empty once it is deleted.
    pub body: String,
    /// What hangs on it; none once it is deleted.
    pub attachments: Vec<Attachment>,
    /// When it was stored.
    pub created_at: UnixMs,
    /// When it was last edited.
    pub edited_at: Option<UnixMs>,
    /// When it was deleted: then this is a tombstone.
    pub deleted_at: Option<UnixMs>,
    /// Taken while the lock server could not be asked who holds the chat.
    pub unguarded: bool,
}

/// Something that hangs on a message: what it is and where it lies, never its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attachment {
    /// File name: 1 to 255 characters.
    pub name: String,
    /// Media type, `image/png`: at most 127 bytes.
    pub media_type: String,
    /// Its size.
    pub bytes: i64,
    /// Where it lies: `http` or `https`, at most 2,048 bytes.
    pub url: String,
}

/// A message that is to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewMessage {
    /// What the sender's client calls it, for good: 1 to 64 characters. The same again is the same message.
    pub client_msg_id: String,
    /// What it says: at most 16,384 bytes. May be empty if something hangs on it.
    #[serde(default)]
    pub body: String,
    /// What hangs on it: at most 16.
    #[serde(default)]
    pub attachments: Vec<Attachment>,
    /// The last message that the sender has seen; if there is a newer one, nothing is sent.
    #[serde(default)]
    pub expected_last_seq: Option<i64>,
    /// Sends although there is a newer one. Leaves a line in the audit log.
    #[serde(default)]
    pub force: bool,
    /// The token of the sender's lock on the chat; an old one is refused. One below 0 is older than any: it is
    /// answered with the original if the message was sent before, and is refused else.
    #[serde(default)]
    pub lock_token: Option<i64>,
    /// Marks it as taken while the lock server could not be asked.
    #[serde(skip)]
    pub unguarded: bool,
}

/// Which part of a history. A limit is brought within 1 and 200.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryPage {
    /// The newest messages.
    Newest {
        /// At most so many.
        limit: u32,
    },
    /// Those right before one.
    Before {
        /// Its number.
        seq: i64,
        /// At most so many.
        limit: u32,
    },
    /// Those right after one.
    After {
        /// Its number.
        seq: i64,
        /// At most so many.
        limit: u32,
    },
    /// One and those on both sides of it, half of them each.
    Around {
        /// Its number.
        seq: i64,
        /// At most so many.
        limit: u32,
    },
    /// A numbered page, the newest messages on page 1, with totals. Shifts as messages come: for whom that does not
    /// matter.
    Numbered {
        /// From 1.
        page: u32,
        /// At most so many.
        limit: u32,
    },
}

/// A part of a history, oldest first, tombstones included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct History {
    /// The messages, by rising `seq`.
    pub items: Vec<Message>,
    /// Whether there are older ones.
    pub has_older: bool,
    /// Whether there are newer ones.
    pub has_newer: bool,
    /// Number of the first of these.
    pub oldest: Option<i64>,
    /// Number of the last of these.
    pub newest: Option<i64>,
    /// Number of the chat's last message.
    pub last_seq: i64,
    /// Number of the chat's last change: what `changes` goes on from.
    pub rev: i64,
    /// For a numbered page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub totals: Option<Totals>,
}

/// What a numbered page is one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Totals {
    /// Number of this page, from 1.
    pub page: u32,
    /// Messages on a page.
    pub limit: u32,
    /// Messages of the chat, tombstones included.
    pub total: i64,
    /// Pages of the chat.
    pub pages: i64,
}

/// One row of a chat that has changed, as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Change {
    /// A message is there, edited, or deleted.
    Message(Message),
    /// Somebody takes part or does not, or has read further.
    Member(Member),
}

impl Change {
    /// Number of the change that made it so.
    #[must_use]
    pub fn rev(&self) -> i64 {
        match self {
            Self::Message(message) => message.rev,
            Self::Member(member) => member.rev,
        }
    }
}

/// What has changed in a chat, by rising `rev`. Applied to an older copy, until `has_more` is false, they make it
/// whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Changes {
    /// Each row once, as it is.
    pub items: Vec<Change>,
    /// What to ask after next.
    pub next_rev: i64,
    /// Whether there is more.
    pub has_more: bool,
}

/// How far one is. Only ever goes up: a lower or equal one changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Has reached one of the person's devices.
    Delivered(i64),
    /// Was read; so it was also delivered.
    Read(i64),
}

/// How far one is, and what is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Marked {
    /// Up to where messages have reached one of the person's devices.
    pub delivered_seq: i64,
    /// Up to where the person has read.
    pub read_seq: i64,
    /// Messages of others above that, not deleted.
    pub unread: i64,
    /// Whether the mark has moved anything.
    pub changed: bool,
}

/// How far the participants of a chat are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Receipts {
    /// Each of them, where there are at most 100; else none.
    pub people: Vec<Member>,
    /// How many take part.
    pub participant_count: i64,
    /// What has reached every participant but the asker; the chat's `last_seq` if there is no other.
    pub delivered_to_all: i64,
    /// What every participant but the asker has read; the chat's `last_seq` if there is no other.
    pub read_by_all: i64,
}

/// What a person has not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UnreadTotals {
    /// Chats the person takes part in with something unread.
    pub chats: i64,
    /// Messages in all of them.
    pub messages: i64,
}

/// What a recount has found. Counters are exact, so whatever drifts is a fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Recounted {
    /// Counters that were compared.
    pub counters: i64,
    /// Those that were wrong, and were put right.
    pub wrong: i64,
    /// By how much, summed up without signs.
    pub drift: i64,
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// What to ask for the next one; nothing if this is the last.
    pub next: Option<String>,
}

/// Which page of a list: what the last one named as next, and how many (brought within 1 and 100).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// [`Page::next`] of the last one.
    pub cursor: Option<String>,
    /// At most so many.
    pub limit: u32,
}
