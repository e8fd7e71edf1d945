//! Sessions: opening, losing, resuming, ending them, and the passing of time (rules 1 to 8, 11).
//!
//! A session that has ended is remembered until everything it left behind has been swept.

use tenure_engine::limits::{RESTART_GRACE_MIN, SWEEP_MAX};
use tenure_engine::{
    Attach, Cause, Disconnect, GrantKind, LogTime, Notice, OnDisconnect, OpenSession, Rejection,
    Reply, ResumeSession, Resumed, SessionEnd, SessionId, SessionRef, WaitEnd, WaitId, Waiting,
    What,
};

use super::Model;
use super::settle::{Verdict, cause_of};
use super::state::{Lock, Session, Wait};

/// One thing that a tick takes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    LeftWait { session: SessionId, wait: u64 },
    LeftHold { session: SessionId, hold: u64 },
    Hold(u64),
    Wait { all: bool, wait: u64 },
    Session(SessionId),
}

impl Model {
    /// Rule 2.
    pub(super) fn current(&self, by: SessionRef) -> Result<Session, Rejection> {
        let session = self.session(by.session);
        let session = session.filter(|session| !self.session_over(session, self.now));
        let session = session.ok_or(Rejection::UnknownSession)?;
        if !session.attached || session.current() != by {
            return Err(Rejection::NotAttached);
        }
        Ok(session.clone())
    }

    /// Rule 1.
    pub(super) fn open(&mut self, open: &OpenSession<'_>) -> Reply {
        let policy = self.org_policy(open.org);
        let there = self
            .sessions
            .iter()
            .filter(|session| session.org == open.org);
        let there = there.filter(|session| session.ended.is_none()).count();
        if there >= policy.sessions_max as usize {
            return Reply::Rejected(Rejection::TooManySessions);
        }
        let on_disconnect = match open.on_disconnect {
            Disconnect::ByPolicy if policy.release_on_disconnect => OnDisconnect::Release {
                grace: policy.grace,
            },
            Disconnect::ByPolicy | Disconnect::Keep => OnDisconnect::Keep,
            Disconnect::Release(grace) => OnDisconnect::Release {
                grace: grace.unwrap_or(policy.grace),
            },
        };
        let session = SessionId(self.next_session);
        self.next_session += 1;
        self.sessions.push(Session {
            id: session,
            org: open.org.to_owned(),
            owner: open.owner.to_owned(),
            name: open.name.to_owned(),
            metadata: open.metadata.to_vec(),
            role: open.role,
            key: open.resume_key,
            on_disconnect,
            attach: 1,
            attached: true,
            grace_until: None,
            renewed: self.now,
            last_active: self.now,
            ended: None,
            memory: Vec::new(),
        });
        self.session_event(session, |session, who| What::SessionOpened { session, who });
        Reply::Opened {
            session,
            attach: Attach(1),
            on_disconnect,
        }
    }

    /// Rule 3.
    pub(super) fn detach(&mut self, by: SessionRef) -> Reply {
        let Ok(session) = self.current(by) else {
            return Reply::Done;
        };
        let id = session.id;
        let is_in = self.holds.iter().filter(|hold| hold.has(id));
        let is_in: Vec<u64> = is_in.map(|hold| hold.age).collect();
        self.let_go_of_connection(id, 0);
        let keeps = self
            .session(id)
            .is_some_and(|there| there.grace().is_none());
        self.session_event(id, |session, who| What::SessionDetached {
            session,
            who,
            keeps,
        });
        for age in is_in {
            if self.left_alone(self.hold(age)) {
                self.orphan(age);
            }
        }
        let waits = self.waits.iter().filter(|wait| wait.session == id);
        let awaited = waits.flat_map(Wait::locks).collect();
        self.end_if_keeping(id);
        self.settle_all(awaited);
        Reply::Done
    }

    fn let_go_of_connection(&mut self, id: SessionId, least_grace: u64) {
        let now = self.now;
        let session = self.session_mut(id);
        session.attached = false;
        let grace = session.grace();
        session.grace_until = grace.map(|grace| now.saturating_add(grace.0.max(least_grace)));
    }

    /// A detached session that keeps has no waits, and is there for its holds alone. Gives the
    /// locks that it awaited.
    fn end_if_keeping(&mut self, id: SessionId) -> Vec<Lock> {
        let mut awaited = Vec::new();
        if self
            .session(id)
            .is_none_or(|there| there.grace().is_some() || there.ended.is_some())
        {
            return awaited;
        }
        let mut waits: Vec<Wait> = self
            .waits
            .iter()
            .filter(|w| w.session == id)
            .cloned()
            .collect();
        waits.sort_by_key(|wait| wait.id);
        for wait in waits {
            self.end_wait(wait.id, WaitEnd::Detached);
            awaited.extend(wait.locks());
        }
        let ended = self
            .session(id)
            .is_none_or(|session| session.ended.is_some());
        if !ended && !self.holds.iter().any(|hold| hold.has(id)) {
            self.mark_ended(id, SessionEnd::LastHoldOver);
        }
        awaited
    }

