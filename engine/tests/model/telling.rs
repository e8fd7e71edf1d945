//! Who is told what, what is remembered of it, and which events there are (rules 9, 34 to 36).
//!
//! It decides nothing about locks. Only attached sessions are told; whoever is not over remembers.

use tenure_engine::limits::{LOSS_KEPT, LOSSES_MAX};
use tenure_engine::{
    Cause, Event, Grant, GrantKind, Held, LogTime, Loss, Millis, Missed, Notice, SessionEnd,
    SessionId, Token, Truth, WaitEnd, WallTime, What, Who,
};

use super::Model;
use super::state::{Hold, Lock, Wait};

impl Model {
    /// Tells the session, if it is attached.
    pub(super) fn tell(&mut self, id: SessionId, notice: Notice) {
        let Some(session) = self.session(id) else {
            return;
        };
        if session.attached && !self.session_over(session, self.now) {
            let to = session.current();
            self.told.push((to, notice));
        }
    }

    pub(super) fn happen(&mut self, org: &str, what: What) {
        self.happened.push(Event {
            org: org.into(),
            wall: WallTime(self.wall),
            what,
        });
    }

    /// Rule 9.
    pub(super) fn remember(&mut self, id: SessionId, missed: Missed) {
        let now = self.now;
        let Some(session) = self.sessions.iter_mut().find(|session| session.id == id) else {
            return;
        };
        session.memory.push((now, missed));
        if session.attached {
            session.memory.retain(|(at, _)| now - at <= LOSS_KEPT.0);
            let beyond = session.memory.len().saturating_sub(LOSSES_MAX);
            session.memory.drain(..beyond);
        }
    }

    /// A grant to the session: the losses of that path are no news any more.
    pub(super) fn forget_losses(&mut self, id: SessionId, path: &str) {
        let mut sessions = self.sessions.iter_mut();
        let session = sessions
            .find(|session| session.id == id)
            .expect("it has been granted");
        session.memory.retain(|(_, missed)| match missed {
            Missed::Lost { path: lost, .. } => **lost != *path,
            Missed::WaitEnded { .. } => true,
        });
    }

    /// How the session lost the path, as far as it remembers.
    pub(super) fn remembered_loss(&self, id: SessionId, path: &str) -> Option<Loss> {
        let session = self.session(id)?;
        session
            .memory
            .iter()
            .rev()
            .find_map(|(_, missed)| match missed {
                Missed::Lost {
                    path: lost,
                    token,
                    cause,
                } if **lost == *path => Some(Loss {
                    token: *token,
                    cause: cause.clone(),
                }),
                Missed::Lost { .. } | Missed::WaitEnded { .. } => None,
            })
    }

    pub(super) fn tell_lost(&mut self, id: SessionId, path: &str, token: u64, cause: &Cause) {
        let session = self.session(id).expect("a member is remembered");
        if self.session_over(session, self.now) {
            return;
        }
        let token = Token(token);
        self.tell(
            id,
            Notice::Lost {
                path: path.into(),
                token,
                cause: cause.clone(),
            },
        );
        self.remember(
            id,
            Missed::Lost {
                path: path.into(),
                token,
                cause: cause.clone(),
            },
        );
    }

    pub(super) fn tell_wait_ended(&mut self, wait: &Wait, why: WaitEnd) {
        let waiter = self
            .session(wait.session)
            .expect("a waiting session is remembered");
        if self.session_over(waiter, self.now) || why == WaitEnd::Cancelled {
            return;
        }
        let (id, wait) = (wait.session, tenure_engine::WaitId(wait.id));
        self.tell(id, Notice::WaitEnded { wait, why });
        self.remember(id, Missed::WaitEnded { wait, why });
    }

    pub(super) fn session_event(&mut self, id: SessionId, what: impl Fn(SessionId, Who) -> What) {
        let session = self.session(id).expect("the session is there");
        let (org, who) = (session.org.clone(), session.who());
        self.happen(&org, what(id, who));
    }

    pub(super) fn session_ended(&mut self, id: SessionId, why: SessionEnd) {
        self.session_event(id, |session, who| What::SessionEnded { session, who, why });
    }

    /// A hold goes by the name of the session that has been in it longest.
    pub(super) fn holder(&self, hold: &Hold) -> Who {
        self.session(hold.members[0].session)
            .expect("a member is remembered")
            .who()
    }

    pub(super) fn grant_of(&self, hold: &Hold, kind: GrantKind, at: u64) -> Grant {
        Grant {
            token: Token(hold.token),
            mode: hold.mode,
            ttl: Millis(hold.ttl),
            remaining: LogTime(at).until(LogTime(hold.deadline)),
            kind,
        }
    }

    pub(super) fn held(&self, hold: &Hold, kind: GrantKind, at: u64) -> Held {
        Held {
            path: hold.lock.path.as_str().into(),
            grant: self.grant_of(hold, kind, at),
        }
    }

    /// The truth of one path, as one round trip must tell it.
    pub(super) fn truth(&self, lock: &Lock, at: u64) -> Truth {
        let holds = self.holds_on(lock, at);
        let first = holds.first();
        Truth {
            mode: first.map(|hold| hold.mode),
            limit: first.and_then(|hold| hold.limit),
            token: first.map(|hold| Token(hold.token)),
            holders: holds
                .iter()
                .take(tenure_engine::limits::TRUTH_HOLDERS_MAX)
                .map(|hold| self.holder_seen(hold, at))
                .collect(),
            holder_count: holds.len() as u32,
            waiters: self.waits_on(lock, at).len() as u32,
        }
    }

    pub(super) fn holder_seen(&self, hold: &Hold, at: u64) -> tenure_engine::Holder {
        let members = self.members(hold, at);
        tenure_engine::Holder {
            owner: hold.owner.as_str().into(),
            name: members[0].name.as_str().into(),
            sessions: members.len() as u32,
            orphaned: self.orphaned(hold, at),
            since: WallTime(hold.since_wall),
            held: Millis(at - hold.since),
            remaining: Millis(hold.deadline - at),
            metadata: match hold.metadata.as_slice() {
                [] => members[0].metadata.as_slice().into(),
                own => own.into(),
            },
        }
    }
}
