//! Cursors beside the subscriptions that their clients keep, which give an event to whom it matches and is above the last.
//!
//! Rule that is tested: whatever the order of subscribing, appending, forgetting and reading, and whoever is given what
//! another was, each subscription is given every event that it is for, once and in order, or hears of a gap that the event
//! lies in; nothing before it is shown, and nothing that is for none of the reader's.

use proptest::prelude::*;
use tenure_engine::{LogTime, Millis};
use tenure_protocol::Filter;

use super::super::ring::{Bounds, Frames, Room, Showing};
use super::*;

const FILTERS: [&str; 5] = ["**", "a/**", "a/b", "c", "c/**"];
const PATHS: [&str; 5] = ["a/b", "a/b/c", "c", "c/d", "e"];

/// Bytes of a frame: the number of its entry.
const FRAME: usize = 8;

/// Some read the same, and some do not.
const READERS: usize = 3;

/// Readers, paths and filters by index.
#[derive(Debug, Clone)]
enum Op {
    Append(Vec<usize>),
    /// How far back from the top.
    Subscribe(usize, Vec<usize>, u64),
    Unsubscribe(usize, usize),
    /// All but so many of the newest.
    Show(u64),
    Step {
        reader: usize,
        bytes_max: usize,
        looks_max: usize,
    },
    /// Whoever has appended one gives it, and others may have been appended since: how many.
    TakeEvent(usize, u64),
    /// What another was given, and others may have been appended since.
    TakeExcerpt(usize),
    /// All are told, beginning with this one, and each may be given what the one before was.
    Tell(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let filters = proptest::collection::vec(0..FILTERS.len(), 1..3);
    let reader = 0..READERS;
    prop_oneof![
        6 => proptest::collection::vec(0..PATHS.len(), 1..3).prop_map(Op::Append),
        1 => (reader.clone(), filters, 0..12_u64)
            .prop_map(|(reader, filters, back)| Op::Subscribe(reader, filters, back)),
        1 => (reader.clone(), 0..4_usize).prop_map(|(reader, index)| Op::Unsubscribe(reader, index)),
        2 => (0..4_u64).prop_map(Op::Show),
        4 => (reader.clone(), prop_oneof![Just(0), Just(64), Just(4096)], prop_oneof![1..4_usize, Just(256)])
            .prop_map(|(reader, bytes_max, looks_max)| Op::Step { reader, bytes_max, looks_max }),
        4 => (reader.clone(), prop_oneof![3 => Just(0), 1 => 1..3_u64])
            .prop_map(|(reader, back)| Op::TakeEvent(reader, back)),
        2 => reader.clone().prop_map(Op::TakeExcerpt),
        4 => reader.prop_map(Op::Tell),
    ]
}

/// As a client has it.
struct Subscription {
    filters: Vec<&'static str>,
    last: u64,
    after: u64,
    /// Events given, and those that it was told are lost.
    accounted: Vec<u64>,
}

impl Subscription {
    fn matches(&self, paths: &[&str]) -> bool {
        let filters = self.filters.iter().map(|text| Filter::parse(text).unwrap());
        filters
            .into_iter()
            .any(|filter| paths.iter().any(|path| filter.matches(path)))
    }
}

#[derive(Default)]
struct Reader {
    cursor: Cursor,
    subscriptions: Vec<Subscription>,
    /// The highest number that it was given.
    given: u64,
}

struct World {
    ring: Ring,
    events: Vec<Vec<&'static str>>,
    readers: [Reader; READERS],
    /// What somebody was given last, if others may be given that, and the numbers in it.
    excerpt: Option<(Newest, Vec<u64>)>,
}

impl World {
    fn new(entries_max: usize, showing: Showing) -> Self {
        let bounds = Bounds {
            entries_max,
            bytes_max: 1 << 20,
            age_max: Millis(1_000),
        };
        Self {
            ring: Ring::new(0, bounds, Room::new(1 << 20), showing),
            events: Vec::new(),
            readers: Default::default(),
            excerpt: None,
        }
    }

    fn append(&mut self, paths: &[usize]) {
        let paths: Vec<_> = paths.iter().map(|index| PATHS[*index]).collect();
        let number = self.events.len() as u64 + 1;
        let frame = number.to_be_bytes();
        self.ring
            .append(number, LogTime(0), &paths, Frames::Same(&frame), || {
                for reader in &self.readers {
                    if reader.subscriptions.iter().any(|one| one.matches(&paths)) {
                        reader.cursor.mark(number);
                    }
                }
            });
        self.events.push(paths);
    }

