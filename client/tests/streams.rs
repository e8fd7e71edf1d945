//! Subscriptions: each event once and in order, over reconnects, and a loss that is told wherever there may be a hole.
//!
//! Against the scripted server of `peer`, which repeats, leaves out and forgets as it likes. What must hold: an event is
//! given iff it matches and is above the last one given; nobody who reads slowly slows the connection.

#![allow(clippy::unwrap_used, reason = "a panic in a test is the message")]

mod peer;

use peer::{A_WHILE, Line, Peer, held_by, soon};
use tenure_client::{ErrorKind, Event, Position, StreamEvent, Subscribe, Subscription};
use tenure_protocol::{
    self as wire, Counts, ErrorCode, Filter, ListedHold, Mode, PathViewers, Push, Recovery, Reply,
    Request, push, reply, request,
};

const EPOCH: u64 = 7;

const fn at(offset: u64) -> Position {
    Position {
        epoch: EPOCH,
        offset,
    }
}

/// Answers a subscribe, and gives what was asked.
async fn subscribed(
    line: &mut Line,
    number: u64,
    offset: u64,
    recovery: Recovery,
) -> (Vec<String>, Option<wire::Position>) {
    let asked = line.expect("stream.subscribe").await;
    let Request::StreamSubscribe(subscribe) = asked.request() else {
        unreachable!()
    };
    assert_eq!(subscribe.org, "acme");
    let filters = subscribe.filters.iter().map(Filter::to_string).collect();
    let since = subscribe.since;
    let reply = Reply::StreamSubscribe(reply::Subscribed {
        subscription: number,
        position: wire::Position {
            epoch: EPOCH,
            offset,
        },
        recovery,
        version: subscribe.presence.then_some(40),
    });
    line.reply(asked.id, reply).await;
    (filters, since)
}

async fn listen(subscribe: Subscribe, line: &mut Line, number: u64, offset: u64) -> Subscription {
    let fresh = subscribed(line, number, offset, Recovery::Fresh);
    let (subscription, _) = tokio::join!(async { subscribe.await.unwrap() }, fresh);
    subscription
}

async fn happened(line: &mut Line, offset: u64, path: &str) {
    published(line, offset, path, b"").await;
}

async fn orphaned(line: &mut Line, offset: u64, path: &str) {
    let (owner, name) = ("bob", "Bob");
    line.push(Push::StreamEvent(push::Happened {
        org: "acme",
        offset,
        at_ms: 1_763_628_000_000,
        event: wire::Event::LockOrphaned {
            path,
            who: wire::Who { owner, name },
            token: 3,
        },
    }))
    .await;
}

async fn published(line: &mut Line, offset: u64, path: &str, payload: &[u8]) {
    line.push(Push::StreamEvent(push::Happened {
        org: "acme",
        offset,
        at_ms: 1_763_628_000_000,
        event: wire::Event::Published {
            path,
            event: "e",
            payload,
            event_id: None,
        },
    }))
    .await;
}

/// The next of a subscription, in short.
async fn next(subscription: &mut Subscription) -> String {
    brief(soon(subscription.next()).await.expect("there is more"))
}

fn brief(event: StreamEvent) -> String {
    match event {
        StreamEvent::Happened(happened) => {
            format!(
                "{} {}",
                happened.position.offset,
                happened.event.paths().join("+")
            )
        }
        StreamEvent::Recovered { position } => format!("recovered {position}"),
        StreamEvent::Lost { why, position } => format!("lost {why} {position}"),
        StreamEvent::ViewersChanged(change) => format!("v{} {}", change.version, change.path),
        StreamEvent::ViewersLost => "viewers lost".to_owned(),
        StreamEvent::StateBegins(of) => format!("begins {of:?}"),
        StreamEvent::Holds(holds) => {
            let paths: Vec<_> = holds.iter().map(|hold| hold.path.as_str()).collect();
            format!("holds {}", paths.join("+"))
        }
        StreamEvent::Viewers(viewers) => {
            let paths: Vec<_> = viewers.iter().map(|of| of.path.as_str()).collect();
            format!("viewers {}", paths.join("+"))
        }
        StreamEvent::StateWhole(of) => format!("whole {of:?}"),
        StreamEvent::Ended { why } => format!("ended {}", why.kind()),
        other => format!("{other:?}"),
    }
}

