//! What one step of the locks leads to, carried to where it belongs: notices to the connections they are for, events to
//! the streams, the rest to presence and to the counters.
//!
//! Knows no rule. Must hold: within one entry what is told keeps the order in which it is said, so the loser hears first.

use std::sync::Arc;

use tenure_engine::presence::Presence;
use tenure_engine::{
    Command, Effects, Event, LogTime, Millis, Notice, SessionId, SessionRef, What,
};

use super::answers::Answers;
use super::hearers::Hearers;
use super::presence::Aftermath;
use crate::dispatch::{events, notices};
use crate::outbox::Attachment;
use crate::streams::Moment;

/// Carries the consequences of one entry to where they belong.
pub(super) struct Router<'s, 'o> {
    pub(super) hearers: &'s mut Hearers,
    pub(super) presence: &'s Presence,
    pub(super) at: LogTime,
    /// For the asking connection, if somebody asks.
    pub(super) answers: Option<&'s mut Answers<'o>>,
    pub(super) command: &'s Command<'s>,
}

impl Effects for Router<'_, '_> {
    fn notice(&mut self, to: SessionRef, notice: Notice<&str>) {
        if let Notice::Granted { wait, .. } = &notice {
            self.hearers.places.remove(wait);
        }
        let push = notices::push(self.hearers.home, to.session, &notice);
        let Some(answers) = &mut self.answers else {
            // Nobody asks: it is time that has passed, and perhaps very many are told.
            self.hearers.notes.leave(to, &push);
            return;
        };
        let route = self
            .hearers
            .routes
            .get(&to.session)
            .filter(|route| route.attach == to.attach);
        match route {
            // A session that is resumed where it is attached already has not gone anywhere.
            Some(route) if matches!(notice, Notice::Moved) && answers.are_for(&route.outbox) => {}
            Some(route) if answers.are_for(&route.outbox) => answers.push(&push),
            Some(route) => self.hearers.notes.push(&route.outbox, &push),
            // Its new attachment is the asker's, though no route says so yet.
            None if resumes(self.command, to.session) => answers.push(&push),
            None => {}
        }
        if let (Notice::Moved, Some(route)) = (&notice, route) {
            route
                .outbox
                .note(Attachment::Gone(self.hearers.home.to_wire(to.session.0)));
        }
    }

    fn event(&mut self, event: &Event<&str>) {
        self.hearers.counters.event(&event.what);
        if !self.hearers.streams.is_silent() {
            self.tell(event);
        }
        match &event.what {
            What::Granted { path, waited, .. } => {
                if *waited > Millis::ZERO {
                    self.hearers.queue_moved(event.org, path);
                }
                self.lock_changed(event.org, path);
            }
            What::Ended { path, .. } => self.lock_changed(event.org, path),
            What::WaitEnded { paths, wait, .. } => {
                self.hearers.places.remove(wait);
                for path in paths {
                    self.hearers.queue_moved(event.org, path);
                }
            }
            &What::SessionDetached { session, keeps, .. } => {
                self.session_gone(session, Aftermath::Detached { session, keeps });
            }
            &What::SessionEnded { session, .. } => {
                self.session_gone(session, Aftermath::Ended(session));
            }
            What::Converted { .. }
            | What::Orphaned { .. }
            | What::Adopted { .. }
            | What::Queued { .. }
            | What::SessionOpened { .. }
            | What::SessionResumed { .. } => {}
        }
    }
}

impl Router<'_, '_> {
    fn tell(&mut self, event: &Event<&str>) {
        let when = Moment {
            at: self.at,
            wall_ms: event.wall.0,
        };
        let home = self.hearers.home;
        self.hearers
            .streams
            .happened(event.org, when, || events::event(home, &event.what));
    }

    /// Presence has to hear of it if anybody is at the path.
    #[inline(always)]
    fn lock_changed(&mut self, org: &str, path: &str) {
        if self.presence.is_anybody_at(org, path) {
            self.note_lock_changed(org, path);
        }
    }

    fn note_lock_changed(&mut self, org: &str, path: &str) {
        self.hearers.aftermath.push(Aftermath::LockChanged {
            org: Arc::from(org),
            path: Arc::from(path),
        });
    }

    /// Presence has to hear of it if the session is anywhere.
    fn session_gone(&mut self, session: SessionId, aftermath: Aftermath) {
        self.hearers.gone.push(session);
        if self.presence.is_anywhere(session) {
            self.hearers.aftermath.push(aftermath);
        }
    }
}

fn resumes(command: &Command<'_>, session: SessionId) -> bool {
    matches!(command, Command::ResumeSession(resume) if resume.session == session)
}
