//! From the wire to the client's own types, and back. The one place where the two meet.
//!
//! Knows no state. Rule: what comes from the wire is copied here, so that nothing behind this file borrows a frame.

pub(crate) mod streams;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tenure_protocol as wire;

use crate::client::unexpected;
use crate::error::{Error, ErrorKind, Result};
use crate::policy::{
    AuditedAct, AuditedLoss, Deed, EndedHold, ListedHold, Policy, PolicyInForce, PolicyLayer,
    Target, TokenCheck,
};
use crate::types::{
    Holder, Loss, LossCause, Mode, OnDisconnect, PathStatus, Refusal, RefusalReason, Released,
    Role, SessionEnd, Who,
};

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) const fn span(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn mode(mode: wire::Mode) -> Mode {
    match mode {
        wire::Mode::Shared => Mode::Shared,
        wire::Mode::Exclusive => Mode::Exclusive,
    }
}

pub(crate) fn mode_to_wire(mode: Mode) -> wire::Mode {
    match mode {
        Mode::Shared => wire::Mode::Shared,
        Mode::Exclusive => wire::Mode::Exclusive,
    }
}

pub(crate) fn role_to_wire(role: Role) -> wire::Role {
    match role {
        Role::Observer => wire::Role::Observer,
        Role::Member => wire::Role::Member,
        Role::Moderator => wire::Role::Moderator,
        Role::Admin => wire::Role::Admin,
    }
}

pub(crate) fn disconnect_to_wire(on_disconnect: OnDisconnect) -> wire::Disconnect {
    match on_disconnect {
        OnDisconnect::Release { grace } => wire::Disconnect::Release {
            grace_ms: grace.map(millis),
        },
        OnDisconnect::Keep => wire::Disconnect::Keep,
    }
}

/// The grace of a session; `None` when it keeps its holds.
pub(crate) fn grace(on_disconnect: wire::OnDisconnect) -> Option<Duration> {
    match on_disconnect {
        wire::OnDisconnect::Release { grace_ms } => Some(span(grace_ms)),
        wire::OnDisconnect::Keep => None,
    }
}

pub(crate) fn session_end(why: wire::SessionEnd) -> SessionEnd {
    match why {
        wire::SessionEnd::Closed => SessionEnd::Closed,
        wire::SessionEnd::GraceOver => SessionEnd::GraceOver,
        wire::SessionEnd::LastHoldOver => SessionEnd::LastHoldOver,
        wire::SessionEnd::Idle => SessionEnd::Idle,
    }
}

pub(crate) fn who(who: wire::Who<'_>) -> Who {
    Who {
        owner: who.owner.to_owned(),
        name: who.name.to_owned(),
    }
}

fn holder(holder: wire::Holder<'_>) -> Holder {
    Holder {
        owner: holder.owner.to_owned(),
        name: holder.name.to_owned(),
        sessions: holder.sessions,
        orphaned: holder.orphaned,
        since: SystemTime::UNIX_EPOCH + span(holder.since),
        held_for: span(holder.held_ms),
        remaining: span(holder.remaining_ms),
        metadata: holder.metadata.to_vec(),
    }
}

pub(crate) fn status(path: &str, truth: &wire::Truth<'_>) -> PathStatus {
    PathStatus {
        path: path.to_owned(),
        mode: truth.mode.map(mode),
        limit: truth.limit,
        token: truth.token,
        holders: truth.holders.iter().copied().map(holder).collect(),
        holder_count: truth.holder_count,
        waiters: truth.waiters,
    }
}

pub(crate) fn refusal(path: &str, reason: wire::RefusalReason, truth: &wire::Truth<'_>) -> Refusal {
    Refusal {
        reason: refusal_reason(reason),
        status: status(path, truth),
    }
}

/// A refusal that came as the end of a wait, without the truth about the path.
pub(crate) fn bare_refusal(path: &str, reason: RefusalReason) -> Refusal {
    Refusal {
        reason,
        status: status(path, &wire::Truth::default()),
    }
}

pub(crate) fn refusal_reason(reason: wire::RefusalReason) -> RefusalReason {
    match reason {
        wire::RefusalReason::Held => RefusalReason::Held,
        wire::RefusalReason::QueuedAhead => RefusalReason::QueuedAhead,
        wire::RefusalReason::LimitDiffers => RefusalReason::LimitDiffers,
        wire::RefusalReason::UpgradePending => RefusalReason::UpgradePending,
        wire::RefusalReason::QueueFull => RefusalReason::QueueFull,
        wire::RefusalReason::RoleTooLow => RefusalReason::RoleTooLow,
    }
}

pub(crate) fn loss(path: &str, token: u64, cause: wire::Cause<'_>) -> Loss {
    let (cause, by, reason) = match cause {
        wire::Cause::Released => (LossCause::Released, None, None),
        wire::Cause::Expired => (LossCause::Expired, None, None),
        wire::Cause::SessionClosed => (LossCause::SessionClosed, None, None),
        wire::Cause::SessionLost => (LossCause::SessionLost, None, None),
        wire::Cause::Forced { by, reason } => {
            let by = wire::Who {
                owner: by,
                name: "",
            };
            (LossCause::Forced, Some(by), Some(reason))
        }
        wire::Cause::Seized { by, reason } => (LossCause::Seized, Some(by), Some(reason)),
        wire::Cause::HandedTo { to } => (LossCause::HandedOver, Some(to), None),
    };
    Loss {
        path: path.to_owned(),
        token,
        cause,
        by: by.map(who),
        reason: reason.map(str::to_owned),
    }
}

/// A loss that nobody has told the cause of, or that this side has found by itself.
pub(crate) fn bare_loss(path: &str, token: u64, cause: LossCause) -> Loss {
    Loss {
        path: path.to_owned(),
        token,
        cause,
        by: None,
        reason: None,
    }
}

/// What a raw operation on a path that is not held says.
pub(crate) fn not_held(path: &str, lost: Option<wire::Loss<'_>>) -> Error {
    Error::not_held(lost.map(|lost| loss(path, lost.token, lost.cause)))
}

/// How a release of this session or its owner went.
pub(crate) fn released(path: &str, reply: &wire::reply::Release<'_>) -> Result<Released, Error> {
    match reply {
        wire::reply::Release::Ended => Ok(Released::Ended),
        wire::reply::Release::Left => Ok(Released::OwnerHolds),
        wire::reply::Release::AlreadyExpired => Ok(Released::AlreadyExpired),
        wire::reply::Release::NotHeld { lost, .. } => Err(not_held(path, *lost)),
    }
}

/// An error reply, or a goodbye.
pub(crate) fn error(code: wire::Code, message: &str, field: Option<&str>) -> Error {
    let kind = match (code.class(), code.known()) {
        (_, Some(wire::ErrorCode::UnknownSession | wire::ErrorCode::NotAttached)) => {
            ErrorKind::SessionEnded
        }
        (wire::Class::Retry, _) => ErrorKind::Unavailable,
        (wire::Class::Reconnect, _) => ErrorKind::Disconnected,
        (wire::Class::FixRequest, _) => ErrorKind::BadRequest,
        (wire::Class::NotAllowed, _) => ErrorKind::NotAllowed,
        (wire::Class::ServerFault, _) => ErrorKind::Server,
    };
    Error::new(kind, message.to_owned())
        .with_code(code.number())
        .with_field(field)
}

/// A request that breaks a bound, found before it was sent.
pub(crate) fn fault(fault: &wire::Fault) -> Error {
    Error::new(ErrorKind::BadRequest, fault.to_string())
        .with_code(fault.code().number())
        .with_field(fault.field())
}

pub(crate) fn target_to_wire(target: &Target) -> wire::Target<'_> {
    match target {
        Target::Path(path) => wire::Target::Path { path },
        Target::Prefix(prefix) => wire::Target::Prefix { prefix },
        Target::Owner(owner) => wire::Target::Owner { owner },
        Target::Session(session) => wire::Target::Session { session: *session },
        Target::All => wire::Target::All,
    }
}

