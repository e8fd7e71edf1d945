//! The sessions that are anywhere, and what becomes of them: resumed, detached, over.
//! Must hold: a session stands here while it is at a path. What it leaves behind is swept, and is nothing to it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::command::Audience;
use super::keys::{GatheringKey, Number, SittingKey};
use super::machine::Presence;
use super::reply::{Level, Reply};
use super::sight::{Seen, Sight};
use super::step::Step;
use crate::command::Role;
use crate::ids::{SessionId, SessionRef};

/// A session that is somewhere.
#[derive(Debug, Clone)]
pub(super) struct Sitter {
    /// Whether a connection speaks for it, and hears what it is told.
    pub(super) attached: bool,
    /// What it may see.
    pub(super) audience: Audience,
    /// By age.
    pub(super) sittings: BTreeMap<Number, SittingKey>,
}

impl Sitter {
    pub(super) fn new(seen: &Seen<'_>) -> Self {
        Self {
            attached: true,
            audience: Audience::of(seen.role),
            sittings: BTreeMap::new(),
        }
    }

    fn keys(&self) -> Vec<SittingKey> {
        self.sittings.values().copied().collect()
    }
}

impl Audience {
    /// What a role may see: from member on, what is internal too.
    #[must_use]
    pub fn of(role: Role) -> Self {
        if role >= Role::Member {
            Self::Insiders
        } else {
            Self::Everyone
        }
    }
}

impl<S: Sight> Step<'_, S> {
    /// Whoever speaks for it from here on may know of nothing.
    pub(super) fn session_resumed(&mut self, by: SessionRef) -> Reply {
        let Ok(seen) = self.sight.session(by, self.now) else {
            return Reply::Done;
        };
        let Some(sitter) = self.presence.sitters.get_mut(&by.session) else {
            return Reply::Done;
        };
        sitter.attached = true;
        sitter.audience = Audience::of(seen.role);
        for key in sitter.keys() {
            let gathering = self.presence.gathering(self.presence.gathering_of(key));
            if !self.presence.tells_collisions(gathering) {
                continue;
            }
            let level = self.level_now(key);
            if level != Level::None || level != self.presence.sitting(key).told {
                self.tell_level(key, level);
            }
        }
        Reply::Done
    }

    /// It types no more. If it keeps its holds it is nowhere; else it stays where it is until it is over.
    pub(super) fn session_detached(&mut self, session: SessionId, keeps: bool) -> Reply {
        if keeps {
            return self.session_ended(session);
        }
        let now = self.now;
        let Some(sitter) = self.presence.sitters.get_mut(&session) else {
            return Reply::Done;
        };
        sitter.attached = false;
        for key in sitter.keys() {
            let sitting = self.sitting_mut(key);
            if sitting.types() {
                sitting.typing_until = Some(now);
                self.arm(key);
            }
        }
        self.tick()
    }

    /// It is nowhere. Its sittings count as over from here on, and are swept in bounded steps.
    pub(super) fn session_ended(&mut self, session: SessionId) -> Reply {
        let now = self.now;
        let Some(sitter) = self.presence.sitters.remove(&session) else {
            return Reply::Done;
        };
        for key in sitter.keys() {
            self.sitting_mut(key).leaves = Some(now);
            self.arm(key);
        }
        self.tick()
    }
}

impl<S> Step<'_, S> {
    /// A session has one sitting less.
    pub(super) fn leave_session(&mut self, key: SittingKey) {
        let sitting = self.presence.sitting(key);
        if sitting.leaves.is_some() {
            return;
        }
        let (session, number) = (sitting.session, sitting.number);
        if let Some(sitter) = self.presence.sitters.get_mut(&session) {
            sitter.sittings.remove(&number);
            if sitter.sittings.is_empty() {
                self.presence.sitters.remove(&session);
            }
        }
    }
}

impl Presence {
    /// The session's sitting at a path of its org.
    pub(super) fn sitting_at(&self, session: SessionId, path: &str) -> Option<SittingKey> {
        let sitter = self.sitters.get(&session)?;
        // All of them are of one owner in one org.
        let (_, any) = sitter.sittings.first_key_value()?;
        let viewer = &self.viewers[self.sitting(*any).viewer.place()];
        let org = self.gathering(viewer.gathering).org;
        let gathering = self.orgs[org.place()].paths.get(path)?;
        let viewer = self.gathering(*gathering).viewer_of(&viewer.owner)?;
        let mut sittings = self.viewers[viewer.place()].sittings.iter().copied();
        sittings.find(|key| {
            let sitting = self.sitting(*key);
            sitting.session == session && sitting.leaves.is_none()
        })
    }

    pub(super) fn gathering_of(&self, key: SittingKey) -> GatheringKey {
        self.viewers[self.sitting(key).viewer.place()].gathering
    }

    /// What the session of a sitting may see, if it is there to hear of it.
    pub(super) fn audience_of(&self, key: SittingKey) -> Option<Audience> {
        let sitting = self.sitting(key);
        let sitter = self.sitters.get(&sitting.session)?;
        (sitter.attached && sitting.leaves.is_none()).then_some(sitter.audience)
    }
}
