//! The whole state as bytes, and back. One canonical order: what follows from the rest is left out, everything else is
//! written by name, path or number, never by where it lies in memory. So equal states give equal bytes.
//!
//! Must hold: restoring is total. Bytes that are no snapshot, or describe an impossible state, are an error.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::acquire_all::{Group, GroupItem};
use crate::command::{Mode, Role};
use crate::deadlines::{Due, HoldId};
use crate::engine::{Counters, Engine, LockKey, OrgKey};
use crate::event::{Cause, Missed, SessionEnd, WaitEnd, Who};
use crate::ids::{Attach, ResumeKey, SessionId, Token, WaitId};
use crate::lock::{Hold, Lock, Member, Note, Wait};
use crate::org::Org;
use crate::policy::{OnDisconnect, PolicyLayer};
use crate::reply::RefusalReason;
use crate::session::{Link, Session};
use crate::time::{LogTime, Millis, WallTime};

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

/// Reads so many things as are said to follow, each of which must come after the one before: there is one order.
fn in_order<K: Ord>(
    reader: &mut Reader<'_>,
    mut read: impl FnMut(&mut Reader<'_>) -> Result<K, SnapshotError>,
) -> Result<(), SnapshotError> {
    let mut last = None;
    for _ in 0..u64::read(reader)? {
        let next = Some(read(reader)?);
        if next <= last {
            return Err(reader.error("things out of order"));
        }
        last = next;
    }
    Ok(())
}

/// What is read from, and how far.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn error(&self, what: &'static str) -> SnapshotError {
        SnapshotError { what, at: self.at }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], SnapshotError> {
        let taken = self
            .at
            .checked_add(count)
            .and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| self.error("the bytes end too early"))?;
        self.at += count;
        Ok(taken)
    }
}

/// One sort of thing, to bytes and back.
trait Canonical: Sized {
    fn write(&self, out: &mut Vec<u8>);
    fn read(reader: &mut Reader<'_>) -> Result<Self, SnapshotError>;
}

macro_rules! canonical_integer {
    ($($integer:ty),*) => {$(
        impl Canonical for $integer {
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn read(reader: &mut Reader<'_>) -> Result<Self, SnapshotError> {
                let bytes = reader.take(size_of::<Self>())?;
                Ok(Self::from_le_bytes(bytes.try_into().expect("as many were taken")))
            }
        }
    )*};
}
canonical_integer!(u8, u32, u64, u128);

macro_rules! canonical_number {
    ($($number:ident($integer:ty)),*) => {$(
        impl Canonical for $number {
            fn write(&self, out: &mut Vec<u8>) {
                self.0.write(out);
            }

            fn read(reader: &mut Reader<'_>) -> Result<Self, SnapshotError> {
                Ok(Self(<$integer>::read(reader)?))
            }
        }
    )*};
}
canonical_number!(
    LogTime(u64),
    WallTime(u64),
    Millis(u64),
    SessionId(u64),
    WaitId(u64),
    HoldId(u64)
);
canonical_number!(Token(u64), Attach(u32), ResumeKey(u128));

/// A variant without fields is one byte: its place in the list, which must never change.
macro_rules! canonical_variants {
    ($sort:ident { $($variant:ident),* $(,)? }) => {
        impl Canonical for $sort {
            fn write(&self, out: &mut Vec<u8>) {
                let variants = [$(Self::$variant),*];
                let place = variants.iter().position(|variant| variant == self);
                (place.expect("every variant is listed") as u8).write(out);
            }

            fn read(reader: &mut Reader<'_>) -> Result<Self, SnapshotError> {
                let variants = [$(Self::$variant),*];
                let place = usize::from(u8::read(reader)?);
                variants.get(place).copied().ok_or_else(|| reader.error("an unknown variant"))
            }
        }
    };
}
canonical_variants!(Mode { Shared, Exclusive });
canonical_variants!(Role {
    Observer,
    Member,
    Moderator,
    Admin
});
canonical_variants!(SessionEnd {
    Closed,
    GraceOver,
    LastHoldOver,
    Idle
});
canonical_variants!(RefusalReason {
    Held,
    QueuedAhead,
    LimitDiffers,
    UpgradePending,
    QueueFull,
    RoleTooLow,
});

impl Canonical for bool {
    fn write(&self, out: &mut Vec<u8>) {
        u8::from(*self).write(out);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        match u8::read(reader)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(reader.error("neither yes nor no")),
        }
    }
}

impl Canonical for Arc<[u8]> {
    fn write(&self, out: &mut Vec<u8>) {
        (self.len() as u64).write(out);
        out.extend_from_slice(self);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        let length = usize::try_from(u64::read(reader)?);
        let length = length.map_err(|_| reader.error("a length beyond memory"))?;
        Ok(Self::from(reader.take(length)?))
    }
}

