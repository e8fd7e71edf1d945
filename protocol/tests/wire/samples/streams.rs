//! One of each that has to do with streams. As in the file above, what stands here must never change.
//! Every kind of event and every outcome of a recovery is there once at least.

use tenure_protocol::{
    Event, Filter, LostWhy, Mode, Position, Push, Recovery, Reply, Request, WaitEnd, push, reply,
    request,
};

use super::{ANNA, BORIS, Cause, ORG, PATH, SESSION, TOKEN, WAIT};

pub(super) const POSITION: Position = Position {
    epoch: 4_611_686_018_427_401,
    offset: 1_207,
};
const AT_MS: u64 = 1_763_628_000_000;

fn filter(text: &'static str) -> Filter<'static> {
    Filter::parse(text).expect("it is one")
}

pub(super) fn requests() -> Vec<(&'static str, Request<'static>)> {
    vec![
        (
            "stream.subscribe",
            Request::StreamSubscribe(request::Subscribe {
                org: ORG,
                filters: vec![Filter::ALL],
                since: None,
                presence: false,
            }),
        ),
        (
            "stream.subscribe, everything said",
            Request::StreamSubscribe(request::Subscribe {
                org: ORG,
                filters: vec![filter(PATH), filter("ticket/**")],
                since: Some(POSITION),
                presence: true,
            }),
        ),
        (
            "stream.unsubscribe",
            Request::StreamUnsubscribe(request::Unsubscribe { subscription: 3 }),
        ),
        (
            "stream.publish",
            Request::StreamPublish(request::Publish {
                org: ORG,
                path: PATH,
                event: "refresh",
                payload: b"",
                event_id: None,
                session: None,
            }),
        ),
        (
            "stream.publish, everything said",
            Request::StreamPublish(request::Publish {
                org: ORG,
                path: "chat/42",
                event: "message.new",
                payload: b"{\"seq\":12}",
                event_id: Some("0192f0c1-7f2e"),
                session: Some(SESSION),
            }),
        ),
        (
            "stream.stats",
            Request::StreamStats(request::StreamStats {
                org: ORG,
                path: None,
            }),
        ),
        (
            "stream.stats, of a path",
            Request::StreamStats(request::StreamStats {
                org: ORG,
                path: Some("chat/42"),
            }),
        ),
    ]
}

pub(super) fn replies() -> Vec<(&'static str, Reply<'static>)> {
    let subscribed = reply::Subscribed {
        subscription: 3,
        position: POSITION,
        recovery: Recovery::Fresh,
        version: None,
    };
    let lost = |why| {
        Reply::StreamSubscribe(reply::Subscribed {
            recovery: Recovery::Lost { why },
            ..subscribed
        })
    };
    vec![
        (
            "stream.subscribe, fresh",
            Reply::StreamSubscribe(subscribed),
        ),
        (
            "stream.subscribe, exact, with presence",
            Reply::StreamSubscribe(reply::Subscribed {
                recovery: Recovery::Exact,
                version: Some(88),
                ..subscribed
            }),
        ),
        ("stream.subscribe, another epoch", lost(LostWhy::Epoch)),
        ("stream.subscribe, trimmed", lost(LostWhy::Trimmed)),
        ("stream.subscribe, ahead", lost(LostWhy::Ahead)),
        (
            "stream.unsubscribe",
            Reply::StreamUnsubscribe(reply::Done {}),
        ),
        (
            "stream.publish",
            Reply::StreamPublish(reply::Published {
                position: POSITION,
                repeated: false,
                listeners: 2,
            }),
        ),
        (
            "stream.publish, repeated",
            Reply::StreamPublish(reply::Published {
                position: POSITION,
                repeated: true,
                listeners: 0,
            }),
        ),
        (
            "stream.stats",
            Reply::StreamStats(reply::StreamStats {
                listeners: 2,
                subscriptions: 5,
                position: Some(POSITION),
                oldest: Some(1_001),
                events: 207,
                bytes: 30_112,
                published: 44,
                gaps: 1,
            }),
        ),
        (
            "stream.stats, nobody listens",
            Reply::StreamStats(reply::StreamStats {
                listeners: 0,
                subscriptions: 0,
                position: None,
                oldest: None,
                events: 0,
                bytes: 0,
                published: 0,
                gaps: 0,
            }),
        ),
    ]
}

pub(super) fn pushes() -> Vec<(&'static str, Push<'static>)> {
    let events = events().into_iter().map(|(name, event)| {
        let push = push::Happened {
            org: ORG,
            offset: POSITION.offset + 1,
            at_ms: AT_MS,
            event,
        };
        (name, Push::StreamEvent(push))
    });
    let others = [
        (
            "stream.position",
            Push::StreamPosition(push::Reached {
                org: ORG,
                position: POSITION,
            }),
        ),
        (
            "stream.gap",
            Push::StreamGap(push::Gap {
                org: ORG,
                from: 1_208,
                to: 9_400,
            }),
        ),
    ];
    events.chain(others).collect()
}

fn events() -> [(&'static str, Event<'static>); 9] {
    let path = PATH;
    let token = TOKEN;
    [
        (
            "stream.event, lock granted",
            Event::LockGranted {
                path,
                who: BORIS,
                mode: Mode::Exclusive,
                token,
                waited_ms: 2_500,
            },
        ),
        (
            "stream.event, lock converted",
            Event::LockConverted {
                path,
                who: ANNA,
                mode: Mode::Shared,
                token,
            },
        ),
        (
            "stream.event, lock ended",
            Event::LockEnded {
                path,
                who: ANNA,
                token,
                cause: Cause::HandedTo { to: BORIS },
                held_ms: 61_000,
            },
        ),
        (
            "stream.event, lock orphaned",
            Event::LockOrphaned {
                path,
                who: ANNA,
                token,
            },
        ),
        (
            "stream.event, lock adopted",
            Event::LockAdopted {
                path,
                who: ANNA,
                token,
            },
        ),
        (
            "stream.event, lock queued",
            Event::LockQueued {
                paths: vec![path, "price-list/2027"],
                who: BORIS,
                wait: WAIT,
            },
        ),
        (
            "stream.event, wait ended",
            Event::LockWaitEnded {
                paths: vec![path, "price-list/2027"],
                who: BORIS,
                wait: WAIT,
                why: WaitEnd::TimedOut,
            },
        ),
        (
            "stream.event, published",
            Event::Published {
                path: "chat/42",
                event: "message.new",
                payload: b"{\"seq\":12}",
                event_id: Some("0192f0c1-7f2e"),
            },
        ),
        (
            "stream.event, published without id",
            Event::Published {
                path,
                event: "refresh",
                payload: b"",
                event_id: None,
            },
        ),
    ]
}
