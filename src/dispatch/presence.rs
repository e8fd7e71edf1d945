//! Presence in the words of both sides: requests as work for a shard, and what the machine says as replies and pushes.
//! Decides nothing about who is where; where a push goes, its shard says.

use bytes::BytesMut;
use tenure_engine::presence::{
    Activity, Audience, Change, Collision, Command, Counts, Enter, Level, List, Page, PathViewers,
    Rejection, Reply, Shown, Stats, TYPING, TYPING_REFRESH, Update, Viewer, Within,
};
use tenure_engine::{SessionId, SessionRef, Who};
use tenure_protocol as wire;
use tenure_protocol::{ErrorCode, Filter, Position, Push, push, reply, request};

use super::replies;
use crate::homes::Home;

/// What is asked of presence.
#[derive(Debug)]
pub(crate) enum PresenceWork<'a> {
    Command(Command<'a>),
    List(List<'a>),
    Stats { org: &'a str, audience: Audience },
}

// Requests.

pub(super) const fn enter<'a>(by: SessionRef, enter: &request::Enter<'a>) -> Command<'a> {
    Command::Enter(Enter {
        by,
        path: enter.path,
        activity: activity(enter.activity),
        typing_for: typing_for(enter.internal),
        metadata: enter.metadata,
    })
}

pub(super) const fn update<'a>(by: SessionRef, update: &request::Update<'a>) -> Command<'a> {
    Command::Update(Update {
        by,
        path: update.path,
        activity: activity(update.activity),
        typing_for: typing_for(update.internal),
    })
}

pub(super) fn list<'a>(list: &request::ListViewers<'a>, audience: Audience) -> List<'a> {
    List {
        org: list.org,
        within: within(list.filter),
        audience,
        after: list.cursor,
        page: list.page,
    }
}

fn within(filter: Filter<'_>) -> Within<'_> {
    match filter.scope() {
        wire::Scope::Path(path) => Within::Path(path),
        wire::Scope::Below(path) => Within::Below(path),
        wire::Scope::All => Within::All,
    }
}

const fn activity(activity: wire::Activity) -> Activity {
    match activity {
        wire::Activity::Viewing => Activity::Viewing,
        wire::Activity::Idle => Activity::Idle,
        wire::Activity::Typing => Activity::Typing,
        wire::Activity::Editing => Activity::Editing,
    }
}

const fn typing_for(internal: bool) -> Audience {
    if internal {
        Audience::Insiders
    } else {
        Audience::Everyone
    }
}

// Answers.

/// Appends the answer to a command.
pub(crate) fn reply(id: u64, answer: &Reply, out: &mut BytesMut) {
    let reply = match *answer {
        Reply::Entered {
            first,
            total,
            level,
        } => wire::Reply::PresenceEnter(reply::Entered {
            first,
            total,
            collision: level_to_wire(level),
            typing_ms: TYPING.0,
            refresh_ms: TYPING_REFRESH.0,
        }),
        Reply::Updated { level } => wire::Reply::PresenceUpdate(reply::Updated {
            collision: level_to_wire(level),
        }),
        Reply::Left { last } => wire::Reply::PresenceLeave(reply::Left { last }),
        Reply::Rejected(rejection) => {
            let (code, advice) = rejected(rejection);
            replies::error(id, code, advice, out);
            return;
        }
        Reply::Done => unreachable!("no request asks for what is answered so"),
    };
    reply.encode(id, out);
}

/// Appends a page, with where the org's stream stands.
pub(crate) fn page(id: u64, page: &Page<'_>, position: Option<Position>, out: &mut BytesMut) {
    wire::Reply::PresenceList(reply::Viewers {
        version: page.version,
        position,
        paths: page.paths.iter().map(path_to_wire).collect(),
        next: page.next,
    })
    .encode(id, out);
}

/// Appends how many are where.
pub(crate) fn stats(id: u64, stats: &Stats, out: &mut BytesMut) {
    wire::Reply::PresenceStats(reply::PresenceStats {
        paths: stats.paths,
        viewers: stats.viewers,
        sittings: stats.sittings,
        counts: counts_to_wire(&stats.counts),
    })
    .encode(id, out);
}

/// The code of a rejection, and what to do about it, in a sentence.
const fn rejected(rejection: Rejection) -> (ErrorCode, &'static str) {
    match rejection {
        Rejection::UnknownSession => (
            ErrorCode::UnknownSession,
            "no such session (any more); open a session anew",
        ),
        Rejection::NotAttached => (
            ErrorCode::NotAttached,
            "the session is attached to another connection, or to none; resume it here first",
        ),
        Rejection::NotEntered => (
            ErrorCode::NotEntered,
            "the session is not at this path (any more); enter it first",
        ),
        Rejection::TooManyPaths => (
            ErrorCode::TooManyPresences,
            "the session is at as many paths as it may; leave some",
        ),
        Rejection::TooManySittings => (
            ErrorCode::TooManyPresences,
            "the owner is at this path with as many sessions as it may; let some of them leave",
        ),
        Rejection::TooManyViewers => (
            ErrorCode::TooManyPresences,
            "the path has as many viewers as it may; ask later",
        ),
    }
}

// Pushes.

/// A change, as an audience sees it.
pub(crate) fn change<'c>(change: &Change<'c>, shown: &Shown<'c>) -> Push<'c> {
    Push::PresenceChanged(push::ViewersChanged {
        org: change.org,
        version: change.version,
        path: change.path,
        total: change.total,
        counts: counts_to_wire(&shown.counts),
        up: shown.up.iter().map(viewer_to_wire).collect(),
        gone: change.gone.clone(),
    })
}

pub(crate) fn collision<'c>(home: Home, collision: &Collision<'c>) -> Push<'c> {
    let by = collision.by.iter();
    Push::PresenceCollision(push::Collision {
        session: home.to_wire(collision.session.0),
        path: collision.path,
        level: level_to_wire(collision.level),
        by: by
            .map(|Who { owner, name }| wire::Who { owner, name })
            .collect(),
    })
}

