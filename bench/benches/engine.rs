//! What a step of the engine costs: single commands, hand-offs, sweeps, and the same with very many holds.
//!
//! Drives the engine as a shard does, without what is around it: no wire, no mutex, no clock. What a step needs is made
//! before it is measured. Consequences go to a sink that takes and drops them, as the server pays for that too.
//! Paths are 24 bytes long, those of one index at random places in path order.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime as Clock;
use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group,
    criterion_main,
};
use tenure_bench::paths::Path;
use tenure_engine::{
    Acquire, Answer, Command, Disconnect, Effects, Engine, Entry, Event, List, LogTime, Millis,
    Mode, Notice, OpenSession, PolicyLayer, Query, Release, ReleaseScope, Renew, Reply, ResumeKey,
    Role, Scope, SessionRef, Target, Token, WallTime,
};

const ORG: &str = "acme";
/// The longest there is: no benchmark that lets time pass comes to the end of it unless it means to.
const TTL: Millis = Millis::from_secs(24 * 60 * 60);
/// Where very many holds end: when the first does, and how long it takes until the last does.
const ENDS_AFTER: Millis = Millis::from_secs(10);
const ENDS_WITHIN: Millis = Millis::from_secs(1);
/// Holds of one session, where many sessions share very many.
const HOLDS_PER_SESSION: u32 = 10_000;
/// The same, where they have few.
const HOLDS_OF_FEW: u32 = 100;
/// Paths that a benchmark with random paths chooses from; their texts are laid out before.
const FREE_PATHS: u32 = 1 << 16;

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = single_commands, session_renewals, hand_offs, sweeps, very_many_ends, large_states
}
criterion_main!(benches);

fn single_commands(c: &mut Criterion) {
    let mut group = c.benchmark_group("engine");
    let path = Path::at(0);

    group.bench_function("acquire_and_release_a_free_path", |bencher| {
        let mut world = World::new();
        let by = world.open("ada");
        bencher.iter(|| {
            world.acquire(by, black_box(path.as_str()), Millis::ZERO);
            world.release(by, black_box(path.as_str()))
        });
    });
    group.bench_function("renew_a_hold", |bencher| {
        let mut world = World::new();
        let by = world.open("ada");
        world.acquire(by, path.as_str(), Millis::ZERO);
        world.tidy_timers();
        bencher.iter(|| {
            // A renewal within the same millisecond would have nothing to do.
            world.pass(Millis(1));
            world.renew(by, black_box(path.as_str()))
        });
    });
    group.bench_function("refuse_an_acquire", |bencher| {
        let mut world = World::new();
        let (holder, other) = (world.open("ada"), world.open("bob"));
        world.acquire(holder, path.as_str(), Millis::ZERO);
        let refused = world.acquire(other, path.as_str(), Millis::ZERO);
        assert!(matches!(refused, Reply::Refused(_)));
        bencher.iter(|| world.acquire(other, black_box(path.as_str()), Millis::ZERO));
    });
    group.finish();
}

fn session_renewals(c: &mut Criterion) {
    let mut group = c.benchmark_group("engine/renew_a_session_with_holds");
    for holds in [1, 100, HOLDS_PER_SESSION] {
        let with_holds = || {
            let mut world = World::new();
            let by = world.open("ada");
            for index in 0..holds {
                world.acquire(by, Path::at(index).as_str(), Millis::ZERO);
            }
            world.tidy_timers();
            (world, by)
        };
        group.bench_function(BenchmarkId::from_parameter(holds), |bencher| {
            let (mut world, by) = with_holds();
            bencher.iter(|| {
                world.pass(Millis(1));
                world.apply(Command::RenewSession(black_box(by)))
            });
        });
        // A shard asks for the next deadline after each batch.
        group.bench_function(BenchmarkId::new("and_next_deadline", holds), |bencher| {
            let (mut world, by) = with_holds();
            bencher.iter(|| {
                world.pass(Millis(1));
                world.apply(Command::RenewSession(black_box(by)));
                world.engine.next_deadline()
            });
        });
    }
    group.finish();
}