async fn nothing_comes(subscription: &mut Subscription) {
    let more = tokio::time::timeout(A_WHILE, subscription.next()).await;
    assert!(more.is_err(), "{:?}", more.map(|event| event.map(brief)));
}

#[tokio::test]
async fn events_come_as_they_were_and_once() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let mut all = listen(client.subscribe("acme", ["doc/**", "x"]), &mut line, 1, 10).await;
    assert_eq!(all.position(), at(10));
    line.push(Push::StreamEvent(push::Happened {
        org: "acme",
        offset: 11,
        at_ms: 1_763_628_000_000,
        event: wire::Event::LockEnded {
            path: "doc/a",
            who: wire::Who {
                owner: "ada",
                name: "Ada",
            },
            token: 5,
            cause: wire::Cause::Expired,
            held_ms: 61_000,
        },
    }))
    .await;
    let Some(StreamEvent::Happened(told)) = soon(all.next()).await else {
        panic!("expected an event")
    };
    assert_eq!(told.position, at(11));
    let Event::LockEnded { who, loss, .. } = &told.event else {
        panic!("expected the end of a hold, found {told:?}")
    };
    assert_eq!((who.owner.as_str(), loss.token), ("ada", 5));

    // Neither what it has had, nor what is not for it, nor another org's.
    happened(&mut line, 10, "doc/a").await;
    happened(&mut line, 11, "doc/a").await;
    happened(&mut line, 12, "doc").await;
    line.push(Push::StreamEvent(push::Happened {
        org: "other",
        offset: 13,
        at_ms: 0,
        event: wire::Event::Published {
            path: "doc/a",
            event: "e",
            payload: b"",
            event_id: None,
        },
    }))
    .await;
    happened(&mut line, 14, "x").await;
    assert_eq!(next(&mut all).await, "14 x");
    assert_eq!(all.position(), at(14));
    nothing_comes(&mut all).await;
}

#[tokio::test]
async fn a_subscription_goes_on_from_where_it_was() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let mut docs = listen(client.subscribe("acme", ["doc/**"]), &mut line, 1, 10).await;
    let mut chats = listen(client.subscribe("acme", ["chat/**"]), &mut line, 2, 10).await;
    happened(&mut line, 11, "doc/a").await;
    happened(&mut line, 12, "chat/1").await;
    assert_eq!(next(&mut docs).await, "11 doc/a");
    drop(line);

    let mut line = peer.accept().await;
    // What comes before a subscription stands again is not for it.
    happened(&mut line, 19, "doc/a").await;
    let (filters, since) = subscribed(&mut line, 1, 14, Recovery::Exact).await;
    assert_eq!(
        (filters, since.map(|since| since.offset)),
        (vec!["doc/**".to_owned()], Some(11))
    );
    let (filters, since) = subscribed(&mut line, 2, 14, Recovery::Exact).await;
    assert_eq!(
        (filters, since.map(|since| since.offset)),
        (vec!["chat/**".to_owned()], Some(12))
    );
    // What is sent again because of one is no news to the other.
    happened(&mut line, 12, "chat/1").await;
    happened(&mut line, 13, "doc/b").await;
    happened(&mut line, 14, "chat/2").await;
    assert_eq!(next(&mut docs).await, "recovered 7:11");
    assert_eq!(next(&mut docs).await, "13 doc/b");
    // It had not read before the connection ended: nothing is lost by that.
    assert_eq!(next(&mut chats).await, "12 chat/1");
    assert_eq!(next(&mut chats).await, "recovered 7:12");
    assert_eq!(next(&mut chats).await, "14 chat/2");
    nothing_comes(&mut docs).await;
}

#[tokio::test]
async fn what_could_not_be_recovered_is_told() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let mut all = listen(client.subscribe("acme", ["**"]), &mut line, 1, 10).await;
    drop(line);
    let mut line = peer.accept().await;
    let lost = Recovery::Lost {
        why: wire::LostWhy::Epoch,
    };
    subscribed(&mut line, 1, 3, lost).await;
    happened(&mut line, 3, "a").await;
    happened(&mut line, 4, "a").await;
    assert_eq!(next(&mut all).await, "lost epoch 7:3");
    assert_eq!(all.position(), at(3), "a lower offset, of another epoch");
    assert_eq!(next(&mut all).await, "4 a");
}

