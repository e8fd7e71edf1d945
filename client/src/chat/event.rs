//! What the feed tells, as values, and where each stands.
//!
//! Pure. Rule: what is not known here is passed on as it came, so that a companion may tell more than this client understands.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::types::{ChatId, Member, Message};

/// Something that the feed has told.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Told {
    /// Where it stands: what [`resume_from`](super::ChatOptions::resume_from) goes on after. What is state, such as who
    /// types, stands nowhere, and is told whole each time.
    pub id: Option<Arc<str>>,
    /// What it is.
    pub event: Event,
}

/// What has happened in the chats that one may see, and what concerns oneself.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The feed runs, at first or again.
    Ready(Recovery),
    /// A message was sent.
    MessageCreated(MessageEvent),
    /// A message was edited.
    MessageUpdated(MessageEvent),
    /// A message was deleted.
    MessageDeleted(MessageEvent),
    /// Somebody has been reached, or has read, further.
    MessagesRead {
        /// The chat.
        chat: ChatId,
        /// Number of the change of the chat.
        rev: i64,
        /// Who, and how far.
        member: Member,
    },
    /// Somebody else has written, or one's own other device has read: what is unread by now.
    Notification {
        /// The chat.
        chat: ChatId,
        /// Number of the change of the chat.
        rev: i64,
        /// Messages of others that one has not read.
        unread: i64,
    },
    /// A chat was made that one may see.
    ChatCreated {
        /// The chat.
        chat: ChatId,
        /// Number of the change of the chat.
        rev: i64,
    },
    /// A chat is gone.
    ChatDeleted {
        /// The chat.
        chat: ChatId,
        /// Number of the change of the chat.
        rev: i64,
    },
    /// Somebody takes part or does so no more; perhaps oneself.
    ParticipantsChanged {
        /// The chat.
        chat: ChatId,
        /// Number of the change of the chat.
        rev: i64,
    },
    /// Somebody holds a chat.
    Locked {
        /// The chat.
        chat: ChatId,
        /// Who holds it.
        person: String,
        /// How they are called.
        name: String,
        /// The fencing token.
        token: u64,
    },
    /// Somebody holds a chat no more.
    Unlocked {
        /// The chat.
        chat: ChatId,
        /// Who held it.
        person: String,
        /// How they are called.
        name: String,
        /// How it ended: `released`, `expired`, `seized` and others.
        cause: String,
    },
    /// Who types in a chat: all of them.
    Typing {
        /// The chat.
        chat: ChatId,
        /// Who, at most the first hundred.
        people: Vec<Viewer>,
    },
    /// Who is in a chat: all of them.
    Viewers {
        /// The chat.
        chat: ChatId,
        /// Who, at most the first hundred.
        people: Vec<Viewer>,
    },
    /// Something was left out: read anew what you show, and go on.
    Lost {
        /// Why: `slow_reader` (you), `ended` (the position is not known any more) and what the companion says.
        why: String,
    },
    /// What this client has no name for.
    Other {
        /// What the feed calls it.
        name: String,
        /// Its particulars.
        data: Value,
    },
}

/// What has been told about a message.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct MessageEvent {
    /// The chat.
    pub chat: ChatId,
    /// Number of the change of the chat.
    pub rev: i64,
    /// The message as it is from then on; `None` when it is too large to be told: read it.
    #[serde(default)]
    pub message: Option<Message>,
}

/// Somebody who is in a chat.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Viewer {
    /// The person.
    pub person: String,
    /// How others see them.
    pub name: String,
    /// `viewing`, `idle`, `typing` or `editing`.
    pub activity: String,
    /// Whether they type for members and higher alone. Guests are told that they are viewing.
    #[serde(default)]
    pub internal: bool,
}

/// Where a feed begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Recovery {
    /// Here.
    Fresh,
    /// Where it was: everything since follows, and nothing twice.
    Exact,
    /// Here, and something before was lost: read anew what you show.
    Lost,
}

impl Event {
    /// Whether something may have happened that was not told: what is shown has to be read anew.
    #[must_use]
    pub const fn is_loss(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::Ready(Recovery::Lost))
    }
}

/// Where something stands among the changes of its chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) chat: ChatId,
    pub(super) rev: i64,
}

/// What the feed has said, and which change it is about.
pub(super) fn parse(name: &str, data: &str) -> (Event, Option<Change>) {
    let Ok(data) = serde_json::from_str::<Value>(data) else {
        let (name, data) = (name.to_owned(), Value::String(data.to_owned()));
        return (Event::Other { name, data }, None);
    };
    let change = change(&data);
    let event = known(name, &data).unwrap_or_else(|| Event::Other {
        name: name.to_owned(),
        data,
    });
    (event, change)
}

