//! Keeping a lock, changing its mode, letting it go. Rules 26 to 29.
//! Must hold: a command about a hold comes from a session of its owner, and finds the path settled.

use alloc::boxed::Box;

use crate::acquire::{Want, nobody_may_share};
use crate::command::{Convert, Mode, Release, ReleaseScope, Renew};
use crate::event::Cause;
use crate::ids::SessionRef;
use crate::keys::{LockKey, SessionKey};
use crate::reply::{GrantKind, NotHeld, Rejection, Released, Reply};
use crate::step::Step;

impl Step<'_> {
    pub(crate) fn renew(&mut self, renew: &Renew<'_>) -> Reply {
        let (_, lock, index) = match self.own_hold(renew.by, renew.path) {
            Ok(found) => found,
            Err(reply) => return reply,
        };
        let found = self.engine.lock(lock);
        if renew.token.is_some_and(|token| token != found.token()) {
            return self.not_held(renew.by, renew.path);
        }
        let org = self.engine.org(found.org);
        let own = found.holds[index].ttl();
        let ttl = renew
            .ttl
            .map_or(own, |asked| org.ttl_for(renew.path, Some(asked)));
        self.extend(lock, index, ttl);
        Reply::Granted(self.grant(lock, index, GrantKind::Joined))
    }

    pub(crate) fn release(&mut self, release: &Release<'_>) -> Reply {
        let (session, lock, index) = match self.own_hold(release.by, release.path) {
            Ok(found) => found,
            Err(Reply::NotHeld(not_held)) if not_held.is_expiry() => {
                return Reply::Released(Released::AlreadyExpired);
            }
            Err(reply) => return reply,
        };
        let found = self.engine.lock(lock);
        if release.token.is_some_and(|token| token != found.token()) {
            return self.not_held(release.by, release.path);
        }
        let hold = &found.holds[index];
        match release.scope {
            ReleaseScope::Session if !hold.has_member(session) => {
                return self.not_held(release.by, release.path);
            }
            ReleaseScope::Session if hold.member_count() > 1 => {
                self.leave(lock, index, session);
                return Reply::Released(Released::Left);
            }
            ReleaseScope::Session | ReleaseScope::Owner => {}
        }
        self.end_hold(lock, index, &Cause::Released, Some(session));
        self.settle(lock);
        Reply::Released(Released::Ended)
    }

    pub(crate) fn convert(&mut self, convert: &Convert<'_>) -> Reply {
        if let Err(rejection) = self.locking_session(convert.by) {
            return Reply::Rejected(rejection);
        }
        if nobody_may_share(convert.limit) {
            return Reply::Rejected(Rejection::BadLimit);
        }
        let (session, lock, index) = match self.own_hold(convert.by, convert.path) {
            Ok(found) => found,
            Err(reply) => return reply,
        };
        match (self.engine.lock(lock).mode(), convert.mode) {
            (Mode::Exclusive, Mode::Exclusive) | (Mode::Shared, Mode::Shared) => {
                Reply::Granted(self.grant(lock, index, GrantKind::Joined))
            }
            (Mode::Exclusive, Mode::Shared) => self.downgrade(session, lock, index, convert),
            (Mode::Shared, Mode::Exclusive) => self.upgrade(session, lock, index, convert),
        }
    }

    /// Opens a shared phase under the same token.
    fn downgrade(
        &mut self,
        session: SessionKey,
        lock: LockKey,
        index: usize,
        convert: &Convert<'_>,
    ) -> Reply {
        let found = self.engine.lock_mut(lock);
        found.begin_phase(found.token(), Mode::Shared, convert.limit);
        self.touch();
        self.converted(lock, index, session);
        let grant = self.grant(lock, index, GrantKind::Converted);
        self.settle(lock);
        Reply::Granted(grant)
    }

    fn upgrade(
        &mut self,
        session: SessionKey,
        lock: LockKey,
        index: usize,
        convert: &Convert<'_>,
    ) -> Reply {
        let found = self.engine.lock(lock);
        let want = Want {
            session,
            owner: found.holds[index].owner,
            mode: Mode::Exclusive,
            limit: None,
            ttl: found.holds[index].ttl(),
            metadata: None,
            from: None,
            since: self.now,
        };
        match self
            .engine
            .room(Some(lock), want.owner, want.mode, want.limit, self.now)
        {
            Ok(()) => {
                let at = self.engine.address(found.org, convert.path);
                self.give_now(&at, Some(lock), &want)
            }
            Err(reason) => self.wait_or_refuse(Some(lock), &want, reason, convert.wait, None),
        }
    }

    /// The settled hold of a session's owner, or the answer to whoever has none.
    pub(crate) fn own_hold(
        &mut self,
        by: SessionRef,
        path: &str,
    ) -> Result<(SessionKey, LockKey, usize), Reply> {
        let session = self.session(by).map_err(Reply::Rejected)?;
        let (key, org, owner) = (session.key, session.org, session.owner);
        // Settling may end the session's last hold, but not an attached session.
        let lock = self.settled(&self.engine.address(org, path));
        lock.and_then(|lock| Some((key, lock, self.engine.lock(lock).hold_of(owner)?)))
            .ok_or_else(|| self.not_held(by, path))
    }

    /// How the session lost the hold, if it remembers, and who has it.
    pub(crate) fn not_held(&self, by: SessionRef, path: &str) -> Reply {
        let Some(session) = self.engine.sessions.find(by.session) else {
            return Reply::Rejected(Rejection::UnknownSession);
        };
        let lost = session.losses.last_of(path);
        let lock = self.engine.lock_at(&self.engine.address(session.org, path));
        let truth = lock.map(|lock| self.engine.truth(self.engine.lock(lock), self.now));
        Reply::NotHeld(Box::new(NotHeld {
            lost,
            truth: truth.unwrap_or_default(),
        }))
    }
}

impl NotHeld {
    fn is_expiry(&self) -> bool {
        self.lost
            .as_ref()
            .is_some_and(|loss| loss.cause == Cause::Expired)
    }
}
