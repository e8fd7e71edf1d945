//! Shards over a journal whose disk is moved by hand: what leaves before it has been moved, and what does not.
//!
//! Rule that is tested: whatever a shard says rests on all that it has decided before, whoever it is said to (promise 6);
//! and where nothing can be kept nothing is decided.

use bytes::BytesMut;
use tempfile::TempDir;
use tenure_engine::presence::Bounds as PresenceBounds;
use tenure_engine::{
    Acquire, Attach, Disconnect, Mode, OpenSession, Release, ReleaseScope, ResumeKey, Role,
    SessionId, WallTime,
};
use tenure_protocol::frame::Frames;
use tenure_protocol::limits::FRAME_FROM_SERVER;
use tenure_protocol::{ErrorCode, Filter, FromServer, RequestKind};
use tokio::time::{Instant, timeout};

use super::*;
use crate::dispatch::Work;
use crate::dispatch::streams::StreamWork;
use crate::journal::{Directory, Durability, Options, Parts, go_on, no_rest, recover};
use crate::streams::{Audience, Subscribe, Subscriptions};

const ORG: &str = "acme";
const SHARD: ShardIndex = ShardIndex(0);
const SEGMENT_BYTES: u64 = 16 * 1024;

/// A shard, and the journal's disk.
struct World {
    shards: Shards,
    disk: Disk,
    next_id: u64,
}

/// A journal's disk, which gets on when it is told to.
pub(crate) struct Disk {
    parts: Parts,
    gate: Arc<Gate>,
    _folder: TempDir,
}

/// Who asks.
struct Asker {
    outbox: Arc<Outbox>,
    by: SessionRef,
}

impl Disk {
    /// Shards that wait for it.
    pub(crate) fn with_shards() -> (Self, Shards) {
        let folder = TempDir::new().unwrap();
        let directory = Directory::open(folder.path(), 1).unwrap();
        let mut recovered = recover(&directory, go_on).unwrap();
        let options = Options {
            durability: Durability::Always,
            segment_bytes: SEGMENT_BYTES,
        };
        let first = (Token(1), WallTime(0));
        let mut parts = Parts::assemble(&directory, &mut recovered, first, options).unwrap();
        let gate = Arc::new(Gate::new());
        gate.reached(parts.intake.durable());
        let shards = recovered.shards.into_iter().zip(parts.appenders.drain(..));
        let beginning = Beginning::Kept {
            shards: shards
                .map(|(shard, appender)| shard.lives_on(appender))
                .collect(),
            holds_back: true,
        };
        let bounds = (
            crate::config::Config::default().keeping(),
            PresenceBounds::default(),
        );
        let clock = Clock::from(recovered.log_time);
        let shards = Shards::new(beginning, clock, Arc::clone(&gate), bounds);
        let disk = Self {
            parts,
            gate,
            _folder: folder,
        };
        (disk, shards)
    }

    /// What has been decided so far gets to it.
    pub(crate) fn sync(&mut self) {
        self.parts.writer.write().unwrap();
        self.gate.reached(self.parts.writer.sync().unwrap());
    }
}

impl World {
    fn new() -> Self {
        let (disk, shards) = Disk::with_shards();
        let next_id = 0;
        Self {
            shards,
            disk,
            next_id,
        }
    }

    /// What has been decided so far gets to the disk.
    fn sync(&mut self) {
        self.disk.sync();
    }

    fn ask(&mut self, outbox: &Arc<Outbox>, kind: RequestKind, work: Work<'_>) {
        self.next_id += 1;
        let item = Item {
            shard: SHARD,
            id: self.next_id,
            kind,
            work,
            resume_key: None,
        };
        let mut written = Unwritten::default();
        let done = self.shards.submit(SHARD, &[item], outbox, &mut written);
        done.to_tell.into_iter().for_each(|woken| woken.wake());
        if done.frames > 0 {
            // What it would write now is looked at later, with all else that it is told.
            outbox.append(&written.bytes, done.frames, written.mark);
        }
    }

    fn open(&mut self, owner: &str) -> Asker {
        let outbox = Arc::new(Outbox::new(1 << 20));
        let open = OpenSession {
            org: ORG,
            owner,
            name: "",
            metadata: b"",
            role: Role::Member,
            resume_key: ResumeKey(1),
            on_disconnect: Disconnect::ByPolicy,
        };
        let sessions =
            |world: &Self| world.shards.shards[0].state.lock().hearers.routes.len() as u64;
        let number = sessions(self) + 1;
        let work = Work::Command(Command::OpenSession(open));
        self.ask(&outbox, RequestKind::SessionOpen, work);
        self.sync();
        outbox.exchange(&mut Unwritten::default(), &mut Vec::new());
        let by = SessionRef {
            session: SessionId(number),
            attach: Attach(1),
        };
        Asker { outbox, by }
    }