fn known(name: &str, data: &Value) -> Option<Event> {
    let text = |field: &str| Some(data[field].as_str()?.to_owned());
    let changed = || change(data);
    Some(match name {
        "ready" => Event::Ready(read(&data["recovery"])?),
        "message.created" => Event::MessageCreated(read(data)?),
        "message.updated" => Event::MessageUpdated(read(data)?),
        "message.deleted" => Event::MessageDeleted(read(data)?),
        "messages.read" => {
            let Change { chat, rev } = changed()?;
            let member = read(&data["member"])?;
            Event::MessagesRead { chat, rev, member }
        }
        "message.notification" => {
            let Change { chat, rev } = changed()?;
            let unread = data["unread"].as_i64()?;
            Event::Notification { chat, rev, unread }
        }
        "chat.created" => changed().map(|Change { chat, rev }| Event::ChatCreated { chat, rev })?,
        "chat.deleted" => changed().map(|Change { chat, rev }| Event::ChatDeleted { chat, rev })?,
        "participants.changed" => {
            changed().map(|Change { chat, rev }| Event::ParticipantsChanged { chat, rev })?
        }
        "chat.locked" => Event::Locked {
            chat: read(&data["chat"])?,
            person: text("person")?,
            name: text("name")?,
            token: data["token"].as_u64()?,
        },
        "chat.unlocked" => Event::Unlocked {
            chat: read(&data["chat"])?,
            person: text("person")?,
            name: text("name")?,
            cause: text("cause")?,
        },
        "typing" => Event::Typing {
            chat: read(&data["chat"])?,
            people: read(&data["people"])?,
        },
        "viewers.changed" => Event::Viewers {
            chat: read(&data["chat"])?,
            people: read(&data["viewers"]["people"])?,
        },
        "lost" => Event::Lost { why: text("why")? },
        _ => return None,
    })
}

fn change(data: &Value) -> Option<Change> {
    Some(Change {
        chat: read(&data["chat"])?,
        rev: data["rev"].as_i64()?,
    })
}

fn read<T: DeserializeOwned>(value: &Value) -> Option<T> {
    T::deserialize(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAT: &str = "01a1fa84-1eda-7922-8201-5644031292c5";

    fn event(name: &str, data: &str) -> Event {
        parse(name, &data.replace("CHAT", CHAT)).0
    }

    #[test]
    fn what_is_known_is_typed_and_what_is_not_is_passed_on() {
        let chat: ChatId = CHAT.parse().unwrap();
        assert_eq!(
            event("ready", r#"{"recovery":"exact","person":"bob"}"#),
            Event::Ready(Recovery::Exact)
        );
        assert!(event("ready", r#"{"recovery":"lost"}"#).is_loss());
        assert!(event("lost", r#"{"why":"slow_reader"}"#).is_loss());
        assert_eq!(
            event(
                "message.notification",
                r#"{"chat":"CHAT","rev":3,"unread":1}"#
            ),
            Event::Notification {
                chat,
                rev: 3,
                unread: 1
            }
        );
        let truncated = event(
            "message.created",
            r#"{"chat":"CHAT","rev":3,"truncated":true}"#,
        );
        let expected = MessageEvent {
            chat,
            rev: 3,
            message: None,
        };
        assert_eq!(truncated, Event::MessageCreated(expected));
        let unlocked = event(
            "chat.unlocked",
            r#"{"at":"x","chat":"CHAT","person":"ada","name":"Ada","token":4,"cause":"expired","held_ms":1}"#,
        );
        assert!(matches!(unlocked, Event::Unlocked { cause, .. } if cause == "expired"));
        let typing = event(
            "typing",
            r#"{"chat":"CHAT","count":1,"people":[{"person":"ada","name":"Ada","activity":"typing","since":"x"}]}"#,
        );
        assert!(matches!(typing, Event::Typing { people, .. } if people[0].person == "ada"));
        for (name, data) in [
            ("brand.new", "{\"a\":1}"),
            ("message.created", "{}"),
            ("x", "no JSON"),
        ] {
            assert!(matches!(event(name, data), Event::Other { name: found, .. } if found == name));
        }
    }

    #[test]
    fn what_is_about_a_change_says_which() {
        let (_, change) = parse("anything", &format!(r#"{{"chat":"{CHAT}","rev":9}}"#));
        assert_eq!(change.map(|change| change.rev), Some(9));
        assert_eq!(parse("typing", &format!(r#"{{"chat":"{CHAT}"}}"#)).1, None);
    }
}
