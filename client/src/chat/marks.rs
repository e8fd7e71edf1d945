//! How far one has read, told late and together: of a chat only the highest mark is told, and not more often than it should be.
//!
//! The table is pure, time being an argument; one task empties it. Rules: a mark only ever goes up; one that is lower than what
//! is known or under way costs nothing; whoever waits is answered when a mark as high as theirs is known to the companion.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::client::Shared;
use super::error::{Error, ErrorKind, Result};
use super::link::{Ask, is_passing};
use super::types::{ChatId, Marked};

/// Chats whose marks may wait at a time.
const WAITING_MAX: usize = 10_000;

/// Chats of which is remembered how far one is, so that lower marks cost nothing.
const KNOWN_MAX: usize = 10_000;

/// Up to where messages have reached this device, and were read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Marks {
    pub(super) delivered_seq: i64,
    pub(super) read_seq: i64,
}

impl Marks {
    fn max(self, other: Self) -> Self {
        Self {
            delivered_seq: self.delivered_seq.max(other.delivered_seq),
            read_seq: self.read_seq.max(other.read_seq),
        }
    }

    /// What was read was delivered.
    fn covers(self, other: Self) -> bool {
        self.read_seq >= other.read_seq
            && self.delivered_seq.max(self.read_seq) >= other.delivered_seq
    }
}

/// A mark that was taken. Nobody needs to wait for it.
#[derive(Debug, Clone)]
pub struct Marking(Fate);

type Outcome = Option<Result<Marked>>;

#[derive(Debug, Clone)]
enum Fate {
    Known(Marked),
    Waits(watch::Receiver<Outcome>),
}

impl Marking {
    /// Waits until the companion knows: how far one is, over all devices.
    ///
    /// # Errors
    /// What the companion says when it does not take it, such as [`NotFound`](ErrorKind::NotFound);
    /// [`Closed`](ErrorKind::Closed).
    pub async fn settled(self) -> Result<Marked> {
        match self.0 {
            Fate::Known(marked) => Ok(marked),
            Fate::Waits(mut outcome) => {
                let closed = || Err(Error::new(ErrorKind::Closed, ""));
                match outcome.wait_for(Option::is_some).await {
                    Ok(outcome) => outcome.clone().unwrap_or_else(closed),
                    Err(_) => closed(),
                }
            }
        }
    }
}

/// What waits to be told, and what is known.
#[derive(Debug, Default)]
pub(super) struct MarkTable {
    waiting: HashMap<ChatId, Waiting>,
    known: HashMap<ChatId, Marked>,
}

/// Marks of one chat that wait.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) marks: Marks,
    due: Instant,
    told: watch::Sender<Outcome>,
}

impl MarkTable {
    /// Takes a mark. It is told no earlier than after the pause, with all that come until then.
    pub(super) fn mark(
        &mut self,
        now: Instant,
        pause: Duration,
        chat: ChatId,
        marks: Marks,
    ) -> Result<Marking> {
        if let Some(waiting) = self.waiting.get_mut(&chat) {
            waiting.marks = waiting.marks.max(marks);
            return Ok(Marking(Fate::Waits(waiting.told.subscribe())));
        }
        if let Some(known) = self.known.get(&chat) {
            let so_far = Marks {
                delivered_seq: known.delivered_seq,
                read_seq: known.read_seq,
            };
            if so_far.covers(marks) {
                return Ok(Marking(Fate::Known(*known)));
            }
        }
        if self.waiting.len() >= WAITING_MAX {
            let why = "marks of as many chats wait to be told as may";
            return Err(Error::new(ErrorKind::QueueFull, why).with_retry_after(pause));
        }
        let (told, outcome) = watch::channel(None);
        let due = now + pause;
        self.waiting.insert(chat, Waiting { marks, due, told });
        Ok(Marking(Fate::Waits(outcome)))
    }

    /// The chat whose marks are due first, and when. Looks at each.
    pub(super) fn next(&self) -> Option<(Instant, ChatId)> {
        self.waiting
            .iter()
            .map(|(chat, waiting)| (waiting.due, *chat))
            .min()
    }

    /// Takes the marks of a chat out, to be told.
    pub(super) fn take(&mut self, chat: ChatId) -> Option<Waiting> {
        self.waiting.remove(&chat)
    }

    /// They could not be told: they wait again, with what has come meanwhile.
    pub(super) fn put_back(&mut self, chat: ChatId, due: Instant, before: Waiting) {
        let Some(since) = self.waiting.get_mut(&chat) else {
            self.waiting.insert(chat, Waiting { due, ..before });
            return;
        };
        since.marks = since.marks.max(before.marks);
        since.due = since.due.max(due);
        // Whoever waits for either is answered with both.
        let outcome = since.told.subscribe();
        tokio::spawn(pass_on(outcome, before.told));
    }