/// A release that hands the lock to the first of so many waiters. That the loser queues again is not measured, so that
/// the queue keeps its length (within a hundredth).
fn hand_offs(c: &mut Criterion) {
    let mut group = c.benchmark_group("engine/hand_off_with_waiters");
    for waiters in [10_usize, 1000] {
        group.bench_function(BenchmarkId::from_parameter(waiters), |bencher| {
            let path = Path::at(0);
            let mut world = World::new();
            let mut line: Vec<_> = (0..=waiters)
                .map(|number| world.open(&format!("owner-{number}")))
                .collect();
            for by in &line {
                world.acquire(*by, path.as_str(), TTL);
            }
            let at_once = (waiters / 100).max(1);
            bencher.iter_custom(|count| {
                let mut spent = Duration::ZERO;
                let mut left = count as usize;
                while left > 0 {
                    let now = left.min(at_once);
                    let start = Instant::now();
                    for by in &line[..now] {
                        black_box(world.release(*by, path.as_str()));
                    }
                    spent += start.elapsed();
                    for by in &line[..now] {
                        world.acquire(*by, path.as_str(), TTL);
                    }
                    line.rotate_left(now);
                    left -= now;
                }
                spent
            });
        });
    }
    group.finish();
}

fn sweeps(c: &mut Criterion) {
    let mut group = c.benchmark_group("engine/tick");
    let holds = 256;
    group.throughput(Throughput::Elements(holds));
    group.bench_function("sweep_256_overdue_holds", |bencher| {
        let mut world = World::new();
        let by = world.open("ada");
        for index in 0..holds as u32 {
            world.acquire(by, Path::at(index).as_str(), Millis::ZERO);
        }
        world.pass(TTL);
        bencher.iter_batched_ref(
            || world.clone(),
            |world| world.apply(Command::Tick),
            BatchSize::SmallInput,
        );
        world.apply(Command::Tick);
        assert_eq!(world.sink.events, 1 + 2 * holds, "a tick sweeps them all");
    });
    group.finish();
}

/// As a server ends very many: several engines in turn, each what is due in a millisecond. One by itself would have the
/// processor's caches to itself, and hide what it waits for. Where there are few, every lock is young.
fn very_many_ends(c: &mut Criterion) {
    const ENGINES: u32 = 8;
    let mut group = c.benchmark_group("engine/tick");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    for holds in [40_000, 1_000_000] {
        group.throughput(Throughput::Elements(u64::from(holds)));
        let name = BenchmarkId::new("end_all_holds_of_eight_engines", holds);
        group.bench_function(name, |bencher| {
            bencher
                .iter_custom(|count| (0..count).map(|_| all_end(ENGINES, holds / ENGINES)).sum());
        });
    }
    group.finish();
}

/// How long it takes until the holds of so many engines have ended, so many of each.
fn all_end(engines: u32, holds: u32) -> Duration {
    let mut worlds: Vec<_> = (0..engines).map(|_| World::with_ends(holds)).collect();
    let start = Instant::now();
    for _ in 0..=ENDS_WITHIN.0 {
        worlds.iter_mut().for_each(World::end_what_is_over);
    }
    let spent = start.elapsed();
    let told = u64::from(holds.div_ceil(HOLDS_OF_FEW) + 2 * holds);
    let have_ended = worlds.iter().all(|world| world.sink.events == told);
    assert!(have_ended, "all of them end");
    spent
}

fn large_states(c: &mut Criterion) {
    let mut group = c.benchmark_group("engine/with_held_paths");
    for holds in [0, 100_000, 1_000_000] {
        // Made when it is first needed, since a filter may leave out what needs it.
        let mut world = None;
        acquire_and_release(&mut group, &mut world, holds);
        if holds == 100_000 {
            snapshot_and_restore(&mut group, &mut world, holds);
        }
        if holds == 1_000_000 {
            list(&mut group, &mut world, holds);
        }
    }
    group.finish();
}

