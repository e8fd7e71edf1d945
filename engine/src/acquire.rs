//! Asking for a lock, and getting it. Rules 12 to 15 and 17 to 20.
//!
//! Must hold: whoever is given a hold was found to have room for it in the same step.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::command::{Acquire, Mode, Role};
use crate::engine::Engine;
use crate::event::{Notice, What};
use crate::ids::{SessionRef, Token, WaitId};
use crate::keys::{LockKey, OrgKey, OwnerKey, SessionKey};
use crate::lock::{Lock, Room};
use crate::org::Address;
use crate::reply::{GrantKind, Refusal, RefusalReason, Rejection, Reply};
use crate::session::Session;
use crate::step::Step;
use crate::time::{LogTime, Millis};

/// What is wanted of a lock, at once or later.
#[derive(Debug, Clone)]
pub(crate) struct Want {
    pub(crate) session: SessionKey,
    pub(crate) owner: OwnerKey,
    pub(crate) mode: Mode,
    pub(crate) limit: Option<u32>,
    pub(crate) ttl: Millis,
    pub(crate) metadata: Option<Arc<[u8]>>,
    /// The wait that it was, if it was one.
    pub(crate) from: Option<WaitId>,
    pub(crate) since: LogTime,
}

/// What an acquire leaves to be copied, if it is there.
pub(crate) fn metadata(bytes: &[u8]) -> Option<Arc<[u8]>> {
    (!bytes.is_empty()).then(|| Arc::from(bytes))
}

/// Whether a limit leaves no room for anybody.
pub(crate) fn nobody_may_share(limit: Option<u32>) -> bool {
    limit == Some(0)
}

