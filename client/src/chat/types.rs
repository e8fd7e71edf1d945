//! The words of the companion as the client has them: chats, messages, and how far people are.
//!
//! Plain data. Knows neither HTTP nor what the companion is made of: a field that is not known here is passed over, so that a
//! companion may say more than this client understands.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChatId(pub Uuid);

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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

impl FromStr for ChatId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl FromStr for MessageId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// A message as the companion has stored it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// The chat it is in.
    pub chat: ChatId,
    /// Its place in the chat: dense, from 1.
    pub seq: i64,
    /// Number of the change of the chat that made it what it is. Of two copies the one with the higher number is newer.
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
    #[serde(default)]
    pub attachments: Vec<Attachment>,
    /// When it was stored, by the companion's clock.
    #[serde(with = "rfc3339")]
    pub created_at: SystemTime,
    /// When it was last edited.
    #[serde(default, with = "rfc3339::optional")]
    pub edited_at: Option<SystemTime>,
    /// When it was deleted: then this is what is left of it.
    #[serde(default, with = "rfc3339::optional")]
    pub deleted_at: Option<SystemTime>,
    /// Taken while the lock server could not be asked who holds the chat.
    #[serde(default)]
    pub unguarded: bool,
}

impl Message {
    /// What it costs to keep, in bytes, about.
    pub(super) fn weight(&self) -> usize {
        let attached = self.attachments.iter().map(Attachment::weight);
        let texts = self.sender.len() + self.sender_name.len() + self.client_msg_id.len();
        size_of::<Self>() + texts + self.body.len() + attached.sum::<usize>()
    }
}

/// Something that hangs on a message: what it is and where it lies, never its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// File name: 1 to 255 characters.
    pub name: String,
    /// Media type, `image/png`: at most 127 bytes.
    pub media_type: String,
    /// Its size in bytes.
    pub bytes: i64,
    /// Where it lies: `http` or `https`, at most 2,048 bytes.
    pub url: String,
}

impl Attachment {
    fn weight(&self) -> usize {
        size_of::<Self>() + self.name.len() + self.media_type.len() + self.url.len()
    }
}

/// A message that is to be sent. Made from its text, or by [`NewMessage::text`].
///
/// It can be stored and read again (`serde`), so that what [`close`](super::ChatClient::close) gives back can be sent by
/// another process, once: the name that it is known by goes with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[must_use = "a message does nothing until it is sent"]
pub struct NewMessage {
    pub(super) client_msg_id: String,
    pub(super) body: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) attachments: Vec<Attachment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expected_last_seq: Option<i64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) force: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) lock_token: Option<u64>,
}

/// Longest name of a message, in characters.
const CLIENT_MSG_ID_MAX: usize = 64;

/// Longest text, in bytes.
const BODY_BYTES_MAX: usize = 16_384;

/// Most that may hang on a message.
const ATTACHMENTS_MAX: usize = 16;

impl NewMessage {
    /// One that says this, at most 16,384 bytes, under a name that nobody has used.
    pub fn text(body: impl Into<String>) -> Self {
        Self {
            client_msg_id: Uuid::now_v7().to_string(),
            body: body.into(),
            attachments: Vec::new(),
            expected_last_seq: None,
            force: false,
            lock_token: None,
        }
    }

    /// The name that it is known by, for good: 1 to 64 characters. The same name in the same chat is the same message,
    /// however often it is sent. By default one that nobody has used.
    pub fn client_msg_id(mut self, id: impl Into<String>) -> Self {
        self.client_msg_id = id.into();
        self
    }

    /// Hangs something on it: at most 16.
    pub fn attach(mut self, attachment: Attachment) -> Self {
        self.attachments.push(attachment);
        self
    }

    /// The last message of the chat that the sender has seen: if there is a newer one it is not sent, and the error is
    /// [`StaleView`](super::ErrorKind::StaleView) with what was missed.
    pub const fn expected_last_seq(mut self, seq: i64) -> Self {
        self.expected_last_seq = Some(seq);
        self
    }