/// Random free paths, which lie anywhere among the held ones.
fn acquire_and_release(
    group: &mut BenchmarkGroup<'_, Clock>,
    world: &mut Option<World>,
    holds: u32,
) {
    group.throughput(Throughput::Elements(1));
    group.bench_function(
        BenchmarkId::new("acquire_and_release_random_paths", holds),
        |bencher| {
            let world = made(world, holds);
            let by = world.open("somebody else");
            let free: Vec<_> = (holds..holds + FREE_PATHS).map(Path::at).collect();
            let mut random = fastrand::Rng::with_seed(7);
            bencher.iter(|| {
                let path = free[random.usize(..free.len())].as_str();
                world.acquire(by, path, Millis::ZERO);
                world.release(by, path)
            });
        },
    );
}

fn snapshot_and_restore(
    group: &mut BenchmarkGroup<'_, Clock>,
    world: &mut Option<World>,
    holds: u32,
) {
    group.throughput(Throughput::Elements(holds.into()));
    group.sample_size(10);
    group.bench_function(BenchmarkId::new("snapshot", holds), |bencher| {
        let engine = &made(world, holds).engine;
        let mut bytes = snapshot(engine);
        bencher.iter(|| {
            bytes.clear();
            engine.snapshot(black_box(&mut bytes));
        });
    });
    group.bench_function(BenchmarkId::new("restore", holds), |bencher| {
        let bytes = snapshot(&made(world, holds).engine);
        // What is restored is dropped outside of the measurement.
        bencher.iter_with_large_drop(|| Engine::restore(black_box(&bytes)));
    });
    group.sample_size(100);
}

/// One page, from a random place.
fn list(group: &mut BenchmarkGroup<'_, Clock>, world: &mut Option<World>, holds: u32) {
    let page = 256;
    group.throughput(Throughput::Elements(page.into()));
    group.bench_function(BenchmarkId::new("list_a_page_of_256", holds), |bencher| {
        let world = made(world, holds);
        let mut random = fastrand::Rng::with_seed(7);
        let cursors: Vec<_> = (0..1024).map(|_| Path::at(random.u32(..holds))).collect();
        bencher.iter(|| {
            let after = &cursors[random.usize(..cursors.len())];
            let query = Query::List(List {
                org: ORG,
                target: Target::All,
                mode: None,
                held_min: Millis::ZERO,
                after: Some(after.as_str()),
                page,
            });
            let answer = world.engine.query(&query, world.now);
            assert!(matches!(answer, Answer::Page { .. }));
            answer
        });
    });
}

fn made(world: &mut Option<World>, holds: u32) -> &mut World {
    world.get_or_insert_with(|| World::with_holds(holds))
}

fn snapshot(engine: &Engine) -> Vec<u8> {
    let mut bytes = Vec::new();
    engine.snapshot(&mut bytes);
    bytes
}

/// An engine, what time it is there, and where its consequences go.
#[derive(Clone)]
struct World {
    engine: Engine,
    now: LogTime,
    sink: Sink,
}

/// Takes and drops every consequence.
#[derive(Clone, Default)]
struct Sink {
    events: u64,
}

impl Effects for Sink {
    fn notice(&mut self, to: SessionRef, notice: Notice<&str>) {
        black_box((to, notice));
    }

    fn event(&mut self, event: &Event<&str>) {
        self.events += 1;
        black_box(event);
    }
}

impl World {
    fn new() -> Self {
        Self {
            engine: Engine::new(Token(1)),
            now: LogTime(1),
            sink: Sink::default(),
        }
    }

