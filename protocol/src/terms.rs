//! What several messages speak of: roles and modes, holds and holders, and why something has ended.
//!
//! These are the wire's own types. The server translates between them and the engine's, in one place.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::fault::Fault;
use crate::limits::RESUME_KEY_BYTES;
use crate::messagepack::{Read, Value};
use crate::reader::Reader;
use crate::shape::Type;
use crate::writer::Writer;

names! {
    /// How much a principal or a session may do, ascending.
    Role {
        /// Looks.
        1 Observer "observer",
        /// Locks.
        2 Member "member",
        /// Takes from others.
        3 Moderator "moderator",
        /// Administers.
        4 Admin "admin",
    }
}

names! {
    /// Whether others may hold beside.
    Mode {
        /// With other shared holders, up to the limit.
        1 Shared "shared",
        /// Alone.
        2 Exclusive "exclusive",
    }
}

names! {
    /// How a grant came about.
    GrantKind {
        /// The owner did not hold the lock.
        1 Fresh "fresh",
        /// The owner held it already: the session joined, or renewed.
        2 Joined "joined",
        /// The owner held it in another mode.
        3 Converted "converted",
    }
}

names! {
    /// Why an acquire or a convert is refused, or a wait ended without a grant.
    RefusalReason {
        /// Others hold it in a way that leaves no room.
        1 Held "held",
        /// There is room, but others wait ahead.
        2 QueuedAhead "queued_ahead",
        /// It is shared with another limit.
        3 LimitDiffers "limit_differs",
        /// Another owner is already waiting to upgrade: both would wait for ever.
        4 UpgradePending "upgrade_pending",
        /// As many wait as may.
        5 QueueFull "queue_full",
        /// A holder's role is higher than the seizing session's.
        6 RoleTooLow "role_too_low",
    }
}

names! {
    /// Who lets go of a hold.
    ReleaseScope {
        /// This session; the hold ends with its last one.
        1 Session "session",
        /// The owner: the hold ends for all the sessions in it.
        2 Owner "owner",
    }
}

names! {
    /// Why a session is over.
    SessionEnd {
        /// Closed by whoever opened it.
        1 Closed "closed",
        /// Not resumed within its grace.
        2 GraceOver "grace_over",
        /// It kept its holds on disconnect, and the last of them is over.
        3 LastHoldOver "last_hold_over",
        /// Without hold or wait for too long.
        4 Idle "idle",
    }
}

choice! {
    /// What a new session wants a disconnect to do.
    #[derive(Copy)]
    Disconnect by kind {
        /// Release its holds when it is not resumed within the grace.
        1 Release "release" {
            /// The grace; absent is the policy's.
            grace_ms: Option<u64> where GRACE_MS,
        },
        /// Keep the holds until their TTL is over.
        2 Keep "keep",
    }
}

choice! {
    /// What a disconnect does to a session, after policy.
    #[derive(Copy)]
    OnDisconnect by kind {
        /// The session ends, and its holds with it, unless it is resumed within the grace.
        1 Release "release" {
            /// How long it may be resumed.
            grace_ms: u64,
        },
        /// The holds live by their TTL alone; the session ends with the last of them.
        2 Keep "keep",
    }
}

choice! {
    /// Which holds of an org.
    #[derive(Copy)]
    Target<'a> by kind {
        /// Those on one path.
        1 Path "path" {
            /// The path.
            path: &'a str where PATH,
        },
        /// Those on the paths that begin so.
        2 Prefix "prefix" {
            /// How they begin.
            prefix: &'a str where PREFIX,
        },
        /// Those of one owner.
        3 Owner "owner" {
            /// The owner.
            owner: &'a str where OWNER,
        },
        /// Those that one session is in.
        4 Session "session" {
            /// The session's number.
            session: u64,
        },
        /// All.
        5 All "all",
    }
}

message! {
    /// A lock is held.
    #[derive(Copy)]
    Grant {
        /// The fencing token.
        token: u64,
        /// The mode held, which may be stronger than the one asked for.
        mode: Mode,
        /// How long a renewal lasts, after policy.
        ttl_ms: u64,
        /// How long the hold lives. The client counts from when it *sent* the request; after a pushed grant it renews at
        /// once and counts from that sending.
        remaining_ms: u64,
        /// How it came about.
        kind: GrantKind,
    }
}

message! {
    /// A hold as its own session sees it.
    #[derive(Copy)]
    Held<'a> {
        /// The lock.
        path: &'a str,
        /// The hold.
        grant: Grant,
    }
}

message! {
    /// A wait as its own session sees it.
    Waiting<'a> {
        /// Its number.
        wait: u64,
        /// The lock, or all of an acquire of several.
        paths: Vec<&'a str>,
        /// Waiters ahead of it, plus one; 0 when it stands in no queue.
        place: u32,
        /// How long it still waits.
        remaining_ms: u64,
    }
}