    /// Sends it although there is a newer message than was expected. Leaves a line in the audit log.
    pub const fn force(mut self) -> Self {
        self.force = true;
        self
    }

    /// The token of the sender's lock on the chat: if somebody else has had the lock since, it is not sent, and the error is
    /// [`StaleToken`](super::ErrorKind::StaleToken).
    pub const fn lock_token(mut self, token: u64) -> Self {
        self.lock_token = Some(token);
        self
    }

    /// What will be wrong however often it is sent.
    pub(super) fn fault(&self) -> Option<String> {
        let id = self.client_msg_id.chars().count();
        if !(1..=CLIENT_MSG_ID_MAX).contains(&id) {
            let bounds = format!("expected 1 to {CLIENT_MSG_ID_MAX} characters");
            return Some(format!("client_msg_id: {bounds}, found {id}"));
        }
        if self.body.len() > BODY_BYTES_MAX {
            let found = self.body.len();
            return Some(format!(
                "body: expected at most {BODY_BYTES_MAX} bytes, found {found}"
            ));
        }
        if self.body.is_empty() && self.attachments.is_empty() {
            return Some("body: expected a text or an attachment, found neither".to_owned());
        }
        let attached = self.attachments.len();
        (attached > ATTACHMENTS_MAX)
            .then(|| format!("attachments: expected at most {ATTACHMENTS_MAX}, found {attached}"))
    }

    /// What it costs to keep, in bytes, about.
    pub(super) fn weight(&self) -> usize {
        let attached = self.attachments.iter().map(Attachment::weight);
        size_of::<Self>() + self.client_msg_id.len() + self.body.len() + attached.sum::<usize>()
    }
}

impl From<&str> for NewMessage {
    fn from(body: &str) -> Self {
        Self::text(body)
    }
}

impl From<String> for NewMessage {
    fn from(body: String) -> Self {
        Self::text(body)
    }
}

/// A message that was not sent when the client was closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsent {
    /// Where it was to go.
    pub chat: ChatId,
    /// What was to be sent. Send it again as it is: should it have been stored after all, it is stored once.
    pub message: NewMessage,
}

/// A chat that is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewChat {
    /// Whom it is for.
    #[serde(default)]
    pub audience: Audience,
    /// What it is called: at most 200 characters.
    #[serde(default)]
    pub title: Option<String>,
    /// Who takes part, besides whoever makes it: at most 256 in all.
    #[serde(default)]
    pub participants: Vec<Participant>,
    /// The name that it is known by: the same name of the same person is the same chat. Made up by the client if there is
    /// none, so that a chat is made once even if the answer to the first request was lost. 1 to 64 characters.
    #[serde(default)]
    pub client_chat_id: Option<String>,
}

/// Whom a chat is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// Its participants; nobody else knows that it exists.
    #[default]
    Participants,
    /// Everybody of the organisation.
    Org,
}

/// Somebody who takes part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Participant {
    /// The person: 1 to 128 bytes.
    pub person: String,
    /// How others see the person: at most 200 characters.
    pub name: String,
}

/// A chat as one person sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Chat {
    /// Its id.
    pub id: ChatId,
    /// Whom it is for.
    pub audience: Audience,
    /// What it is called.
    pub title: Option<String>,
    /// Who made it.
    pub created_by: String,
    /// When its last message came; when it was made, if there is none.
    #[serde(with = "rfc3339")]
    pub last_activity_at: SystemTime,
    /// Number of its last message; 0 if there is none.
    pub last_seq: i64,
    /// Number of its last change, of whatever kind.
    pub rev: i64,
    /// Its last message, deleted or not.
    pub last_message: Option<Message>,
    /// Who takes part: all of them for one chat, the first 16 in a list.
    pub participants: Vec<Participant>,
    /// How many take part.
    pub participant_count: i64,
    /// Up to where messages have reached one of the asker's devices.
    pub delivered_seq: i64,
    /// Up to where the asker has read.
    pub read_seq: i64,
    /// Messages of others above `read_seq` that are not deleted.
    pub unread: i64,
}

