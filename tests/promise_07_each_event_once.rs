//! Promise 7: each event once, in order, or an explicit gap. Never a silent hole, never a partial recovery.
//!
//! What a subscription is given is judged by the rule of the document (`support/following.rs`), so that what the server
//! may send twice is told apart from what a client would be told twice.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a panic in a test is its message, also about what it does not expect"
)]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use support::{
    Client, Following, PATIENCE, TestServer, config, exclusive, happening, millis, shared,
    together, waiting, within,
};
use tenure::config::Config;
use tenure_protocol::{
    Cause, Disconnect, ErrorCode, Event, Filter, FromServer, LostWhy, Mode, Position, Push,
    Recovery, Request, WaitEnd, Who, request,
};

const ORG: &str = "acme";

async fn server_that_keeps(events: usize) -> TestServer {
    TestServer::with(Config {
        stream_events_max: events,
        ..config()
    })
    .await
}

/// Publishes at the paths, one after the other, and gives the last offset.
async fn publish(client: &mut Client, paths: &[&str]) -> u64 {
    let publishes = paths
        .iter()
        .map(|path| Request::StreamPublish(happening(ORG, path)));
    let mut last = 0;
    for id in client.send_all(publishes).await {
        let answer = client.answer(id).await.unwrap();
        let tenure_protocol::Reply::StreamPublish(published) = answer else {
            panic!("the answer to another request");
        };
        assert!(!published.repeated);
        last = published.position.offset;
    }
    last
}

/// Pushed events of the org, counted as they were sent.
fn sent(client: &Client) -> Vec<u64> {
    let events = client.heard().iter().filter_map(|heard| match heard {
        FromServer::Push(Push::StreamEvent(happened)) => Some(happened.offset),
        _ => None,
    });
    events.collect()
}

const ANNA: Who<'_> = Who {
    owner: "anna",
    name: "",
};
const BEN: Who<'_> = Who {
    owner: "ben",
    name: "",
};