message! {
    /// The truth about a path.
    #[derive(Default)]
    Truth<'a> {
        /// Mode of the holds; absent when the path is free.
        mode: Option<Mode>,
        /// How many owners may share it; absent when it is free, exclusive or without a limit.
        limit: Option<u32>,
        /// Token of the holds; absent when the path is free.
        token: Option<u64>,
        /// The first holders, longest first.
        holders: Vec<Holder<'a>>,
        /// How many there are in all.
        holder_count: u32,
        /// How many wait in its queue.
        waiters: u32,
    }
}

message! {
    /// One holder of a lock, as others see it.
    #[derive(Copy)]
    Holder<'a> {
        /// On whose behalf.
        owner: &'a str,
        /// How people call them.
        name: &'a str,
        /// The sessions in the hold.
        sessions: u32,
        /// Whether none of them is attached to a connection.
        orphaned: bool,
        /// Since when, in milliseconds of Unix time, for people to read.
        since: u64,
        /// For how long already.
        held_ms: u64,
        /// For how long still, unless renewed.
        remaining_ms: u64,
        /// The hold's metadata.
        metadata: &'a [u8],
    }
}

message! {
    /// One hold in a list.
    #[derive(Copy)]
    ListedHold<'a> {
        /// The lock.
        path: &'a str,
        /// How it is held.
        mode: Mode,
        /// Its token.
        token: u64,
        /// By whom.
        holder: Holder<'a>,
        /// How many wait in the path's queue.
        waiters: u32,
    }
}

names! {
    /// What a privileged act was.
    ActKind {
        /// A hold was ended by an operator.
        1 ForceRelease "force_release",
        /// A hold was taken by a moderator.
        2 Seize "seize",
        /// A layer of policy was replaced by an admin.
        3 PolicySet "policy_set",
    }
}

message! {
    /// A privileged act, as the audit trail keeps it.
    #[derive(Copy)]
    AuditedAct<'a> {
        /// Its number, above that of every act of the org before.
        number: u64,
        /// When, in milliseconds of Unix time, for people to read.
        at_ms: u64,
        /// What it was.
        act: ActKind,
        /// Who: the principal of the API key.
        principal: &'a str,
        /// What was said; absent for policies.
        reason: Option<&'a str>,
        /// The lock whose hold was lost by it; absent for policies.
        path: Option<&'a str>,
        /// Whose hold it was; absent for policies.
        owner: Option<&'a str>,
        /// The token it had; absent for policies.
        token: Option<u64>,
        /// First segment of the paths that a policy is for; absent for an org's own, and for holds.
        kind: Option<&'a str>,
        /// What the policy overrides from then on; absent for holds.
        layer: Option<PolicyLayer>,
    }
}

message! {
    /// A hold that an operator has ended, or would end.
    #[derive(Copy)]
    EndedHold<'a> {
        /// The lock.
        path: &'a str,
        /// Whose hold it was.
        owner: &'a str,
        /// How people call them.
        name: &'a str,
        /// The token it had.
        token: u64,
    }
}

message! {
    /// A person or a service, as others see them.
    #[derive(Copy)]
    Who<'a> {
        /// Owner id.
        owner: &'a str,
        /// How people call them.
        name: &'a str,
    }
}

choice! {
    /// Why a hold has ended.
    #[derive(Copy)]
    Cause<'a> by kind {
        /// Let go by its owner.
        1 Released "released",
        /// Not renewed in time.
        2 Expired "expired",
        /// Its last session was closed.
        3 SessionClosed "session_closed",
        /// Its last session was not resumed within its grace.
        4 SessionLost "session_lost",
        /// Ended by an operator.
        5 Forced "forced" {
            /// The operator's principal.
            by: &'a str,
            /// What they said.
            reason: &'a str,
        },
        /// Taken by a moderator.
        6 Seized "seized" {
            /// Who has it.
            by: Who<'a>,
            /// What they said.
            reason: &'a str,
        },
        /// Given to a waiter.
        7 HandedTo "handed_to" {
            /// Who has it.
            to: Who<'a>,
        },
    }
}

choice! {
    /// Why a wait is over without a grant.
    #[derive(Copy)]
    WaitEnd by kind {
        /// Its time is up.
        1 TimedOut "timed_out",
        /// Cancelled by its session.
        2 Cancelled "cancelled",
        /// It can no longer be granted.
        3 Refused "refused" {
            /// Why not.
            reason: RefusalReason,
        },
        /// Its session is over.
        4 SessionEnded "session_ended",
        /// Its session keeps its holds on disconnect, and has been disconnected.
        5 Detached "detached",
        /// A limit of the org or the session stood in the way when its turn came.
        6 TooManyHolds "too_many_holds",
    }
}

message! {
    /// How a hold was lost.
    #[derive(Copy)]
    Loss<'a> {
        /// The token it had.
        token: u64,
        /// Why it ended.
        cause: Cause<'a>,
    }
}

