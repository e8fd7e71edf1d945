//! A lock that changes hands: asked for and given, declined, seized, or freed by an operator. Rules 21 and 30 to 33.
//!
//! Must hold: the loser hears of it before the winner does.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::acquire::{Needs, Want};
use crate::command::{ForceRelease, Role, Seize, Target};
use crate::engine::Engine;
use crate::event::{Cause, Notice};
use crate::ids::{SessionRef, WaitId};
use crate::keys::LockKey;
use crate::limits::{PAGE_MAX, SCAN_MAX};
use crate::lock::{Hold, Lock, Room};
use crate::org::Address;
use crate::reply::{EndedHold, RefusalReason, Rejection, Reply};
use crate::step::Step;
use crate::time::LogTime;

impl Step<'_> {
    pub(crate) fn seize(&mut self, at: &Address<'_>, want: &Want, seize: &Seize<'_>) -> Reply {
        let lock = self.settled(at);
        if !self.may_seize(lock, want) {
            return self.refused(lock, RefusalReason::RoleTooLow);
        }
        let Some(lock) = lock else {
            return self.give_now(at, None, want);
        };
        if let Err(rejection) = self.seizure_within_limits(lock, want) {
            return Reply::Rejected(rejection);
        }
        let by = self.engine.session(want.session).who_kept();
        let cause = Cause::Seized {
            by,
            reason: Arc::from(seize.reason),
        };
        let holds = self.engine.lock(lock).holds.iter();
        let others = holds.filter(|hold| hold.owner != want.owner);
        let others: Vec<_> = others.map(Hold::id).collect();
        self.end_holds(lock, &others, &cause);
        self.give_now(at, Some(lock), want)
    }

    fn may_seize(&self, lock: Option<LockKey>, want: &Want) -> bool {
        let role = self.engine.session(want.session).role;
        let holds = lock.map_or(&[][..], |lock| &*self.engine.lock(lock).holds);
        let others = holds.iter().filter(|hold| hold.owner != want.owner);
        let mut roles = others
            .flat_map(|hold| hold.members())
            .map(|member| self.engine.session(member).role);
        role >= Role::Moderator && roles.all(|holder| holder <= role)
    }

    /// Looked at before anybody loses anything: a seizure that fails must leave things as they were.
    fn seizure_within_limits(&self, lock: LockKey, want: &Want) -> Result<(), Rejection> {
        let is_own = |hold: &Hold| hold.owner == want.owner;
        self.satisfied_beside(lock, is_own, want).map(|_| ())
    }

    /// The room that there would be if only some of the holds were there, unless limits leave none.
    fn satisfied_beside(
        &self,
        lock: LockKey,
        stays: impl Fn(&Hold) -> bool,
        want: &Want,
    ) -> Result<Room, Rejection> {
        let found = self.engine.lock(lock);
        let room = found.room_beside(&stays, want.owner, want.mode, want.limit);
        let left = found.holds.iter().filter(|hold| stays(hold)).count();
        let mut needs = Needs {
            freed: found.holds.len() - left,
            ..Needs::default()
        };
        needs.count(found, left > 0, want.session, room);
        self.satisfies(found.org, want.session, needs)?;
        Ok(room)
    }

    pub(crate) fn hand_over(&mut self, by: SessionRef, path: &str, to: Option<WaitId>) -> Reply {
        let (session, lock, index) = match self.own_hold(by, path) {
            Ok(found) => found,
            Err(reply) => return reply,
        };
        let Some(at) = self.wait_to_hand_to(lock, to) else {
            return Reply::Rejected(Rejection::UnknownWait);
        };
        if !self.can_hand_to(lock, index, at) {
            return Reply::Rejected(Rejection::NotGrantable);
        }
        let found = self.engine.lock(lock);
        let (wait, receiver) = (found.queue()[at].id, found.queue()[at].owner);
        let to = self.engine.session(found.queue()[at].session).who_kept();
        let owner = to.owner.clone();
        self.end_hold(lock, index, &Cause::HandedTo { to }, Some(session));
        let at = self
            .engine
            .lock(lock)
            .wait_index(wait)
            .expect("ending a hold ends no wait of others");
        match self.grant_wait(lock, at) {
            Some(kind) => self.serve_owner(lock, receiver, kind),
            None => return Reply::Rejected(Rejection::NotGrantable),
        }
        let token = self.engine.lock(lock).token();
        self.settle(lock);
        Reply::HandedOver { token, owner }
    }

    fn wait_to_hand_to(&self, lock: LockKey, to: Option<WaitId>) -> Option<usize> {
        let found = self.engine.lock(lock);
        match to {
            Some(wait) => found.wait_index(wait),
            None => found.serving_order().find(|&index| {
                let wait = &found.queue()[index];
                let asks = wait.note.as_ref().is_some_and(|note| !note.declined);
                asks && self.is_eligible(wait.session)
            }),
        }
    }

    /// Whether the waiter could be given the lock if the hold were gone, whoever else waits.
    fn can_hand_to(&self, lock: LockKey, index: usize, at: usize) -> bool {
        let found = self.engine.lock(lock);
        let (given, wait) = (found.holds[index].id(), &found.queue()[at]);
        let want = Want {
            session: wait.session,
            owner: wait.owner,
            mode: wait.mode,
            limit: wait.limit,
            ttl: wait.ttl,
            metadata: None,
            from: Some(wait.id),
            since: wait.since,
        };
        let room = self.satisfied_beside(lock, |hold| hold.id() != given, &want);
        self.is_eligible(wait.session)
            && matches!(room, Ok(Room::Free | Room::Joins(_) | Room::Upgrades(_)))
    }

    pub(crate) fn decline(&mut self, by: SessionRef, path: &str, to: WaitId) -> Reply {
        let (session, lock) = match self.own_hold(by, path) {
            Ok((session, lock, _)) => (session, lock),
            Err(reply) => return reply,
        };
        let found = self.engine.lock_mut(lock);
        let wait = found.wait_index(to).map(|index| found.wait_mut(index));
        let Some((asker, note)) = wait.and_then(|wait| Some((wait.session, wait.note.as_mut()?)))
        else {
            return Reply::Rejected(Rejection::UnknownWait);
        };
        if !note.declined {
            note.declined = true;
            self.touch();
            let who = self.engine.session(session).who_kept();
            let path = self.engine.path(lock);
            self.notice(
                asker,
                Notice::Declined {
                    wait: to,
                    path: &path,
                    who,
                },
            );
        }
        Reply::Done
    }

    pub(crate) fn force_release(&mut self, force: &ForceRelease<'_>) -> Reply {
        let Some(org) = self.engine.org_named(force.org) else {
            return Reply::Forced {
                ended: Vec::new(),
                next: None,
            };
        };
        let cause = Cause::Forced {
            by: Arc::from(force.principal),
            reason: Arc::from(force.reason),
        };
        let (prefix, after, most) = match force.target {
            Target::Path(path) => (path, force.after, 1),
            Target::Prefix(prefix) => (prefix, force.after, SCAN_MAX),
            Target::Owner(_) | Target::Session(_) | Target::All => ("", force.after, SCAN_MAX),
        };
        let mut ended = Vec::new();
        let locks = self.engine.locks_from(org, prefix, after);
        let locks = locks.map(|lock| (self.engine.lock(lock).path.clone(), lock));
        let locks: Vec<_> = locks.take(most + 1).collect();
        let mut locks = locks.into_iter();
        let mut last = None;
        for (path, lock) in locks.by_ref().take(most) {
            // An earlier lock's settling may have emptied this one.
            if self.engine.locks.contains(lock) {
                self.force_lock(lock, &force.target, &cause, &mut ended);
            }
            last = Some(path);
            if ended.len() >= PAGE_MAX {
                break;
            }
        }
        let is_path = matches!(force.target, Target::Path(_));
        let next = if is_path || locks.next().is_none() {
            None
        } else {
            last.map(|path| Arc::from(&*path))
        };
        Reply::Forced { ended, next }
    }

    fn force_lock(
        &mut self,
        lock: LockKey,
        target: &Target<'_>,
        cause: &Cause,
        ended: &mut Vec<EndedHold>,
    ) {
        self.settle_queue(lock);
        let found = self.engine.lock(lock);
        let path = self.engine.path(lock);
        let holds = found.holds.iter();
        let targeted = holds.filter(|hold| self.engine.is_targeted(found, hold, target, self.now));
        let mut ages = Vec::new();
        for hold in targeted {
            let who = self.engine.session(hold.first).who_kept();
            ended.push(EndedHold {
                path: path.clone(),
                owner: who.owner,
                name: who.name,
                token: found.token(),
            });
            ages.push(hold.id());
        }
        self.end_holds(lock, &ages, cause);
        self.settle(lock);
    }
}

impl Engine {
    /// Whether a bulk release, or a list, means this hold. A session that is over is in no hold.
    pub(crate) fn is_targeted(
        &self,
        lock: &Lock,
        hold: &Hold,
        target: &Target<'_>,
        now: LogTime,
    ) -> bool {
        match target {
            Target::Path(wanted) => lock.path == *wanted,
            Target::Prefix(prefix) => lock.path.starts_with(prefix),
            Target::Owner(owner) => *self.org(lock.org).owners.get(hold.owner).name == **owner,
            Target::Session(session) => {
                self.live_members(hold, now).any(|live| live.id == *session)
            }
            Target::All => true,
        }
    }
}
