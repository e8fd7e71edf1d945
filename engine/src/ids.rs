//! The numbers that the engine gives out. Each comes from a counter of its own that only rises, so a replay gives the
//! same ones and a stale one is never mistaken for another.

/// Names a session. Never used twice in a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// Counts the attachments of one session to a connection: 1 when it is opened, one more at each resume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attach(pub u32);

/// Names a wait. Never used twice in a history; a lower one was queued earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaitId(pub u64);

/// A fencing token: rises whenever a grant excludes an earlier holder of the path. At most 2^53-1, which JavaScript reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

impl Token {
    /// The largest token there is.
    pub const MAX: Self = Self((1 << 53) - 1);
}

/// The secret that lets whoever has it resume a session. Made at random by the caller; the engine only compares it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResumeKey(pub u128);

impl core::fmt::Debug for ResumeKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ResumeKey(..)")
    }
}

/// A session as a connection speaks for it: a command that names an attachment which has been superseded is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionRef {
    /// Which session.
    pub session: SessionId,
    /// Through which of its attachments.
    pub attach: Attach,
}