choice! {
    /// What a session was to be told, and may not have heard.
    #[derive(Copy)]
    Missed<'a> by kind {
        /// A hold is over.
        1 Lost "lost" {
            /// The lock.
            path: &'a str,
            /// The token it had.
            token: u64,
            /// Why.
            cause: Cause<'a>,
        },
        /// A wait is over without a grant.
        2 WaitEnded "wait_ended" {
            /// Which.
            wait: u64,
            /// Why.
            why: WaitEnd,
        },
    }
}

message! {
    /// One item of an acquire of several that could not be granted.
    RefusedItem<'a> {
        /// Its place among the items asked for, from 0.
        item: u32,
        /// Why.
        reason: RefusalReason,
        /// The truth about its path.
        truth: Truth<'a>,
    }
}

message! {
    /// One lock of an acquire of several.
    #[derive(Copy)]
    Item<'a> {
        /// The lock.
        path: &'a str where PATH,
        /// Alone or beside others.
        mode: Mode,
        /// Owners that may share at most; absent is as many as come.
        limit: Option<u32> where SHARED,
    }
    and Item::limit_is_for_sharing;
}

impl Item<'_> {
    fn limit_is_for_sharing(&self) -> Result<(), Fault> {
        limit_is_for_sharing(self.mode, self.limit)
    }
}

/// An exclusive lock has one owner; a limit beside it is a mistake of the caller.
#[inline]
pub(crate) fn limit_is_for_sharing(mode: Mode, limit: Option<u32>) -> Result<(), Fault> {
    match limit {
        Some(limit) if mode == Mode::Exclusive => Err(limited_alone(limit)),
        Some(_) | None => Ok(()),
    }
}

#[cold]
fn limited_alone(limit: u32) -> Fault {
    Fault::value("no limit in exclusive mode", limit.to_string()).within("limit")
}

message! {
    /// One layer of policy; what is absent leaves the layer below in force. The layer of a kind decides `ttl_*` and
    /// `queue_max` alone.
    #[derive(Copy, Default)]
    PolicyLayer {
        /// TTL of a hold whose acquire names none.
        ttl_default_ms: Option<u64> where TTL_MS,
        /// Shortest TTL; a shorter request gets this one.
        ttl_min_ms: Option<u64> where TTL_MS,
        /// Longest TTL; a longer request gets this one.
        ttl_max_ms: Option<u64> where TTL_MS,
        /// Waits on one path at most.
        queue_max: Option<u32> where QUEUE,
        /// Grace of a session that releases on disconnect and names none itself.
        grace_ms: Option<u64> where GRACE_MS,
        /// Whether a session that does not say releases (true) or keeps on disconnect.
        release_on_disconnect: Option<bool>,
        /// Sessions of one org at most.
        sessions_max: Option<u32> where AMOUNT,
        /// Holds of one org at most.
        holds_max: Option<u32> where AMOUNT,
        /// Holds of one session at most.
        session_holds_max: Option<u32> where SESSION_HOLDS,
        /// Waits of one session at most.
        session_waits_max: Option<u32> where SESSION_WAITS,
    }
}

message! {
    /// A policy in force.
    #[derive(Copy)]
    Policy {
        /// TTL of a hold whose acquire names none.
        ttl_default_ms: u64,
        /// Shortest TTL.
        ttl_min_ms: u64,
        /// Longest TTL.
        ttl_max_ms: u64,
        /// Waits on one path at most.
        queue_max: u32,
        /// Grace of a session that releases on disconnect and names none itself.
        grace_ms: u64,
        /// Whether a session that does not say releases (true) or keeps on disconnect.
        release_on_disconnect: bool,
        /// Sessions of one org at most.
        sessions_max: u32,
        /// Holds of one org at most.
        holds_max: u32,
        /// Holds of one session at most.
        session_holds_max: u32,
        /// Waits of one session at most.
        session_waits_max: u32,
    }
}

/// The secret that lets a session be resumed. It is not shown in debug output.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResumeKey(pub [u8; RESUME_KEY_BYTES]);

impl fmt::Debug for ResumeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResumeKey(..)")
    }
}

impl Value for ResumeKey {
    const TYPE: &'static Type = &Type::Key;

    fn put(&self, out: &mut Writer<'_>) {
        out.bytes(&self.0);
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_slice().write(serializer)
    }
}

impl<'a> Read<'a> for ResumeKey {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        let bytes = reader.bytes()?;
        bytes
            .try_into()
            .map(Self)
            .map_err(|_| Fault::value("16 bytes", format!("{} bytes", bytes.len())))
    }
}

impl Serialize for ResumeKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.write(serializer)
    }
}

/// A text that is not shown in debug output.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret<'a>(pub &'a str);

impl fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Value for Secret<'_> {
    const TYPE: &'static Type = &Type::Text;

    fn put(&self, out: &mut Writer<'_>) {
        out.text(self.0);
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.write(serializer)
    }
}

impl<'a> Read<'a> for Secret<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        reader.text().map(Self)
    }
}

impl Serialize for Secret<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.write(serializer)
    }
}