impl Canonical for Arc<str> {
    fn write(&self, out: &mut Vec<u8>) {
        (self.len() as u64).write(out);
        out.extend_from_slice(self.as_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        let bytes = Arc::<[u8]>::read(reader)?;
        core::str::from_utf8(&bytes)
            .map(Self::from)
            .map_err(|_| reader.error("a text that is not UTF-8"))
    }
}

impl<T: Canonical> Canonical for Option<T> {
    fn write(&self, out: &mut Vec<u8>) {
        self.is_some().write(out);
        if let Some(some) = self {
            some.write(out);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        if bool::read(reader)? {
            T::read(reader).map(Some)
        } else {
            Ok(None)
        }
    }
}

impl<T: Canonical> Canonical for Vec<T> {
    fn write(&self, out: &mut Vec<u8>) {
        (self.len() as u64).write(out);
        self.iter().for_each(|item| item.write(out));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        // The claimed length buys no memory: every item has to be there.
        (0..u64::read(reader)?)
            .map(|_| T::read(reader))
            .collect::<Result<VecDeque<_>, _>>()
            .map(Self::from)
    }
}

impl<A: Canonical, B: Canonical> Canonical for (A, B) {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
        self.1.write(out);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        Ok((A::read(reader)?, B::read(reader)?))
    }
}

impl Canonical for PolicyLayer {
    fn write(&self, out: &mut Vec<u8>) {
        for span in [self.ttl_default, self.ttl_min, self.ttl_max, self.grace] {
            span.write(out);
        }
        self.release_on_disconnect.write(out);
        let most = [self.queue_max, self.sessions_max, self.holds_max];
        for count in most
            .iter()
            .chain(&[self.session_holds_max, self.session_waits_max])
        {
            count.write(out);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        Ok(Self {
            ttl_default: Option::read(reader)?,
            ttl_min: Option::read(reader)?,
            ttl_max: Option::read(reader)?,
            grace: Option::read(reader)?,
            release_on_disconnect: Option::read(reader)?,
            queue_max: Option::read(reader)?,
            sessions_max: Option::read(reader)?,
            holds_max: Option::read(reader)?,
            session_holds_max: Option::read(reader)?,
            session_waits_max: Option::read(reader)?,
        })
    }
}

impl Canonical for OnDisconnect {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Release { grace } => Some(*grace),
            Self::Keep => None,
        }
        .write(out);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        Ok(Option::read(reader)?.map_or(Self::Keep, |grace| Self::Release { grace }))
    }
}

impl Canonical for Link {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Attached => None,
            Self::Detached { until } => Some(*until),
        }
        .write(out);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        Ok(Option::read(reader)?.map_or(Self::Attached, |until| Self::Detached { until }))
    }
}

impl Canonical for Session {
    fn write(&self, out: &mut Vec<u8>) {
        self.id.write(out);
        self.owner.write(out);
        self.name.write(out);
        self.metadata.write(out);
        self.role.write(out);
        self.resume_key.write(out);
        self.on_disconnect.write(out);
        self.attach.write(out);
        self.link.write(out);
        self.ended.write(out);
        self.renewed_at.write(out);
        self.idle_since.write(out);
        self.missed.iter().cloned().collect::<Vec<_>>().write(out);
    }

    /// Org, holds and waits follow from where the session stands and who names it.
    fn read(reader: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        Ok(Self {
            id: SessionId::read(reader)?,
            org: OrgKey(0),
            owner: Arc::read(reader)?,
            name: Arc::read(reader)?,
            metadata: Arc::read(reader)?,
            role: Role::read(reader)?,
            resume_key: ResumeKey::read(reader)?,
            on_disconnect: OnDisconnect::read(reader)?,
            attach: Attach::read(reader)?,
            link: Link::read(reader)?,
            ended: Option::read(reader)?,
            renewed_at: LogTime::read(reader)?,
            idle_since: LogTime::read(reader)?,
            missed: Vec::read(reader)?.into(),
            holds: alloc::collections::BTreeMap::new(),
            waits: alloc::collections::BTreeMap::new(),
            armed: None,
        })
    }
}

impl Canonical for Member {
    fn write(&self, out: &mut Vec<u8>) {
        self.session.write(out);
        self.from.write(out);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        Ok(Self {
            session: SessionId::read(reader)?,
            from: Option::read(reader)?,
        })
    }
}

impl Canonical for Hold {
    fn write(&self, out: &mut Vec<u8>) {
        self.id.write(out);
        self.members.write(out);
        self.deadline.write(out);
        self.ttl.write(out);
        self.since.write(out);
        self.since_wall.write(out);
        self.metadata.write(out);
    }