impl Step<'_> {
    pub(crate) fn acquire(&mut self, acquire: &Acquire<'_>) -> Reply {
        let session = match self.locking_session(acquire.by) {
            Ok(session) => session,
            Err(rejection) => return Reply::Rejected(rejection),
        };
        if nobody_may_share(acquire.limit) {
            return Reply::Rejected(Rejection::BadLimit);
        }
        let org = session.org;
        let want = Want {
            session: session.key,
            owner: session.owner,
            mode: acquire.mode,
            limit: acquire.limit,
            ttl: self.engine.org(org).ttl_for(acquire.path, acquire.ttl),
            metadata: metadata(acquire.metadata),
            from: None,
            since: self.now,
        };
        let at = self.engine.address(org, acquire.path);
        if let Some(seize) = &acquire.seize {
            if acquire.mode != Mode::Exclusive || acquire.wait > Millis::ZERO {
                return Reply::Rejected(Rejection::BadSeize);
            }
            return self.seize(&at, &want, seize);
        }
        let lock = self.settled(&at);
        match self.room(lock, &want, acquire.wait) {
            Ok(()) => self.give_now(&at, lock, &want),
            Err(reason) => self.wait_or_refuse(lock, &want, reason, acquire.wait, acquire.note),
        }
    }

    /// The session that a command is by, if it may lock and not only look.
    pub(crate) fn locking_session(&self, by: SessionRef) -> Result<&Session, Rejection> {
        let session = self.session(by)?;
        if session.role < Role::Member {
            return Err(Rejection::RoleTooLow);
        }
        Ok(session)
    }

    /// The lock at an address, settled, if anybody holds or awaits it.
    pub(crate) fn settled(&mut self, at: &Address<'_>) -> Option<LockKey> {
        let lock = self.engine.lock_at(at)?;
        self.named = Some((lock, at.hash));
        if self.engine.nothing_is_over(self.now) && self.engine.unserved.is_empty() {
            // And so nobody waits for what is to be had, of this lock or of one that is awaited with it.
            return Some(lock);
        }
        self.settle(lock);
        // Settling may have found it unused.
        self.engine.lock_at(at)
    }

    /// Rules 13 to 15; and 18: to whoever does not want to wait, its own wait is in nobody's way.
    fn room(&self, lock: Option<LockKey>, want: &Want, wait: Millis) -> Result<(), RefusalReason> {
        let room = self
            .engine
            .room(lock, want.owner, want.mode, want.limit, self.now);
        match (room, lock) {
            (Err(RefusalReason::QueuedAhead), Some(lock))
                if wait == Millis::ZERO && self.is_all_that_waits(lock, want) =>
            {
                Ok(())
            }
            (room, _) => room,
        }
    }

    fn is_all_that_waits(&self, lock: LockKey, want: &Want) -> bool {
        let own = self.waiting_already(lock, want);
        let mut queue = (0..).zip(self.engine.lock(lock).queue());
        own.is_some()
            && queue.all(|(index, wait)| Some(index) == own || !self.is_eligible(wait.session))
    }

    pub(crate) fn is_eligible(&self, session: SessionKey) -> bool {
        self.engine.is_eligible(session, self.now)
    }

    /// Gives a lock that there is room for to whoever asks, and answers.
    pub(crate) fn give_now(
        &mut self,
        at: &Address<'_>,
        lock: Option<LockKey>,
        want: &Want,
    ) -> Reply {
        // For a lock that is new nobody has been waiting.
        let is_new = lock.is_none();
        let lock = lock.unwrap_or_else(|| self.new_lock(at));
        match self.give(lock, want) {
            Ok(kind) => {
                if !is_new {
                    self.serve_owner(lock, want.owner, kind);
                }
                let index = self.engine.lock(lock).hold_of(want.owner);
                let grant = self.grant(lock, index.expect("it was given in this step"), kind);
                if !is_new {
                    self.settle(lock);
                }
                Reply::Granted(grant)
            }
            Err(rejection) => {
                self.drop_if_unused(lock);
                Reply::Rejected(rejection)
            }
        }
    }

    /// Gives a lock that there is room for. What stands in the way are limits; then nothing has changed.
    pub(crate) fn give(&mut self, lock: LockKey, want: &Want) -> Result<GrantKind, Rejection> {
        let found = self.engine.lock(lock);
        let room = found.room_for(want.owner, want.mode, want.limit);
        let mut needs = Needs::default();
        needs.count(found, found.is_held(), want.session, room);
        self.satisfies(found.org, want.session, needs)?;
        match room {
            Room::Joins(index) => {
                self.join_hold(lock, index, want);
                Ok(GrantKind::Joined)
            }
            Room::Upgrades(index) => {
                let token = self.engine.next.token()?;
                let upgraded = self.engine.lock_mut(lock);
                upgraded.begin_phase(token, Mode::Exclusive, None);
                self.touch();
                self.join_hold(lock, index, want);
                self.converted(lock, index, want.session);
                Ok(GrantKind::Converted)
            }
            Room::Free => {
                self.begin_hold(lock, want)?;
                Ok(GrantKind::Fresh)
            }
            Room::UpgradeBlocked | Room::Held | Room::LimitDiffers => Err(Rejection::NotGrantable),
        }
    }

    fn join_hold(&mut self, lock: LockKey, index: usize, want: &Want) {
        self.extend(lock, index, want.ttl);
        let hold = &mut self.engine.lock_mut(lock).holds[index];
        if want.metadata.is_some() && hold.metadata() != want.metadata.as_ref() {
            hold.set_metadata(want.metadata.clone());
            self.touch();
        }
        self.join(lock, index, want.session, want.from);
    }

    /// Tells of a hold that has another mode: its sessions, except the one whose command it is, and the org.
    pub(crate) fn converted(&mut self, lock: LockKey, index: usize, by: SessionKey) {
        let path = self.engine.path(lock);
        let grant = self.grant(lock, index, GrantKind::Converted);
        let members = self.engine.lock(lock).holds[index].members();
        let others: Vec<_> = members.filter(|member| *member != by).collect();
        for member in others {
            self.notice(member, Notice::Changed { path: &path, grant });
        }
        self.event(|engine| {
            let lock = engine.lock(lock);
            let what = What::Converted {
                path: &*lock.path,
                who: engine.who_holds(&lock.holds[index]),
                mode: lock.mode(),
                token: lock.token(),
            };
            (lock.org, what)
        });
    }

    /// Rule 20, as far as it concerns holding.
    pub(crate) fn satisfies(
        &self,
        org: OrgKey,
        session: SessionKey,
        needs: Needs,
    ) -> Result<(), Rejection> {
        let org = self.engine.org(org);
        if needs.fresh > 0
            && org.holds as usize + needs.fresh > org.policy.holds_max as usize + needs.freed
        {
            return Err(Rejection::TooManyHolds);
        }
        let holds = self.engine.session(session).locks.len();
        if needs.joined > 0 && holds + needs.joined > org.policy.session_holds_max as usize {
            return Err(Rejection::TooManySessionHolds);
        }
        if self.engine.next.token.saturating_add(needs.tokens) > Token::MAX.0 + 1 {
            return Err(Rejection::TokensExhausted);
        }
        Ok(())
    }

    /// The refusal of a lock that has been settled in this step.
    pub(crate) fn refused(&self, lock: Option<LockKey>, reason: RefusalReason) -> Reply {
        let truth = lock.map(|lock| self.engine.truth_settled(self.engine.lock(lock), self.now));
        Reply::Refused(Box::new(Refusal {
            reason,
            truth: truth.unwrap_or_default(),
        }))
    }
}