pub(crate) fn listed_hold(hold: &wire::ListedHold<'_>) -> ListedHold {
    ListedHold {
        path: hold.path.to_owned(),
        mode: mode(hold.mode),
        token: hold.token,
        holder: holder(hold.holder),
        waiters: hold.waiters,
    }
}

pub(crate) fn ended_hold(hold: &wire::EndedHold<'_>) -> EndedHold {
    EndedHold {
        path: hold.path.to_owned(),
        owner: hold.owner.to_owned(),
        name: hold.name.to_owned(),
        token: hold.token,
    }
}

/// An act without what belongs to it is no answer.
pub(crate) fn audited_act(act: &wire::AuditedAct<'_>) -> Result<AuditedAct> {
    let loss = || {
        let (path, owner, token, reason) = (act.path?, act.owner?, act.token?, act.reason?);
        Some(AuditedLoss {
            path: path.to_owned(),
            owner: owner.to_owned(),
            token,
            reason: reason.to_owned(),
        })
    };
    let deed = match act.act {
        wire::ActKind::ForceRelease => loss().map(Deed::ForceRelease),
        wire::ActKind::Seize => loss().map(Deed::Seize),
        wire::ActKind::PolicySet => act.layer.map(|set| Deed::PolicySet {
            kind: act.kind.map(str::to_owned),
            layer: layer(set),
        }),
    };
    Ok(AuditedAct {
        number: act.number,
        at: UNIX_EPOCH + span(act.at_ms),
        principal: act.principal.to_owned(),
        deed: deed.ok_or_else(unexpected)?,
    })
}

