//! The streams of one shard, with listeners whose connections are played by the test: what each is woken for, and what it
//! reads then. Rings and cursors have tests of their own, beside naive ones.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a panic in a test is its message, also about what it does not expect"
)]

use std::time::Duration;

use bytes::BytesMut;
use parking_lot::Mutex;
use tenure_engine::Millis;
use tenure_protocol::frame::Frames as Cut;
use tenure_protocol::limits::FRAME_FROM_SERVER;
use tenure_protocol::{Counts, FromServer, Push, push};
use tokio::io::AsyncReadExt as _;
use tokio::time::Instant;

use super::excerpt::Excerpt;
use super::stream::PRESENCE_BOUNDS;
use super::*;
use crate::homes::Homes;
use crate::outbox::Unwritten;
use crate::outlet::tests::pair;

const ORG: &str = "acme";

const BOUNDS: Bounds = Bounds {
    entries_max: 100,
    bytes_max: 1 << 20,
    age_max: Millis(10_000),
};

struct World {
    streams: Streams,
    now: LogTime,
}

struct Connection {
    number: u64,
    outbox: Arc<Outbox>,
    listener: Option<Arc<Listener>>,
}

fn world() -> World {
    world_that_shows(Showing::AtOnce)
}

fn world_that_shows(showing: Showing) -> World {
    let home = Homes::new(1).all().next().unwrap();
    World {
        streams: Streams::new(
            (BOUNDS, showing),
            Room::new(1 << 30),
            Epochs::random().of(home),
        ),
        now: LogTime(1),
    }
}

