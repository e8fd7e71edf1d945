//! Waiting for a lock, in a line that is served in order. Rules 16 to 18, and cancelling.
//!
//! Must hold: after [`Step::serve`] no eligible waiter of the queue waits for what it could be given, unless the lock is
//! among the unserved, and then whoever comes later is queued behind; nobody who is detached, over or ended is given
//! anything.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::acquire::Want;
use crate::command::Mode;
use crate::deadlines::Due;
use crate::engine::Engine;
use crate::event::{Notice, WaitEnd, What};
use crate::ids::{SessionRef, WaitId};
use crate::keys::{HoldId, LockKey, OwnerKey, SessionKey};
use crate::lock::{Lock, Note, Room, Wait};
use crate::query::Place;
use crate::reply::{GrantKind, Held, RefusalReason, Rejection, Reply};
use crate::step::Step;
use crate::time::{LogTime, Millis};

/// What the head of a queue gets.
pub(crate) enum Turn {
    Grant(usize),
    Refuse(usize),
}

impl Step<'_> {
    // Asking.

    /// There is no room at this instant: queues what wants to wait, refuses the rest.
    pub(crate) fn wait_or_refuse(
        &mut self,
        lock: Option<LockKey>,
        want: &Want,
        reason: RefusalReason,
        wait: Millis,
        note: Option<&str>,
    ) -> Reply {
        let waits_in_vain = matches!(
            reason,
            RefusalReason::LimitDiffers | RefusalReason::UpgradePending
        );
        match lock {
            Some(lock) if wait > Millis::ZERO && !waits_in_vain => {
                self.enqueue(lock, want, self.now + wait, note)
            }
            _ => self.refused(lock, reason),
        }
    }

    fn enqueue(
        &mut self,
        lock: LockKey,
        want: &Want,
        deadline: LogTime,
        note: Option<&str>,
    ) -> Reply {
        let index = match self.waiting_already(lock, want) {
            Some(index) => {
                self.ask_again(lock, index, want, deadline);
                index
            }
            None => {
                if let Err(reply) = self.room_to_wait(lock, want.session) {
                    return reply;
                }
                self.begin_wait(lock, want, deadline)
            }
        };
        if let Some(note) = note {
            self.leave_note(lock, index, note);
        }
        let found = self.engine.lock(lock);
        Reply::Queued {
            wait: found.queue()[index].id,
            place: self.engine.place(found, index),
        }
    }

    /// Where the session stands that asks for the same again.
    pub(crate) fn waiting_already(&self, lock: LockKey, want: &Want) -> Option<usize> {
        let found = self.engine.lock(lock);
        let waits = &self.engine.session(want.session).waits;
        waits
            .iter()
            .filter(|(_, at)| **at == Some(lock))
            .find_map(|(wait, _)| {
                let index = found.wait_index(*wait)?;
                let queued = &found.queue()[index];
                (queued.mode == want.mode && queued.limit == want.limit).then_some(index)
            })
    }

    /// Rule 18: nothing that it has gets worse.
    fn ask_again(&mut self, lock: LockKey, index: usize, want: &Want, deadline: LogTime) {
        let queued = self.engine.lock_mut(lock).wait_mut(index);
        let before = (queued.ttl, queued.deadline, queued.metadata.clone());
        queued.ttl = queued.ttl.max(want.ttl);
        queued.deadline = queued.deadline.max(deadline);
        if want.metadata.is_some() {
            queued.metadata.clone_from(&want.metadata);
        }
        if before != (queued.ttl, queued.deadline, queued.metadata.clone()) {
            self.touch();
        }
    }

    /// Rule 20, as far as it concerns waiting.
    fn room_to_wait(&self, lock: LockKey, session: SessionKey) -> Result<(), Reply> {
        if self.queue_is_full(lock) {
            return Err(self.refused(Some(lock), RefusalReason::QueueFull));
        }
        self.waits_left(session).map_err(Reply::Rejected)
    }

    pub(crate) fn queue_is_full(&self, lock: LockKey) -> bool {
        let found = self.engine.lock(lock);
        let policy = self.engine.org(found.org).policy_for(&found.path);
        found.queue().len() + found.groups().len() >= policy.queue_max as usize
    }

    pub(crate) fn waits_left(&self, session: SessionKey) -> Result<(), Rejection> {
        let session = self.engine.session(session);
        let most = self.engine.org(session.org).policy.session_waits_max;
        if session.waits.len() >= most as usize {
            return Err(Rejection::TooManySessionWaits);
        }
        Ok(())
    }

    fn begin_wait(&mut self, lock: LockKey, want: &Want, deadline: LogTime) -> usize {
        let id = self.next_wait();
        let wait = Wait {
            id,
            session: want.session,
            owner: want.owner,
            mode: want.mode,
            limit: want.limit,
            ttl: want.ttl,
            since: self.now,
            deadline,
            note: None,
            metadata: want.metadata.clone(),
            armed: deadline,
        };
        let index = self.engine.lock_mut(lock).push_wait(wait);
        self.engine.deadlines.arm(deadline, Due::Wait(id, lock));
        self.session_mut(want.session).waits.insert(id, Some(lock));
        self.engine.tally.waits += 1;
        self.touch();
        self.event(|engine| {
            let lock = engine.lock(lock);
            let what = What::Queued {
                paths: Vec::from([&*lock.path]),
                who: engine.session(want.session).who(),
                wait: id,
            };
            (lock.org, what)
        });
        index
    }

    pub(crate) fn next_wait(&mut self) -> WaitId {
        let id = WaitId(self.engine.next.wait);
        self.engine.next.wait += 1;
        id
    }

    // Being served.

    /// Serves the queue as far as it goes, or as far as one step goes: then the lock is left for the next.
    pub(crate) fn serve(&mut self, lock: LockKey) {
        while let Some(turn) = self.engine.next_turn(lock, self.now) {
            if self.turns_left == 0 {
                if self.engine.leave_unserved(lock) {
                    self.touch();
                }
                return;
            }
            self.turns_left -= 1;
            match turn {
                Turn::Grant(index) => {
                    let owner = self.engine.lock(lock).queue()[index].owner;
                    if let Some(kind) = self.grant_wait(lock, index) {
                        self.serve_owner(lock, owner, kind);
                    }
                }
                Turn::Refuse(index) => {
                    self.end_wait(lock, index, WaitEnd::Refused(RefusalReason::LimitDiffers));
                }
            }
        }
        if self.engine.take_unserved(lock) {
            self.touch();
        }
    }

    /// What follows when an owner has got a hold, or a stronger one. Rule 17.
    pub(crate) fn serve_owner(&mut self, lock: LockKey, owner: OwnerKey, kind: GrantKind) {
        let found = self.engine.lock(lock);
        if kind == GrantKind::Joined || found.queue().is_empty() {
            return;
        }
        let waits = found.waits_of(owner);
        if waits.is_empty() {
            return;
        }
        self.join_with(lock, &waits);
        let found = self.engine.lock(lock);
        if found.mode() == Mode::Exclusive || !found.has_upgrade_beside(owner) {
            return;
        }
        for wait in waits {
            let found = self.engine.lock(lock);
            let is_second = |index: &usize| found.queue()[*index].mode == Mode::Exclusive;
            if let Some(index) = found.wait_index(wait).filter(is_second) {
                self.end_wait(lock, index, WaitEnd::Refused(RefusalReason::UpgradePending));
            }
        }
    }

    /// The waits of a resumed session on a path that its owner holds already.
    pub(crate) fn serve_owner_of(&mut self, session: SessionKey, lock: LockKey) {
        let waits = self.engine.session(session).waits.iter();
        let waits = waits.filter(|(_, at)| **at == Some(lock));
        let waits: Vec<_> = waits.map(|(wait, _)| *wait).collect();
        self.join_with(lock, &waits);
    }

    /// Grants those of an owner's waits that are eligible and for no more than the owner holds.
    fn join_with(&mut self, lock: LockKey, waits: &[WaitId]) {
        for &wait in waits {
            let found = self.engine.lock(lock);
            let joins = |index: &usize| {
                let wait = &found.queue()[*index];
                let room = found.room_for(wait.owner, wait.mode, wait.limit);
                self.is_eligible(wait.session) && matches!(room, Room::Joins(_))
            };
            if let Some(index) = found.wait_index(wait).filter(joins) {
                self.grant_wait(lock, index);
            }
        }
    }

    /// Turns a wait into a hold and tells; or ends it, when a limit stands in the way.
    pub(crate) fn grant_wait(&mut self, lock: LockKey, index: usize) -> Option<GrantKind> {
        let wait = self.take_wait(lock, index);
        let want = Want {
            session: wait.session,
            owner: wait.owner,
            mode: wait.mode,
            limit: wait.limit,
            ttl: wait.ttl,
            metadata: wait.metadata,
            from: Some(wait.id),
            since: wait.since,
        };
        match self.give(lock, &want) {
            Ok(kind) => {
                let index = self
                    .engine
                    .lock(lock)
                    .hold_of(want.owner)
                    .expect("it was given");
                let grant = self.grant(lock, index, kind);
                let path = self.engine.path(lock);
                let holds = Vec::from([Held { path, grant }]);
                self.notice(
                    want.session,
                    Notice::Granted {
                        wait: wait.id,
                        holds,
                    },
                );
                Some(kind)
            }
            Err(_) => {
                self.wait_ended(want.session, wait.id, &[lock], WaitEnd::TooManyHolds);
                None
            }
        }
    }

    // Going away.

    pub(crate) fn cancel(&mut self, by: SessionRef, wait: WaitId) -> Reply {
        let key = match self.session(by) {
            Ok(session) => session.key,
            Err(rejection) => return Reply::Rejected(rejection),
        };
        let is_waiting = |step: &Self| step.engine.session(key).waits.contains_key(&wait);
        if is_waiting(self) {
            let locks = self.locks_awaited(key, wait);
            self.settle_all(&locks);
        }
        if is_waiting(self) {
            let locks = self.locks_awaited(key, wait);
            self.end_wait_of(key, wait, WaitEnd::Cancelled);
            self.settle_all(&locks);
            return Reply::Cancelled;
        }
        // What is over is not held: what the wait brought is settled before anybody is told that it is there.
        let locks: Vec<_> = self
            .granted_to(key, wait)
            .into_iter()
            .map(|(_, lock)| lock)
            .collect();
        self.settle_all(&locks);
        let granted = self.granted_to(key, wait).into_iter();
        let granted: Vec<_> = granted
            .map(|(hold, lock)| Held {
                path: self.engine.path(lock),
                grant: self.grant(lock, self.hold_index(lock, hold), GrantKind::Joined),
            })
            .collect();
        if granted.is_empty() {
            Reply::Rejected(Rejection::UnknownWait)
        } else {
            Reply::GrantedBefore(granted)
        }
    }

    /// What a session holds because of a wait that was granted, oldest first.
    fn granted_to(&self, session: SessionKey, wait: WaitId) -> Vec<(HoldId, LockKey)> {
        let mut holds = self.engine.holds_by_age(session);
        holds.retain(|&(hold, lock)| {
            let index = self.hold_index(lock, hold);
            self.engine.lock(lock).holds[index].from(session) == Some(wait)
        });
        holds
    }

    /// "May I have it?", told to those who have it.
    fn leave_note(&mut self, lock: LockKey, index: usize, text: &str) {
        let wait = &self.engine.lock(lock).queue()[index];
        if wait
            .note
            .as_ref()
            .is_some_and(|note| *note.text == *text && !note.declined)
        {
            return;
        }
        let (id, session) = (wait.id, wait.session);
        let text: Arc<str> = Arc::from(text);
        self.engine.lock_mut(lock).wait_mut(index).note = Some(Note {
            text: text.clone(),
            declined: false,
        });
        self.touch();
        let path = self.engine.path(lock);
        let asker = self.engine.session(session);
        let (owner, who) = (asker.owner, asker.who_kept());
        let holds = &self.engine.lock(lock).holds;
        let asked: Vec<_> = holds
            .iter()
            .filter(|hold| hold.owner != owner)
            .flat_map(|hold| hold.members())
            .collect();
        for holder in asked {
            let (who, note) = (who.clone(), text.clone());
            self.notice(
                holder,
                Notice::Asked {
                    path: &path,
                    wait: id,
                    who,
                    note,
                },
            );
        }
    }
}

