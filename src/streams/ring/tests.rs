//! The ring beside a naive one: a vector that is searched from the beginning.
//! Every bound, audience, portion and filter is met in random order; what is kept and what is copied has to agree.

use proptest::prelude::*;

use super::*;

/// Few paths, so that filters match often.
const PATHS: [&str; 4] = ["doc/1", "doc/2", "chat/1", "doc/1/notes"];

#[derive(Debug, Clone)]
enum Op {
    /// Paths by index, bytes of the frames; with two lengths the audiences differ.
    Append(Vec<usize>, usize, Option<usize>),
    /// Numbers are left out, as those of presence may be.
    Skip(u64),
    Wait(u64),
    Forget,
    Copy {
        back: u64,
        audience: Audience,
        bytes_max: usize,
        looks_max: usize,
        wanted: Option<usize>,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let paths = proptest::collection::vec(0..PATHS.len(), 1..4);
    let length = prop_oneof![4 => 0..200_usize, 1 => 5_000..20_000_usize];
    let second = proptest::option::weighted(0.3, 0..200_usize);
    let copy = (
        0..40_u64,
        prop_oneof![Just(Audience::Everyone), Just(Audience::Insiders)],
        prop_oneof![Just(0), 0..1_000_usize, Just(1 << 20)],
        prop_oneof![1..5_usize, Just(1_000)],
        proptest::option::of(0..PATHS.len()),
    );
    prop_oneof![
        8 => (paths, length, second).prop_map(|(paths, first, second)| Op::Append(paths, first, second)),
        1 => (1..5_u64).prop_map(Op::Skip),
        1 => (0..400_u64).prop_map(Op::Wait),
        1 => Just(Op::Forget),
        4 => copy.prop_map(|(back, audience, bytes_max, looks_max, wanted)| Op::Copy {
            back, audience, bytes_max, looks_max, wanted,
        }),
    ]
}

/// What was appended.
struct Kept {
    number: u64,
    at: LogTime,
    paths: Vec<&'static str>,
    everyone: Vec<u8>,
    insiders: Vec<u8>,
    occupied: usize,
}

struct World {
    ring: Ring,
    model: Vec<Kept>,
    top: u64,
    lost: u64,
    next: u64,
    now: LogTime,
}

impl World {
    fn new(bounds: Bounds, room: usize) -> Self {
        Self {
            ring: Ring::new(6, bounds, Room::new(room), Showing::AtOnce),
            model: Vec::new(),
            top: 6,
            lost: 6,
            next: 7,
            now: LogTime(1),
        }
    }

    fn append(&mut self, paths: &[usize], first: usize, second: Option<usize>) {
        let paths: Vec<_> = paths.iter().map(|index| PATHS[*index]).collect();
        let frame = |kind: u8, length: usize| vec![kind.wrapping_add(self.next as u8); length];
        let everyone = frame(0, first);
        // No bytes for insiders alone is the same as one frame for all.
        let second = second.filter(|length| *length > 0);
        let insiders = second.map_or_else(|| everyone.clone(), |length| frame(128, length));
        let frames = if second.is_some() {
            Frames::Differing {
                everyone: &everyone,
                insiders: &insiders,
            }
        } else {
            Frames::Same(&everyone)
        };
        let separators = paths.len() - 1;
        let texts: usize = paths.iter().map(|path| path.len()).sum();
        let occupied = first + second.unwrap_or(0) + texts + separators + size_of::<Entry>();
        let mut is_told = false;
        let (number, now) = (self.next, self.now);
        let lost = self
            .ring
            .append(number, now, &paths, frames, || is_told = true);
        assert!(is_told);
        self.model.push(Kept {
            number: self.next,
            at: self.now,
            paths,
            everyone,
            insiders,
            occupied,
        });
        self.top = self.next;
        self.next += 1;
        while self.model.len() > 1 && self.is_too_much() {
            self.lost = self.model.remove(0).number;
        }
        assert_eq!(lost, self.lost);
    }

    fn occupied(&self) -> usize {
        self.model.iter().map(|kept| kept.occupied).sum()
    }

    fn is_too_much(&self) -> bool {
        let bounds = self.ring.bounds;
        let most = bounds.bytes_max.min(self.ring.room.bytes_max);
        self.model.len() > bounds.entries_max
            || self.occupied() > most
            || self.model[0].at + bounds.age_max <= self.now
    }