#[tokio::test]
async fn a_gap_is_a_loss_to_those_who_had_not_passed_it() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let mut all = listen(client.subscribe("acme", ["**"]), &mut line, 1, 10).await;
    let mut later = listen(client.subscribe("acme", ["**"]), &mut line, 2, 30).await;
    let gap = |to| {
        Push::StreamGap(push::Gap {
            org: "acme",
            from: 11,
            to,
        })
    };
    line.push(gap(30)).await;
    happened(&mut line, 30, "a").await;
    happened(&mut line, 31, "a").await;
    assert_eq!(next(&mut all).await, "lost slow_connection 7:30");
    assert_eq!(next(&mut all).await, "31 a");
    assert_eq!(next(&mut later).await, "31 a");
}

#[tokio::test]
async fn a_quiet_subscription_resumes_from_what_has_passed() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let mut quiet = listen(client.subscribe("acme", ["doc/a"]), &mut line, 1, 10).await;
    let position = wire::Position {
        epoch: EPOCH,
        offset: 900,
    };
    let reached = push::Reached {
        org: "acme",
        position,
    };
    line.push(Push::StreamPosition(reached)).await;
    nothing_comes(&mut quiet).await;
    assert_eq!(quiet.position(), at(900));
    drop(line);
    let mut line = peer.accept().await;
    let (_, since) = subscribed(&mut line, 1, 900, Recovery::Exact).await;
    assert_eq!(since, Some(position));
}

#[tokio::test]
async fn a_reader_that_is_slow_loses_events_and_slows_nobody() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let mut slow = listen(client.subscribe("acme", ["**"]).buffer(2), &mut line, 1, 0).await;
    let mut quick = listen(client.subscribe("acme", ["**"]), &mut line, 2, 0).await;
    for offset in 1..=500 {
        happened(&mut line, offset, "a").await;
    }
    for offset in 1..=500 {
        assert_eq!(next(&mut quick).await, format!("{offset} a"));
    }
    assert_eq!(next(&mut slow).await, "1 a");
    assert_eq!(next(&mut slow).await, "2 a");
    assert_eq!(next(&mut slow).await, "lost slow_reader 7:500");
    happened(&mut line, 501, "a").await;
    assert_eq!(next(&mut slow).await, "501 a");
    // The position to go on from is behind what was lost, so it is not lost twice.
    drop(line);
    let mut line = peer.accept().await;
    let (_, since) = subscribed(&mut line, 1, 501, Recovery::Exact).await;
    assert_eq!(since.map(|since| since.offset), Some(501));
}

#[tokio::test]
async fn an_earlier_position_is_gone_on_from() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let stored: Position = "7:3".parse().unwrap();
    let subscribe = async {
        client
            .subscribe("acme", ["**"])
            .since(stored)
            .await
            .unwrap()
    };
    let exact = subscribed(&mut line, 1, 5, Recovery::Exact);
    let (mut all, (_, since)) = tokio::join!(subscribe, exact);
    assert_eq!(since.map(|since| (since.epoch, since.offset)), Some((7, 3)));
    happened(&mut line, 4, "a").await;
    happened(&mut line, 5, "a").await;
    assert_eq!(next(&mut all).await, "recovered 7:3");
    assert_eq!(next(&mut all).await, "4 a");
    assert_eq!(next(&mut all).await, "5 a");
}

#[tokio::test]
async fn dropping_ends_it_now_or_after_the_reconnect() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let one = listen(client.subscribe("acme", ["a"]), &mut line, 1, 0).await;
    let two = listen(client.subscribe("acme", ["b"]), &mut line, 2, 0).await;
    drop(one);
    let asked = line.expect("stream.unsubscribe").await;
    assert_eq!(
        asked.request(),
        Request::StreamUnsubscribe(request::Unsubscribe { subscription: 1 })
    );
    line.reply(asked.id, Reply::StreamUnsubscribe(reply::Done {}))
        .await;
    drop(line);

    let mut line = peer.accept().await;
    let asked = line.expect("stream.subscribe").await;
    drop(two);
    let reply = Reply::StreamSubscribe(reply::Subscribed {
        subscription: 9,
        position: wire::Position {
            epoch: EPOCH,
            offset: 0,
        },
        recovery: Recovery::Exact,
        version: None,
    });
    line.reply(asked.id, reply).await;
    let asked = line.expect("stream.unsubscribe").await;
    assert_eq!(
        asked.request(),
        Request::StreamUnsubscribe(request::Unsubscribe { subscription: 9 })
    );
    line.reply(asked.id, Reply::StreamUnsubscribe(reply::Done {}))
        .await;
    line.expect_silence().await;
    drop(client);
}