#[tokio::test]
async fn what_happens_to_locks_is_told_in_order() {
    let server = TestServer::start().await;
    let mut listener = server.connect().await;
    let mut all = listener.follow(ORG, &["**"], None).await;
    assert_eq!((all.recovery, all.position.offset), (Recovery::Fresh, 0));
    let mut client = server.connect().await;
    let anna = client.open(ORG, "anna").await.number;
    let ben = client.open(ORG, "ben").await.number;

    let first = client.take(shared(anna, "doc/1", None)).await.token;
    let convert = request::Convert {
        session: anna,
        path: "doc/1",
        mode: Mode::Exclusive,
        limit: None,
        wait_ms: 0,
    };
    client.convert(convert).await;
    let second = client.status(ORG, "doc/1").await.token.unwrap();
    let wait = client.queue(waiting(ben, "doc/1")).await;
    client.cancel(ben, wait).await;
    client.release(anna, "doc/1").await;
    all.reach(&mut listener, 5).await;
    let told: Vec<_> = all.events.iter().map(|(_, event)| event.clone()).collect();
    let [granted, converted, queued, wait_ended, ended] = &told[..] else {
        panic!("expected five events, found {told:?}");
    };
    let path = "doc/1";
    let expected = Event::LockGranted {
        path,
        who: ANNA,
        mode: Mode::Shared,
        token: first,
        waited_ms: 0,
    };
    assert_eq!(*granted, expected);
    let expected = Event::LockConverted {
        path,
        who: ANNA,
        mode: Mode::Exclusive,
        token: second,
    };
    assert_eq!(*converted, expected);
    let paths = vec![path];
    let expected = Event::LockQueued {
        paths: paths.clone(),
        who: BEN,
        wait,
    };
    assert_eq!(*queued, expected);
    let why = WaitEnd::Cancelled;
    let expected = Event::LockWaitEnded {
        paths,
        who: BEN,
        wait,
        why,
    };
    assert_eq!(*wait_ended, expected);
    let Event::LockEnded {
        path: "doc/1",
        who: ANNA,
        token,
        cause: Cause::Released,
        ..
    } = ended
    else {
        panic!("expected the end, found {ended:?}");
    };
    assert_eq!(*token, second);
    assert_eq!(all.offsets(), [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn a_hold_without_a_connection_is_told_and_its_return() {
    let server = TestServer::start().await;
    let mut listener = server.connect().await;
    let mut docs = listener.follow(ORG, &["doc/1"], None).await;
    let mut client = server.connect().await;
    let open = request::OpenSession {
        org: ORG,
        owner: "anna",
        name: "",
        role: None,
        on_disconnect: Some(Disconnect::Release {
            grace_ms: Some(60_000),
        }),
        metadata: b"",
    };
    let session = client.open_with(open).await;
    let token = client.take(exclusive(session.number, "doc/1")).await.token;
    drop(client);
    docs.reach(&mut listener, 2).await;
    let mut client = server.connect().await;
    client.resume(&session).await;
    docs.reach(&mut listener, 3).await;
    let path = "doc/1";
    let who = ANNA;
    assert_eq!(docs.events[1].1, Event::LockOrphaned { path, who, token });
    assert_eq!(docs.events[2].1, Event::LockAdopted { path, who, token });
}

#[tokio::test]
async fn what_is_published_is_told_as_it_was_said() {
    let server = TestServer::start().await;
    let mut listener = server.connect().await;
    let mut chats = listener.follow(ORG, &["chat/**"], None).await;
    let mut client = server.connect().await;
    let payload = &[7; 65_536];
    let publish = request::Publish {
        org: ORG,
        path: "chat/1",
        event: "message.new",
        payload,
        event_id: Some("m-1"),
        session: None,
    };
    let published = client.publish(publish).await;
    let position = Position {
        epoch: chats.position.epoch,
        offset: 1,
    };
    assert_eq!((published.position, published.listeners), (position, 1));
    chats.reach(&mut listener, 1).await;
    let expected = Event::Published {
        path: "chat/1",
        event: "message.new",
        payload,
        event_id: Some("m-1"),
    };
    assert_eq!(chats.events, [(1, expected)]);
    // Not below `chat`, and so for nobody.
    let unheard = client.publish(happening(ORG, "chat")).await;
    assert_eq!((unheard.position.offset, unheard.listeners), (2, 0));
}

#[tokio::test]
async fn a_repeated_id_is_published_once_for_as_long_as_it_is_remembered() {
    let server = server_that_keeps(3).await;
    let mut client = server.connect().await;
    let with_id = |id| request::Publish {
        event_id: Some(id),
        ..happening(ORG, "chat/1")
    };
    let first = client.publish(with_id("m-1")).await;
    assert!(!first.repeated);
    for _ in 0..2 {
        let again = client.publish(with_id("m-1")).await;
        assert!(again.repeated);
        assert_eq!(again.position, first.position);
    }
    assert_eq!(client.stream(ORG, None).await.published, 1);
    // Another org remembers for itself.
    let elsewhere = request::Publish {
        org: "globex",
        ..with_id("m-1")
    };
    assert!(!client.publish(elsewhere).await.repeated);
    publish(&mut client, &["chat/1"; 2]).await;
    assert!(client.publish(with_id("m-1")).await.repeated);
    publish(&mut client, &["chat/1"]).await;
    let forgotten = client.publish(with_id("m-1")).await;
    assert!(!forgotten.repeated);
    assert_eq!(forgotten.position.offset, 5);
}

#[tokio::test]
async fn overlapping_filters_and_subscriptions_deliver_once() {
    let server = TestServer::start().await;
    let mut listener = server.connect().await;
    let filters = ["**", "doc/**", "doc/1", "doc/1"];
    let mut all = listener.follow(ORG, &filters, None).await;
    let mut docs = listener.follow(ORG, &["doc/**"], None).await;
    let mut one = listener.follow(ORG, &["doc/1"], None).await;
    let mut client = server.connect().await;
    let last = publish(
        &mut client,
        &["doc/1", "doc/2", "chat/1", "doc/1/notes", "doc/1"],
    )
    .await;
    all.reach(&mut listener, last).await;
    docs.reach(&mut listener, last).await;
    one.reach(&mut listener, last).await;
    assert_eq!(sent(&listener), [1, 2, 3, 4, 5]);
    assert_eq!(all.offsets(), [1, 2, 3, 4, 5]);
    assert_eq!(docs.offsets(), [1, 2, 4, 5]);
    assert_eq!(one.offsets(), [1, 5]);
    // An acquire of several has several paths, and is one event.
    let anna = client.open(ORG, "anna").await.number;
    client.take(exclusive(anna, "doc/1")).await;
    let ben = client.open(ORG, "ben").await.number;
    let item = |path| tenure_protocol::Item {
        path,
        mode: Mode::Exclusive,
        limit: None,
    };
    let several = request::AcquireAll {
        session: ben,
        items: vec![item("doc/1"), item("doc/2")],
        ttl_ms: None,
        wait_ms: 60_000,
        metadata: b"",
    };
    client.acquire_all(several).await;
    all.reach(&mut listener, 7).await;
    assert_eq!(sent(&listener), [1, 2, 3, 4, 5, 6, 7]);
}

#[tokio::test]
async fn a_crowd_hears_what_one_hears() {
    const CROWD: usize = 150;
    let server = TestServer::start().await;
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        let mut listener = server.connect().await;
        let following = listener.follow(ORG, &["doc/**"], None).await;
        crowd.push((listener, following));
    }
    let mut client = server.connect().await;
    for _ in 0..3 {
        let published = client.publish(happening(ORG, "doc/1")).await;
        assert_eq!(published.listeners, CROWD as u32);
        for (listener, following) in &mut crowd {
            following.reach(listener, published.position.offset).await;
        }
    }
    assert!(crowd.iter().all(|(_, heard)| heard.offsets() == [1, 2, 3]));
}

/// Many are told at the same time by several threads, and what one is given another may be given too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_much_happens_each_of_a_crowd_hears_its_own_and_nothing_else() {
    const SORTS: [&[&str]; 5] = [
        &["**"],
        &["doc/**"],
        &["doc/1"],
        &["doc/1", "chat/**"],
        &["chat/1"],
    ];
    const PATHS: [&str; 5] = ["doc/1", "doc/2", "doc/1", "chat/1", "doc/1"];
    const EVENTS: usize = 2_000;
    let server = TestServer::start().await;
    let mut crowd = Vec::new();
    for (sort, _) in SORTS.iter().cycle().zip(0..120) {
        let mut listener = server.connect().await;
        let following = listener.follow(ORG, sort, None).await;
        crowd.push((listener, following, sort));
    }
    let listening: Vec<_> = crowd
        .into_iter()
        .map(|(mut listener, mut following, sort)| {
            tokio::spawn(async move {
                let filters = sort.iter().map(|text| Filter::parse(text).unwrap());
                let filters: Vec<_> = filters.collect();
                let is_for = |offset: &u64| {
                    let path = PATHS[(*offset as usize - 1) % PATHS.len()];
                    filters.iter().any(|filter| filter.matches(path))
                };
                let expected: Vec<_> = (1..=EVENTS as u64).filter(is_for).collect();
                let last = expected.last().copied().unwrap();
                following.reach(&mut listener, last).await;
                assert!(sent(&listener) == expected, "{sort:?}");
            })
        })
        .collect();
    let mut client = server.connect().await;
    let paths: Vec<_> = PATHS.iter().copied().cycle().take(EVENTS).collect();
    for some in paths.chunks(64) {
        publish(&mut client, some).await;
    }
    for listening in listening {
        listening.await.unwrap();
    }
}

#[tokio::test]
async fn nothing_is_sent_for_what_was_unsubscribed() {
    let server = TestServer::start().await;
    let mut listener = server.connect().await;
    let mut docs = listener.follow(ORG, &["doc/**"], None).await;
    let both = listener.follow(ORG, &["doc/1", "chat/1"], None).await;
    let mut client = server.connect().await;
    publish(&mut client, &["doc/1", "chat/1"]).await;
    docs.reach(&mut listener, 1).await;
    listener.unsubscribe(both.number).await;
    let last = publish(&mut client, &["chat/1", "doc/1"]).await;
    docs.reach(&mut listener, last).await;
    assert_eq!(sent(&listener), [1, 2, 4]);
    let again = request::Unsubscribe {
        subscription: both.number,
    };
    let code = listener.fails(Request::StreamUnsubscribe(again)).await;
    assert_eq!(code, ErrorCode::UnknownSubscription);
    listener.unsubscribe(docs.number).await;
    publish(&mut client, &["doc/1"]).await;
    assert_eq!(client.stream(ORG, None).await.listeners, 0);
    // Whoever subscribes again hears again, and nothing of before.
    let mut again = listener.follow(ORG, &["doc/**"], None).await;
    let last = publish(&mut client, &["doc/1"]).await;
    again.reach(&mut listener, last).await;
    assert_eq!(again.offsets(), [last]);
}

#[tokio::test]
async fn a_resume_is_exact_or_lost_and_says_why() {
    let server = server_that_keeps(10).await;
    let mut client = server.connect().await;
    let mut listener = server.connect().await;
    let mut docs = listener.follow(ORG, &["doc/**"], None).await;
    publish(&mut client, &["doc/1", "chat/1", "doc/2"]).await;
    docs.reach(&mut listener, 3).await;
    drop(listener);
    publish(&mut client, &["chat/1", "doc/3", "chat/1", "doc/4"]).await;

    let mut listener = server.connect().await;
    let mut resumed = listener.follow(ORG, &["doc/**"], Some(docs.since())).await;
    assert_eq!(
        (resumed.recovery, resumed.position.offset),
        (Recovery::Exact, 7)
    );
    resumed.reach(&mut listener, 7).await;
    assert_eq!(resumed.offsets(), [5, 7]);
    // At the top there is nothing to be told.
    let at_top = listener
        .follow(ORG, &["doc/**"], Some(resumed.since()))
        .await;
    assert_eq!(at_top.recovery, Recovery::Exact);

    let lost = |why| Recovery::Lost { why };
    let at = |epoch, offset| Some(Position { epoch, offset });
    let epoch = docs.position.epoch;
    let ahead = listener.follow(ORG, &["**"], at(epoch, 8)).await;
    assert_eq!(ahead.recovery, lost(LostWhy::Ahead));
    let other = listener.follow(ORG, &["**"], at(epoch + 1, 3)).await;
    assert_eq!(other.recovery, lost(LostWhy::Epoch));
    publish(&mut client, &["chat/1"; 6]).await;
    // Of 13 events the last ten are kept: 3 is gone, and was seen.
    let barely = listener.follow(ORG, &["doc/**"], at(epoch, 3)).await;
    assert_eq!(barely.recovery, Recovery::Exact);
    let mut late = listener.follow(ORG, &["doc/**"], at(epoch, 2)).await;
    assert_eq!(late.recovery, lost(LostWhy::Trimmed));
    // Nothing of before follows, not even what is kept.
    let last = publish(&mut client, &["doc/5"]).await;
    late.reach(&mut listener, last).await;
    assert_eq!(late.offsets(), [last]);
}

#[tokio::test]
async fn subscriptions_of_one_connection_resume_from_places_of_their_own() {
    let server = TestServer::start().await;
    let mut client = server.connect().await;
    let mut listener = server.connect().await;
    let fresh = listener.follow(ORG, &["none"], None).await;
    let paths = ["a/1", "b/1", "a/1", "c/1", "b/1", "a/1", "c/1", "a/1"];
    publish(&mut client, &paths).await;
    let at = |offset| {
        Some(Position {
            epoch: fresh.position.epoch,
            offset,
        })
    };
    // The later ones begin before what the earlier ones have had.
    let mut a = listener.follow(ORG, &["a/**"], at(5)).await;
    a.reach(&mut listener, 8).await;
    let mut b = listener.follow(ORG, &["b/**"], at(1)).await;
    let mut all = listener.follow(ORG, &["**"], at(3)).await;
    let mut a_again = listener.follow(ORG, &["a/**", "b/**"], at(0)).await;
    let last = publish(&mut client, &["c/1", "b/1", "a/1"]).await;
    for following in [&mut a, &mut b, &mut all, &mut a_again] {
        assert_eq!(following.recovery, Recovery::Exact);
        following.reach(&mut listener, last - 1).await;
        following.catch_up(&listener);
    }
    a.reach(&mut listener, last).await;
    for following in [&mut b, &mut all, &mut a_again] {
        following.catch_up(&listener);
    }
    assert_eq!(a.offsets(), [6, 8, 11]);
    assert_eq!(b.offsets(), [2, 5, 10]);
    assert_eq!(all.offsets(), [4, 5, 6, 7, 8, 9, 10, 11]);
    assert_eq!(a_again.offsets(), [1, 2, 3, 5, 6, 8, 10, 11]);
}

#[tokio::test]
async fn the_reply_to_a_subscribe_comes_before_its_events() {
    let server = TestServer::start().await;
    let mut client = server.connect().await;
    let keeper = server.connect().await.follow(ORG, &["**"], None).await;
    publish(&mut client, &["doc/1"; 100]).await;
    let mut listener = server.connect().await;
    for round in 0..50 {
        let before = listener.heard().len();
        let since = Position {
            offset: 0,
            ..keeper.position
        };
        let mut following = listener.follow(ORG, &["doc/**"], Some(since)).await;
        assert_eq!(following.recovery, Recovery::Exact);
        let last = publish(&mut client, &["doc/1"]).await;
        following.reach(&mut listener, last).await;
        assert_eq!(following.events.len(), 101 + round);
        let first = listener.heard().get(before);
        assert!(matches!(first, Some(FromServer::Reply { .. })), "{first:?}");
        listener.unsubscribe(following.number).await;
    }
}

/// The link is narrow: while the first subscription's past is on its way, the answer to the second waits for room, and its
/// events wait for the answer.
#[tokio::test]
async fn a_reply_that_has_to_wait_is_not_overtaken_by_its_events() {
    const EVENTS: u64 = 3000;
    let server = TestServer::start().await;
    let mut client = server.connect().await;
    let keeper = client.follow(ORG, &["none"], None).await;
    let publish = Request::StreamPublish(request::Publish {
        payload: &[7; 1000],
        ..happening(ORG, "doc/1")
    });
    for id in client.send_all(vec![publish; EVENTS as usize]).await {
        client.answer(id).await.unwrap();
    }
    let mut narrow = Client::connect_narrow(server.addr).await;
    narrow.hello(None).await;
    let since = Some(keeper.position);
    let mut first = narrow.follow(ORG, &["**"], since).await;
    for round in 0..5 {
        // Room is made bit by bit, so that requests are read while more is to be written.
        for _ in 0..100 {
            narrow.hear().await;
        }
        tokio::time::sleep(millis(20)).await;
        let mut another = narrow.follow(ORG, &["doc/**"], since).await;
        if round == 4 {
            another.reach(&mut narrow, EVENTS).await;
            assert_eq!(another.offsets(), (1..=EVENTS).collect::<Vec<_>>());
        }
    }
    first.catch_up(&narrow);
    assert_eq!(first.offsets(), (1..=EVENTS).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_connection_has_a_bounded_number_of_subscriptions_and_filters() {
    let server = TestServer::start().await;
    let mut client = server.connect().await;
    let names: Vec<_> = (0..1000).map(|number| format!("doc/{number}")).collect();
    let thousand: Vec<_> = names.iter().map(String::as_str).collect();
    let mut subscriptions = Vec::new();
    for _ in 0..10 {
        subscriptions.push(client.follow(ORG, &thousand, None).await.number);
    }
    let one_more = || {
        Request::StreamSubscribe(request::Subscribe {
            org: ORG,
            filters: vec![Filter::ALL],
            since: None,
            presence: false,
        })
    };
    assert_eq!(
        client.fails(one_more()).await,
        ErrorCode::TooManySubscriptions
    );
    for number in subscriptions.drain(8..) {
        client.unsubscribe(number).await;
    }
    for _ in 0..1024 - subscriptions.len() {
        client.ask(one_more()).await;
    }
    assert_eq!(
        client.fails(one_more()).await,
        ErrorCode::TooManySubscriptions
    );
    let stats = client.stream(ORG, None).await;
    assert_eq!((stats.listeners, stats.subscriptions), (1, 1024));
    // They are the connection's, and end with it.
    drop(client);
    let mut client = server.connect().await;
    let gone = async {
        while client.stream(ORG, None).await.listeners > 0 {
            tokio::time::sleep(millis(10)).await;
        }
    };
    within(PATIENCE, "the listener is gone", gone).await;
}

#[tokio::test]
async fn the_statistics_say_who_listens_and_what_is_kept() {
    let server = server_that_keeps(3).await;
    let mut client = server.connect().await;
    let closed = client.stream(ORG, None).await;
    assert_eq!((closed.position, closed.events), (None, 0));
    let mut docs = server.connect().await;
    docs.follow(ORG, &["doc/**"], None).await;
    docs.follow(ORG, &["doc/1"], None).await;
    let mut chats = server.connect().await;
    let followed = chats.follow(ORG, &["chat/1"], None).await;
    publish(&mut client, &["doc/1"; 4]).await;
    let stats = client.stream(ORG, None).await;
    assert_eq!((stats.listeners, stats.subscriptions), (2, 3));
    assert_eq!(
        (stats.events, stats.oldest, stats.published),
        (3, Some(2), 4)
    );
    let position = Position {
        offset: 4,
        ..followed.position
    };
    assert_eq!(stats.position, Some(position));
    assert!(stats.bytes > 100);
    for (path, listeners) in [("doc/1", 1), ("doc/2", 1), ("chat/1", 1), ("chat", 0)] {
        let stats = client.stream(ORG, Some(path)).await;
        assert_eq!(stats.listeners, listeners, "{path}");
    }
}

/// Takes the events of one filter from many short connections, each of which goes on where the last one ended.
async fn reconnect(
    addr: SocketAddr,
    filter: &str,
    since: Position,
    last: u64,
) -> (Vec<u64>, usize) {
    let mut since = since;
    let (mut offsets, mut connections) = (Vec::new(), 0);
    while since.offset < last {
        let mut client = Client::introduced(addr).await;
        let mut following = client.follow(ORG, &[filter], Some(since)).await;
        assert_eq!(following.recovery, Recovery::Exact);
        connections += 1;
        // Hears one event, or a few that came with it, and is gone.
        let heard = async {
            while following.events.is_empty() {
                assert!(client.hear().await);
                following.catch_up(&client);
            }
        };
        within(PATIENCE, "an event", heard).await;
        offsets.extend(following.offsets());
        assert!(following.gaps.is_empty());
        since = following.since();
    }
    (offsets, connections)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_reconnects_in_a_burst_leave_no_hole_and_repeat_nothing() {
    const EVENTS: u64 = 1000;
    const LISTENERS: usize = 8;
    let server = TestServer::start().await;
    let mut client = server.connect().await;
    let keeper = client.follow(ORG, &["none"], None).await;
    let filters = ["**", "doc/**", "doc/1", "doc/2"];
    let listening: Vec<_> = (0..LISTENERS)
        .map(|index| {
            let (filter, addr) = (filters[index % filters.len()], server.addr);
            // The even ones are of `doc/2`, so one listener hears nothing of the last.
            let last = EVENTS - u64::from(filter == "doc/1");
            tokio::spawn(reconnect(addr, filter, keeper.position, last))
        })
        .collect();
    let paths = ["doc/1", "doc/2"];
    let mut publisher = server.connect().await;
    for number in 0..EVENTS {
        publisher
            .publish(happening(ORG, paths[number as usize % 2]))
            .await;
    }
    let mut connections = 0;
    for (index, listening) in listening.into_iter().enumerate() {
        let (offsets, made) = within(Duration::from_secs(60), "the listener", listening)
            .await
            .unwrap();
        connections += made;
        let is_for = |offset: &u64| match filters[index % filters.len()] {
            "doc/1" => offset % 2 == 1,
            "doc/2" => offset.is_multiple_of(2),
            _ => true,
        };
        let expected: Vec<_> = (1..=EVENTS).filter(is_for).collect();
        assert_eq!(offsets, expected);
    }
    println!("{connections} connections");
    assert!(connections > 2000, "{connections} connections are no burst");
}

together! {
    a_quiet_subscriber_is_told_where_it_stands,
    a_stream_that_nobody_uses_is_closed_and_begins_anew,
    what_is_too_old_is_kept_no_longer,
    streams_that_were_used_leave_nothing_behind,
}

async fn a_quiet_subscriber_is_told_where_it_stands() {
    let server = server_that_keeps(10).await;
    let mut listener = server.connect().await;
    let mut docs: Following = listener.follow(ORG, &["doc/**"], None).await;
    let mut client = server.connect().await;
    publish(&mut client, &["doc/1"]).await;
    docs.reach(&mut listener, 1).await;
    // Far more than is kept, none of it for this one: neither is it a gap, nor does it lose its place.
    let last = publish(&mut client, &["chat/1"; 100]).await;
    let quiet = async {
        while docs.last < last {
            listener.send(Request::Ping(request::Ping {})).await;
            listener.listen(Duration::from_secs(2)).await;
            client.ping().await;
            docs.catch_up(&listener);
        }
    };
    within(Duration::from_secs(20), "a position", quiet).await;
    assert_eq!((docs.offsets(), docs.gaps.len()), (vec![1], 0));
    drop(listener);
    let mut listener = server.connect().await;
    let resumed = listener.follow(ORG, &["doc/**"], Some(docs.since())).await;
    assert_eq!(resumed.recovery, Recovery::Exact);
}

async fn a_stream_that_nobody_uses_is_closed_and_begins_anew() {
    let server = TestServer::with(Config {
        stream_age_ms: 1000,
        ..config()
    })
    .await;
    let mut client = server.connect().await;
    let mut listener = server.connect().await;
    let docs = listener.follow(ORG, &["**"], None).await;
    drop(listener);
    let closed = async {
        while client.stream(ORG, None).await.position.is_some() {
            tokio::time::sleep(millis(50)).await;
        }
    };
    within(PATIENCE, "the stream is closed", closed).await;
    // What happens now is told to nobody, so the old position may not be taken for the whole.
    let anna = client.open(ORG, "anna").await.number;
    client.take(exclusive(anna, "doc/1")).await;
    assert_eq!(client.stream(ORG, None).await.position, None);
    let resumed = client.follow(ORG, &["**"], Some(docs.since())).await;
    let why = LostWhy::Epoch;
    assert_eq!(resumed.recovery, Recovery::Lost { why });
    assert_ne!(resumed.position.epoch, docs.position.epoch);
}

async fn what_is_too_old_is_kept_no_longer() {
    let server = TestServer::with(Config {
        stream_age_ms: 1000,
        ..config()
    })
    .await;
    let mut client = server.connect().await;
    let docs = client.follow(ORG, &["doc/**"], None).await;
    publish(&mut client, &["chat/1"; 5]).await;
    assert_eq!(client.stream(ORG, None).await.events, 5);
    let forgotten = async {
        while client.stream(ORG, None).await.events > 0 {
            tokio::time::sleep(millis(50)).await;
        }
    };
    within(PATIENCE, "they are too old", forgotten).await;
    let stats = client.stream(ORG, None).await;
    let top = stats.position.unwrap();
    assert_eq!((stats.oldest, stats.bytes, top.offset), (None, 0, 5));
    let late = client.follow(ORG, &["doc/**"], Some(docs.since())).await;
    let why = LostWhy::Trimmed;
    assert_eq!(late.recovery, Recovery::Lost { why });
    let at_top = client.follow(ORG, &["doc/**"], Some(top)).await;
    assert_eq!(at_top.recovery, Recovery::Exact);
}

async fn streams_that_were_used_leave_nothing_behind() {
    const ORGS: usize = 50;
    let server = TestServer::with_metrics(Config {
        stream_age_ms: 1000,
        ..config()
    })
    .await;
    let orgs: Vec<_> = (0..ORGS).map(|number| format!("org-{number}")).collect();
    let mut listeners = Vec::new();
    for _ in 0..5 {
        let mut client = server.connect().await;
        for org in &orgs {
            client.follow(org, &["doc/**", "chat/1"], None).await;
            client.publish(happening(org, "doc/1")).await;
        }
        listeners.push(client);
    }
    let all = [
        ("tenure_streams", ORGS as u64),
        ("tenure_listeners", 5 * ORGS as u64),
        ("tenure_stream_published_total", 5 * ORGS as u64),
    ];
    for (sample, expected) in all {
        assert_eq!(server.metric(sample).await, expected, "{sample}");
    }
    assert!(server.metric("tenure_stream_bytes").await > 0);
    drop(listeners);
    let nothing = async {
        for sample in ["tenure_listeners", "tenure_streams", "tenure_stream_bytes"] {
            while server.metric(sample).await > 0 {
                tokio::time::sleep(millis(50)).await;
            }
        }
    };
    within(PATIENCE, "nothing is left", nothing).await;
}
