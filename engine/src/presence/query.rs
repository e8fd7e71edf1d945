//! The vocabulary of reading. A query changes nothing; its answer is lent out of the state.
//! Rule: whoever asks says as whom, and sees no more than that audience.

use alloc::vec::Vec;

use super::command::{Activity, Audience};
use crate::time::WallTime;

/// Which viewers of an org, from where, how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct List<'a> {
    /// The tenant.
    pub org: &'a str,
    /// Which paths.
    pub within: Within<'a>,
    /// As whom they are seen.
    pub audience: Audience,
    /// Goes on after this path: the cursor of the page before.
    pub after: Option<&'a str>,
    /// About so many viewers. A path is never cut in two, so a page may go beyond by its last path's.
    pub page: u32,
}

/// Which paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Within<'a> {
    /// This one.
    Path(&'a str),
    /// Those that have this one and a `/` before them; not the path itself.
    Below(&'a str),
    /// All.
    All,
}

/// Some of the viewers of an org.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<'a> {
    /// The org's version. Whatever changes come above it, applied to this page, keep it true.
    pub version: u64,
    /// Paths with viewers, in path order.
    pub paths: Vec<PathViewers<'a>>,
    /// Where the next page begins; `None` when this is the last. A page may be empty and not the last.
    pub next: Option<&'a str>,
}

/// Who is at one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathViewers<'a> {
    /// Where.
    pub path: &'a str,
    /// How many viewers.
    pub total: u32,
    /// The same by what they do.
    pub counts: Counts,
    /// The first [`Bounds::listed`](super::Bounds::listed), by arrival.
    pub viewers: Vec<Viewer<'a>>,
}

/// An owner at a path, as an audience sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Viewer<'a> {
    /// Who.
    pub owner: &'a str,
    /// How people call them, by the sitting that entered last.
    pub name: &'a str,
    /// The strongest that its sittings do.
    pub activity: Activity,
    /// Whether it types for insiders alone. Everyone else sees it viewing, and this `false`.
    pub internal: bool,
    /// When it came, for people to read.
    pub since: WallTime,
    /// Sessions of the owner's that are there.
    pub sittings: u32,
    /// Of the sitting that entered last.
    pub metadata: &'a [u8],
}

/// Viewers by what they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Those who do nothing.
    pub idle: u32,
    /// Those who look.
    pub viewing: u32,
    /// Those who write something.
    pub typing: u32,
    /// Those who change it.
    pub editing: u32,
}

/// How much there is, in an org or in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Paths with viewers.
    pub paths: u32,
    /// Viewers, at each path anew.
    pub viewers: u32,
    /// Sittings.
    pub sittings: u32,
    /// The viewers by what they do.
    pub counts: Counts,
}

impl Counts {
    /// How many do this.
    #[must_use]
    pub const fn of(&self, activity: Activity) -> u32 {
        match activity {
            Activity::Idle => self.idle,
            Activity::Viewing => self.viewing,
            Activity::Typing => self.typing,
            Activity::Editing => self.editing,
        }
    }

    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u32 {
        self.idle + self.viewing + self.typing + self.editing
    }

    pub(super) const fn of_mut(&mut self, activity: Activity) -> &mut u32 {
        match activity {
            Activity::Idle => &mut self.idle,
            Activity::Viewing => &mut self.viewing,
            Activity::Typing => &mut self.typing,
            Activity::Editing => &mut self.editing,
        }
    }
}