    fn acquire(&mut self, asker: &Asker, wait: Millis) {
        let acquire = Acquire {
            by: asker.by,
            path: "doc/1",
            mode: Mode::Exclusive,
            limit: None,
            ttl: None,
            wait,
            note: None,
            seize: None,
            metadata: b"",
        };
        let work = Work::Command(Command::Acquire(acquire));
        self.ask(&asker.outbox, RequestKind::LockAcquire, work);
    }

    fn release(&mut self, asker: &Asker) {
        let release = Release {
            by: asker.by,
            path: "doc/1",
            scope: ReleaseScope::Session,
            token: None,
        };
        let work = Work::Command(Command::Release(release));
        self.ask(&asker.outbox, RequestKind::LockRelease, work);
    }

    fn status(&mut self, outbox: &Arc<Outbox>) {
        let path = "doc/1";
        let work = Work::Query(Query::Status { org: ORG, path });
        self.ask(outbox, RequestKind::LockStatus, work);
    }

    fn listen(&mut self, connection: u64) -> Hearing {
        let outbox = Arc::new(Outbox::new(1 << 20));
        let mut subscriptions = Subscriptions::default();
        let subscribe = Subscribe {
            connection,
            subscription: subscriptions.begin(ORG, SHARD, 1).unwrap(),
            audience: Audience::Insiders,
            org: ORG,
            filters: vec![Filter::parse("**").unwrap()],
            since: None,
            presence: true,
        };
        let work = Work::Stream(Box::new(StreamWork::Subscribe(subscribe)));
        self.ask(&outbox, RequestKind::StreamSubscribe, work);
        self.sync();
        Hearing {
            outbox,
            subscriptions,
        }
    }
}

/// Who listens.
struct Hearing {
    outbox: Arc<Outbox>,
    subscriptions: Subscriptions,
}

impl Hearing {
    /// How often it has been woken since the last look.
    fn look(&mut self) -> usize {
        let woken = self.subscriptions.woken();
        self.outbox.exchange(&mut Unwritten::default(), woken);
        let count = woken.len();
        self.subscriptions.note_woken();
        count
    }

    /// How many events it reads when it looks, whether it was woken or not.
    fn read(&mut self) -> u64 {
        self.subscriptions.look_at_all();
        let drained = self
            .subscriptions
            .drain(1 << 20, Instant::now(), &mut BytesMut::new());
        assert!(!self.subscriptions.is_ready());
        drained.frames
    }
}

/// What the outbox has, and whether the gate lets it leave.
fn found(world: &World, outbox: &Outbox) -> (Vec<FromServer<'static>>, bool) {
    let mut written = Unwritten::default();
    outbox.exchange(&mut written, &mut Vec::new());
    let frames = Frames::new(&written.bytes, FRAME_FROM_SERVER);
    let heard = frames.map(|frame| {
        let bytes: &'static [u8] = frame.unwrap().to_vec().leak();
        FromServer::decode(bytes).unwrap()
    });
    (heard.collect(), world.shards.gate.is_reached(written.mark))
}

async fn is_woken(outbox: &Outbox) -> bool {
    timeout(Duration::from_millis(20), outbox.ready())
        .await
        .is_ok()
}

#[tokio::test]
async fn an_earlier_deadline_wakes_the_timekeeper() {
    let clock = Clock::from(LogTime::ZERO);
    let keeping = crate::config::Config::default().keeping();
    let beginning = Beginning::in_memory(1, Token(1));
    let bounds = (keeping, PresenceBounds::default());
    let shards = Shards::new(beginning, clock, Arc::new(Gate::new()), bounds);
    let sleeps_until = |shards: &Shards| shards.shards[0].state.lock().sleeps_until;
    assert_eq!(sleeps_until(&shards), None);
    let open = OpenSession {
        org: ORG,
        owner: "alice",
        name: "",
        metadata: b"",
        role: Role::Member,
        resume_key: ResumeKey(0),
        on_disconnect: Disconnect::ByPolicy,
    };
    shards
        .propose(SHARD, &[Command::OpenSession(open)])
        .unwrap();
    let idle = sleeps_until(&shards).expect("an idle session has a deadline");
    let by = SessionRef {
        session: SessionId(1),
        attach: Attach(1),
    };
    shards
        .propose(SHARD, &[Command::DetachSession(by)])
        .unwrap();
    let grace = sleeps_until(&shards).expect("a detached session has a deadline");
    assert!(
        grace < idle,
        "expected the grace to come before the idleness"
    );
}