pub(crate) fn ended(home: Home, session: SessionId, path: &str) -> Push<'_> {
    Push::PresenceEnded(push::PresenceEnded {
        session: home.to_wire(session.0),
        path,
    })
}

// Words.

fn path_to_wire<'v>(viewers: &PathViewers<'v>) -> wire::PathViewers<'v> {
    wire::PathViewers {
        path: viewers.path,
        total: viewers.total,
        counts: counts_to_wire(&viewers.counts),
        viewers: viewers.viewers.iter().map(viewer_to_wire).collect(),
    }
}

const fn viewer_to_wire<'v>(viewer: &Viewer<'v>) -> wire::Viewer<'v> {
    wire::Viewer {
        owner: viewer.owner,
        name: viewer.name,
        activity: activity_to_wire(viewer.activity),
        internal: viewer.internal,
        since_ms: viewer.since.0,
        sittings: viewer.sittings,
        metadata: viewer.metadata,
    }
}

const fn counts_to_wire(counts: &Counts) -> wire::Counts {
    wire::Counts {
        viewing: counts.viewing,
        idle: counts.idle,
        typing: counts.typing,
        editing: counts.editing,
    }
}

const fn activity_to_wire(activity: Activity) -> wire::Activity {
    match activity {
        Activity::Viewing => wire::Activity::Viewing,
        Activity::Idle => wire::Activity::Idle,
        Activity::Typing => wire::Activity::Typing,
        Activity::Editing => wire::Activity::Editing,
    }
}

const fn level_to_wire(level: Level) -> wire::CollisionLevel {
    match level {
        Level::None => wire::CollisionLevel::None,
        Level::Viewing => wire::CollisionLevel::Viewing,
        Level::Typing => wire::CollisionLevel::Typing,
        Level::Editing => wire::CollisionLevel::Editing,
    }
}