impl Lock {
    /// Whether the upgrade of another owner is pending.
    pub(crate) fn has_upgrade_beside(&self, owner: OwnerKey) -> bool {
        let mut upgrades = self.upgrades().iter();
        upgrades.any(|wait| {
            let index = self.wait_index(*wait).expect("an upgrade is queued");
            self.queue()[index].owner != owner
        })
    }
}

/// What grants use up.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Needs {
    /// Holds that the org has more.
    pub(crate) fresh: usize,
    /// Holds that the org has less, because they make way.
    pub(crate) freed: usize,
    /// Holds that the session is in more.
    pub(crate) joined: usize,
    pub(crate) tokens: u64,
}

impl Needs {
    /// Counts what a grant of the lock to the session uses up, whether or not a phase has begun.
    pub(crate) fn count(&mut self, lock: &Lock, has_begun: bool, session: SessionKey, room: Room) {
        match room {
            Room::Joins(index) | Room::Upgrades(index) => {
                self.joined += usize::from(!lock.holds[index].has_member(session));
                self.tokens += u64::from(matches!(room, Room::Upgrades(_)));
            }
            Room::Free => {
                self.fresh += 1;
                self.joined += 1;
                self.tokens += u64::from(!has_begun);
            }
            Room::UpgradeBlocked | Room::Held | Room::LimitDiffers => {}
        }
    }
}

impl Engine {
    /// Whether a waiter of this session may be granted anything.
    pub(crate) fn is_eligible(&self, session: SessionKey, now: LogTime) -> bool {
        self.sessions
            .get(session)
            .is_some_and(|session| session.is_eligible(now))
    }

    /// Whether an owner could be given a settled lock, those who wait ahead included.
    #[inline]
    pub(crate) fn room(
        &self,
        lock: Option<LockKey>,
        owner: OwnerKey,
        mode: Mode,
        limit: Option<u32>,
        now: LogTime,
    ) -> Result<(), RefusalReason> {
        let Some(lock) = lock.map(|lock| self.lock(lock)) else {
            return Ok(());
        };
        match lock.room_for(owner, mode, limit) {
            Room::Joins(_) | Room::Upgrades(_) => Ok(()),
            Room::Free
                if lock
                    .queue()
                    .iter()
                    .any(|wait| self.is_eligible(wait.session, now)) =>
            {
                Err(RefusalReason::QueuedAhead)
            }
            Room::Free => Ok(()),
            Room::UpgradeBlocked if lock.has_upgrade_beside(owner) => {
                Err(RefusalReason::UpgradePending)
            }
            Room::UpgradeBlocked | Room::Held => Err(RefusalReason::Held),
            Room::LimitDiffers => Err(RefusalReason::LimitDiffers),
        }
    }
}
