//! Who is where, as the client speaks of it: activities, collisions, viewers and their changes.
//!
//! Owned, as everything in `types.rs`; `convert/streams.rs` makes them from what comes over the wire.

use std::fmt;
use std::time::SystemTime;

use crate::types::{SessionEnd, Who};

/// What a session does at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activity {
    /// Looks at it.
    Viewing,
    /// Has it open and does nothing.
    Idle,
    /// Writes something. Ends by itself after some seconds.
    Typing,
    /// Changes it.
    Editing,
}

impl Activity {
    /// Its name in snake case, for JSON and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewing => "viewing",
            Self::Idle => "idle",
            Self::Typing => "typing",
            Self::Editing => "editing",
        }
    }
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How near others come at a path, ascending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum CollisionLevel {
    /// Nobody else is there.
    #[default]
    None,
    /// Another owner is there.
    Viewing,
    /// Another owner types.
    Typing,
    /// Another owner edits, or holds the lock.
    Editing,
}

impl CollisionLevel {
    /// Its name in snake case, for JSON and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Viewing => "viewing",
            Self::Typing => "typing",
            Self::Editing => "editing",
        }
    }
}

/// What others do at the path of a session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Collision {
    /// The most that another owner does there.
    pub level: CollisionLevel,
    /// The first of those who do it, at most 16. Empty when the level came with the answer to something that was asked.
    pub by: Vec<Who>,
}

/// Something has happened to a session at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PresenceEvent {
    /// What others do there has another level than before.
    Collision(Collision),
    /// The server has taken the session from there, since there was no sign of life for too long. The next one enters
    /// again.
    Swept,
    /// The session is over, and is nowhere any more. No event follows.
    SessionEnded(SessionEnd),
    /// The listener was too slow.
    Missed {
        /// How many events it has not seen.
        count: u64,
    },
}

/// One owner at a path, as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Viewer {
    /// Who is there.
    pub owner: String,
    /// How people call them; may be empty.
    pub name: String,
    /// The strongest that their sessions do there.
    pub activity: Activity,
    /// Whether they type for members and higher alone.
    pub internal: bool,
    /// Since when, by the server's wall clock: for people to read, not to compare.
    pub since: SystemTime,
    /// Sessions of theirs that are there.
    pub sittings: u32,
    /// What they want to be shown; opaque.
    pub metadata: Vec<u8>,
}

impl Viewer {
    /// The name, or the owner's id if there is none.
    #[must_use]
    pub fn display_name(&self) -> &str {
        if self.name.is_empty() {
            &self.owner
        } else {
            &self.name
        }
    }
}

/// Viewers by what they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct ViewerCounts {
    /// Those who look.
    pub viewing: u32,
    /// Those who do nothing.
    pub idle: u32,
    /// Those who write something.
    pub typing: u32,
    /// Those who change it.
    pub editing: u32,
}

/// Who is at one path.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PathViewers {
    /// Where.
    pub path: String,
    /// How many viewers there are.
    pub total: u32,
    /// The same by what they do.
    pub counts: ViewerCounts,
    /// The first hundred, by arrival.
    pub viewers: Vec<Viewer>,
}

impl PathViewers {
    /// A path before the first has come: what [`ViewersChange::apply`] begins with.
    #[must_use]
    pub fn nobody_at(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            total: 0,
            counts: ViewerCounts::default(),
            viewers: Vec::new(),
        }
    }
}

/// Who is at a path has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ViewersChange {
    /// Where.
    pub path: String,
    /// Presence of the organisation after the change. Rises with every one, and begins anew with the server.
    pub version: u64,
    /// How many viewers there are now.
    pub total: u32,
    /// The same by what they do.
    pub counts: ViewerCounts,
    /// Viewers that have come or have changed, each as it is now.
    pub up: Vec<Viewer>,
    /// Owners that are no longer among the listed viewers.
    pub gone: Vec<String>,
}

impl ViewersChange {
    /// Brings what is known of the path up to date. Doing it twice is harmless.
    pub fn apply(&self, to: &mut PathViewers) {
        to.total = self.total;
        to.counts = self.counts;
        to.viewers.retain(|known| !self.gone.contains(&known.owner));
        for viewer in &self.up {
            match to
                .viewers
                .iter_mut()
                .find(|known| known.owner == viewer.owner)
            {
                Some(known) => known.clone_from(viewer),
                None => to.viewers.push(viewer.clone()),
            }
        }
    }
}

/// How many are where in an organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PresenceStats {
    /// Paths with at least one viewer.
    pub paths: u32,
    /// Viewers, at each path counted anew.
    pub viewers: u32,
    /// Sessions of theirs, at each path counted anew.
    pub sittings: u32,
    /// The viewers by what they do.
    pub counts: ViewerCounts,
}