    /// They were told, or never will be.
    pub(super) fn settle(&mut self, chat: ChatId, waiting: &Waiting, outcome: Result<Marked>) {
        if let Ok(marked) = &outcome {
            if self.known.len() >= KNOWN_MAX {
                self.known.clear();
            }
            self.known.insert(chat, *marked);
        }
        waiting.told.send_replace(Some(outcome));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

async fn pass_on(mut outcome: watch::Receiver<Outcome>, to: watch::Sender<Outcome>) {
    if let Ok(outcome) = outcome.wait_for(Option::is_some).await {
        to.send_replace(outcome.clone());
    }
}

/// Tells marks as they are due, for as long as the client is there.
pub(super) async fn run(shared: Arc<Shared>) {
    tokio::select! {
        () = tell_all(&shared) => {}
        () = shared.link.shutdown.cancelled() => {}
    }
}

async fn tell_all(shared: &Shared) {
    let mut back_off = shared.link.new_back_off();
    loop {
        let bell = shared.marked.notified();
        let next = shared.marks.lock().next();
        let Some((due, chat)) = next else {
            bell.await;
            continue;
        };
        tokio::select! {
            () = sleep_until(due) => {}
            // Of another chat, perhaps due earlier.
            () = bell => continue,
        }
        shared.link.token().await;
        shared.link.worth_asking().await;
        shared.link.reads.wait().await;
        let Some(waiting) = shared.marks.lock().take(chat) else {
            continue;
        };
        let outcome = tell(shared, chat, waiting.marks).await;
        match outcome {
            Err(error) if is_passing(&error) || error.kind() == ErrorKind::Unauthorized => {
                let pause = back_off.next(fastrand::f64(), error.retry_after());
                let due = Instant::now() + pause;
                shared.marks.lock().put_back(chat, due, waiting);
            }
            outcome => {
                back_off.reset();
                shared.marks.lock().settle(chat, &waiting, outcome);
                shared.moved.notify_waiters();
            }
        }
    }
}

async fn tell(shared: &Shared, chat: ChatId, marks: Marks) -> Result<Marked> {
    let path = format!("/v1/chats/{chat}/marks");
    let ask = Ask::json(Method::PUT, path, &marks)?;
    match shared.link.ask(&ask).await {
        Ok(answer) => answer.read(),
        Err(failure) => Err(failure.of_write()),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const PAUSE: Duration = Duration::from_millis(250);
    const CHAT: ChatId = ChatId(Uuid::nil());

    fn read(seq: i64) -> Marks {
        Marks {
            delivered_seq: 0,
            read_seq: seq,
        }
    }

    fn marked(seq: i64) -> Marked {
        Marked {
            delivered_seq: seq,
            read_seq: seq,
            unread: 0,
        }
    }

    #[tokio::test]
    async fn the_highest_of_many_is_told_once_and_lower_ones_cost_nothing() {
        let mut table = MarkTable::default();
        let now = Instant::now();
        let first = table.mark(now, PAUSE, CHAT, read(3)).unwrap();
        for seq in [9, 4, 7] {
            table.mark(now + PAUSE / 2, PAUSE, CHAT, read(seq)).unwrap();
        }
        assert_eq!(table.next(), Some((now + PAUSE, CHAT)));
        let waiting = table.take(CHAT).unwrap();
        assert_eq!(waiting.marks, read(9));
        // What comes while it is told is told next.
        let later = table.mark(now + PAUSE, PAUSE, CHAT, read(12)).unwrap();
        table.settle(CHAT, &waiting, Ok(marked(9)));
        assert_eq!(first.settled().await.unwrap(), marked(9));
        let waiting = table.take(CHAT).unwrap();
        assert_eq!(waiting.marks, read(12));
        table.settle(CHAT, &waiting, Ok(marked(12)));
        assert_eq!(later.settled().await.unwrap(), marked(12));
        let known = table.mark(now, PAUSE, CHAT, read(11)).unwrap();
        assert!(table.is_empty());
        assert_eq!(known.settled().await.unwrap(), marked(12));
        let delivered = Marks {
            delivered_seq: 12,
            read_seq: 0,
        };
        table.mark(now, PAUSE, CHAT, delivered).unwrap();
        assert!(table.is_empty(), "what was read was delivered");
    }

    #[tokio::test]
    async fn what_could_not_be_told_goes_with_what_has_come_meanwhile() {
        let mut table = MarkTable::default();
        let now = Instant::now();
        let first = table.mark(now, PAUSE, CHAT, read(5)).unwrap();
        let before = table.take(CHAT).unwrap();
        let second = table.mark(now, PAUSE, CHAT, read(2)).unwrap();
        table.put_back(CHAT, now + PAUSE * 8, before);
        assert_eq!(table.next(), Some((now + PAUSE * 8, CHAT)));
        let waiting = table.take(CHAT).unwrap();
        assert_eq!(waiting.marks, read(5));
        table.settle(CHAT, &waiting, Ok(marked(5)));
        assert_eq!(first.settled().await.unwrap(), marked(5));
        assert_eq!(second.settled().await.unwrap(), marked(5));
    }

    #[tokio::test]
    async fn as_many_chats_as_may_wait() {
        let mut table = MarkTable::default();
        let now = Instant::now();
        for chat in 0..WAITING_MAX {
            let chat = ChatId(Uuid::from_u128(chat as u128));
            table.mark(now, PAUSE, chat, read(1)).unwrap();
        }
        let chat = ChatId(Uuid::max());
        let error = table.mark(now, PAUSE, chat, read(1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::QueueFull);
        assert_eq!(error.retry_after(), Some(PAUSE));
        drop(table);
    }
}