/// Somebody in a chat, with how far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Member {
    /// The person.
    pub person: String,
    /// How others see the person.
    pub name: String,
    /// Whether the person takes part.
    pub participating: bool,
    /// Up to where messages have reached one of the person's devices.
    pub delivered_seq: i64,
    /// Up to where the person has read.
    pub read_seq: i64,
    /// Number of the change of the chat that made it so.
    pub rev: i64,
}

/// How far one is, and what is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Marked {
    /// Up to where messages have reached one of the person's devices.
    pub delivered_seq: i64,
    /// Up to where the person has read.
    pub read_seq: i64,
    /// Messages of others above that, not deleted.
    pub unread: i64,
}

/// How far the participants of a chat are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Receipts {
    /// Each of them, where there are at most 100; else none.
    pub people: Vec<Member>,
    /// How many take part.
    pub participant_count: i64,
    /// Up to where messages have reached every participant but the asker.
    pub delivered_to_all: i64,
    /// Up to where every participant but the asker has read.
    pub read_by_all: i64,
}

/// What a person has not read, in all chats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Unread {
    /// Chats the person takes part in with something unread.
    pub chats: i64,
    /// Messages in all of them.
    pub messages: i64,
}

/// Who has a chat's lock, as a refusal tells it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct ChatLock {
    /// The fencing token.
    pub token: Option<u64>,
    /// Who holds it, longest first; at most the first of many.
    #[serde(default)]
    pub holders: Vec<ChatHolder>,
}

/// One who holds a chat.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct ChatHolder {
    /// The person.
    pub person: String,
    /// How others see the person.
    pub name: String,
    /// For how long still, in milliseconds, unless it is kept.
    pub remaining_ms: u64,
}

/// Times as the companion spells them.
mod rfc3339 {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(
        at: &SystemTime,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_rfc3339_millis(*at))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_rfc3339(&text).map_err(D::Error::custom)
    }

    pub(super) mod optional {
        use super::{Deserialize, Deserializer, Serializer, SystemTime};

        #[derive(Deserialize)]
        struct At(#[serde(with = "super")] SystemTime);

        #[expect(clippy::ref_option, reason = "serde gives it so")]
        pub(in super::super) fn serialize<S: Serializer>(
            at: &Option<SystemTime>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match at {
                Some(at) => super::serialize(at, serializer),
                None => serializer.serialize_none(),
            }
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<SystemTime>, D::Error> {
            Ok(Option::<At>::deserialize(deserializer)?.map(|at| at.0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_message_is_said_before_it_is_queued() {
        let fault = |message: NewMessage| message.fault().unwrap_or_default();
        assert_eq!(fault(NewMessage::text("hello")), "");
        assert!(fault(NewMessage::text("")).starts_with("body"));
        assert!(fault(NewMessage::text("a".repeat(BODY_BYTES_MAX + 1))).starts_with("body"));
        assert!(fault(NewMessage::text("a").client_msg_id("")).starts_with("client_msg_id"));
        let long = "ü".repeat(CLIENT_MSG_ID_MAX);
        assert_eq!(fault(NewMessage::text("a").client_msg_id(long)), "");
    }

    #[test]
    fn a_message_survives_being_stored_and_read() {
        let message = NewMessage::text("hello").expected_last_seq(7).lock_token(9);
        let text = serde_json::to_string(&message).unwrap();
        assert_eq!(serde_json::from_str::<NewMessage>(&text).unwrap(), message);
        let stored = r#"{"id":"01a1fa84-22ec-763e-84b7-b8756a777d05","chat":"01a1fa84-1eda-7922-8201-5644031292c5",
            "seq":1,"rev":3,"sender":"ada","sender_name":"Ada","client_msg_id":"m1","body":"Hello","attachments":[],
            "created_at":"2026-11-20T09:30:00.125Z","edited_at":null,"deleted_at":null,"unguarded":false,"later":1}"#;
        let stored: Message = serde_json::from_str(stored).unwrap();
        let again = serde_json::to_string(&stored).unwrap();
        assert_eq!(serde_json::from_str::<Message>(&again).unwrap(), stored);
    }
}
