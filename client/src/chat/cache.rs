//! What is kept of histories: messages by their number, bounded by bytes and age, the least used going first, and kept true by
//! what the feed tells.
//!
//! Knows neither requests nor tasks. Rules: what is said to be true is what the companion has, as of the last event that was
//! taken in; wherever the chain of events is broken a new era begins, and what is of an older one is good for nothing but to be
//! shown, marked as old, while the companion is away.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache as Kept;
use parking_lot::Mutex;

use super::event::{Event, Recovery};
use super::types::{ChatId, Message};

/// Chats whose last number is kept.
const CHATS_MAX: u64 = 10_000;

/// See the file's header.
pub(super) struct Cache {
    messages: Kept<(ChatId, i64), Copy>,
    last: Kept<ChatId, Last>,
    chain: Mutex<Chain>,
}

#[derive(Clone)]
struct Copy {
    message: Arc<Message>,
    era: u64,
}

/// The number of a chat's last message.
#[derive(Clone, Copy)]
struct Last {
    seq: i64,
    era: u64,
}

/// The chain of events.
#[derive(Default)]
struct Chain {
    era: u64,
    /// Whether events come.
    is_live: bool,
    /// Chats that are being read at the moment: how many times, and whether something that was there has changed meanwhile.
    reading: HashMap<ChatId, Readers>,
}

#[derive(Default)]
struct Readers {
    count: usize,
    changes: u64,
    /// The last message that was told meanwhile.
    last: i64,
}

/// Which part of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Newest,
    Before(i64),
    After(i64),
    Around(i64),
}

/// A part of a history, out of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) messages: Vec<Arc<Message>>,
    pub(super) has_older: bool,
    pub(super) has_newer: bool,
    pub(super) last_seq: i64,
}

/// A reading of a chat that is on its way: what it brings is kept, unless it may be old by then.
pub(super) struct Reading<'c> {
    cache: &'c Cache,
    chat: ChatId,
    era: u64,
    changes: u64,
}

impl Cache {
    pub(super) fn new(bytes: u64, ttl: Duration) -> Self {
        let weigh = |_: &(ChatId, i64), copy: &Copy| {
            u32::try_from(copy.message.weight()).unwrap_or(u32::MAX)
        };
        Self {
            messages: Kept::builder()
                .max_capacity(bytes)
                .weigher(weigh)
                .time_to_live(ttl)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            last: Kept::builder()
                .max_capacity(CHATS_MAX)
                .time_to_live(ttl)
                .build(),
            chain: Mutex::default(),
        }
    }

    /// A part of a history that is true, if all of it is here.
    pub(super) fn read(&self, chat: ChatId, part: Part, limit: i64) -> Option<Found> {
        let era = {
            let chain = self.chain.lock();
            chain.is_live.then_some(chain.era)?
        };
        let last = self.last.get(&chat).filter(|last| last.era == era)?;
        let (from, to) = range(part, limit, last.seq);
        let copies = (from..=to).map(|seq| {
            let copy = self.messages.get(&(chat, seq))?;
            (copy.era == era).then_some(copy.message)
        });
        Some(Found {
            messages: copies.collect::<Option<_>>()?,
            has_older: from > 1 && last.seq > 0,
            has_newer: to < last.seq,
            last_seq: last.seq,
        })
    }

    /// As much of a part as is here, however old, from its anchor on without a hole; none if there is nothing.
    pub(super) fn read_old(&self, chat: ChatId, part: Part, limit: i64) -> Option<Found> {
        let last = self.last.get(&chat)?;
        let (from, to) = range(part, limit, last.seq);
        let copy = |seq| Some(self.messages.get(&(chat, seq))?.message);
        let messages: Vec<Arc<Message>> = match part {
            Part::After(_) | Part::Around(_) => (from..=to).map_while(copy).collect(),
            Part::Newest | Part::Before(_) => {
                let mut newest_first: Vec<_> = (from..=to).rev().map_while(copy).collect();
                newest_first.reverse();
                newest_first
            }
        };
        let (oldest, newest) = (messages.first()?.seq, messages.last()?.seq);
        Some(Found {
            messages,
            has_older: oldest > 1,
            has_newer: newest < last.seq,
            last_seq: last.seq,
        })
    }

