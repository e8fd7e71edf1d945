//! The vocabulary of answers: what whoever proposed a command is told.
//! Rule: a rejection is an answer too, and says that nothing has changed.

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// It is so.
    Done,
    /// To [`Command::Enter`](super::Command::Enter): the session is there.
    Entered {
        /// Whether it is the first of its owner's there.
        first: bool,
        /// How many viewers the path has.
        total: u32,
        /// How near others come. The session is told of it by this answer and not again.
        level: Level,
    },
    /// To [`Command::Update`](super::Command::Update).
    Updated {
        /// As of [`Reply::Entered`].
        level: Level,
    },
    /// To [`Command::Leave`](super::Command::Leave): the session is not there.
    Left {
        /// Whether it was the last of its owner's there.
        last: bool,
    },
    /// It cannot be done, and nothing has changed.
    Rejected(Rejection),
}

/// How near others come to a viewer, ascending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Nobody else is there; or so many are that it is not told.
    None,
    /// Another owner is there.
    Viewing,
    /// Another owner types, as far as the session may see.
    Typing,
    /// Another owner edits, or holds the lock.
    Editing,
}

/// Why something cannot be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// There is no such session (any more).
    UnknownSession,
    /// The session is attached elsewhere, or to nothing.
    NotAttached,
    /// The session is not at this path (any more).
    NotEntered,
    /// The session is at as many paths as [`Bounds::paths`](super::Bounds::paths) allows.
    TooManyPaths,
    /// The owner has as many sittings at the path as [`Bounds::sittings`](super::Bounds::sittings) allows.
    TooManySittings,
    /// The path has as many viewers as [`Bounds::viewers`](super::Bounds::viewers) allows.
    TooManyViewers,
}
