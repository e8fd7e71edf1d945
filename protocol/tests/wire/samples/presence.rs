//! One of each that has to do with presence. As in the file above, what stands here must never change.
//! Every activity and every level is there once at least.

use tenure_protocol::{
    Activity, CollisionLevel, Counts, Filter, PathViewers, Push, Reply, Request, Viewer, push,
    reply, request,
};

use super::{ANNA, BORIS, ORG, PATH, SESSION, streams};

const TYPES: Viewer<'static> = Viewer {
    owner: ANNA.owner,
    name: ANNA.name,
    activity: Activity::Typing,
    internal: true,
    since_ms: 1_763_628_000_000,
    sittings: 2,
    metadata: b"{\"tab\":3}",
};
const LOOKS: Viewer<'static> = Viewer {
    owner: BORIS.owner,
    name: BORIS.name,
    activity: Activity::Viewing,
    internal: false,
    since_ms: 1_763_628_030_000,
    sittings: 1,
    metadata: b"",
};
const BOTH: Counts = Counts {
    viewing: 1,
    idle: 0,
    typing: 1,
    editing: 0,
};

pub(super) fn requests() -> Vec<(&'static str, Request<'static>)> {
    let update = |activity| {
        Request::PresenceUpdate(request::Update {
            session: SESSION,
            path: PATH,
            activity,
            internal: false,
        })
    };
    let list = request::ListViewers {
        org: ORG,
        filter: Filter::ALL,
        cursor: None,
        page: 256,
    };
    vec![
        (
            "presence.enter",
            Request::PresenceEnter(request::Enter {
                session: SESSION,
                path: PATH,
                activity: Activity::Viewing,
                internal: false,
                metadata: b"",
            }),
        ),
        (
            "presence.enter, everything said",
            Request::PresenceEnter(request::Enter {
                session: SESSION,
                path: PATH,
                activity: Activity::Typing,
                internal: true,
                metadata: b"{\"tab\":3}",
            }),
        ),
        ("presence.update, viewing", update(Activity::Viewing)),
        ("presence.update, idle", update(Activity::Idle)),
        ("presence.update, editing", update(Activity::Editing)),
        (
            "presence.update, typing for insiders",
            Request::PresenceUpdate(request::Update {
                session: SESSION,
                path: PATH,
                activity: Activity::Typing,
                internal: true,
            }),
        ),
        (
            "presence.leave",
            Request::PresenceLeave(request::Leave {
                session: SESSION,
                path: PATH,
            }),
        ),
        ("presence.list", Request::PresenceList(list)),
        (
            "presence.list, everything said",
            Request::PresenceList(request::ListViewers {
                filter: Filter::parse("ticket/**").expect("it is one"),
                cursor: Some("x"),
                page: 10,
                ..list
            }),
        ),
        (
            "presence.stats",
            Request::PresenceStats(request::PresenceStats { org: ORG }),
        ),
    ]
}

pub(super) fn replies() -> Vec<(&'static str, Reply<'static>)> {
    let updates = CollisionLevel::ALL.iter().map(|&collision| {
        let reply = reply::Updated { collision };
        let name = match collision {
            CollisionLevel::None => "presence.update, alone",
            CollisionLevel::Viewing => "presence.update, another looks",
            CollisionLevel::Typing => "presence.update, another types",
            CollisionLevel::Editing => "presence.update, another edits",
        };
        (name, Reply::PresenceUpdate(reply))
    });
    let entered = [(
        "presence.enter",
        Reply::PresenceEnter(reply::Entered {
            first: true,
            total: 2,
            collision: CollisionLevel::Viewing,
            typing_ms: 6_000,
            refresh_ms: 3_000,
        }),
    )];
    let others = [
        (
            "presence.leave",
            Reply::PresenceLeave(reply::Left { last: true }),
        ),
        (
            "presence.list",
            Reply::PresenceList(reply::Viewers {
                version: 88,
                position: Some(streams::POSITION),
                paths: vec![PathViewers {
                    path: PATH,
                    total: 2,
                    counts: BOTH,
                    viewers: vec![TYPES, LOOKS],
                }],
                next: Some("x"),
            }),
        ),
        (
            "presence.list, nobody",
            Reply::PresenceList(reply::Viewers {
                version: 0,
                position: None,
                paths: vec![],
                next: None,
            }),
        ),
        (
            "presence.stats",
            Reply::PresenceStats(reply::PresenceStats {
                paths: 1,
                viewers: 2,
                sittings: 3,
                counts: BOTH,
            }),
        ),
    ];
    entered.into_iter().chain(updates).chain(others).collect()
}

pub(super) fn pushes() -> Vec<(&'static str, Push<'static>)> {
    vec![
        (
            "presence.changed",
            Push::PresenceChanged(push::ViewersChanged {
                org: ORG,
                version: 88,
                path: PATH,
                total: 2,
                counts: BOTH,
                up: vec![TYPES, LOOKS],
                gone: vec!["u-19"],
            }),
        ),
        (
            "presence.changed, the last has left",
            Push::PresenceChanged(push::ViewersChanged {
                org: ORG,
                version: 89,
                path: PATH,
                total: 0,
                counts: Counts::default(),
                up: vec![],
                gone: vec![ANNA.owner, BORIS.owner],
            }),
        ),
        (
            "presence.collision",
            Push::PresenceCollision(push::Collision {
                session: SESSION,
                path: PATH,
                level: CollisionLevel::Typing,
                by: vec![BORIS],
            }),
        ),
        (
            "presence.collision, over",
            Push::PresenceCollision(push::Collision {
                session: SESSION,
                path: PATH,
                level: CollisionLevel::None,
                by: vec![],
            }),
        ),
        (
            "presence.gap",
            Push::PresenceGap(push::ViewersLeftOut {
                org: ORG,
                version: 140,
            }),
        ),
        (
            "presence.ended",
            Push::PresenceEnded(push::PresenceEnded {
                session: SESSION,
                path: PATH,
            }),
        ),
    ]
}