#[tokio::test]
async fn one_that_nobody_waits_for_is_ended() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let given_up = tokio::time::timeout(A_WHILE, client.subscribe("acme", ["a"]).into_future());
    assert!(given_up.await.is_err());
    subscribed(&mut line, 4, 0, Recovery::Fresh).await;
    line.expect("stream.unsubscribe").await;
}

#[tokio::test]
async fn one_that_is_refused_says_why() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let error = client.subscribe("acme", ["a//b"]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRequest);
    let error = client.subscribe("acme", [""; 0]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRequest);
    let long = (0..1000).map(|number| format!("{}/{number}", "p".repeat(500)));
    let error = client.subscribe("acme", long).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRequest, "{error}");

    let refuse = async {
        let asked = line.expect("stream.subscribe").await;
        line.error(asked.id, ErrorCode::OrgNotAllowed).await;
    };
    let (refused, ()) = tokio::join!(client.subscribe("acme", ["a"]).into_future(), refuse);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::NotAllowed);
}

#[tokio::test]
async fn one_that_is_no_longer_allowed_ends_with_the_reason() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let mut all = listen(client.subscribe("acme", ["**"]), &mut line, 1, 0).await;
    drop(line);
    let mut line = peer.accept().await;
    let asked = line.expect("stream.subscribe").await;
    line.error(asked.id, ErrorCode::OrgNotAllowed).await;
    assert_eq!(next(&mut all).await, "ended not allowed");
    assert!(soon(all.next()).await.is_none());
}

#[tokio::test]
async fn one_that_cannot_be_had_at_the_moment_is_asked_for_again() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let mut all = listen(client.subscribe("acme", ["**"]), &mut line, 1, 0).await;
    drop(line);
    let mut line = peer.accept().await;
    let asked = line.expect("stream.subscribe").await;
    line.error(asked.id, ErrorCode::TooManySubscriptions).await;
    subscribed(&mut line, 1, 0, Recovery::Exact).await;
    assert_eq!(next(&mut all).await, "recovered 7:0");
}

#[tokio::test]
async fn closing_the_client_ends_it() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let mut all = listen(client.subscribe("acme", ["**"]), &mut line, 1, 0).await;
    happened(&mut line, 1, "a").await;
    assert_eq!(next(&mut all).await, "1 a");
    client.close().await;
    assert_eq!(next(&mut all).await, "ended the client is closed");
    assert!(soon(all.next()).await.is_none());
}

fn changed(version: u64, path: &str) -> Push<'_> {
    Push::PresenceChanged(push::ViewersChanged {
        org: "acme",
        version,
        path,
        total: 0,
        counts: Counts::default(),
        up: vec![],
        gone: vec![],
    })
}

#[tokio::test]
async fn presence_comes_to_who_wants_it_and_cannot_be_resumed() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let subscribe = client.subscribe("acme", ["doc/**"]).with_presence();
    let mut with = listen(subscribe, &mut line, 1, 0).await;
    let mut without = listen(client.subscribe("acme", ["doc/**"]), &mut line, 2, 0).await;
    // The subscribe was answered with version 40.
    line.push(changed(40, "doc/a")).await;
    line.push(changed(41, "chat/1")).await;
    line.push(changed(42, "doc/a")).await;
    assert_eq!(next(&mut with).await, "v42 doc/a");
    line.push(Push::PresenceGap(push::ViewersLeftOut {
        org: "acme",
        version: 50,
    }))
    .await;
    line.push(changed(50, "doc/a")).await;
    line.push(changed(51, "doc/a")).await;
    assert_eq!(next(&mut with).await, "viewers lost");
    assert_eq!(next(&mut with).await, "v51 doc/a");
    nothing_comes(&mut without).await;
    drop(line);
    let mut line = peer.accept().await;
    subscribed(&mut line, 1, 0, Recovery::Exact).await;
    assert_eq!(next(&mut with).await, "recovered 7:0");
    assert_eq!(next(&mut with).await, "viewers lost");
}

