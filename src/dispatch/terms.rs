//! Single words of the two vocabularies, each way.
//! Must hold: every word has one translation; a word that is added to either side does not compile until it has.

use tenure_engine as engine;
use tenure_engine::Millis;
use tenure_protocol as wire;

use crate::homes::{Homes, ShardIndex};

pub(crate) const fn role(role: wire::Role) -> engine::Role {
    match role {
        wire::Role::Observer => engine::Role::Observer,
        wire::Role::Member => engine::Role::Member,
        wire::Role::Moderator => engine::Role::Moderator,
        wire::Role::Admin => engine::Role::Admin,
    }
}

pub(crate) const fn role_to_wire(role: engine::Role) -> wire::Role {
    match role {
        engine::Role::Observer => wire::Role::Observer,
        engine::Role::Member => wire::Role::Member,
        engine::Role::Moderator => wire::Role::Moderator,
        engine::Role::Admin => wire::Role::Admin,
    }
}

pub(crate) const fn mode(mode: wire::Mode) -> engine::Mode {
    match mode {
        wire::Mode::Shared => engine::Mode::Shared,
        wire::Mode::Exclusive => engine::Mode::Exclusive,
    }
}

pub(super) const fn mode_to_wire(mode: engine::Mode) -> wire::Mode {
    match mode {
        engine::Mode::Shared => wire::Mode::Shared,
        engine::Mode::Exclusive => wire::Mode::Exclusive,
    }
}

pub(super) const fn scope(scope: wire::ReleaseScope) -> engine::ReleaseScope {
    match scope {
        wire::ReleaseScope::Session => engine::ReleaseScope::Session,
        wire::ReleaseScope::Owner => engine::ReleaseScope::Owner,
    }
}

pub(super) fn disconnect(disconnect: Option<wire::Disconnect>) -> engine::Disconnect {
    match disconnect {
        None => engine::Disconnect::ByPolicy,
        Some(wire::Disconnect::Release { grace_ms }) => {
            engine::Disconnect::Release(grace_ms.map(Millis))
        }
        Some(wire::Disconnect::Keep) => engine::Disconnect::Keep,
    }
}

pub(super) const fn on_disconnect_to_wire(
    on_disconnect: engine::OnDisconnect,
) -> wire::OnDisconnect {
    match on_disconnect {
        engine::OnDisconnect::Release { grace } => {
            wire::OnDisconnect::Release { grace_ms: grace.0 }
        }
        engine::OnDisconnect::Keep => wire::OnDisconnect::Keep,
    }
}

/// No session has this number: they begin at 1.
const NOBODY: engine::SessionId = engine::SessionId(0);

pub(super) fn target<'a>(
    homes: Homes,
    shard: ShardIndex,
    target: wire::Target<'a>,
) -> engine::Target<'a> {
    match target {
        wire::Target::Path { path } => engine::Target::Path(path),
        wire::Target::Prefix { prefix } => engine::Target::Prefix(prefix),
        wire::Target::Owner { owner } => engine::Target::Owner(owner),
        wire::Target::Session { session } => {
            let (home, session) = homes.of_number(session);
            // A session of another shard is of another org, and holds nothing in this one.
            let session = if home == shard {
                engine::SessionId(session)
            } else {
                NOBODY
            };
            engine::Target::Session(session)
        }
        wire::Target::All => engine::Target::All,
    }
}

pub(super) fn layer(layer: &wire::PolicyLayer) -> engine::PolicyLayer {
    engine::PolicyLayer {
        ttl_default: layer.ttl_default_ms.map(Millis),
        ttl_min: layer.ttl_min_ms.map(Millis),
        ttl_max: layer.ttl_max_ms.map(Millis),
        queue_max: layer.queue_max,
        grace: layer.grace_ms.map(Millis),
        release_on_disconnect: layer.release_on_disconnect,
        sessions_max: layer.sessions_max,
        holds_max: layer.holds_max,
        session_holds_max: layer.session_holds_max,
        session_waits_max: layer.session_waits_max,
    }
}

pub(super) fn layer_to_wire(layer: &engine::PolicyLayer) -> wire::PolicyLayer {
    wire::PolicyLayer {
        ttl_default_ms: layer.ttl_default.map(|span| span.0),
        ttl_min_ms: layer.ttl_min.map(|span| span.0),
        ttl_max_ms: layer.ttl_max.map(|span| span.0),
        queue_max: layer.queue_max,
        grace_ms: layer.grace.map(|span| span.0),
        release_on_disconnect: layer.release_on_disconnect,
        sessions_max: layer.sessions_max,
        holds_max: layer.holds_max,
        session_holds_max: layer.session_holds_max,
        session_waits_max: layer.session_waits_max,
    }
}

