//! The whole state as bytes, and back. One canonical order: what follows from the rest is left out, everything else is
//! written by name, path or number, never by where it lies in memory. So equal states give equal bytes.
//!
//! Must hold: restoring is total. Bytes that are no snapshot, or describe an impossible state, are an error.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use self::canonical::{Canonical, Reader, in_order, write_text};
use crate::acquire::nobody_may_share;
use crate::acquire_all::{Group, GroupItem};
use crate::command::Mode;
use crate::deadlines::Due;
use crate::engine::{Counters, Engine};
use crate::ids::{SessionId, Token, WaitId};
use crate::keys::{HoldId, LockKey, OrgKey};
use crate::lock::{Hold, Lock, Wait};
use crate::nursery::Stage;
use crate::org::Org;
use crate::policy::PolicyLayer;
use crate::session::{Link, Session};
use crate::time::{LogTime, Millis, WallTime};

mod canonical;

/// The version of the layout, at the head of the bytes.
const VERSION: u32 = 1;

/// The same, and behind it the locks that are unserved, of which there are some.
const VERSION_UNSERVED: u32 = 2;

/// Bytes that are no snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotError {
    what: &'static str,
    at: usize,
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a snapshot: {} at byte {}", self.what, self.at)
    }
}

impl core::error::Error for SnapshotError {}

impl Engine {
    /// Appends the whole state in one canonical order: equal histories give equal bytes. Costs time and space
    /// proportional to the state.
    pub fn snapshot(&self, out: &mut Vec<u8>) {
        let version = if self.unserved.is_empty() {
            VERSION
        } else {
            VERSION_UNSERVED
        };
        version.write(out);
        self.now.0.write(out);
        for counter in [
            self.next.session,
            self.next.wait,
            self.next.hold,
            self.next.token,
        ] {
            counter.write(out);
        }
        self.layer.write(out);
        (self.org_names.len() as u64).write(out);
        for &org in self.org_names.values() {
            self.write_org(org, out);
        }
        if !self.unserved.is_empty() {
            (self.unserved.len() as u64).write(out);
            for lock in self.unserved.iter().map(|lock| self.lock(lock)) {
                self.org(lock.org).name.write(out);
                write_text(&lock.path, out);
            }
        }
    }

    /// The state that [`Engine::snapshot`] wrote.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the bytes, and where.
    pub fn restore(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let mut reader = Reader { bytes, at: 0 };
        let version = u32::read(&mut reader)?;
        if version != VERSION && version != VERSION_UNSERVED {
            return Err(reader.error("unknown version"));
        }
        let mut engine = Self::new(Token(0));
        engine.now = LogTime::read(&mut reader)?;
        engine.next = Counters {
            session: u64::read(&mut reader)?,
            wait: u64::read(&mut reader)?,
            hold: u64::read(&mut reader)?,
            token: u64::read(&mut reader)?,
        };
        engine.layer = PolicyLayer::read(&mut reader)?;
        in_order(&mut reader, |reader| engine.read_org(reader))?;
        if version == VERSION_UNSERVED {
            engine.read_unserved(&mut reader)?;
        }
        if reader.at != bytes.len() {
            return Err(reader.error("bytes beyond the end"));
        }
        engine.arm_sessions();
        engine.verify().map_err(|what| reader.error(what))?;
        Ok(engine)
    }