    /// So many holds of many sessions, whose TTL outlasts every benchmark.
    fn with_holds(holds: u32) -> Self {
        let mut world = Self::new();
        world.apply(Command::Configure {
            scope: Scope::Server,
            layer: PolicyLayer {
                session_holds_max: Some(HOLDS_PER_SESSION),
                ..PolicyLayer::default()
            },
            principal: "bench",
        });
        for first in (0..holds).step_by(HOLDS_PER_SESSION as usize) {
            let by = world.open(&format!("owner-{first}"));
            for index in first..holds.min(first + HOLDS_PER_SESSION) {
                world.acquire(by, Path::at(index).as_str(), Millis::ZERO);
            }
        }
        world
    }

    /// So many holds of many sessions, which are over within a second that has just come, in no order that
    /// their sessions or their places have.
    fn with_ends(holds: u32) -> Self {
        let mut world = Self::new();
        let sessions: Vec<_> = (0..holds.div_ceil(HOLDS_OF_FEW))
            .map(|number| world.open(&format!("owner-{number}")))
            .collect();
        for index in 0..holds {
            let by = sessions[index as usize % sessions.len()];
            let after = (u64::from(index.wrapping_mul(2_654_435_761)) * ENDS_WITHIN.0) >> 32;
            world.acquire_for(by, Path::at(index).as_str(), Millis(ENDS_AFTER.0 + after));
        }
        world.pass(ENDS_AFTER);
        world
    }

    /// As a shard does, once in a millisecond.
    fn end_what_is_over(&mut self) {
        while self
            .engine
            .next_deadline()
            .is_some_and(|due| due <= self.now)
        {
            if self.engine.prepare(self.now) {
                self.apply(Command::Tick);
            }
        }
        self.pass(Millis(1));
    }

    fn pass(&mut self, span: Millis) {
        self.now = self.now + span;
    }

    /// Drops the timers that lead to nothing, as a shard has done long before they come up. Without this, time that
    /// passes as quickly as here would find them due.
    fn tidy_timers(&mut self) {
        self.engine.next_deadline();
    }

    fn open(&mut self, owner: &str) -> SessionRef {
        let reply = self.apply(Command::OpenSession(OpenSession {
            org: ORG,
            owner,
            name: "Ada Lovelace",
            metadata: b"",
            role: Role::Member,
            resume_key: ResumeKey(1),
            on_disconnect: Disconnect::ByPolicy,
        }));
        let Reply::Opened {
            session, attach, ..
        } = reply
        else {
            unreachable!("there is no limit that a benchmark comes near");
        };
        SessionRef { session, attach }
    }

    fn acquire(&mut self, by: SessionRef, path: &str, wait: Millis) -> Reply {
        self.ask(by, path, TTL, wait)
    }

    fn acquire_for(&mut self, by: SessionRef, path: &str, ttl: Millis) {
        let reply = self.ask(by, path, ttl, Millis::ZERO);
        assert!(matches!(reply, Reply::Granted(_)), "{reply:?}");
    }

    fn ask(&mut self, by: SessionRef, path: &str, ttl: Millis, wait: Millis) -> Reply {
        self.apply(Command::Acquire(Acquire {
            by,
            path,
            mode: Mode::Exclusive,
            limit: None,
            ttl: Some(ttl),
            wait,
            note: None,
            seize: None,
            metadata: b"",
        }))
    }

    fn renew(&mut self, by: SessionRef, path: &str) -> Reply {
        self.apply(Command::Renew(Renew {
            by,
            path,
            ttl: None,
            token: None,
        }))
    }

    fn release(&mut self, by: SessionRef, path: &str) -> Reply {
        self.apply(Command::Release(Release {
            by,
            path,
            scope: ReleaseScope::Session,
            token: None,
        }))
    }

    fn apply(&mut self, command: Command<'_>) -> Reply {
        let entry = Entry {
            at: self.now,
            wall: WallTime(1_700_000_000_000),
            command: &command,
        };
        self.engine.apply(&entry, &mut self.sink).reply
    }
}