    fn forget(&mut self) {
        self.ring.forget_old(self.now);
        let age_max = self.ring.bounds.age_max;
        while self
            .model
            .first()
            .is_some_and(|kept| kept.at + age_max <= self.now)
        {
            self.lost = self.model.remove(0).number;
        }
    }

    fn copy(&self, passed: u64, audience: Audience, portion: Portion, wanted: Option<&str>) {
        let mut expected = Vec::new();
        let (mut looks, mut frames, mut at) = (0, 0, passed);
        for kept in self.model.iter().filter(|kept| kept.number > passed) {
            let frame = match audience {
                Audience::Everyone => &kept.everyone,
                Audience::Insiders => &kept.insiders,
            };
            let is_too_long =
                !expected.is_empty() && expected.len() + frame.len() > portion.bytes_max;
            if looks == portion.looks_max || is_too_long {
                break;
            }
            looks += 1;
            at = kept.number;
            if !frame.is_empty() && wanted.is_none_or(|wanted| kept.paths.contains(&wanted)) {
                expected.extend_from_slice(frame);
                frames += 1;
            }
        }
        let mut out = BytesMut::from(&b"before"[..]);
        let is_wanted = |_, paths: Paths<'_>| {
            wanted.is_none_or(|wanted| paths.iter().any(|path| path == wanted))
        };
        let copied =
            self.ring
                .read()
                .copy((passed, u64::MAX), audience, portion, is_wanted, &mut out);
        assert_eq!(copied, Copied { passed: at, frames });
        assert_eq!(out.split_to(6), b"before"[..]);
        assert_eq!(out, expected);
    }

    fn check(&self) {
        let log = self.ring.read();
        assert_eq!(log.count(), self.model.len());
        assert_eq!((log.top(), log.lost()), (self.top, self.lost));
        assert_eq!(log.oldest(), self.model.first().map(|kept| kept.number));
        assert_eq!(log.bytes(), self.occupied());
        assert_eq!(self.ring.room.used(), self.occupied());
        assert_eq!(log.chunks.is_empty(), self.model.is_empty());
    }

    fn take(&mut self, op: Op) {
        match op {
            Op::Append(paths, first, second) => self.append(&paths, first, second),
            Op::Skip(count) => self.next += count,
            Op::Wait(ms) => self.now = self.now + Millis(ms),
            Op::Forget => self.forget(),
            Op::Copy {
                back,
                audience,
                bytes_max,
                looks_max,
                wanted,
            } => {
                let passed = self.top.saturating_sub(back).max(self.lost);
                let portion = Portion {
                    bytes_max,
                    looks_max,
                };
                self.copy(passed, audience, portion, wanted.map(|index| PATHS[index]));
            }
        }
    }
}

proptest! {
    #[test]
    fn the_ring_keeps_and_gives_what_a_naive_one_does(
        entries_max in 1..60_usize,
        bytes_max in 100..100_000_usize,
        age_max in 50..1_000_u64,
        room in prop_oneof![1_000..100_000_usize, Just(1 << 30)],
        ops in proptest::collection::vec(op(), 1..120),
    ) {
        let bounds = Bounds { entries_max, bytes_max, age_max: Millis(age_max) };
        let mut world = World::new(bounds, room);
        for op in ops {
            world.take(op);
            world.check();
        }
        let room = Arc::clone(&world.ring.room);
        drop(world);
        prop_assert_eq!(room.used(), 0);
    }
}

/// The ring that grows pays, and keeps its newest entry whatever the others occupy.
#[test]
fn rings_share_their_room() {
    let room = Room::new(1_000);
    let bounds = Bounds {
        entries_max: 100,
        bytes_max: 10_000,
        age_max: Millis(1_000),
    };
    let one = Ring::new(0, bounds, Arc::clone(&room), Showing::AtOnce);
    let two = Ring::new(0, bounds, Arc::clone(&room), Showing::AtOnce);
    let append = |ring: &Ring| {
        let number = ring.read().top() + 1;
        ring.append(number, LogTime(1), &["a"], Frames::Same(&[0; 400]), || {});
    };
    for _ in 0..5 {
        append(&one);
    }
    assert_eq!(one.read().count(), 2);
    for _ in 0..5 {
        append(&two);
    }
    assert_eq!((one.read().count(), two.read().count()), (2, 1));
    drop(one);
    append(&two);
    assert_eq!(two.read().count(), 2);
}