    /// Owner, timer and the count of attached members follow from the sessions.
    fn read(reader: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        Ok(Self {
            id: HoldId::read(reader)?,
            owner: Arc::from(""),
            members: Vec::read(reader)?,
            attached: 0,
            deadline: LogTime::read(reader)?,
            ttl: Millis::read(reader)?,
            since: LogTime::read(reader)?,
            since_wall: WallTime::read(reader)?,
            metadata: Option::read(reader)?,
            armed: LogTime::ZERO,
        })
    }
}

impl Canonical for Note {
    fn write(&self, out: &mut Vec<u8>) {
        self.text.write(out);
        self.declined.write(out);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        Ok(Self {
            text: Arc::read(reader)?,
            declined: bool::read(reader)?,
        })
    }
}

impl Canonical for Wait {
    fn write(&self, out: &mut Vec<u8>) {
        self.id.write(out);
        self.session.write(out);
        (self.mode, self.limit).write(out);
        self.ttl.write(out);
        self.since.write(out);
        self.deadline.write(out);
        self.note.write(out);
        self.metadata.write(out);
    }

    /// The owner is its session's; the timer is at the deadline.
    fn read(reader: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        let (id, session) = (WaitId::read(reader)?, SessionId::read(reader)?);
        let (mode, limit) = Canonical::read(reader)?;
        let (ttl, since) = (Millis::read(reader)?, LogTime::read(reader)?);
        let deadline = LogTime::read(reader)?;
        let owner = Arc::from("");
        let (note, metadata) = (Option::read(reader)?, Option::read(reader)?);
        Ok(Self {
            id,
            session,
            owner,
            mode,
            limit,
            ttl,
            since,
            deadline,
            note,
            metadata,
            armed: deadline,
        })
    }
}

impl Canonical for Who {
    fn write(&self, out: &mut Vec<u8>) {
        self.owner.write(out);
        self.name.write(out);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        Ok(Self {
            owner: Arc::read(reader)?,
            name: Arc::read(reader)?,
        })
    }
}

impl Canonical for Cause {
    fn write(&self, out: &mut Vec<u8>) {
        let (tag, who, reason) = match self {
            Self::Released => (0u8, None, None),
            Self::Expired => (1, None, None),
            Self::SessionClosed => (2, None, None),
            Self::SessionLost => (3, None, None),
            Self::Forced { by, reason } => (
                4,
                Some(Who {
                    owner: by.clone(),
                    name: by.clone(),
                }),
                Some(reason.clone()),
            ),
            Self::Seized { by, reason } => (5, Some(by.clone()), Some(reason.clone())),
            Self::HandedTo { to } => (6, Some(to.clone()), None),
        };
        tag.write(out);
        (who, reason).write(out);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        let tag = u8::read(reader)?;
        let (who, reason): (Option<Who>, Option<Arc<str>>) = Canonical::read(reader)?;
        match (tag, who, reason) {
            (0, None, None) => Ok(Self::Released),
            (1, None, None) => Ok(Self::Expired),
            (2, None, None) => Ok(Self::SessionClosed),
            (3, None, None) => Ok(Self::SessionLost),
            (4, Some(who), Some(reason)) => Ok(Self::Forced {
                by: who.owner,
                reason,
            }),
            (5, Some(by), Some(reason)) => Ok(Self::Seized { by, reason }),
            (6, Some(to), None) => Ok(Self::HandedTo { to }),
            _ => Err(reader.error("an unknown cause")),
        }
    }
}

impl Canonical for WaitEnd {
    fn write(&self, out: &mut Vec<u8>) {
        let (tag, reason) = match self {
            Self::TimedOut => (0u8, None),
            Self::Cancelled => (1, None),
            Self::Refused(reason) => (2, Some(*reason)),
            Self::SessionEnded => (3, None),
            Self::Detached => (4, None),
            Self::TooManyHolds => (5, None),
        };
        (tag, reason).write(out);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        match <(u8, Option<RefusalReason>)>::read(reader)? {
            (0, None) => Ok(Self::TimedOut),
            (1, None) => Ok(Self::Cancelled),
            (2, Some(reason)) => Ok(Self::Refused(reason)),
            (3, None) => Ok(Self::SessionEnded),
            (4, None) => Ok(Self::Detached),
            (5, None) => Ok(Self::TooManyHolds),
            _ => Err(reader.error("an unknown end of a wait")),
        }
    }
}

impl Canonical for Missed {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Lost { path, token, cause } => {
                0u8.write(out);
                path.write(out);
                token.write(out);
                cause.write(out);
            }
            Self::WaitEnded { wait, why } => {
                1u8.write(out);
                wait.write(out);
                why.write(out);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        match u8::read(reader)? {
            0 => Ok(Self::Lost {
                path: Arc::read(reader)?,
                token: Token::read(reader)?,
                cause: Cause::read(reader)?,
            }),
            1 => Ok(Self::WaitEnded {
                wait: WaitId::read(reader)?,
                why: WaitEnd::read(reader)?,
            }),
            _ => Err(reader.error("an unknown notice")),
        }
    }
}