    /// Rule 4.
    pub(super) fn resume(&mut self, resume: &ResumeSession<'_>) -> Reply {
        let now = self.now;
        let session = self.session(resume.session).filter(|session| {
            session.org == resume.org
                && session.key == resume.resume_key
                && !self.session_over(session, now)
        });
        let Some(session) = session else {
            return Reply::Rejected(Rejection::UnknownSession);
        };
        let (id, was_attached) = (session.id, session.attached);
        self.settle_past_holds(id);
        if self
            .session(id)
            .is_none_or(|session| session.ended.is_some())
        {
            return Reply::Rejected(Rejection::UnknownSession);
        }
        let holds = self.session_holds(id, now);
        let orphaned = holds.into_iter().filter(|hold| self.left_alone(hold));
        let orphaned: Vec<u64> = orphaned.map(|hold| hold.age).collect();
        if was_attached {
            self.tell(id, Notice::Moved);
        }
        let session = self.session_mut(id);
        session.attach += 1;
        session.attached = true;
        session.grace_until = None;
        session.last_active = now;
        session.role = session.role.min(resume.role);
        if !was_attached {
            self.session_event(id, |session, who| What::SessionResumed { session, who });
        }
        for age in orphaned {
            self.adopted(age);
        }
        let mut waits: Vec<Wait> = self
            .waits
            .iter()
            .filter(|w| w.session == id)
            .cloned()
            .collect();
        waits.sort_by_key(|wait| wait.id);
        for wait in waits {
            if self.waits.iter().any(|other| other.id == wait.id) {
                let mut touched = Vec::new();
                for lock in wait.locks() {
                    self.settle_one(&lock, &mut touched);
                    self.grant_resumed(id, &lock);
                }
                touched.extend(wait.locks());
                self.settle_all(touched);
            }
        }
        Reply::Resumed(Box::new(self.resumed(id)))
    }

    /// Rules 4 and 5: the holds of the session that are over end, and their paths are settled.
    fn settle_past_holds(&mut self, id: SessionId) {
        let now = self.now;
        let past = |model: &Self| {
            let of = model
                .holds
                .iter()
                .filter(|hold| hold.has(id) && hold.deadline <= now);
            of.min_by_key(|hold| hold.age).map(|hold| hold.lock.clone())
        };
        while let Some(lock) = past(self) {
            self.settle(&lock);
        }
    }

    /// Rule 17: the waits of a resumed session join what its owner holds.
    fn grant_resumed(&mut self, id: SessionId, lock: &Lock) {
        let queue: Vec<Wait> = self.queue(lock, self.now).into_iter().cloned().collect();
        for wait in queue.into_iter().filter(|wait| wait.session == id) {
            let hold = self.hold_of(lock, &wait.owner, self.now);
            if hold.is_some_and(|hold| hold.mode >= wait.mode()) {
                self.grant_wait(lock, &wait, Verdict::Join);
            }
        }
    }

    fn resumed(&self, id: SessionId) -> Resumed {
        let now = self.now;
        let session = self.session(id).expect("it has been resumed");
        let holds = self.session_holds(id, now).into_iter();
        let waits = self.session_waits(id, now).into_iter();
        Resumed {
            attach: Attach(session.attach),
            owner: session.owner.as_str().into(),
            on_disconnect: session.on_disconnect,
            role: session.role,
            holds: holds
                .map(|hold| self.held(hold, GrantKind::Joined, now))
                .collect(),
            waits: waits
                .map(|wait| Waiting {
                    wait: WaitId(wait.id),
                    paths: wait
                        .items
                        .iter()
                        .map(|item| item.path.as_str().into())
                        .collect(),
                    place: self.place(wait, now),
                    remaining: LogTime(now).until(LogTime(wait.deadline)),
                })
                .collect(),
            missed: session
                .memory
                .iter()
                .map(|(_, missed)| missed.clone())
                .collect(),
        }
    }

    /// Rule 5.
    pub(super) fn renew_session(&mut self, by: SessionRef) -> Reply {
        let session = match self.current(by) {
            Ok(session) => session,
            Err(rejection) => return Reply::Rejected(rejection),
        };
        self.settle_past_holds(session.id);
        let now = self.now;
        let ages: Vec<u64> = self
            .session_holds(session.id, now)
            .into_iter()
            .map(|hold| hold.age)
            .collect();
        for age in &ages {
            let hold = self.hold_mut(*age);
            hold.deadline = hold.deadline.max(now.saturating_add(hold.ttl));
        }
        let renewed = self.session_mut(session.id);
        (renewed.renewed, renewed.last_active) = (now, now);
        Reply::SessionRenewed {
            holds: ages.len() as u32,
        }
    }

    /// Rule 6.
    pub(super) fn close(&mut self, by: SessionRef) -> Reply {
        let session = match self.current(by) {
            Ok(session) => session,
            Err(rejection) => return Reply::Rejected(rejection),
        };
        self.mark_ended(session.id, SessionEnd::Closed);
        for _ in 0..SWEEP_MAX {
            let Some(due) = self.left_behind(Some(session.id)) else {
                break;
            };
            self.take(&due);
        }
        Reply::Done
    }

