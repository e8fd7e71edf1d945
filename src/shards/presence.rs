//! Presence in a shard: beside the locks, under the same mutex, and told of what becomes of them.
//!
//! Must hold: presence hears of what a step of the locks has led to when that step is over, and before the next one; what
//! it says is in its outboxes and rings before the mutex is given back.

use std::sync::Arc;

use bytes::BytesMut;
use tenure_engine::presence::{self as machine, Change, Collision, Observed, Sight};
use tenure_engine::{Command, LogTime, SessionId, SessionRef};
use tenure_protocol::Push;

use super::answers::Answers;
use super::hearers::Hearers;
use super::state::State;
use crate::clock::Stamp;
use crate::dispatch::Item;
use crate::dispatch::presence::{self, PresenceWork};
use crate::dispatch::streams::StreamWork;
use crate::metrics::CommandOutcome;
use crate::streams::{Frames, PresenceChange};

/// What a step of the locks has led to that presence has to hear of.
#[derive(Debug)]
pub(super) enum Aftermath {
    Detached { session: SessionId, keeps: bool },
    Ended(SessionId),
    LockChanged { org: Arc<str>, path: Arc<str> },
}

impl State {
    /// Executes one item and appends its answer.
    pub(super) fn attend(
        &mut self,
        item: &Item<'_>,
        work: &PresenceWork<'_>,
        stamp: Stamp,
        answers: &mut Answers<'_>,
    ) {
        let mut outcome = CommandOutcome::Done;
        match work {
            PresenceWork::Command(command) => {
                let reply = self.apply_presence(command, stamp, Some(answers));
                if let machine::Reply::Rejected(_) = reply {
                    outcome = CommandOutcome::Rejected;
                }
                presence::reply(item.id, &reply, &mut answers.bytes);
            }
            PresenceWork::List(list) => {
                let position = self.hearers.streams.position(list.org);
                let page = self.presence.list(list);
                presence::page(item.id, &page, position, &mut answers.bytes);
            }
            PresenceWork::Stats { org, audience } => {
                let stats = self.presence.stats(org, *audience);
                presence::stats(item.id, &stats, &mut answers.bytes);
            }
        }
        self.hearers.counters.command(item.kind, outcome);
    }

    /// Whether a publish comes from a session that is not of the stream's org, or that is over.
    pub(super) fn names_another_org(&self, work: &StreamWork<'_>, stamp: Stamp) -> bool {
        let StreamWork::Publish {
            publish,
            session: Some(by),
        } = work
        else {
            return false;
        };
        let seen = Sight::session(&self.engine, *by, stamp.at);
        !seen.is_ok_and(|seen| seen.org == publish.org)
    }

    /// Whoever has sent what they typed is typing no more.
    pub(super) fn end_typing(
        &mut self,
        work: &StreamWork<'_>,
        stamp: Stamp,
        answers: &mut Answers<'_>,
    ) {
        let StreamWork::Publish {
            publish,
            session: Some(by),
        } = work
        else {
            return;
        };
        if !self.presence.is_anywhere(by.session) {
            return;
        }
        let command = machine::Command::EndTyping {
            session: by.session,
            path: publish.path,
        };
        self.apply_presence(&command, stamp, Some(answers));
    }

    /// One step of presence. What the asker is told beside its reply goes to `answers`.
    pub(super) fn apply_presence(
        &mut self,
        command: &machine::Command<'_>,
        stamp: Stamp,
        answers: Option<&mut Answers<'_>>,
    ) -> machine::Reply {
        let mut messenger = Messenger {
            hearers: &mut self.hearers,
            at: stamp.at,
            answers,
            alive: None,
        };
        let (at, wall) = (stamp.at, stamp.wall);
        let reply = self
            .presence
            .apply(at, wall, command, &self.engine, &mut messenger);
        if let Some(by) = messenger.alive {
            self.propose(&Command::RenewSession(by), stamp);
        }
        reply
    }

    /// Tells presence what the step of the locks has led to that is just over.
    pub(super) fn tell_presence(&mut self, stamp: Stamp, mut answers: Option<&mut Answers<'_>>) {
        for what in std::mem::take(&mut self.hearers.aftermath) {
            let command = match &what {
                Aftermath::Detached { session, keeps } => machine::Command::SessionDetached {
                    session: *session,
                    keeps: *keeps,
                },
                Aftermath::Ended(session) => machine::Command::SessionEnded(*session),
                Aftermath::LockChanged { org, path } => machine::Command::LockChanged { org, path },
            };
            self.apply_presence(&command, stamp, answers.as_deref_mut());
        }
    }
}

/// Carries the consequences of one step of presence to where they belong.
struct Messenger<'s, 'o> {
    hearers: &'s mut Hearers,
    at: LogTime,
    answers: Option<&'s mut Answers<'o>>,
    /// The session that is to be renewed.
    alive: Option<SessionRef>,
}

impl machine::Effects for Messenger<'_, '_> {
    fn changed(&mut self, change: &Change<'_>) {
        self.hearers.counters.presence_changed();
        if !self.hearers.streams.hears_presence(change.org) {
            return;
        }
        let (mut insiders, mut everyone) = (BytesMut::new(), BytesMut::new());
        presence::change(change, &change.insiders).encode(&mut insiders);
        let frames = match &change.observers {
            Observed::Same => Frames::Same(&insiders),
            Observed::Other(shown) => {
                presence::change(change, shown).encode(&mut everyone);
                Frames::Differing {
                    everyone: &everyone,
                    insiders: &insiders,
                }
            }
            Observed::Nothing => Frames::Differing {
                everyone: &[],
                insiders: &insiders,
            },
        };
        let change = PresenceChange {
            org: change.org,
            version: change.version,
            path: change.path,
            frames,
        };
        self.hearers.streams.presence_changed(&change, self.at);
    }

    fn collision(&mut self, collision: &Collision<'_>) {
        self.push(
            collision.session,
            &presence::collision(self.hearers.home, collision),
        );
    }

    fn ended(&mut self, session: SessionId, path: &str) {
        self.push(session, &presence::ended(self.hearers.home, session, path));
    }

    fn alive(&mut self, by: SessionRef) {
        self.alive = Some(by);
    }
}

impl Messenger<'_, '_> {
    /// To wherever the session is attached.
    fn push(&mut self, session: SessionId, push: &Push<'_>) {
        let Some(route) = self.hearers.routes.get(&session) else {
            return;
        };
        match &mut self.answers {
            Some(answers) if answers.are_for(&route.outbox) => answers.push(push),
            Some(_) | None => self.hearers.notes.push(&route.outbox, push),
        }
    }
}