/// Answers a page of holds.
async fn holds(line: &mut Line, paths: &[&str], offset: u64, next: Option<&str>) -> String {
    let asked = line.expect("lock.list").await;
    let Request::LockList(list) = asked.request() else {
        unreachable!()
    };
    let target = format!("{:?} {:?}", list.target, list.cursor);
    let truth = held_by("bob", "Bob");
    let holds = paths.iter().map(|path| ListedHold {
        path,
        mode: Mode::Exclusive,
        token: 3,
        holder: truth.holders[0],
        waiters: 0,
    });
    let page = reply::Page {
        holds: holds.collect(),
        next,
        position: Some(wire::Position {
            epoch: EPOCH,
            offset,
        }),
    };
    line.reply(asked.id, Reply::LockList(page)).await;
    target
}

/// Answers a page of viewers.
async fn viewers(line: &mut Line, paths: &[&str], version: u64) {
    let asked = line.expect("presence.list").await;
    let of = paths.iter().map(|path| PathViewers {
        path,
        total: 0,
        counts: Counts::default(),
        viewers: vec![],
    });
    let page = reply::Viewers {
        version,
        position: None,
        paths: of.collect(),
        next: None,
    };
    line.reply(asked.id, Reply::PresenceList(page)).await;
}

#[tokio::test]
async fn the_state_comes_first_and_then_what_changes_it() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let subscribe = client.subscribe("acme", ["doc/**", "x"]);
    let mut all = listen(subscribe.with_presence().with_state(), &mut line, 1, 10).await;
    // These overtake the pages. One of them is in the state already.
    orphaned(&mut line, 11, "doc/a").await;
    orphaned(&mut line, 12, "doc/b").await;
    line.push(changed(44, "doc/a")).await;
    line.push(changed(45, "doc/a")).await;

    assert_eq!(next(&mut all).await, "begins Holds");
    let (told, target) = tokio::join!(
        next(&mut all),
        holds(&mut line, &["doc/a"], 11, Some("doc/a"))
    );
    assert_eq!(told, "holds doc/a");
    assert_eq!(target, "Prefix { prefix: \"doc/\" } None");
    let pages = async {
        let second = holds(&mut line, &[], 12, None).await;
        (second, holds(&mut line, &["x"], 12, None).await)
    };
    let (told, (second, third)) = tokio::join!(next(&mut all), pages);
    assert_eq!(told, "holds x");
    assert_eq!(second, "Prefix { prefix: \"doc/\" } Some(\"doc/a\")");
    assert_eq!(third, "Path { path: \"x\" } None");
    assert_eq!(next(&mut all).await, "whole Holds");

    assert_eq!(next(&mut all).await, "begins Viewers");
    let pages = async {
        viewers(&mut line, &["doc/a"], 44).await;
        viewers(&mut line, &[], 44).await;
    };
    let told = async { (next(&mut all).await, next(&mut all).await) };
    let (told, ()) = tokio::join!(told, pages);
    assert_eq!(
        told,
        ("viewers doc/a".to_owned(), "whole Viewers".to_owned())
    );
    assert_eq!(next(&mut all).await, "12 doc/b");
    assert_eq!(next(&mut all).await, "v45 doc/a");
}

#[tokio::test]
async fn the_state_is_read_anew_after_a_loss_and_over_a_reconnect() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let mut all = listen(
        client.subscribe("acme", ["**"]).with_state(),
        &mut line,
        1,
        10,
    )
    .await;
    assert_eq!(next(&mut all).await, "begins Holds");
    let (told, _) = tokio::join!(next(&mut all), holds(&mut line, &["a"], 10, Some("a")),);
    assert_eq!(told, "holds a");
    // The second page is asked for, and the connection ends.
    let ended = async {
        line.expect("lock.list").await;
        drop(line);
        let mut line = peer.accept().await;
        let lost = Recovery::Lost {
            why: wire::LostWhy::Trimmed,
        };
        subscribed(&mut line, 1, 90, lost).await;
        let again = holds(&mut line, &["b"], 90, None).await;
        (line, again)
    };
    let (told, (mut line, again)) = tokio::join!(next(&mut all), ended);
    assert_eq!(told, "holds b");
    assert_eq!(again, "All Some(\"a\")");
    assert_eq!(next(&mut all).await, "whole Holds");
    assert_eq!(next(&mut all).await, "lost trimmed 7:90");
    assert_eq!(next(&mut all).await, "begins Holds");
    let (told, _) = tokio::join!(next(&mut all), holds(&mut line, &["c"], 91, None));
    assert_eq!(told, "holds c");
    assert_eq!(next(&mut all).await, "whole Holds");
    orphaned(&mut line, 91, "c").await;
    orphaned(&mut line, 92, "c").await;
    assert_eq!(next(&mut all).await, "92 c");
}