    /// Rule 8.
    pub(super) fn started(&mut self) -> Reply {
        let there = self
            .sessions
            .iter()
            .filter(|session| !self.session_over(session, self.now));
        let mut there: Vec<SessionId> = there.map(|session| session.id).collect();
        there.sort_unstable();
        for id in &there {
            self.let_go_of_connection(*id, RESTART_GRACE_MIN.0);
        }
        for id in &there {
            let touched = self.end_if_keeping(*id);
            self.settle_all(touched);
        }
        Reply::Done
    }

    /// Rule 11.
    pub(super) fn tick(&mut self) -> Reply {
        while self.turns_left > 0 && !self.unserved.is_empty() {
            let lock = self.unserved.remove(0);
            self.settle(&lock);
        }
        for _ in 0..SWEEP_MAX {
            let Some(due) = self.left_behind(None).or_else(|| self.first_due()) else {
                break;
            };
            self.take(&due);
        }
        Reply::Done
    }

    /// What an ended session has left behind: by session, waits first.
    fn left_behind(&self, of: Option<SessionId>) -> Option<Due> {
        let mut due = Vec::new();
        for session in &self.sessions {
            if session.ended.is_none() || of.is_some_and(|of| of != session.id) {
                continue;
            }
            let waits = self.waits.iter().filter(|wait| wait.session == session.id);
            let holds = self.holds.iter().filter(|hold| hold.has(session.id));
            let session = session.id;
            due.extend(waits.map(|wait| {
                (
                    session,
                    Due::LeftWait {
                        session,
                        wait: wait.id,
                    },
                )
            }));
            due.extend(holds.map(|hold| {
                (
                    session,
                    Due::LeftHold {
                        session,
                        hold: hold.age,
                    },
                )
            }));
        }
        due.into_iter().min().map(|(_, due)| due)
    }

    /// The first by deadline of what is over by it.
    fn first_due(&self) -> Option<Due> {
        let holds = self
            .holds
            .iter()
            .map(|hold| (hold.deadline, Due::Hold(hold.age)));
        let waits = self.waits.iter();
        let waits = waits.map(|wait| {
            (
                wait.deadline,
                Due::Wait {
                    all: wait.all,
                    wait: wait.id,
                },
            )
        });
        let sessions = self
            .sessions
            .iter()
            .filter(|session| session.ended.is_none());
        let sessions = sessions.filter_map(|session| {
            self.session_over_from(session)
                .map(|at| (at, Due::Session(session.id)))
        });
        let due = holds
            .chain(waits)
            .chain(sessions)
            .filter(|(at, _)| *at <= self.now)
            .min();
        due.map(|(_, due)| due)
    }

    fn take(&mut self, due: &Due) {
        match due {
            Due::Session(id) => {
                let session = self.session(*id).expect("it is due");
                let why = match (session.attached, session.grace()) {
                    (true, _) => SessionEnd::Idle,
                    (false, _) => SessionEnd::GraceOver,
                };
                self.mark_ended(*id, why);
            }
            Due::LeftWait { wait, .. } => self.take_wait(*wait, WaitEnd::SessionEnded),
            Due::Wait { wait, .. } => self.take_wait(*wait, WaitEnd::TimedOut),
            Due::Hold(age) => {
                let lock = self.hold(*age).lock.clone();
                self.end_hold(*age, &Cause::Expired, None);
                self.settle(&lock);
            }
            Due::LeftHold { session, hold } => {
                let lock = self.hold(*hold).lock.clone();
                let why = self
                    .session(*session)
                    .and_then(|of| of.ended)
                    .expect("it has ended");
                self.take_out(*hold, *session, &cause_of(why));
                self.settle(&lock);
            }
        }
    }

    fn take_wait(&mut self, id: u64, why: WaitEnd) {
        let wait = self
            .waits
            .iter()
            .find(|other| other.id == id)
            .expect("it is due");
        let locks = wait.locks();
        self.end_wait(id, why);
        self.settle_all(locks);
    }

    /// Ends a session. What it leaves behind is over with it.
    pub(super) fn mark_ended(&mut self, id: SessionId, why: SessionEnd) {
        if why == SessionEnd::Idle {
            let session = self.session(id).expect("the session is there");
            if session.attached {
                let to = session.current();
                self.told.push((to, Notice::Closed { why }));
            }
        }
        self.session_mut(id).ended = Some(why);
        self.session_ended(id, why);
    }

    /// Forgets the ended sessions that have left nothing behind.
    pub(super) fn forget_swept(&mut self) {
        let (holds, waits) = (&self.holds, &self.waits);
        self.sessions.retain(|session| {
            session.ended.is_none()
                || holds.iter().any(|hold| hold.has(session.id))
                || waits.iter().any(|wait| wait.session == session.id)
        });
    }
}
