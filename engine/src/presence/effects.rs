//! The vocabulary of consequences: what has changed for whoever listens, and what a session must be told.
//! Rule: a change tells how it is and not what has happened, so that whoever missed a step has missed nothing.

use alloc::vec::Vec;

use super::query::{Counts, Viewer};
use super::reply::Level;
use crate::event::Who;
use crate::ids::{SessionId, SessionRef};

/// Where consequences go. Everything is lent: nothing is copied for what nobody wants to keep.
pub trait Effects {
    /// Who is at a path has changed, for whoever listens.
    fn changed(&mut self, change: &Change<'_>);
    /// How near others come to an attached session has changed.
    fn collision(&mut self, collision: &Collision<'_>);
    /// An attached session has given no sign of life at a path for too long, and is no longer there.
    fn ended(&mut self, session: SessionId, path: &str);
    /// A session that has neither hold nor wait lives: to be renewed in the engine, which would end it as idle.
    fn alive(&mut self, by: SessionRef);
}

/// What has changed at one path since the change before. It tells the state and not the steps: applied twice, or to a list
/// that knows of it, it does no harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change<'a> {
    /// The tenant.
    pub org: &'a str,
    /// Presence of the org after the change. One higher than before, and never used again for the org.
    pub version: u64,
    /// Where.
    pub path: &'a str,
    /// How many viewers it has.
    pub total: u32,
    /// Owners that are not, or no longer, among the listed viewers. Of some a reader may never have heard.
    pub gone: Vec<&'a str>,
    /// The rest, as insiders see it.
    pub insiders: Shown<'a>,
    /// The rest, as observers see it.
    pub observers: Observed<'a>,
}

/// The viewers of a path that have come or changed, as an audience sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown<'a> {
    /// All viewers by what they do.
    pub counts: Counts,
    /// Listed viewers that have come or changed, as they are.
    pub up: Vec<Viewer<'a>>,
}

/// What observers see of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed<'a> {
    /// What insiders see.
    Same,
    /// Something else.
    Other(Shown<'a>),
    /// That there is a change is itself not for them.
    Nothing,
}

/// How near others come to a session at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collision<'a> {
    /// Who is to be told.
    pub session: SessionId,
    /// Where.
    pub path: &'a str,
    /// How near.
    pub level: Level,
    /// The first of those who come so near, at most [`COLLISION_BY_MAX`](super::COLLISION_BY_MAX): viewers by arrival, then
    /// holders of the lock that are not among them.
    pub by: Vec<Who<&'a str>>,
}
