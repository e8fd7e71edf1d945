//! Single things to bytes and back: numbers, texts, the words of the vocabulary, sessions, holds, waits.
//!
//! Fixed widths, little-endian; a variant is a number that must never change. What follows from where a thing stands is
//! left out, and filled in by `snapshot.rs`.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::SnapshotError;
use crate::command::{Mode, Role};
use crate::event::{Cause, Missed, SessionEnd, WaitEnd, Who};
use crate::held_locks::HeldLocks;
use crate::ids::{Attach, ResumeKey, SessionId, Token, WaitId};
use crate::keys::{HoldId, OrgKey, OwnerKey, SessionKey};
use crate::lock::Note;
use crate::policy::{OnDisconnect, PolicyLayer};
use crate::reply::RefusalReason;
use crate::session::{Link, Session};
use crate::time::{LogTime, Millis, WallTime};

/// Reads so many things as are said to follow, each of which must come after the one before: there is one order.
pub(super) fn in_order<K: Ord>(
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

pub(super) fn write_text(text: &str, out: &mut Vec<u8>) {
    (text.len() as u64).write(out);
    out.extend_from_slice(text.as_bytes());
}

/// What is read from, and how far.
pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn error(&self, what: &'static str) -> SnapshotError {
        SnapshotError { what, at: self.at }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], SnapshotError> {
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
pub(super) trait Canonical: Sized {
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
        write_text(self, out);
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
        let layer = Self {
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
        };
        if layer.is_sound() {
            Ok(layer)
        } else {
            Err(reader.error("a policy that there cannot be"))
        }
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
        self.owner_name.write(out);
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
        self.losses.iter().collect::<Vec<_>>().write(out);
    }

    /// Org, holds and waits follow from where the session stands and who names it.
    fn read(reader: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        Ok(Self {
            id: SessionId::read(reader)?,
            key: SessionKey::at(0),
            org: OrgKey::at(0),
            owner: OwnerKey::at(0),
            owner_name: Arc::read(reader)?,
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
            losses: Vec::read(reader)?.into_iter().collect(),
            locks: HeldLocks::default(),
            waits: alloc::collections::BTreeMap::new(),
            armed: None,
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
