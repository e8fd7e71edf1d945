//! A shard's way into the journal, if there is one: room is asked for before anything is decided, what has changed is kept,
//! and what is said afterwards bears the mark that it rests on.
//!
//! Must hold: where room cannot be had nothing is decided. Without a journal, and with one that acknowledges at once, every
//! mark is the first one, which holds nobody back.

use tenure_engine::{Command, LogTime, Token, WallTime};

use crate::dispatch::{Item, Work};
use crate::journal::{Appender, Full, Mark, bytes_max};
use crate::streams::Showing;

/// Bytes of a record that time alone may lead to: a settling, a tick, the renewal of a session that shows that it lives.
const SMALL: usize = 192;

/// See the file's header.
#[derive(Debug)]
pub(super) enum Pen {
    /// Nothing is kept.
    Memory,
    /// What is kept, counts when it is on disk.
    Always(Appender),
    /// It counts at once.
    Interval(Appender),
    /// The journal is closed: nothing can be decided any more.
    Closed,
}

impl Pen {
    /// Asks for room for commands that take so many bytes at most.
    pub(super) fn begin(&mut self, bytes: usize, next_token: Token) -> Result<(), Full> {
        match self {
            Self::Memory => Ok(()),
            Self::Always(appender) | Self::Interval(appender) => appender.begin(bytes, next_token),
            Self::Closed => Err(Full::Segment),
        }
    }

    /// Keeps a command that has changed something.
    #[inline]
    pub(super) fn keep(&mut self, command: &Command<'_>) {
        if let Self::Always(appender) | Self::Interval(appender) = self {
            appender.keep(command);
        }
    }

    /// Ends what [`Self::begin`] has begun. Gives what everything rests on that the shard says from here on.
    pub(super) fn finish(&mut self, now: LogTime, wall: WallTime, next_token: Token) -> Mark {
        if let Self::Always(appender) | Self::Interval(appender) = self {
            appender.finish(now, wall, next_token);
        }
        self.last()
    }

    /// Keeps how late it is.
    pub(super) fn mark_time(&mut self, now: LogTime, wall: WallTime) -> Result<(), Full> {
        match self {
            Self::Always(appender) | Self::Interval(appender) => {
                appender.mark_time(now, wall).map(drop)
            }
            Self::Memory | Self::Closed => Ok(()),
        }
    }

    /// What everything rests on that the shard has said so far.
    pub(super) const fn last(&self) -> Mark {
        match self {
            Self::Always(appender) => appender.last(),
            Self::Memory | Self::Interval(_) | Self::Closed => Mark(0),
        }
    }

    /// Whether readers of streams have to wait for the disk.
    pub(super) const fn showing(&self) -> Showing {
        match self {
            Self::Always(_) => Showing::WhenTold,
            Self::Memory | Self::Interval(_) | Self::Closed => Showing::AtOnce,
        }
    }

    pub(super) const fn is_memory(&self) -> bool {
        matches!(self, Self::Memory)
    }

    /// Ends it. Gives the way into the journal back.
    pub(super) fn close(&mut self) -> Option<Appender> {
        match std::mem::replace(self, Self::Closed) {
            Self::Always(appender) | Self::Interval(appender) => Some(appender),
            Self::Memory | Self::Closed => None,
        }
    }
}

/// Bytes that a batch may come to.
pub(super) fn bytes_of(batch: &[Item<'_>]) -> usize {
    batch.iter().map(bytes_of_item).sum()
}

fn bytes_of_item(item: &Item<'_>) -> usize {
    let own = match &item.work {
        Work::Command(command) => bytes_max(command),
        Work::AcquireAll(all) => bytes_max(&all.command()),
        Work::Query(_) => super::state::SWEEPS_MAX * SMALL,
        Work::Stream(_) | Work::Presence(_) | Work::Audit(_) => 0,
    };
    own + SMALL
}

/// Bytes that commands come to which nobody has asked for.
pub(super) fn bytes_of_commands(commands: &[Command<'_>]) -> usize {
    commands.iter().map(bytes_max).sum::<usize>() + SMALL
}
