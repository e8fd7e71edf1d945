//! What a session was told of and may not have heard: for its resume, and for whoever asks about a lock that was lost.
//!
//! A million locks may be lost in one second, nearly all because their time was over. So such a loss lies in place, in 40
//! bytes with a path of up to 24, and whatever says more lies apart. Must hold: oldest first; whoever is attached hears
//! at once, and is reminded of no more than [`LOSSES_MAX`] for [`LOSS_KEPT`].

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;

use compact_str::CompactString;

use crate::event::{Cause, Missed};
use crate::ids::Token;
use crate::limits::{LOSS_KEPT, LOSSES_MAX};
use crate::reply::Loss;
use crate::time::LogTime;

/// See the file's header.
#[derive(Debug, Clone, Default)]
pub(crate) struct Losses(VecDeque<(LogTime, Kept)>);

#[derive(Debug, Clone)]
enum Kept {
    Expired { path: CompactString, token: Token },
    Other(Box<Missed>),
}

impl Losses {
    /// Keeps what a session is told, or is to be told at its resume.
    pub(crate) fn keep(&mut self, now: LogTime, missed: &Missed<&str>, is_attached: bool) {
        self.0.push_back((now, Kept::of(missed.clone())));
        if !is_attached {
            return;
        }
        let is_old = |(at, _): &(LogTime, Kept)| *at + LOSS_KEPT < now;
        while self.0.len() > LOSSES_MAX || self.0.front().is_some_and(is_old) {
            self.0.pop_front();
        }
    }

    /// Whoever holds a lock need not be told that it was lost before.
    pub(crate) fn forgive(&mut self, path: &str) {
        self.0.retain(|(_, kept)| !kept.is_loss_of(path));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// When the first and the last were; see `ahead.rs`.
    pub(crate) fn ends(&self) -> impl Iterator<Item = &u64> {
        let ends = [self.0.front(), self.0.back()];
        ends.into_iter().flatten().map(|(at, _)| &at.0)
    }

    /// The last loss of a lock.
    pub(crate) fn last_of(&self, path: &str) -> Option<Loss> {
        let mut kept = self.0.iter().rev();
        let (_, kept) = kept.find(|(_, kept)| kept.is_loss_of(path))?;
        match kept.missed() {
            Missed::Lost { token, cause, .. } => Some(Loss { token, cause }),
            Missed::WaitEnded { .. } => None,
        }
    }

    /// All of it, with when it happened.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (LogTime, Missed)> + '_ {
        self.0.iter().map(|(at, kept)| (*at, kept.missed()))
    }

    pub(crate) fn clear(&mut self) {
        self.0 = VecDeque::new();
    }
}

impl FromIterator<(LogTime, Missed)> for Losses {
    fn from_iter<I: IntoIterator<Item = (LogTime, Missed)>>(missed: I) -> Self {
        let missed = missed.into_iter();
        Self(missed.map(|(at, missed)| (at, Kept::of(missed))).collect())
    }
}

impl Kept {
    fn of<S: AsRef<str> + Into<Arc<str>>>(missed: Missed<S>) -> Self {
        match missed {
            Missed::Lost {
                path,
                token,
                cause: Cause::Expired,
            } => Self::Expired {
                path: CompactString::new(path),
                token,
            },
            other @ (Missed::Lost { .. } | Missed::WaitEnded { .. }) => {
                Self::Other(Box::new(other.into_owned()))
            }
        }
    }

    fn missed(&self) -> Missed {
        match self {
            Self::Expired { path, token } => Missed::Lost {
                path: Arc::from(path.as_str()),
                token: *token,
                cause: Cause::Expired,
            },
            Self::Other(missed) => (**missed).clone(),
        }
    }

    fn is_loss_of(&self, lost: &str) -> bool {
        match self {
            Self::Expired { path, .. } => path == lost,
            Self::Other(missed) => match &**missed {
                Missed::Lost { path, .. } => **path == *lost,
                Missed::WaitEnded { .. } => false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A loss of the most usual sort is what very many sessions keep very many of.
    #[test]
    fn an_expiry_is_kept_in_forty_bytes() {
        assert_eq!(size_of::<(LogTime, Kept)>(), 40);
    }
}