impl World {
    fn subscribe(
        &mut self,
        connection: &mut Connection,
        filters: &[&'static str],
        audience: Audience,
        version: Option<u64>,
    ) -> Subscribed {
        let reply = self.subscribe_silently(connection, filters, audience, version);
        self.streams
            .woken()
            .into_iter()
            .for_each(|woken| woken.wake());
        connection.look();
        reply
    }

    /// Wakes nobody yet.
    fn subscribe_silently(
        &mut self,
        connection: &Connection,
        filters: &[&'static str],
        audience: Audience,
        version: Option<u64>,
    ) -> Subscribed {
        let filters = filters.iter().map(|text| Filter::parse(text).unwrap());
        let subscribe = Subscribe {
            connection: connection.number,
            subscription: 1,
            audience,
            org: ORG,
            filters: filters.collect(),
            since: None,
            presence: version.is_some(),
        };
        let version = version.unwrap_or(0);
        let outbox = &connection.outbox;
        self.streams
            .subscribe(&subscribe, outbox, version, self.now)
    }

    /// So many connections that listen to everything, and know it.
    fn crowd(&mut self, count: u64) -> Vec<Connection> {
        let mut crowd: Vec<_> = (1..=count).map(Connection::new).collect();
        for connection in &mut crowd {
            self.subscribe(connection, &["**"], Audience::Everyone, None);
        }
        crowd
    }

    fn publish(&mut self, path: &str, id: Option<&str>) -> Publication {
        let publication = self.publish_silently(path, id);
        self.streams
            .woken()
            .into_iter()
            .for_each(|woken| woken.wake());
        publication
    }

    /// Wakes nobody yet.
    fn publish_silently(&mut self, path: &str, id: Option<&str>) -> Publication {
        let publish = Publish {
            org: ORG,
            path,
            event: "happened",
            payload: b"",
            id,
        };
        let when = Moment {
            at: self.now,
            wall_ms: 0,
        };
        self.streams.publish(&publish, when)
    }

    fn presence(&mut self, version: u64, path: &str, frames: Frames<'_>) {
        let change = PresenceChange {
            org: ORG,
            version,
            path,
            frames,
        };
        self.streams.presence_changed(&change, self.now);
        self.streams
            .woken()
            .into_iter()
            .for_each(|woken| woken.wake());
    }
}

impl Connection {
    fn new(number: u64) -> Self {
        Self {
            number,
            outbox: Arc::new(Outbox::new(1 << 20)),
            listener: None,
        }
    }

    /// How often it was woken.
    fn look(&mut self) -> usize {
        let mut woken = Vec::new();
        self.outbox.exchange(&mut Unwritten::default(), &mut woken);
        let count = woken.len();
        self.listener = woken
            .into_iter()
            .next_back()
            .or_else(|| self.listener.take());
        count
    }

    fn read(&self) -> Vec<String> {
        let (mut out, mut has_more) = (BytesMut::new(), true);
        while has_more {
            // As a connection that has written what it was given before.
            let mut written = BytesMut::new();
            let listener = self.listener.as_ref().unwrap();
            has_more = listener.drain(Instant::now(), &mut written).has_more;
            out.extend_from_slice(&written);
        }
        in_words(&out)
    }
}

fn in_words(frames: &[u8]) -> Vec<String> {
    let in_words = |payload| match FromServer::decode(payload).unwrap() {
        FromServer::Push(Push::StreamEvent(happened)) => format!("event {}", happened.offset),
        FromServer::Push(Push::StreamGap(gap)) => format!("gap {} to {}", gap.from, gap.to),
        FromServer::Push(Push::PresenceChanged(changed)) => {
            format!("presence {} of {}", changed.version, changed.total)
        }
        FromServer::Push(Push::PresenceGap(gap)) => format!("presence gap {}", gap.version),
        other => panic!("expected a push of a stream, found {other:?}"),
    };
    let payloads = Cut::new(frames, FRAME_FROM_SERVER);
    payloads.map(|payload| in_words(payload.unwrap())).collect()
}

fn changed(version: u64, path: &str, total: u32) -> BytesMut {
    let mut frame = BytesMut::new();
    Push::PresenceChanged(push::ViewersChanged {
        org: ORG,
        version,
        path,
        total,
        counts: Counts::default(),
        up: Vec::new(),
        gone: Vec::new(),
    })
    .encode(&mut frame);
    frame
}

#[test]
fn a_listener_is_woken_once_until_it_reads_and_only_for_what_it_is_for() {
    let mut world = world();
    let (mut docs, mut chats) = (Connection::new(1), Connection::new(2));
    world.subscribe(&mut docs, &["doc/**", "doc/1"], Audience::Everyone, None);
    world.subscribe(&mut chats, &["chat/1"], Audience::Everyone, None);
    for _ in 0..3 {
        world.publish("doc/1", None);
    }
    assert_eq!((docs.look(), chats.look()), (1, 0));
    assert_eq!(docs.read(), ["event 1", "event 2", "event 3"]);
    world.publish("doc/2", None);
    assert_eq!(
        (docs.look(), docs.read()),
        (1, vec![String::from("event 4")])
    );
}

#[test]
fn an_event_is_for_few_as_long_as_no_more_than_a_few_care_for_it() {
    let mut world = world();
    world.publish_silently("doc/1", None);
    assert!(world.streams.woken().is_none(), "nobody listens");
    let mut connections = Vec::new();
    for count in 1..=Woken::TOLD_FIRST + 1 {
        let mut connection = Connection::new(count as u64);
        world.subscribe(&mut connection, &["doc/1"], Audience::Everyone, None);
        connections.push(connection);
        world.publish_silently("doc/1", None);
        let woken = world.streams.woken().unwrap();
        assert_eq!(
            woken.is_for_few(),
            count <= Woken::TOLD_FIRST,
            "{count} listen"
        );
        woken.wake();
        for connection in &mut connections {
            assert_eq!((connection.look(), connection.read().len()), (1, 1));
        }
    }
}

#[test]
fn nothing_is_told_where_nobody_listens() {
    let mut world = world();
    let when = Moment {
        at: world.now,
        wall_ms: 0,
    };
    assert!(world.streams.is_silent());
    let told = || panic!("expected nobody to ask what has happened");
    world.streams.happened(ORG, when, told);
    assert_eq!(world.streams.position(ORG), None);
}

#[test]
fn presence_is_told_to_who_asked_for_it_as_their_role_allows() {
    let mut world = world();
    let (mut observer, mut member, mut other) =
        (Connection::new(1), Connection::new(2), Connection::new(3));
    world.subscribe(&mut other, &["**"], Audience::Insiders, None);
    assert!(!world.streams.hears_presence(ORG));
    // Of what was before, nothing is told: it is in what they read.
    world.presence(4, "doc/1", Frames::Same(&changed(4, "doc/1", 9)));
    let reply = world.subscribe(&mut observer, &["doc/**"], Audience::Everyone, Some(4));
    assert_eq!(reply.version, Some(4));
    world.subscribe(&mut member, &["doc/1"], Audience::Insiders, Some(4));
    assert!(world.streams.hears_presence(ORG));

    world.presence(5, "doc/1", Frames::Same(&changed(5, "doc/1", 1)));
    world.presence(9, "doc/2", Frames::Same(&changed(9, "doc/2", 2)));
    let (everyone, insiders) = (changed(10, "doc/1", 3), changed(10, "doc/1", 4));
    let frames = Frames::Differing {
        everyone: &everyone,
        insiders: &insiders,
    };
    world.presence(10, "doc/1", frames);
    let hidden = Frames::Differing {
        everyone: b"",
        insiders: &changed(11, "doc/1", 5),
    };
    world.presence(11, "doc/1", hidden);
    let expected = ["presence 5 of 1", "presence 9 of 2", "presence 10 of 3"];
    assert_eq!(observer.read(), expected);
    let expected = ["presence 5 of 1", "presence 10 of 4", "presence 11 of 5"];
    assert_eq!(member.read(), expected);
    assert!(other.read().is_empty());
}

#[test]
fn of_a_slow_reader_presence_is_left_out_before_events() {
    let mut world = world();
    let mut slow = Connection::new(1);
    world.subscribe(&mut slow, &["**"], Audience::Everyone, Some(0));
    let count = PRESENCE_BOUNDS.entries_max as u64 + 5;
    for version in 1..=count {
        world.presence(
            version,
            "doc/1",
            Frames::Same(&changed(version, "doc/1", 1)),
        );
    }
    world.publish("doc/1", None);
    let told = slow.read();
    assert_eq!(told[..3], ["event 1", "presence gap 5", "presence 6 of 1"]);
    assert_eq!(told.len(), 2 + PRESENCE_BOUNDS.entries_max);
    // While much is to be written, events alone are taken.
    let mut out = BytesMut::zeroed(1 << 20);
    world.publish("doc/1", None);
    world.presence(
        count + 1,
        "doc/1",
        Frames::Same(&changed(count + 1, "doc/1", 1)),
    );
    let listener = slow.listener.as_ref().unwrap();
    let drained = listener.drain(Instant::now(), &mut out);
    assert_eq!((drained.frames, drained.has_more), (1, true));
    assert_eq!(slow.read(), [format!("presence {} of 1", count + 1)]);
    assert_eq!(world.streams.stats(ORG, None).gaps, 1);
}

#[test]
fn who_falls_behind_what_is_kept_is_told_so_and_goes_on() {
    let mut world = world();
    let (mut slow, mut quick) = (Connection::new(1), Connection::new(2));
    world.subscribe(&mut slow, &["doc/**"], Audience::Everyone, None);
    world.subscribe(&mut quick, &["**"], Audience::Everyone, None);
    let mut heard = 0;
    for _ in 0..BOUNDS.entries_max + 50 {
        world.publish("doc/1", None);
        heard += quick.read().len();
    }
    assert_eq!(heard, BOUNDS.entries_max + 50);
    let told = slow.read();
    assert_eq!(told[..2], ["gap 1 to 50", "event 51"]);
    assert_eq!(told.len(), 1 + BOUNDS.entries_max);
}

/// A gap alone would be followed by the next one, if its reader takes a step only now and then.
#[test]
fn a_gap_comes_with_what_follows_it() {
    let mut world = world();
    let mut slow = Connection::new(1);
    world.subscribe(&mut slow, &["**"], Audience::Everyone, None);
    for round in 1..=3 {
        for _ in 0..BOUNDS.entries_max * 2 {
            world.publish("doc/1", None);
        }
        let mut out = BytesMut::new();
        let drained = slow
            .listener
            .as_ref()
            .unwrap()
            .drain(Instant::now(), &mut out);
        assert_eq!(drained.gaps, 1, "in round {round}");
        assert_eq!(drained.frames, 1 + BOUNDS.entries_max as u64);
    }
}

/// What one connection of the crowd below goes through: reads only when it was woken, starts over now and then.
fn read_along(world: &Mutex<World>, number: u64, filter: &'static str, last: u64) -> Vec<u64> {
    let mut connection = Connection::new(number);
    world
        .lock()
        .subscribe(&mut connection, &[filter], Audience::Everyone, None);
    let (mut told, mut has_more, mut rounds) = (Vec::new(), false, 0_u64);
    let deadline = Duration::from_secs(20);
    let began = Instant::now();
    while told.last().is_none_or(|offset| *offset < last) {
        assert!(
            began.elapsed() < deadline,
            "{filter} was not woken after {:?}",
            told.last()
        );
        if connection.look() == 0 && !has_more {
            std::thread::yield_now();
            continue;
        }
        let mut out = BytesMut::new();
        has_more = connection
            .listener
            .as_ref()
            .unwrap()
            .drain(Instant::now(), &mut out)
            .has_more;
        for payload in Cut::new(&out, FRAME_FROM_SERVER) {
            match FromServer::decode(payload.unwrap()).unwrap() {
                FromServer::Push(Push::StreamEvent(happened)) => told.push(happened.offset),
                FromServer::Push(Push::StreamGap(gap)) => told.extend(gap.from..=gap.to),
                other => panic!("expected an event or a gap, found {other:?}"),
            }
        }
        rounds += 1;
        if rounds.is_multiple_of(number + 3) {
            std::thread::sleep(Duration::from_micros(rounds % 7 * 100));
        }
    }
    told
}

/// Threads append and read at the same time, and a wake that is lost leaves its reader waiting for good.
#[test]
fn readers_on_threads_of_their_own_miss_nothing() {
    const LAST: u64 = 20_000;
    const PATHS: [&str; 4] = ["doc/1", "chat/1", "doc/2", "ticket/1/notes"];
    let filters = ["**", "doc/**", "chat/1", "ticket/**", "doc/1", "**"];
    let world = Mutex::new(world());
    // Whatever a reader is for, something of the last events is: so it knows when it has come to the end.
    let read = std::thread::scope(|scope| {
        let world = &world;
        let readers: Vec<_> = filters
            .iter()
            .zip(1..)
            .map(|(filter, number)| {
                scope.spawn(move || read_along(world, number, filter, LAST - 4))
            })
            .collect();
        while world.lock().streams.counts().listeners < filters.len() as u64 {
            std::thread::yield_now();
        }
        for offset in 0..LAST {
            let mut world = world.lock();
            world.publish_silently(PATHS[offset as usize % PATHS.len()], None);
            let woken = world.streams.woken();
            drop(world);
            woken.into_iter().for_each(|woken| woken.wake());
        }
        let read = readers.into_iter().map(|reader| reader.join().unwrap());
        read.collect::<Vec<_>>()
    });
    for (filter, told) in filters.iter().zip(read) {
        assert!(
            told.is_sorted_by(|a, b| a < b),
            "{filter} twice or out of order"
        );
        let filter = Filter::parse(filter).unwrap();
        let is_for = |offset: &u64| filter.matches(PATHS[(*offset as usize - 1) % PATHS.len()]);
        let expected = (1..=LAST - 4).filter(is_for);
        let missed: Vec<_> = expected
            .filter(|offset| told.binary_search(offset).is_err())
            .collect();
        assert!(missed.is_empty(), "{filter} misses {missed:?}");
    }
}

#[test]
fn a_stream_is_closed_when_it_was_not_used_for_as_long_as_it_keeps() {
    let mut world = world();
    let mut connection = Connection::new(1);
    let first = world.subscribe(&mut connection, &["**"], Audience::Everyone, Some(0));
    world.now = world.now + Millis(60_000);
    world.streams.forget_old(world.now);
    assert_eq!(world.streams.position(ORG), Some(first.position));
    world.streams.unsubscribe(ORG, 1, 1, world.now);
    for (wait, is_open) in [(0, true), (9_999, true), (1, false)] {
        world.now = world.now + Millis(wait);
        world.streams.forget_old(world.now);
        assert_eq!(
            world.streams.position(ORG).is_some(),
            is_open,
            "after {wait} ms"
        );
    }
    assert_eq!(world.streams.counts().open, 0);
    assert!(world.streams.is_silent() && world.streams.round.is_empty());
    let second = world.publish("doc/1", Some("m-1"));
    assert!(second.position.epoch > first.position.epoch);
}

#[test]
fn what_a_connection_had_goes_with_it() {
    let mut world = world();
    let mut connection = Connection::new(1);
    let filters = ["**", "doc/**", "doc/1"];
    world.subscribe(&mut connection, &filters, Audience::Everyone, Some(0));
    world.streams.unsubscribe(ORG, 1, 1, world.now);
    let open = &world.streams.open[ORG];
    assert!(open.in_events.is_empty() && open.in_presence.is_empty());
    assert!(open.listeners.is_empty());
    assert!(!connection.listener.as_ref().unwrap().is_in_use());
    assert_eq!(world.publish("doc/1", None).listeners, 0);
    let outbox = Arc::downgrade(&connection.outbox);
    drop(connection);
    assert!(
        outbox.upgrade().is_none(),
        "the outbox is kept by what is gone"
    );
}

/// Whoever writes past a connection leaves to it what its socket does not take, and it must hear of that.
#[test]
fn a_connection_hears_of_a_listener_that_it_is_done_with_as_often_as_it_is_called() {
    let mut world = world();
    let mut connection = Connection::new(1);
    world.subscribe(&mut connection, &["**"], Audience::Everyone, None);
    let listener = connection.listener.take().unwrap();
    let mut subscriptions = Subscriptions::default();
    listener.wake_once();
    world.streams.unsubscribe(ORG, 1, 1, world.now);
    let mut called = || {
        let woken = subscriptions.woken();
        connection.outbox.exchange(&mut Unwritten::default(), woken);
        let count = woken.len();
        subscriptions.note_woken();
        count
    };
    assert_eq!(called(), 1);
    listener.wake_once();
    assert_eq!(called(), 1);
}

/// Else it would never be told where it stands, as long as others tell it what happens.
#[tokio::test]
async fn a_connection_gets_to_know_its_listener_though_a_crowd_is_told_past_theirs() {
    let mut world = world();
    let _crowd = world.crowd(100);
    let mut connection = Connection::new(0);
    let (socket, _client) = pair().await;
    connection.outbox.outlet.lend(socket, BytesMut::new());
    world.subscribe_silently(&connection, &["**"], Audience::Everyone, None);
    world.publish("doc/1", None);
    assert_eq!(connection.look(), 1);
}

/// Whoever is told first hears presence, which those who listen to the same events have not asked for.
#[tokio::test]
async fn presence_is_not_in_what_one_is_given_because_another_was() {
    let mut world = world();
    let mut asleep = Vec::new();
    for version in [Some(0), None, None] {
        let mut connection = Connection::new(asleep.len() as u64);
        world.subscribe(&mut connection, &["**"], Audience::Insiders, version);
        let (socket, client) = pair().await;
        connection.outbox.outlet.lend(socket, BytesMut::new());
        asleep.push((connection, client));
    }
    world.publish_silently("doc/1", None);
    let change = PresenceChange {
        org: ORG,
        version: 1,
        path: "doc/1",
        frames: Frames::Same(&changed(1, "doc/1", 7)),
    };
    world.streams.presence_changed(&change, world.now);
    world.publish_silently("doc/1", None);
    let mut excerpt = Excerpt::default();
    let expected: [&[&str]; 3] = [
        &["event 1", "event 2", "presence 1 of 7"],
        &["event 1", "event 2"],
        &["event 1", "event 2"],
    ];
    for ((connection, mut client), expected) in asleep.into_iter().zip(expected) {
        let listener = connection.listener.as_ref().unwrap();
        listener.tell(&mut excerpt, Instant::now());
        let mut told = BytesMut::with_capacity(4096);
        client.read_buf(&mut told).await.unwrap();
        assert_eq!(in_words(&told), expected);
    }
}

/// As long as nobody comes to be told, it costs nothing more when more happens.
#[test]
fn what_a_crowd_is_to_be_told_does_not_pile_up() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.max_blocking_threads(1).build().unwrap();
    let _inside = runtime.enter();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let busy = runtime.spawn_blocking(move || ended.recv());
    for showing in [Showing::AtOnce, Showing::WhenTold] {
        let mut world = world_that_shows(showing);
        let crowd = world.crowd(100);
        let listener = crowd[0].listener.as_ref().unwrap();
        let before = Arc::strong_count(listener);
        for _ in 0..1_000 {
            world.publish("doc/1", None);
        }
        assert!(Arc::strong_count(listener) <= before + 1, "{showing:?}");
    }
    drop(end);
    assert!(runtime.block_on(busy).unwrap().is_err());
}

#[test]
fn no_two_shards_give_the_same_epoch() {
    let epochs = Epochs::random();
    let mut given: Vec<_> = Homes::new(4)
        .all()
        .flat_map(|home| {
            let mut own = epochs.of(home);
            [own.next(), own.next(), own.next()]
        })
        .collect();
    assert!(given.iter().all(|epoch| *epoch < 1 << 53));
    given.sort_unstable();
    given.dedup();
    assert_eq!(given.len(), 12);
}