    fn subscribe(&mut self, reader: usize, filters: &[usize], back: u64) {
        let reader = &mut self.readers[reader];
        let filters: Vec<_> = filters.iter().map(|index| FILTERS[*index]).collect();
        let (top, lost) = (self.ring.read().top(), self.ring.read().lost());
        let after = top.saturating_sub(back).max(lost);
        let parsed = filters.iter().map(|text| Filter::parse(text).unwrap());
        reader.cursor.add(parsed, after, top);
        reader.subscriptions.push(Subscription {
            filters,
            last: after,
            after,
            accounted: Vec::new(),
        });
    }

    fn unsubscribe(&mut self, reader: usize, index: usize) {
        let reader = &mut self.readers[reader];
        if index < reader.subscriptions.len() {
            let gone = reader.subscriptions.remove(index);
            for text in gone.filters {
                reader.cursor.remove(Filter::parse(text).unwrap());
            }
        }
    }

    fn step(&mut self, reader: usize, bytes_max: usize, looks_max: usize) -> bool {
        let mut out = BytesMut::new();
        let portion = Portion {
            bytes_max,
            looks_max,
        };
        let mut gap = None;
        let tell = |lost, out: &mut BytesMut| {
            assert!(out.is_empty(), "expected the gap before what follows it");
            gap = Some(lost);
        };
        let (ring, audience) = (&self.ring, Audience::Everyone);
        let Reader {
            cursor,
            subscriptions,
            ..
        } = &mut self.readers[reader];
        let step = cursor.step(ring, audience, portion, &mut out, tell);
        let shown = ring.shown();
        assert!(step.passed <= shown, "{} is not shown", step.passed);
        assert!(gap.as_ref().is_none_or(|gap| *gap.end() <= shown));
        assert_eq!(out.len(), step.frames as usize * FRAME);
        assert_eq!(step.has_gap, gap.is_some());
        if let Some(gap) = gap {
            for subscription in subscriptions {
                let lost = gap.clone().filter(|number| *number > subscription.last);
                subscription.accounted.extend(lost);
                subscription.last = subscription.last.max(*gap.end());
            }
        }
        let numbers = out.chunks_exact(FRAME);
        let numbers = numbers.map(|frame| u64::from_be_bytes(frame.try_into().unwrap()));
        let numbers: Vec<_> = numbers.collect();
        self.receive(reader, &numbers);
        self.excerpt = step.newest.map(|newest| (newest, numbers));
        step.has_more
    }

    fn take_event(&mut self, reader: usize, back: u64) -> bool {
        let number = (self.events.len() as u64).saturating_sub(back);
        let newest = Newest {
            first: number,
            last: number,
            filter: None,
        };
        self.take(reader, &newest, &[number])
    }

    fn take_excerpt(&mut self, reader: usize) -> bool {
        let excerpt = self.excerpt.clone();
        excerpt.is_some_and(|(newest, numbers)| self.take(reader, &newest, &numbers))
    }

    fn take(&mut self, reader: usize, newest: &Newest, numbers: &[u64]) -> bool {
        let Reader { cursor, given, .. } = &self.readers[reader];
        let is_taken = cursor.take_newest(&self.ring, newest);
        if is_taken {
            assert!(numbers[0] > *given, "{} was given before", numbers[0]);
            self.receive(reader, numbers);
        }
        is_taken
    }

    fn tell(&mut self, first: usize) {
        for reader in (first..READERS).chain(0..first) {
            if !self.take_excerpt(reader) {
                self.step(reader, 4096, 256);
            }
        }
    }

    fn receive(&mut self, reader: usize, numbers: &[u64]) {
        let (mut before, shown) = (0, self.ring.shown());
        for &number in numbers {
            assert!(number > before, "{number} after {before}");
            assert!(number <= shown, "{number} is not shown");
            before = number;
            let given = &mut self.readers[reader].given;
            *given = number.max(*given);
            let paths = &self.events[number as usize - 1];
            // Those who have had it drop it: another subscription with the same filter may have started over.
            let matching = self.readers[reader]
                .subscriptions
                .iter_mut()
                .filter(|one| one.matches(paths));
            let mut matching = matching.peekable();
            assert!(matching.peek().is_some(), "{number} was sent for nobody");
            for subscription in matching.filter(|one| number > one.last) {
                subscription.accounted.push(number);
                subscription.last = number;
            }
        }
    }