#[tokio::test]
async fn an_answer_waits_for_what_was_decided_before_it_whoever_asked_for_that() {
    let mut world = World::new();
    let (anna, ben) = (world.open("anna"), world.open("ben"));
    let stranger = Arc::new(Outbox::new(1 << 20));
    world.acquire(&anna, Millis::ZERO);
    world.acquire(&ben, Millis::ZERO);
    world.status(&stranger);
    for (who, outbox) in [
        ("the grant", &anna.outbox),
        ("the refusal", &ben.outbox),
        ("the read", &stranger),
    ] {
        let (heard, may_leave) = found(&world, outbox);
        assert_eq!((heard.len(), may_leave), (1, false), "{who}");
    }
    world.sync();
    world.status(&stranger);
    let (heard, may_leave) = found(&world, &stranger);
    assert_eq!(
        (heard.len(), may_leave),
        (1, true),
        "what is on disk may be told"
    );
}

#[tokio::test]
async fn a_notice_waits_and_its_connection_is_woken_once_it_may_leave() {
    let mut world = World::new();
    let (anna, ben) = (world.open("anna"), world.open("ben"));
    world.acquire(&anna, Millis::ZERO);
    world.acquire(&ben, Millis::from_secs(60));
    world.sync();
    found(&world, &ben.outbox);
    world.release(&anna);
    assert!(!is_woken(&ben.outbox).await);
    world.sync();
    assert!(is_woken(&ben.outbox).await);
    let (heard, may_leave) = found(&world, &ben.outbox);
    assert!(may_leave);
    assert!(
        matches!(
            heard[..],
            [FromServer::Push(tenure_protocol::Push::LockGranted(_))]
        ),
        "{heard:?}"
    );
    assert!(!is_woken(&ben.outbox).await, "woken once");
}

#[tokio::test]
async fn an_event_is_not_read_before_it_is_on_disk() {
    let mut world = World::new();
    let anna = world.open("anna");
    let mut hearing = world.listen(7);
    assert_eq!((hearing.look(), hearing.read()), (1, 0));
    world.acquire(&anna, Millis::ZERO);
    assert_eq!(
        hearing.look(),
        0,
        "nobody is woken for what may not be read"
    );
    assert_eq!(hearing.read(), 0, "nor may whoever looks read it");
    world.release(&anna);
    assert_eq!(hearing.read(), 0);
    world.sync();
    assert_eq!(hearing.look(), 1, "woken once for both");
    assert_eq!((hearing.read(), hearing.read()), (2, 0));

    // One that has not looked since it was woken is not woken again, and finds everything when it looks.
    for _ in 0..3 {
        world.acquire(&anna, Millis::ZERO);
        world.release(&anna);
        world.sync();
    }
    assert_eq!((hearing.look(), hearing.read()), (1, 6));
    // What comes while it reads wakes it again.
    world.acquire(&anna, Millis::ZERO);
    assert_eq!(hearing.read(), 0);
    world.sync();
    assert_eq!((hearing.look(), hearing.read()), (1, 1));
}

/// As with a disk that is full: reads that decide nothing go on, the rest is to be asked again, and is decided when there is
/// room again.
#[tokio::test]
async fn what_cannot_be_kept_is_not_decided() {
    let mut world = World::new();
    let anna = world.open("anna");
    let is_refused = |world: &mut World| {
        world.acquire(&anna, Millis::ZERO);
        world.release(&anna);
        world.sync();
        let (heard, may_leave) = found(world, &anna.outbox);
        assert!(may_leave);
        let code = ErrorCode::Unavailable.number();
        let is_error = |heard: &FromServer<'_>| matches!(heard, FromServer::Error { error, .. } if error.code.number() == code);
        heard.iter().any(is_error)
    };
    let mut rounds = 0;
    while !is_refused(&mut world) {
        rounds += 1;
        assert!(rounds < 1_000, "the segment is never full");
    }
    let digest = |world: &World| world.shards.shards[0].state.lock().engine.digest();
    let before = digest(&world);
    assert!(is_refused(&mut world));
    assert_eq!(digest(&world), before);
    let by = [Command::DetachSession(anna.by)];
    assert_eq!(world.shards.propose(SHARD, &by), Err(Full::Segment));
    assert_eq!(
        world.shards.renew_session(SHARD, anna.by).unwrap_err(),
        Full::Segment
    );
    let list = Query::Policy {
        org: ORG,
        kind: None,
    };
    world.ask(&anna.outbox, RequestKind::PolicyGet, Work::Query(list));
    let (heard, may_leave) = found(&world, &anna.outbox);
    assert!(may_leave);
    assert!(matches!(heard[..], [FromServer::Reply { .. }]), "{heard:?}");

    world.disk.parts.preparer.prepare(&mut no_rest).unwrap();
    assert!(!is_refused(&mut world));
}

#[tokio::test]
async fn nothing_is_decided_any_more_when_history_has_ended() {
    let mut world = World::new();
    let anna = world.open("anna");
    assert_eq!(world.shards.close().len(), 1);
    world.acquire(&anna, Millis::ZERO);
    let (heard, may_leave) = found(&world, &anna.outbox);
    assert!(
        may_leave && matches!(heard[..], [FromServer::Error { .. }]),
        "{heard:?}"
    );
    assert!(world.shards.close().is_empty());
}