    /// A number that equal states share: the FNV-1a hash of the snapshot.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut bytes = Vec::new();
        self.snapshot(&mut bytes);
        bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }

    fn write_org(&self, key: OrgKey, out: &mut Vec<u8>) {
        let org = self.org(key);
        org.name.write(out);
        org.layer.write(out);
        let kinds: Vec<_> = org
            .kinds
            .iter()
            .map(|(kind, layer)| (kind.clone(), *layer))
            .collect();
        kinds.write(out);
        let mut sessions: Vec<_> = self
            .sessions
            .iter()
            .filter(|session| session.org == key)
            .collect();
        sessions.sort_unstable_by_key(|session| session.id);
        (sessions.len() as u64).write(out);
        sessions.into_iter().for_each(|session| session.write(out));
        (org.paths.len() as u64).write(out);
        for lock in self.locks_from(key, "", None) {
            let lock = self.lock(lock);
            write_text(&lock.path, out);
            lock.write_phase(out);
            (lock.holds.len() as u64).write(out);
            lock.holds
                .iter()
                .for_each(|hold| self.write_hold(hold, out));
            (lock.queue().len() as u64).write(out);
            lock.queue()
                .iter()
                .for_each(|wait| self.write_wait(wait, out));
        }
        let groups: Vec<_> = self
            .groups
            .iter()
            .filter(|(_, group)| self.session(group.session).org == key)
            .collect();
        (groups.len() as u64).write(out);
        groups
            .into_iter()
            .for_each(|(id, group)| self.write_group(*id, group, out));
    }

    fn write_hold(&self, hold: &Hold, out: &mut Vec<u8>) {
        hold.id().write(out);
        (hold.member_count() as u64).write(out);
        for member in hold.members() {
            self.session(member).id.write(out);
            hold.from(member).write(out);
        }
        hold.deadline().write(out);
        hold.ttl().write(out);
        hold.since().write(out);
        hold.since_wall().write(out);
        hold.metadata().cloned().write(out);
    }

    fn write_wait(&self, wait: &Wait, out: &mut Vec<u8>) {
        wait.id.write(out);
        self.session(wait.session).id.write(out);
        (wait.mode, wait.limit).write(out);
        wait.ttl.write(out);
        wait.since.write(out);
        wait.deadline.write(out);
        wait.note.write(out);
        wait.metadata.write(out);
    }

    fn write_group(&self, id: WaitId, group: &Group, out: &mut Vec<u8>) {
        id.0.write(out);
        self.session(group.session).id.write(out);
        (group.items.len() as u64).write(out);
        for item in &group.items {
            write_text(&self.lock(item.lock).path, out);
            (item.mode, item.limit).write(out);
            item.ttl.write(out);
        }
        group.metadata.write(out);
        group.since.write(out);
        group.deadline.write(out);
    }

    fn read_org(&mut self, reader: &mut Reader<'_>) -> Result<Arc<str>, SnapshotError> {
        let name = Arc::<str>::read(reader)?;
        let mut org = Org::new(name.clone(), &self.layer);
        org.layer = PolicyLayer::read(reader)?;
        in_order(reader, |reader| {
            let (kind, layer) = <(Arc<str>, PolicyLayer)>::read(reader)?;
            if layer.is_empty() {
                return Err(reader.error("a layer of policy that overrides nothing"));
            }
            org.kinds.insert(kind.clone(), layer);
            Ok(kind)
        })?;
        let key = OrgKey::at(self.orgs.insert(org));
        self.org_names.insert(name.clone(), key);
        self.work_out_policy(key);
        in_order(reader, |reader| self.read_session(key, reader))?;
        in_order(reader, |reader| self.read_lock(key, reader))?;
        in_order(reader, |reader| self.read_group(key, reader))?;
        Ok(name)
    }

    /// In the order in which they are gone on with.
    fn read_unserved(&mut self, reader: &mut Reader<'_>) -> Result<(), SnapshotError> {
        let count = u64::read(reader)?;
        if count == 0 {
            return Err(reader.error("nothing unserved where something is"));
        }
        for _ in 0..count {
            let (org, path) = <(Arc<str>, Arc<str>)>::read(reader)?;
            let lock = self.find(&org, &path);
            let lock = lock.ok_or_else(|| reader.error("an unknown path that is unserved"))?;
            if !self.leave_unserved(lock) {
                return Err(reader.error("a path that is unserved twice"));
            }
        }
        Ok(())
    }

    fn read_session(
        &mut self,
        org: OrgKey,
        reader: &mut Reader<'_>,
    ) -> Result<SessionId, SnapshotError> {
        let mut session = Session::read(reader)?;
        let id = session.id;
        if self.sessions.find(id).is_some() {
            return Err(reader.error("a session of two orgs"));
        }
        let counted = self.org_mut(org);
        session.org = org;
        session.owner = counted.owners.join(&session.owner_name);
        session.owner_name = counted.owners.get(session.owner).name.clone();
        if session.ended.is_some() {
            self.ending.insert(id, Vec::new());
        } else {
            counted.sessions += 1;
            self.tally.sessions_detached += u64::from(session.link != Link::Attached);
        }
        self.sessions.insert(|key| Session { key, ..session });
        Ok(id)
    }

    /// A session of the org.
    fn known(
        &self,
        org: OrgKey,
        id: SessionId,
        otherwise: &'static str,
    ) -> Result<&Session, &'static str> {
        let session = self.sessions.find(id);
        session
            .filter(|session| session.org == org)
            .ok_or(otherwise)
    }

    fn read_lock(
        &mut self,
        org: OrgKey,
        reader: &mut Reader<'_>,
    ) -> Result<Arc<str>, SnapshotError> {
        let path = Arc::<str>::read(reader)?;
        let mut lock = Lock::new(org, &path, Stage::Grown(None));
        let is_held = lock.read_phase(reader)?;
        let key = self.locks.insert(|_| lock);
        let at = self.address(org, &path);
        if self.lock_at(&at).is_some() {
            return Err(reader.error("things out of order"));
        }
        let paths = &mut self.orgs[org.place()].paths;
        paths.insert(&mut self.locks, &at, key);
        paths.in_order.insert(&mut self.locks, key);
        for _ in 0..u64::read(reader)? {
            self.read_hold(org, key, reader)?;
        }
        if is_held != self.lock(key).is_held() {
            return Err(reader.error("a mode without a hold, or a hold without a mode"));
        }
        for _ in 0..u64::read(reader)? {
            self.read_wait(org, key, reader)?;
        }
        Ok(path)
    }

    fn read_hold(
        &mut self,
        org: OrgKey,
        lock: LockKey,
        reader: &mut Reader<'_>,
    ) -> Result<(), SnapshotError> {
        let id = HoldId::read(reader)?;
        let members = Vec::<(SessionId, Option<WaitId>)>::read(reader)?;
        let (deadline, ttl) = (LogTime::read(reader)?, Millis::read(reader)?);
        let since = (LogTime::read(reader)?, WallTime::read(reader)?);
        let metadata = Option::read(reader)?;
        let mut hold: Option<Hold> = None;
        for (session, from) in members {
            let session = self.known(org, session, "a hold of an unknown session");
            let session = session.map_err(|what| reader.error(what))?;
            let (session, owner) = (session.key, session.owner);
            if hold.as_ref().is_some_and(|hold| hold.has_member(session)) {
                return Err(reader.error("a session is in a hold twice"));
            }
            self.sessions[session].locks.add(lock, ttl);
            let hold = match &mut hold {
                Some(hold) => {
                    hold.add_member(session);
                    hold
                }
                none => none.insert(Hold::new(id, owner, session, ttl, since)),
            };
            if let Some(from) = from {
                hold.set_from(session, from);
            }
        }
        let mut hold = hold.ok_or_else(|| reader.error("a hold without a session"))?;
        hold.renew(deadline, ttl);
        hold.set_metadata(metadata);
        self.tally.holds += 1;
        self.tally.holds_orphaned += u64::from(self.is_orphaned(&hold));
        self.org_mut(org).holds += 1;
        self.lock_mut(lock).push_hold(hold);
        self.arm_by(lock, deadline);
        Ok(())
    }

    fn read_wait(
        &mut self,
        org: OrgKey,
        lock: LockKey,
        reader: &mut Reader<'_>,
    ) -> Result<(), SnapshotError> {
        let id = WaitId::read(reader)?;
        let session = SessionId::read(reader)?;
        let session = self.known(org, session, "a wait of an unknown session");
        let session = session.map_err(|what| reader.error(what))?;
        let (session, owner) = (session.key, session.owner);
        let (mode, limit) = read_sharing(reader)?;
        let (ttl, since) = (Millis::read(reader)?, LogTime::read(reader)?);
        let deadline = LogTime::read(reader)?;
        let wait = Wait {
            id,
            session,
            owner,
            mode,
            limit,
            ttl,
            since,
            deadline,
            note: Option::read(reader)?,
            metadata: Option::read(reader)?,
            armed: deadline,
        };
        self.sessions[session].waits.insert(id, Some(lock));
        self.deadlines.arm(deadline, Due::Wait(id, lock));
        self.tally.waits += 1;
        self.lock_mut(lock).push_wait(wait);
        Ok(())
    }

    fn read_group(
        &mut self,
        org: OrgKey,
        reader: &mut Reader<'_>,
    ) -> Result<WaitId, SnapshotError> {
        let id = WaitId(u64::read(reader)?);
        let session = SessionId(u64::read(reader)?);
        let mut items = Vec::new();
        for _ in 0..u64::read(reader)? {
            let path = Arc::<str>::read(reader)?;
            let lock = self.lock_at(&self.address(org, &path));
            let lock = lock.ok_or_else(|| reader.error("a wait for an unknown path"))?;
            let (mode, limit) = read_sharing(reader)?;
            items.push(GroupItem {
                lock,
                mode,
                limit,
                ttl: Millis::read(reader)?,
            });
            self.lock_mut(lock).groups_mut().push(id);
        }
        let waiter = self.known(org, session, "a wait of an unknown session");
        let waiter = waiter.map_err(|what| reader.error(what))?;
        let (session, owner) = (waiter.key, waiter.owner);
        self.sessions[session].waits.insert(id, None);
        let metadata = Option::<Arc<[u8]>>::read(reader)?;
        let (since, deadline) = (LogTime::read(reader)?, LogTime::read(reader)?);
        self.deadlines.arm(deadline, Due::Group(id));
        self.tally.waits += 1;
        let group = Group {
            session,
            owner,
            items,
            metadata,
            since,
            deadline,
            armed: deadline,
        };
        match self.groups.insert(id, group) {
            None => Ok(id),
            Some(_) => Err(reader.error("a wait of two orgs")),
        }
    }

    /// Arms the timers of the sessions, which wait for their holds and waits to be known.
    fn arm_sessions(&mut self) {
        let keys: Vec<_> = self.sessions.iter().map(|session| session.key).collect();
        for key in keys {
            let session = &mut self.sessions[key];
            let id = session.id;
            if session.ended.is_none() {
                session.armed = session.deadline();
                if let Some(armed) = session.armed {
                    self.deadlines.arm(armed, Due::Session(id));
                }
                continue;
            }
            let mut left = self.holds_by_age(key);
            left.reverse();
            self.ending.insert(id, left);
        }
    }
}

const NOBODY: &str = "a lock that nobody may share";

fn read_sharing(reader: &mut Reader<'_>) -> Result<(Mode, Option<u32>), SnapshotError> {
    let (mode, limit) = Canonical::read(reader)?;
    if nobody_may_share(limit) {
        return Err(reader.error(NOBODY));
    }
    Ok((mode, limit))
}

impl Lock {
    /// Mode, limit and token mean something only while somebody holds.
    fn write_phase(&self, out: &mut Vec<u8>) {
        self.is_held()
            .then_some(((self.mode(), self.limit()), self.token().0))
            .write(out);
    }

    /// Tells whether the lock is held.
    fn read_phase(&mut self, reader: &mut Reader<'_>) -> Result<bool, SnapshotError> {
        let phase = Option::<((Mode, Option<u32>), u64)>::read(reader)?;
        if let Some(((mode, limit), token)) = phase {
            if nobody_may_share(limit) {
                return Err(reader.error(NOBODY));
            }
            if token > Token::MAX.0 {
                return Err(reader.error("a token that there cannot be"));
            }
            self.begin_phase(Token(token), mode, limit);
        }
        Ok(phase.is_some())
    }
}