    /// A reading of the chat begins.
    pub(super) fn begin(&self, chat: ChatId) -> Reading<'_> {
        let mut chain = self.chain.lock();
        let era = chain.era;
        let readers = chain.reading.entry(chat).or_default();
        readers.count += 1;
        Reading {
            cache: self,
            chat,
            era,
            changes: readers.changes,
        }
    }

    /// Takes in what the feed has told, before anybody else hears of it.
    pub(super) fn told(&self, event: &Event) {
        match event {
            Event::Ready(Recovery::Exact) => self.chain.lock().is_live = true,
            Event::Ready(Recovery::Fresh | Recovery::Lost) => {
                let mut chain = self.chain.lock();
                chain.era += 1;
                chain.is_live = true;
            }
            Event::MessageCreated(told) => match &told.message {
                Some(message) => self.created(message),
                None => self.break_chain(),
            },
            Event::MessageUpdated(told) | Event::MessageDeleted(told) => match &told.message {
                Some(message) => self.changed(message),
                None => self.break_chain(),
            },
            // Whoever takes part no more hears no more; whoever does again has missed something.
            Event::Lost { .. } | Event::ChatDeleted { .. } | Event::ParticipantsChanged { .. } => {
                self.break_chain();
            }
            Event::MessagesRead { .. }
            | Event::Notification { .. }
            | Event::ChatCreated { .. }
            | Event::Locked { .. }
            | Event::Unlocked { .. }
            | Event::Typing { .. }
            | Event::Viewers { .. }
            | Event::Other { .. } => {}
        }
    }

    /// No events come any more.
    pub(super) fn is_not_live(&self) {
        self.chain.lock().is_live = false;
    }

    /// A message is there, and is the last of its chat if none that is known comes after it.
    pub(super) fn created(&self, message: &Message) {
        let mut chain = self.chain.lock();
        if let Some(readers) = chain.reading.get_mut(&message.chat) {
            readers.last = readers.last.max(message.seq);
        }
        self.put(message, chain.era);
        self.reaches(message.chat, message.seq, chain.era, Known::IfItWasKnown);
    }

    /// A message that was there is another.
    pub(super) fn changed(&self, message: &Message) {
        let mut chain = self.chain.lock();
        if let Some(readers) = chain.reading.get_mut(&message.chat) {
            readers.changes += 1;
        }
        self.put(message, chain.era);
    }

    fn break_chain(&self) {
        self.chain.lock().era += 1;
    }

    /// Keeps the newer of two copies. What was made in this era is true in it, whichever reading brought it.
    fn put(&self, message: &Message, era: u64) {
        let entry = self.messages.entry((message.chat, message.seq));
        entry.and_upsert_with(|there| match there {
            Some(there) if there.value().message.rev > message.rev => {
                let mut there = there.into_value();
                there.era = there.era.max(era);
                there
            }
            _ => Copy {
                message: Arc::new(message.clone()),
                era,
            },
        });
    }

    /// A chat has at least so many messages.
    fn reaches(&self, chat: ChatId, seq: i64, era: u64, known: Known) {
        self.last.entry(chat).and_compute_with(|there| {
            use moka::ops::compute::Op;
            let there = there.map(moka::Entry::into_value);
            match (there, known) {
                (Some(there), _) if there.era >= era => Op::Put(Last {
                    seq: there.seq.max(seq),
                    era: there.era,
                }),
                // Others may have come before, in a part of the chain that is lost.
                (Some(there), Known::IfItWasKnown) => Op::Put(Last {
                    seq: there.seq.max(seq),
                    era: there.era,
                }),
                (None, Known::IfItWasKnown) => Op::Nop,
                (_, Known::AsItIs) => Op::Put(Last { seq, era }),
            }
        });
    }
}

/// What a last number is worth.
#[derive(Clone, Copy)]
enum Known {
    /// It is the last.
    AsItIs,
    /// It is not before the last.
    IfItWasKnown,
}

impl Reading<'_> {
    /// Keeps what was read: a part without holes, and the number of the chat's last message.
    pub(super) fn keep(&self, messages: &[Message], last_seq: i64) {
        let chain = self.cache.chain.lock();
        let Some(readers) = chain.reading.get(&self.chat) else {
            return;
        };
        if chain.era != self.era || readers.changes != self.changes {
            return;
        }
        let last_seq = last_seq.max(readers.last);
        for message in messages {
            self.cache.put(message, self.era);
        }
        self.cache
            .reaches(self.chat, last_seq, self.era, Known::AsItIs);
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let mut chain = self.cache.chain.lock();
        if let Some(readers) = chain.reading.get_mut(&self.chat) {
            readers.count -= 1;
            if readers.count == 0 {
                chain.reading.remove(&self.chat);
            }
        }
    }
}

/// The numbers of a part, both ends included, as the companion counts them; empty if it ends before it begins.
fn range(part: Part, limit: i64, last: i64) -> (i64, i64) {
    let before = |seq: i64| ((seq - limit).max(1), seq - 1);
    match part {
        Part::Newest => before(last.saturating_add(1)),
        Part::Before(seq) => before(seq.clamp(1, last + 1)),
        Part::After(seq) => {
            let seq = seq.clamp(0, last);
            (seq + 1, seq.saturating_add(limit).min(last))
        }
        Part::Around(seq) => {
            let middle = seq.clamp(1, last.max(1));
            let from = (middle - limit / 2).min(last - limit + 1).max(1);
            (from, (from + limit - 1).min(last))
        }
    }
}

#[cfg(test)]
mod tests;
