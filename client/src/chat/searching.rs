//! Looking for messages: what is asked, and what is found, as a stream of pages.
//!
//! Rule: what is looked for is words; whatever is in them goes to the companion as they are.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::client::Shared;
use super::link::Ask;
use super::pages::{Cursor, Pages};
use super::types::{ChatId, Message};

/// Messages on a page, if nothing else is asked for.
const PAGE: u32 = 20;

/// What to look for. Made by [`ChatClient::search`](super::ChatClient::search).
#[must_use = "nothing is looked for before `stream`"]
pub struct Search {
    shared: Arc<Shared>,
    words: String,
    chat: Option<ChatId>,
    page: u32,
}

/// A message that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Hit {
    /// The message.
    pub message: Message,
    /// The part of it that says what was looked for.
    pub snippet: String,
    /// Where in the snippet the words are, as `[from, to)` in characters.
    pub matches: Vec<(u32, u32)>,
}

/// A page as the companion writes it.
#[derive(Deserialize)]
struct Found {
    items: Vec<Hit>,
    next: Option<String>,
}

impl Search {
    pub(super) const fn new(shared: Arc<Shared>, words: String) -> Self {
        Self {
            shared,
            words,
            chat: None,
            page: PAGE,
        }
    }

    /// In this chat alone. In all that one may see by default.
    pub const fn chat(mut self, chat: ChatId) -> Self {
        self.chat = Some(chat);
        self
    }

    /// How many are asked for at once: 1 to 100, 20 by default.
    pub fn page_size(mut self, count: u32) -> Self {
        self.page = count.clamp(1, 100);
        self
    }

    /// Looks, newest first. What is sent meanwhile is not found.
    pub fn stream(self) -> Pages<Hit> {
        let Self {
            shared,
            words,
            chat,
            page,
        } = self;
        let mut path = format!("/v1/search?limit={page}&q={}", quoted(&words));
        if let Some(chat) = chat {
            let _ = write!(path, "&chat={chat}");
        }
        Pages::new(Cursor::Named(None), move |cursor| {
            let (shared, mut path) = (Arc::clone(&shared), path.clone());
            Box::pin(async move {
                if let Cursor::Named(Some(cursor)) = cursor {
                    let _ = write!(path, "&cursor={}", quoted(&cursor));
                }
                shared.link.reads.wait().await;
                let found: Found = shared.link.call(&Ask::get(path)).await?;
                let next = found.next.map(|next| Cursor::Named(Some(next)));
                Ok((VecDeque::from(found.items), next))
            })
        })
    }
}

impl fmt::Debug for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Search")
            .field("chat", &self.chat)
            .finish_non_exhaustive()
    }
}

/// As a part of a query: whatever could mean something there is spelled by its bytes.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            quoted.push(char::from(byte));
        } else {
            let _ = write!(quoted, "%{byte:02X}");
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_words_whatever_is_in_them() {
        assert_eq!(quoted("kiwi-fruit_1.2~"), "kiwi-fruit_1.2~");
        assert_eq!(quoted("a&b=c d+e"), "a%26b%3Dc%20d%2Be");
        assert_eq!(quoted("\u{fc}ber%#?/\n"), "%C3%BCber%25%23%3F%2F%0A");
    }
}
