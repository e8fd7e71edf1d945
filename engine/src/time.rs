//! The times that the engine knows. It reads none of them: every one comes in with an entry.
//!
//! Rule: decisions compare [`LogTime`] only. [`WallTime`] is carried along for people to read.

use core::ops::Add;

/// Log time: milliseconds since the history began, advancing only while a server that leads runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LogTime(pub u64);

impl LogTime {
    /// The beginning of history.
    pub const ZERO: Self = Self(0);

    /// The end of time: a deadline that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// How long from `self` until `later`; zero when `later` has passed.
    #[must_use]
    pub const fn until(self, later: Self) -> Millis {
        Millis(later.0.saturating_sub(self.0))
    }
}

impl Add<Millis> for LogTime {
    type Output = Self;

    /// Saturates: a deadline beyond the end of time is one that never comes.
    fn add(self, span: Millis) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

/// A span of log time in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub u64);

impl Millis {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A span of whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds * 1000)
    }
}

/// Milliseconds since the Unix epoch, recorded for people to read and never compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct WallTime(pub u64);
