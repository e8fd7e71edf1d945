//! From the wire to the client's own types: what streams and presence tell.
//!
//! As the file above, of which this is a part: what comes from the wire is copied here.

use std::time::{Duration, SystemTime};

use tenure_protocol as wire;

use super::{loss, mode, refusal_reason, span, who};
use crate::happened::{Event, Happened, LostWhy, Position, WaitEnd};
use crate::publish::{Published, StreamStats};
use crate::viewing::{
    Activity, CollisionLevel, PathViewers, PresenceStats, Viewer, ViewerCounts, ViewersChange,
};

pub(crate) const fn position(position: wire::Position) -> Position {
    Position {
        epoch: position.epoch,
        offset: position.offset,
    }
}

pub(crate) const fn position_to_wire(position: Position) -> wire::Position {
    wire::Position {
        epoch: position.epoch,
        offset: position.offset,
    }
}

pub(crate) const fn lost_why(why: wire::LostWhy) -> LostWhy {
    match why {
        wire::LostWhy::Epoch => LostWhy::Epoch,
        wire::LostWhy::Trimmed => LostWhy::Trimmed,
        wire::LostWhy::Ahead => LostWhy::Ahead,
    }
}

/// Of the epoch that the subscription stands in.
pub(crate) fn happened(epoch: u64, push: &wire::push::Happened<'_>) -> Happened {
    Happened {
        position: Position {
            epoch,
            offset: push.offset,
        },
        at: wall(push.at_ms),
        event: event(&push.event),
    }
}

fn event(event: &wire::Event<'_>) -> Event {
    match event {
        wire::Event::LockGranted {
            path,
            who: by,
            mode: held,
            token,
            waited_ms,
        } => Event::LockGranted {
            path: (*path).to_owned(),
            who: who(*by),
            mode: mode(*held),
            token: *token,
            waited: span(*waited_ms),
        },
        wire::Event::LockConverted {
            path,
            who: by,
            mode: held,
            token,
        } => Event::LockConverted {
            path: (*path).to_owned(),
            who: who(*by),
            mode: mode(*held),
            token: *token,
        },
        wire::Event::LockEnded {
            path,
            who: by,
            token,
            cause,
            held_ms,
        } => Event::LockEnded {
            who: who(*by),
            loss: loss(path, *token, *cause),
            held_for: span(*held_ms),
        },
        wire::Event::LockOrphaned {
            path,
            who: by,
            token,
        } => Event::LockOrphaned {
            path: (*path).to_owned(),
            who: who(*by),
            token: *token,
        },
        wire::Event::LockAdopted {
            path,
            who: by,
            token,
        } => Event::LockAdopted {
            path: (*path).to_owned(),
            who: who(*by),
            token: *token,
        },
        wire::Event::LockQueued {
            paths,
            who: by,
            wait,
        } => Event::LockQueued {
            paths: owned(paths),
            who: who(*by),
            wait: *wait,
        },
        wire::Event::LockWaitEnded {
            paths,
            who: by,
            wait,
            why,
        } => Event::LockWaitEnded {
            paths: owned(paths),
            who: who(*by),
            wait: *wait,
            why: wait_end(*why),
        },
        wire::Event::Published {
            path,
            event,
            payload,
            event_id,
        } => Event::Published {
            path: (*path).to_owned(),
            event: (*event).to_owned(),
            payload: payload.to_vec(),
            id: event_id.map(str::to_owned),
        },
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn wait_end(why: wire::WaitEnd) -> WaitEnd {
    match why {
        wire::WaitEnd::TimedOut => WaitEnd::TimedOut,
        wire::WaitEnd::Cancelled => WaitEnd::Cancelled,
        wire::WaitEnd::Refused { reason } => WaitEnd::Refused(refusal_reason(reason)),
        wire::WaitEnd::SessionEnded => WaitEnd::SessionEnded,
        wire::WaitEnd::Detached => WaitEnd::Detached,
        wire::WaitEnd::TooManyHolds => WaitEnd::TooManyHolds,
    }
}

pub(crate) const fn published(published: wire::reply::Published) -> Published {
    Published {
        position: position(published.position),
        repeated: published.repeated,
        listeners: published.listeners,
    }
}

pub(crate) fn stream_stats(stats: wire::reply::StreamStats) -> StreamStats {
    StreamStats {
        listeners: stats.listeners,
        subscriptions: stats.subscriptions,
        position: stats.position.map(position),
        oldest: stats.oldest,
        events: stats.events,
        bytes: stats.bytes,
        published: stats.published,
        gaps: stats.gaps,
    }
}

pub(crate) const fn activity(activity: wire::Activity) -> Activity {
    match activity {
        wire::Activity::Viewing => Activity::Viewing,
        wire::Activity::Idle => Activity::Idle,
        wire::Activity::Typing => Activity::Typing,
        wire::Activity::Editing => Activity::Editing,
    }
}

pub(crate) const fn activity_to_wire(activity: Activity) -> wire::Activity {
    match activity {
        Activity::Viewing => wire::Activity::Viewing,
        Activity::Idle => wire::Activity::Idle,
        Activity::Typing => wire::Activity::Typing,
        Activity::Editing => wire::Activity::Editing,
    }
}

pub(crate) const fn level(level: wire::CollisionLevel) -> CollisionLevel {
    match level {
        wire::CollisionLevel::None => CollisionLevel::None,
        wire::CollisionLevel::Viewing => CollisionLevel::Viewing,
        wire::CollisionLevel::Typing => CollisionLevel::Typing,
        wire::CollisionLevel::Editing => CollisionLevel::Editing,
    }
}

const fn counts(counts: wire::Counts) -> ViewerCounts {
    ViewerCounts {
        viewing: counts.viewing,
        idle: counts.idle,
        typing: counts.typing,
        editing: counts.editing,
    }
}

fn viewer(viewer: &wire::Viewer<'_>) -> Viewer {
    Viewer {
        owner: viewer.owner.to_owned(),
        name: viewer.name.to_owned(),
        activity: activity(viewer.activity),
        internal: viewer.internal,
        since: wall(viewer.since_ms),
        sittings: viewer.sittings,
        metadata: viewer.metadata.to_vec(),
    }
}

pub(crate) fn path_viewers(of: &wire::PathViewers<'_>) -> PathViewers {
    PathViewers {
        path: of.path.to_owned(),
        total: of.total,
        counts: counts(of.counts),
        viewers: of.viewers.iter().map(viewer).collect(),
    }
}

pub(crate) fn viewers_change(push: &wire::push::ViewersChanged<'_>) -> ViewersChange {
    ViewersChange {
        path: push.path.to_owned(),
        version: push.version,
        total: push.total,
        counts: counts(push.counts),
        up: push.up.iter().map(viewer).collect(),
        gone: owned(&push.gone),
    }
}

pub(crate) const fn presence_stats(stats: wire::reply::PresenceStats) -> PresenceStats {
    PresenceStats {
        paths: stats.paths,
        viewers: stats.viewers,
        sittings: stats.sittings,
        counts: counts(stats.counts),
    }
}

/// A moment of the server's wall clock. One that no clock can show is the last that it can.
fn wall(unix_ms: u64) -> SystemTime {
    let last = Duration::from_millis(wire::limits::NUMBER_MAX.min(253_402_300_799_999));
    SystemTime::UNIX_EPOCH + span(unix_ms).min(last)
}