    /// Everything up to the top is accounted for.
    fn check(&self) {
        for subscription in self.readers.iter().flat_map(|one| &one.subscriptions) {
            let numbers = subscription.after + 1..=self.events.len() as u64;
            let missing: Vec<_> = numbers
                .filter(|number| subscription.matches(&self.events[*number as usize - 1]))
                .filter(|number| !subscription.accounted.contains(number))
                .collect();
            assert!(
                missing.is_empty(),
                "{:?} misses {missing:?}",
                subscription.filters
            );
            assert!(subscription.accounted.is_sorted_by(|a, b| a < b));
        }
    }
}

proptest! {
    #[test]
    fn each_subscription_is_given_each_of_its_events_once_or_a_gap(
        entries_max in prop_oneof![1..8_usize, Just(1_000)],
        showing in prop_oneof![Just(Showing::AtOnce), Just(Showing::WhenTold)],
        firsts in proptest::array::uniform3(0..FILTERS.len()),
        ops in proptest::collection::vec(op(), 1..120),
    ) {
        let mut world = World::new(entries_max, showing);
        for (reader, filter) in firsts.into_iter().enumerate() {
            world.subscribe(reader, &[filter], 0);
        }
        for op in ops {
            match op {
                Op::Append(paths) => world.append(&paths),
                Op::Subscribe(reader, filters, back) => world.subscribe(reader, &filters, back),
                Op::Unsubscribe(reader, index) => world.unsubscribe(reader, index),
                Op::Show(back) => world.ring.show((world.events.len() as u64).saturating_sub(back)),
                Op::Step { reader, bytes_max, looks_max } => {
                    world.step(reader, bytes_max, looks_max);
                }
                Op::TakeEvent(reader, back) => {
                    world.take_event(reader, back);
                }
                Op::TakeExcerpt(reader) => {
                    world.take_excerpt(reader);
                }
                Op::Tell(first) => world.tell(first),
            }
        }
        world.ring.show(world.events.len() as u64);
        for reader in 0..READERS {
            while world.step(reader, 4096, 256) {}
        }
        world.check();
    }
}

/// Whoever cares for little of what happens is not told of a gap in what it does not care for.
#[test]
fn what_is_for_nobody_is_passed_and_never_a_gap() {
    let mut world = World::new(3, Showing::AtOnce);
    let portion = Portion {
        bytes_max: 64,
        looks_max: 4,
    };
    world.subscribe(0, &[3], 0);
    for passed in [10, 20] {
        for _ in 0..10 {
            world.append(&[0]);
        }
        let mut out = BytesMut::new();
        let (ring, audience) = (&world.ring, Audience::Everyone);
        let tell = |gap, _: &mut BytesMut| panic!("expected no gap, found {gap:?}");
        let step = world.readers[0]
            .cursor
            .step(ring, audience, portion, &mut out, tell);
        let expected = Step {
            frames: 0,
            has_gap: false,
            passed,
            has_more: false,
            newest: None,
        };
        assert_eq!(step, expected);
    }
}

#[test]
fn what_older_filters_have_had_is_not_copied_again() {
    let mut world = World::new(100, Showing::AtOnce);
    world.subscribe(0, &[0], 0);
    for path in [0, 2, 4, 2] {
        world.append(&[path]);
    }
    while world.step(0, 4096, 256) {}
    // Only what is at `c` is for the one that starts over.
    world.subscribe(0, &[3], 4);
    let mut out = BytesMut::new();
    let portion = Portion {
        bytes_max: 4096,
        looks_max: 256,
    };
    let (ring, audience) = (&world.ring, Audience::Everyone);
    let step = world.readers[0]
        .cursor
        .step(ring, audience, portion, &mut out, |_, _| {});
    assert_eq!((step.frames, step.passed), (2, 4));
}

/// What was marked for filters that are gone says nothing about those that come.
#[test]
fn who_begins_anew_is_told_of_no_gap_from_before() {
    let mut world = World::new(3, Showing::AtOnce);
    world.subscribe(0, &[3], 0);
    world.append(&[2]);
    world.unsubscribe(0, 0);
    world.append(&[0]);
    world.subscribe(0, &[3], 0);
    for _ in 0..5 {
        world.append(&[0]);
    }
    assert!(!world.step(0, 4096, 256));
    assert!(world.readers[0].subscriptions[0].accounted.is_empty());
}
