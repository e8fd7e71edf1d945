//! The whole state as bytes, and back. One canonical order: what follows from the rest is left out, everything else is
//! written by name, path or number, never by where it lies in memory. So equal states give equal bytes.
//!
//! Must hold: restoring is total. Bytes that are no snapshot, or describe an impossible state, are an error.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use self::canonical::{Canonical, Reader, in_order};
use crate::acquire_all::{Group, GroupItem};
use crate::command::Mode;
use crate::deadlines::Due;
use crate::engine::{Counters, Engine};
use crate::ids::{SessionId, Token, WaitId};
use crate::keys::{LockKey, OrgKey};
use crate::lock::{Hold, Lock, Wait};
use crate::org::Org;
use crate::policy::PolicyLayer;
use crate::session::{Link, Session};
use crate::time::{LogTime, Millis};

mod canonical;

/// The version of the layout, at the head of the bytes.
const VERSION: u32 = 1;

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
        VERSION.write(out);
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
    }

    /// The state that [`Engine::snapshot`] wrote.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the bytes, and where.
    pub fn restore(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let mut reader = Reader { bytes, at: 0 };
        if u32::read(&mut reader)? != VERSION {
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
            .values()
            .filter(|session| session.org == key)
            .collect();
        sessions.sort_unstable_by_key(|session| session.id);
        (sessions.len() as u64).write(out);
        sessions.into_iter().for_each(|session| session.write(out));
        (org.paths.len() as u64).write(out);
        for (path, lock) in org.paths.from("", None) {
            path.write(out);
            self.lock(lock).write_phase(out);
            self.lock(lock).holds.write(out);
            self.lock(lock)
                .queue
                .iter()
                .cloned()
                .collect::<Vec<_>>()
                .write(out);
        }
        let groups: Vec<_> = self
            .groups
            .iter()
            .filter(|(_, group)| self.sessions[&group.session].org == key)
            .collect();
        (groups.len() as u64).write(out);
        groups
            .into_iter()
            .for_each(|(id, group)| self.write_group(*id, group, out));
    }

    fn write_group(&self, id: WaitId, group: &Group, out: &mut Vec<u8>) {
        id.0.write(out);
        group.session.0.write(out);
        (group.items.len() as u64).write(out);
        for item in &group.items {
            self.lock(item.lock).path.write(out);
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
        let key = OrgKey(self.orgs.insert(org));
        self.org_names.insert(name.clone(), key);
        self.work_out_policy(key);
        in_order(reader, |reader| self.read_session(key, reader))?;
        in_order(reader, |reader| self.read_lock(key, reader))?;
        in_order(reader, |reader| self.read_group(key, reader))?;
        Ok(name)
    }

    fn read_session(
        &mut self,
        org: OrgKey,
        reader: &mut Reader<'_>,
    ) -> Result<SessionId, SnapshotError> {
        let mut session = Session::read(reader)?;
        let id = session.id;
        session.org = org;
        session.owner = self.org_mut(org).owner_joins(&session.owner);
        if session.ended.is_some() {
            self.org_mut(org).sessions -= 1;
            self.ending.insert(id);
        } else if session.link != Link::Attached {
            self.tally.sessions_detached += 1;
        }
        match self.sessions.insert(id, session) {
            None => Ok(id),
            Some(_) => Err(reader.error("a session of two orgs")),
        }
    }

    fn read_lock(
        &mut self,
        org: OrgKey,
        reader: &mut Reader<'_>,
    ) -> Result<Arc<str>, SnapshotError> {
        let path = Arc::<str>::read(reader)?;
        let mut lock = Lock::new(org, path.clone());
        let is_held = lock.read_phase(reader)?;
        let holds = Vec::<Hold>::read(reader)?;
        if is_held == holds.is_empty() {
            return Err(reader.error("a mode without a hold, or a hold without a mode"));
        }
        let waits = Vec::<Wait>::read(reader)?;
        let key = LockKey(self.locks.insert(lock));
        self.org_mut(org).paths.insert(path.clone(), key);
        for hold in holds {
            self.read_hold(org, key, hold)
                .map_err(|what| reader.error(what))?;
        }
        for mut wait in waits {
            let session = self
                .sessions
                .get_mut(&wait.session)
                .filter(|session| session.org == org);
            let session = session.ok_or_else(|| reader.error("a wait of an unknown session"))?;
            wait.owner = session.owner.clone();
            session.waits.insert(wait.id, Some(key));
            self.deadlines.arm(wait.deadline, Due::Wait(wait.id, key));
            self.tally.waits += 1;
            self.lock_mut(key).queue.push_back(wait);
        }
        Ok(path)
    }

    fn read_hold(
        &mut self,
        org: OrgKey,
        lock: LockKey,
        mut hold: Hold,
    ) -> Result<(), &'static str> {
        for member in &hold.members {
            let session = self
                .sessions
                .get_mut(&member.session)
                .filter(|session| session.org == org);
            let session = session.ok_or("a hold of an unknown session")?;
            hold.owner = session.owner.clone();
            hold.attached += u32::from(session.link == Link::Attached);
            session.holds.insert(hold.id, lock);
        }
        hold.armed = self.hold_deadline(&hold);
        self.deadlines.arm(hold.armed, Due::Hold(hold.id, lock));
        self.tally.holds += 1;
        self.tally.holds_orphaned += u64::from(hold.is_orphaned());
        self.org_mut(org).holds += 1;
        self.lock_mut(lock).holds.push(hold);
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
            let lock = self.org(org).paths.get(&path);
            let lock = lock.ok_or_else(|| reader.error("a wait for an unknown path"))?;
            let (mode, limit) = <(Mode, Option<u32>)>::read(reader)?;
            items.push(GroupItem {
                lock,
                mode,
                limit,
                ttl: Millis::read(reader)?,
            });
            self.lock_mut(lock).groups.push(id);
        }
        let waiter = self
            .sessions
            .get_mut(&session)
            .filter(|session| session.org == org);
        let waiter = waiter.ok_or_else(|| reader.error("a wait of an unknown session"))?;
        waiter.waits.insert(id, None);
        let owner = waiter.owner.clone();
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
        for (id, session) in &mut self.sessions {
            session.armed = if session.ended.is_some() {
                None
            } else {
                session.deadline()
            };
            if let Some(armed) = session.armed {
                self.deadlines.arm(armed, Due::Session(*id));
            }
        }
    }
}

impl Lock {
    /// Mode, limit and token mean something only while somebody holds.
    fn write_phase(&self, out: &mut Vec<u8>) {
        self.is_held()
            .then_some(((self.mode, self.limit), self.token.0))
            .write(out);
    }

    /// Tells whether the lock is held.
    fn read_phase(&mut self, reader: &mut Reader<'_>) -> Result<bool, SnapshotError> {
        let phase = Option::<((Mode, Option<u32>), u64)>::read(reader)?;
        if let Some(((mode, limit), token)) = phase {
            (self.mode, self.limit, self.token) = (mode, limit, Token(token));
        }
        Ok(phase.is_some())
    }
}