pub(super) const fn policy_to_wire(policy: &engine::Policy) -> wire::Policy {
    wire::Policy {
        ttl_default_ms: policy.ttl_default.0,
        ttl_min_ms: policy.ttl_min.0,
        ttl_max_ms: policy.ttl_max.0,
        queue_max: policy.queue_max,
        grace_ms: policy.grace.0,
        release_on_disconnect: policy.release_on_disconnect,
        sessions_max: policy.sessions_max,
        holds_max: policy.holds_max,
        session_holds_max: policy.session_holds_max,
        session_waits_max: policy.session_waits_max,
    }
}

pub(super) const fn grant_to_wire(grant: &engine::Grant) -> wire::Grant {
    wire::Grant {
        token: grant.token.0,
        mode: mode_to_wire(grant.mode),
        ttl_ms: grant.ttl.0,
        // Log time is cut to whole milliseconds, so the hold may end up to one earlier than it says: the client stops first.
        remaining_ms: grant.remaining.0.saturating_sub(1),
        kind: match grant.kind {
            engine::GrantKind::Fresh => wire::GrantKind::Fresh,
            engine::GrantKind::Joined => wire::GrantKind::Joined,
            engine::GrantKind::Converted => wire::GrantKind::Converted,
        },
    }
}

pub(super) fn held_to_wire(held: &engine::Held) -> wire::Held<'_> {
    wire::Held {
        path: &held.path,
        grant: grant_to_wire(&held.grant),
    }
}

pub(super) const fn refusal_to_wire(reason: engine::RefusalReason) -> wire::RefusalReason {
    match reason {
        engine::RefusalReason::Held => wire::RefusalReason::Held,
        engine::RefusalReason::QueuedAhead => wire::RefusalReason::QueuedAhead,
        engine::RefusalReason::LimitDiffers => wire::RefusalReason::LimitDiffers,
        engine::RefusalReason::UpgradePending => wire::RefusalReason::UpgradePending,
        engine::RefusalReason::QueueFull => wire::RefusalReason::QueueFull,
        engine::RefusalReason::RoleTooLow => wire::RefusalReason::RoleTooLow,
    }
}

pub(super) fn truth_to_wire(truth: &engine::Truth) -> wire::Truth<'_> {
    wire::Truth {
        mode: truth.mode.map(mode_to_wire),
        limit: truth.limit,
        token: truth.token.map(|token| token.0),
        holders: truth.holders.iter().map(holder_to_wire).collect(),
        holder_count: truth.holder_count,
        waiters: truth.waiters,
    }
}

pub(super) fn holder_to_wire(holder: &engine::Holder) -> wire::Holder<'_> {
    wire::Holder {
        owner: &holder.owner,
        name: &holder.name,
        sessions: holder.sessions,
        orphaned: holder.orphaned,
        since: holder.since.0,
        held_ms: holder.held.0,
        remaining_ms: holder.remaining.0,
        metadata: &holder.metadata,
    }
}

pub(super) fn who_to_wire(who: &engine::Who) -> wire::Who<'_> {
    wire::Who {
        owner: &who.owner,
        name: &who.name,
    }
}

pub(super) fn cause_to_wire(cause: &engine::Cause) -> wire::Cause<'_> {
    match cause {
        engine::Cause::Released => wire::Cause::Released,
        engine::Cause::Expired => wire::Cause::Expired,
        engine::Cause::SessionClosed => wire::Cause::SessionClosed,
        engine::Cause::SessionLost => wire::Cause::SessionLost,
        engine::Cause::Forced { by, reason } => wire::Cause::Forced { by, reason },
        engine::Cause::Seized { by, reason } => wire::Cause::Seized {
            by: who_to_wire(by),
            reason,
        },
        engine::Cause::HandedTo { to } => wire::Cause::HandedTo {
            to: who_to_wire(to),
        },
    }
}

pub(super) const fn wait_end_to_wire(why: engine::WaitEnd) -> wire::WaitEnd {
    match why {
        engine::WaitEnd::TimedOut => wire::WaitEnd::TimedOut,
        engine::WaitEnd::Cancelled => wire::WaitEnd::Cancelled,
        engine::WaitEnd::Refused(reason) => wire::WaitEnd::Refused {
            reason: refusal_to_wire(reason),
        },
        engine::WaitEnd::SessionEnded => wire::WaitEnd::SessionEnded,
        engine::WaitEnd::Detached => wire::WaitEnd::Detached,
        engine::WaitEnd::TooManyHolds => wire::WaitEnd::TooManyHolds,
    }
}

pub(super) const fn session_end_to_wire(why: engine::SessionEnd) -> wire::SessionEnd {
    match why {
        engine::SessionEnd::Closed => wire::SessionEnd::Closed,
        engine::SessionEnd::GraceOver => wire::SessionEnd::GraceOver,
        engine::SessionEnd::LastHoldOver => wire::SessionEnd::LastHoldOver,
        engine::SessionEnd::Idle => wire::SessionEnd::Idle,
    }
}
