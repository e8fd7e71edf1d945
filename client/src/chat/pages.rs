//! Lists that come in pages, as streams of what is on them.
//!
//! Rule: a page is asked for when the one before has been read, and not before; a stream that has failed can be read on, and
//! asks again for the page that failed.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::cache::Part;
use super::client::Shared;
use super::error::Result;
use super::types::{Chat, ChatId, Message};

/// Messages on a page, if nothing else is asked for.
const PAGE: u32 = 50;

/// Which way a history is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the newest message to the oldest.
    #[default]
    NewestFirst,
    /// From the oldest message to the newest.
    OldestFirst,
}

/// What to read of a history. Made by [`ChatClient::history`](super::ChatClient::history).
#[must_use = "nothing is read before `stream`"]
pub struct History {
    shared: Arc<Shared>,
    chat: ChatId,
    direction: Direction,
    from: Option<i64>,
    page: u32,
}

impl History {
    pub(super) const fn new(shared: Arc<Shared>, chat: ChatId) -> Self {
        Self {
            shared,
            chat,
            direction: Direction::NewestFirst,
            from: None,
            page: PAGE,
        }
    }

    /// Which way. From the newest to the oldest by default.
    pub const fn direction(mut self, direction: Direction) -> Self {
        self.direction = direction;
        self
    }

    /// From this message on, which is not given itself. From the end on by default.
    pub const fn from(mut self, seq: i64) -> Self {
        self.from = Some(seq);
        self
    }

    /// How many messages are asked for at once: 1 to 200, 50 by default.
    pub fn page_size(mut self, count: u32) -> Self {
        self.page = count.clamp(1, 200);
        self
    }

    /// Reads it.
    pub fn stream(self) -> Pages<Message> {
        let Self {
            shared,
            chat,
            direction,
            from,
            page,
        } = self;
        let first = match (direction, from) {
            (Direction::NewestFirst, None) => Part::Newest,
            (Direction::NewestFirst, Some(seq)) => Part::Before(seq),
            (Direction::OldestFirst, from) => Part::After(from.unwrap_or(0)),
        };
        Pages::new(Cursor::Part(first), move |cursor| {
            let shared = Arc::clone(&shared);
            Box::pin(async move {
                let Cursor::Part(part) = cursor else {
                    return Ok((VecDeque::new(), None));
                };
                shared.link.reads.wait().await;
                let read = shared.page(chat, part, page).await?;
                let next = match direction {
                    Direction::NewestFirst if read.has_older => {
                        read.messages.first().map(|first| Part::Before(first.seq))
                    }
                    Direction::OldestFirst if read.has_newer => {
                        read.messages.last().map(|last| Part::After(last.seq))
                    }
                    Direction::NewestFirst | Direction::OldestFirst => None,
                };
                let mut messages: VecDeque<Message> = read.messages.into();
                if direction == Direction::NewestFirst {
                    messages.make_contiguous().reverse();
                }
                Ok((messages, next.map(Cursor::Part)))
            })
        })
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History")
            .field("chat", &self.chat)
            .field("direction", &self.direction)
            .finish_non_exhaustive()
    }
}

/// All chats, the one with the newest message first.
pub(super) fn chats(shared: Arc<Shared>) -> Pages<Chat> {
    Pages::new(Cursor::Named(None), move |cursor| {
        let shared = Arc::clone(&shared);
        Box::pin(async move {
            let Cursor::Named(cursor) = cursor else {
                return Ok((VecDeque::new(), None));
            };
            shared.link.reads.wait().await;
            let (chats, next) = shared.chats(cursor.as_deref()).await?;
            Ok((chats.into(), next.map(|next| Cursor::Named(Some(next)))))
        })
    })
}

/// Where the next page begins.
#[derive(Debug, Clone)]
pub(super) enum Cursor {
    Part(Part),
    Named(Option<String>),
}

pub(super) type Asked<T> =
    Pin<Box<dyn Future<Output = Result<(VecDeque<T>, Option<Cursor>)>> + Send + 'static>>;

/// A list that comes in pages: a [`Stream`] of what is on them, each page asked for when it is needed.
///
/// What fails is given as an error; the next poll asks again for the same page, so that nothing is left out or given twice.
#[must_use = "streams do nothing unless they are polled"]
pub struct Pages<T> {
    read: VecDeque<T>,
    next: Option<Cursor>,
    asked: Option<Asked<T>>,
    ask: Box<dyn Fn(Cursor) -> Asked<T> + Send>,
}

impl<T> Pages<T> {
    pub(super) fn new(first: Cursor, ask: impl Fn(Cursor) -> Asked<T> + Send + 'static) -> Self {
        Self {
            read: VecDeque::new(),
            next: Some(first),
            asked: None,
            ask: Box::new(ask),
        }
    }

    /// The next; `None` at the end. Cancel-safe.
    ///
    /// # Errors
    /// When a page cannot be had; then the next call asks again.
    pub async fn next(&mut self) -> Option<Result<T>>
    where
        T: Unpin,
    {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// All that is left.
    ///
    /// # Errors
    /// The first, after which what was read before is gone.
    pub async fn all(mut self) -> Result<Vec<T>>
    where
        T: Unpin,
    {
        let mut all = Vec::new();
        while let Some(next) = self.next().await {
            all.push(next?);
        }
        Ok(all)
    }
}

impl<T: Unpin> Stream for Pages<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(next) = self.read.pop_front() {
                return Poll::Ready(Some(Ok(next)));
            }
            let Some(cursor) = self.next.clone() else {
                return Poll::Ready(None);
            };
            let this = &mut *self;
            let asked = this.asked.get_or_insert_with(|| (this.ask)(cursor));
            let page = ready!(asked.as_mut().poll(context));
            self.asked = None;
            match page {
                Ok((read, next)) => {
                    self.read = read;
                    self.next = next;
                }
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }
}

impl<T> fmt::Debug for Pages<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages")
            .field("read", &self.read.len())
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}