impl Engine {
    /// Whose turn it is in a queue, if anybody's.
    pub(crate) fn next_turn(&self, lock: LockKey, now: LogTime) -> Option<Turn> {
        let lock = self.lock(lock);
        for index in lock.serving_order() {
            let wait = &lock.queue()[index];
            if !self.is_eligible(wait.session, now) {
                continue;
            }
            return match lock.room_for(wait.owner, wait.mode, wait.limit) {
                Room::Joins(_) | Room::Upgrades(_) | Room::Free => Some(Turn::Grant(index)),
                Room::LimitDiffers => Some(Turn::Refuse(index)),
                Room::UpgradeBlocked | Room::Held => None,
            };
        }
        None
    }

    /// The place of a wait: how many are served before it, detached ones included, plus one.
    pub(crate) fn place(&self, lock: &Lock, index: usize) -> u32 {
        u32::try_from(lock.ahead_of(index) + 1).unwrap_or(u32::MAX)
    }

    pub(crate) fn places(&self, org: &str, path: &str, now: LogTime) -> Vec<Place> {
        let Some(lock) = self.find(org, path).map(|lock| self.lock(lock)) else {
            return Vec::new();
        };
        let in_order = lock.serving_order().map(|index| &lock.queue()[index]);
        let attached = in_order.zip(1..).filter_map(|(wait, place)| {
            let session = self.session(wait.session);
            let is_waiting = wait.deadline > now && !session.is_over(now);
            let to = session.attached().filter(|_| is_waiting)?;
            Some(Place {
                to,
                wait: wait.id,
                place,
            })
        });
        attached.collect()
    }
}
