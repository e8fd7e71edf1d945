//! The words for what is done besides talking: what has to be told, what was done, what is looked for, what is old.
//!
//! As in `types.rs`, what is answered has one form in JSON, and what comes in is checked by `limits.rs`. Knows no SQL.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::types::{
    Attachment, Audience, ChatId, Message, MessageId, NewParticipant, PageRequest, UnixMs,
};

/// Who may hear of a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listeners {
    /// Whom it is for.
    pub audience: Audience,
    /// Who takes part.
    pub people: Vec<String>,
}

/// Something to be told through Tenure, in the order of its chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    /// What to say when it is done.
    pub id: i64,
    /// The chat's organisation.
    pub org: String,
    /// The chat it is about; rows of one chat are told in their order.
    pub chat: ChatId,
    /// The chat's `rev` as of this; rises within a chat.
    pub rev: i64,
    /// The same however often it is told, so that Tenure tells it once.
    pub event_id: Uuid,
    /// What has happened.
    pub event: EventName,
    /// Its particulars, as JSON.
    pub payload: String,
    /// Whom to tell besides on their own paths, and what each has not read by then.
    pub notify: Vec<Notify>,
    /// When it was committed, to within the transaction.
    pub committed_at: UnixMs,
    /// How often it was taken before.
    pub attempts: i64,
}

/// Somebody to be told on a path of one's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notify {
    /// The person.
    pub person: String,
    /// What the person has not read in the chat.
    pub unread: i64,
}

/// What has happened in a chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub enum EventName {
    /// A chat was made. Payload: chat, rev, audience, title, participants.
    #[serde(rename = "chat.created")]
    ChatCreated,
    /// An empty chat was cleaned up. Payload: chat, rev.
    #[serde(rename = "chat.deleted")]
    ChatDeleted,
    /// Somebody takes part or does so no more. Payload: chat, rev, added, removed.
    #[serde(rename = "participants.changed")]
    ParticipantsChanged,
    /// A message was sent. Payload: chat, rev, message.
    #[serde(rename = "message.created")]
    MessageCreated,
    /// A message was edited. Payload: chat, rev, message.
    #[serde(rename = "message.updated")]
    MessageUpdated,
    /// A message was deleted. Payload: chat, rev, message (a tombstone).
    #[serde(rename = "message.deleted")]
    MessageDeleted,
    /// Somebody has been reached, or has read, further. Payload: chat, rev, member.
    #[serde(rename = "messages.read")]
    MessagesRead,
}

/// What waits in the outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxLag {
    /// So many rows.
    pub rows: i64,
    /// The oldest for so long.
    pub oldest: Duration,
}

/// A line for the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAudit {
    /// What was done, `noun.verb`: `lock.force_released`.
    pub act: String,
    /// The chat it was done to.
    pub chat: Option<ChatId>,
    /// Particulars, as JSON: at most 4,096 bytes.
    pub detail: serde_json::Value,
}

/// A line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditLine {
    /// Its number; rises with time.
    pub id: i64,
    /// When.
    pub at: UnixMs,
    /// Who; `system` for what runs by itself.
    pub actor: String,
    /// What was done, `noun.verb`.
    pub act: String,
    /// The chat it was done to.
    pub chat: Option<ChatId>,
    /// To how many things it was done: 1, but for runs that go on in steps.
    pub count: i64,
    /// Particulars.
    pub detail: serde_json::Value,
}

/// A message from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Who has sent it; need not take part.
    pub sender: NewParticipant,
    /// What the sender's client called it.
    pub client_msg_id: String,
    /// What it says.
    pub body: String,
    /// What hangs on it.
    pub attachments: Vec<Attachment>,
    /// When it was sent. One that is older than the message before it gets that one's time.
    pub created_at: UnixMs,
}

/// What to look for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchRequest {
    /// Words, all of which have to be there, in any order. Never a query language.
    pub text: String,
    /// In this chat alone.
    pub chat: Option<ChatId>,
    /// Which page, newest first.
    pub page: PageRequest,
}

/// What was found, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Found {
    /// The messages.
    pub items: Vec<Hit>,
    /// What to ask for the next page; nothing if this is the last.
    pub next: Option<String>,
    /// The newest message that was looked at; all older ones were.
    pub reaches: Option<Reach>,
}

/// A message that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Hit {
    /// The message.
    pub message: Message,
    /// The part of it that says what was looked for.
    pub snippet: String,
    /// Where in the snippet the words are, as `[from, to)` in characters.
    pub matches: Vec<(u32, u32)>,
}

/// Up to where an index reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reach {
    /// Its chat.
    pub chat: ChatId,
    /// The message.
    pub message: MessageId,
    /// Its place in the chat.
    pub seq: i64,
}

/// What an archive run does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveRun {
    /// Its name, for the audit log, which has one line for each run and organisation.
    pub run: Uuid,
    /// Whether anything older than this moves to the archive, or an empty chat without activity since is cleaned up.
    pub before: UnixMs,
    /// This organisation alone.
    pub org: Option<String>,
    /// Rows for each step: brought within 1 and 10,000. Senders wait for one step at most.
    pub batch: u32,
}

/// Whose turn it is at what is done now and then by one worker of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The asker's, until the lease is over.
    Mine,
    /// Another's, whose lease has so much left.
    Others(Duration),
    /// Nobody's: it was done, and is due in so long.
    Later(Duration),
}

/// What one step has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArchiveStep {
    /// Messages moved, or chats cleaned up.
    pub done: i64,
    /// Where the next step begins; nothing if this was the last.
    pub next: Option<ChatId>,
}