/// What an application publishes is in no state: it is given once, however the state was read meanwhile.
#[tokio::test]
async fn what_is_published_while_the_state_is_read_is_not_taken_for_a_part_of_it() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let subscribe = client.subscribe("acme", ["**"]).with_state();
    let mut all = listen(subscribe, &mut line, 1, 10).await;
    published(&mut line, 11, "a", b"before the page").await;
    orphaned(&mut line, 12, "a").await;
    assert_eq!(next(&mut all).await, "begins Holds");
    let (told, _) = tokio::join!(next(&mut all), holds(&mut line, &["a"], 12, None));
    assert_eq!(told, "holds a");
    assert_eq!(next(&mut all).await, "whole Holds");
    assert_eq!(next(&mut all).await, "11 a");
    line.push(Push::StreamGap(push::Gap {
        org: "acme",
        from: 13,
        to: 20,
    }))
    .await;
    published(&mut line, 21, "b", b"behind the hole").await;
    orphaned(&mut line, 22, "b").await;
    assert_eq!(next(&mut all).await, "lost slow_connection 7:20");
    assert_eq!(next(&mut all).await, "begins Holds");
    let (told, _) = tokio::join!(next(&mut all), holds(&mut line, &["b"], 22, None));
    assert_eq!(told, "holds b");
    assert_eq!(next(&mut all).await, "whole Holds");
    assert_eq!(next(&mut all).await, "21 b");
    nothing_comes(&mut all).await;
}

#[tokio::test]
async fn publishing_says_where_it_is() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = peer::session(&client, &mut line, 11).await;
    let publish = client
        .publish("acme", "chat/42", "message.new", "hello")
        .id("m-1")
        .session(&ada);
    let answer = async {
        let asked = line.expect("stream.publish").await;
        assert_eq!(
            asked.request(),
            Request::StreamPublish(request::Publish {
                org: "acme",
                path: "chat/42",
                event: "message.new",
                payload: b"hello",
                event_id: Some("m-1"),
                session: Some(11),
            })
        );
        let published = reply::Published {
            position: wire::Position {
                epoch: EPOCH,
                offset: 3,
            },
            repeated: true,
            listeners: 2,
        };
        line.reply(asked.id, Reply::StreamPublish(published)).await;
    };
    let (published, ()) = tokio::join!(publish.into_future(), answer);
    let published = published.unwrap();
    assert_eq!(
        (published.position, published.repeated, published.listeners),
        (at(3), true, 2)
    );
    let wrong = client.publish("acme", "chat/42", "message new", "").await;
    assert_eq!(wrong.unwrap_err().kind(), ErrorKind::BadRequest);
}

#[tokio::test]
async fn figures_say_who_listens_and_who_is_there() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let answer = async {
        let asked = line.expect("stream.stats").await;
        let stats = reply::StreamStats {
            listeners: 2,
            subscriptions: 3,
            position: None,
            oldest: None,
            events: 4,
            bytes: 5,
            published: 6,
            gaps: 7,
        };
        line.reply(asked.id, Reply::StreamStats(stats)).await;
        let asked = line.expect("presence.stats").await;
        let stats = reply::PresenceStats {
            paths: 1,
            viewers: 2,
            sittings: 3,
            counts: Counts {
                idle: 2,
                ..Counts::default()
            },
        };
        line.reply(asked.id, Reply::PresenceStats(stats)).await;
    };
    let ask = async {
        let stream = client.stream_stats("acme", Some("a")).await.unwrap();
        (stream, client.presence_stats("acme").await.unwrap())
    };
    let ((stream, presence), ()) = tokio::join!(ask, answer);
    assert_eq!(
        (stream.listeners, stream.gaps, stream.position),
        (2, 7, None)
    );
    assert_eq!((presence.viewers, presence.counts.idle), (2, 2));
}

/// A subscription can be handed to another task, and is a stream like any other.
#[test]
fn a_subscription_is_a_stream_that_can_be_sent() {
    const fn is_stream<T: futures_core::Stream<Item = StreamEvent> + Send + Sync + Unpin>() {}
    is_stream::<Subscription>();
}