pub(crate) fn checked(checked: wire::reply::Checked) -> TokenCheck {
    TokenCheck {
        current: checked.current,
        token: checked.token,
    }
}

pub(crate) fn layer_to_wire(layer: &PolicyLayer) -> wire::PolicyLayer {
    wire::PolicyLayer {
        ttl_default_ms: layer.ttl_default.map(millis),
        ttl_min_ms: layer.ttl_min.map(millis),
        ttl_max_ms: layer.ttl_max.map(millis),
        queue_max: layer.queue_max,
        grace_ms: layer.grace.map(millis),
        release_on_disconnect: layer.release_on_disconnect,
        sessions_max: layer.sessions_max,
        holds_max: layer.holds_max,
        session_holds_max: layer.session_holds_max,
        session_waits_max: layer.session_waits_max,
    }
}

fn layer(layer: wire::PolicyLayer) -> PolicyLayer {
    PolicyLayer {
        ttl_default: layer.ttl_default_ms.map(span),
        ttl_min: layer.ttl_min_ms.map(span),
        ttl_max: layer.ttl_max_ms.map(span),
        queue_max: layer.queue_max,
        grace: layer.grace_ms.map(span),
        release_on_disconnect: layer.release_on_disconnect,
        sessions_max: layer.sessions_max,
        holds_max: layer.holds_max,
        session_holds_max: layer.session_holds_max,
        session_waits_max: layer.session_waits_max,
    }
}

pub(crate) fn policy_in_force(reply: wire::reply::PolicyInForce) -> PolicyInForce {
    let policy = reply.policy;
    PolicyInForce {
        policy: Policy {
            ttl_default: span(policy.ttl_default_ms),
            ttl_min: span(policy.ttl_min_ms),
            ttl_max: span(policy.ttl_max_ms),
            queue_max: policy.queue_max,
            grace: span(policy.grace_ms),
            release_on_disconnect: policy.release_on_disconnect,
            sessions_max: policy.sessions_max,
            holds_max: policy.holds_max,
            session_holds_max: policy.session_holds_max,
            session_waits_max: policy.session_waits_max,
        },
        layer: layer(reply.layer),
    }
}
