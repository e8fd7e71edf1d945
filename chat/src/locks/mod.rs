//! Locks and presence: all that is said to the lock server on behalf of browsers.
//!
//! Knows neither HTTP nor the database. Each browser is a session of the lock server (`sessions.rs`, `browser.rs`); its
//! holds are watched by a task each (`hold.rs`). Rule: what is known here may be gone a moment later, and the lock server
//! alone decides; the token in the database makes that harmless.

mod breaker;
mod browser;
mod hold;
mod link;
mod sessions;
mod view;

use std::fmt;

use uuid::Uuid;

use crate::store::ChatId;

pub(crate) use browser::{Does, Granted, Told, Wish};
pub(crate) use link::{ANSWER_WITHIN, Link, Trouble};
pub(crate) use sessions::{LOOK_EVERY, Present, Sessions};
pub(crate) use view::{LockView, LossView, ViewersView, at, millis};

/// The kind of the paths that chats have at the lock server.
pub(crate) const CHAT_KIND: &str = "chat";

/// The kind of the paths that persons are told things at.
pub(crate) const USER_KIND: &str = "user";

/// Where a chat is at the lock server: its lock, who is there, and what happens in it.
#[must_use]
pub(crate) fn chat_path(chat: ChatId) -> String {
    format!("{CHAT_KIND}/{chat}")
}

/// Which chat a path is of, if any.
#[must_use]
pub(crate) fn chat_at(path: &str) -> Option<ChatId> {
    let id = path.strip_prefix(CHAT_KIND)?.strip_prefix('/')?;
    Uuid::parse_str(id).ok().map(ChatId)
}

/// Where a person is told what concerns them alone.
#[must_use]
pub(crate) fn person_path(person: impl fmt::Display) -> String {
    format!("{USER_KIND}/{person}")
}

/// Whether a path is of this service: nobody locks it as a document.
#[must_use]
pub(crate) fn is_reserved(path: &str) -> bool {
    let kind = path.split('/').next().unwrap_or_default();
    [CHAT_KIND, USER_KIND].contains(&kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chat_is_found_where_it_was_put() {
        let chat = ChatId(Uuid::now_v7());
        assert_eq!(chat_at(&chat_path(chat)), Some(chat));
        for other in ["chat", "chat/", "chat/42", "chats/1", "doc/1"] {
            assert_eq!(chat_at(other), None, "{other}");
        }
    }

    #[test]
    fn documents_are_not_chats() {
        assert!(is_reserved("chat/42") && is_reserved("chat") && is_reserved("user/ada"));
        assert!(!is_reserved("chats/42") && !is_reserved("doc/chat/42"));
    }
}
