//! A connection whose writes are looked at as they are made, beside listeners whose connections sleep and whose sockets are
//! real ones.
//!
//! Rule that is tested: of an event that concerns few, they are told before whoever made it is answered; of one that concerns
//! more, nobody is told before that.

use std::io;
use std::mem::replace;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tenure_engine::presence::Bounds as PresenceBounds;
use tenure_engine::{LogTime, Token};
use tenure_protocol::frame::cut;
use tenure_protocol::limits::{FRAME_FROM_CLIENT, FRAME_FROM_SERVER};
use tenure_protocol::{Event, Filter, FromServer, Mode, VERSION};
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::*;
use crate::clock::Clock;
use crate::config::Config;
use crate::dispatch::Work;
use crate::dispatch::streams::StreamWork;
use crate::metrics::{Metrics, ShardView};
use crate::outlet::tests::pair;
use crate::shards::tests::Disk;
use crate::shards::{Beginning, Shards};
use crate::streams::{Audience, Keeping, Subscribe};

const ORG: &str = "acme";
const LIMIT: Duration = Duration::from_secs(20);

/// Long before a connection looks at anything by itself.
const AT_ONCE: Duration = Duration::from_secs(4);

/// Within this whoever is not held back has written.
const SOON: Duration = Duration::from_millis(100);

const FEW: [usize; 2] = [1, Woken::TOLD_FIRST];

/// So many are told by the connection that made the event, when it has written its answer, or by tasks of their own.
const MANY: [usize; 2] = [Woken::TOLD_FIRST + 1, 200];

/// A connection, who asks over it, and who listens.
struct World {
    asker: DuplexStream,
    next_id: u64,
    writes: mpsc::UnboundedReceiver<Write>,
    listeners: Arc<[Asleep]>,
    /// The other ends of their sockets.
    clients: Vec<TcpStream>,
}

/// A connection that sleeps: everything that it is to hear is written past it.
struct Asleep {
    outbox: Arc<Outbox>,
    socket: Socket,
}

/// What the connection has written, and what had been written to the listeners by then since its last write.
struct Write {
    bytes: BytesMut,
    told: u64,
}

/// Takes all that is written to it, and looks at the listeners meanwhile. Nothing else runs in that time.
struct Witness {
    listeners: Arc<[Asleep]>,
    writes: mpsc::UnboundedSender<Write>,
}

impl AsyncWrite for Witness {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let told = told(&self.listeners);
        let write = Write {
            bytes: BytesMut::from(bytes),
            told,
        };
        let sent = self.writes.send(write);
        Poll::Ready(sent.map(|()| bytes.len()).map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Asleep {
    /// Frames that its socket has taken since this was asked last.
    fn told(&self) -> u64 {
        let lent = self.outbox.outlet.take_back().unwrap();
        assert!(lent.unwritten.is_empty());
        self.outbox.outlet.lend(self.socket.clone(), lent.unwritten);
        lent.passed.frames
    }

    /// Has it listen to everything that happens in the org.
    fn listen(&self, shards: &Shards, connection: u64) {
        let subscribe = Subscribe {
            connection,
            subscription: 1,
            audience: Audience::Everyone,
            org: ORG,
            filters: vec![Filter::parse("**").unwrap()],
            since: None,
            presence: false,
        };
        let item = Item {
            shard: shards.homes.of_org(ORG),
            id: 1,
            kind: RequestKind::StreamSubscribe,
            work: Work::Stream(Box::new(StreamWork::Subscribe(subscribe))),
            resume_key: None,
        };
        let mut answer = Unwritten::default();
        let done = shards.submit(item.shard, &[item], &self.outbox, &mut answer);
        done.to_tell.into_iter().for_each(|woken| woken.wake());
        // It looks at what there is, and goes to sleep.
        self.outbox.exchange(&mut answer, &mut Vec::new());
        let socket = self.socket.clone();
        self.outbox.outlet.lend(socket, BytesMut::new());
    }
}

fn shards_in_memory() -> Shards {
    let (beginning, clock) = (
        Beginning::in_memory(1, Token(1)),
        Clock::from(LogTime::ZERO),
    );
    Shards::new(beginning, clock, Arc::new(Gate::new()), bounds())
}

fn bounds() -> (Keeping, PresenceBounds) {
    let config = Config::default();
    (config.keeping(), config.presence())
}

fn connection(shards: Shards, outbox: Arc<Outbox>) -> Connection {
    let metrics = Metrics::new(Arc::new(Unread));
    let open = metrics.connection_opened();
    let shared = Arc::new(Shared::new(Config::default(), Arc::new(shards), metrics));
    let peer = SocketAddr::from(([127, 0, 0, 1], 7420));
    Connection::new(shared, 0, peer, outbox, open, Instant::now())
}

fn told(listeners: &[Asleep]) -> u64 {
    listeners.iter().map(Asleep::told).sum()
}

/// Nobody reads metrics here.
#[derive(Debug)]
struct Unread;

impl crate::metrics::Shards for Unread {
    fn visit(&self, _: &mut dyn FnMut(ShardView<'_>)) {}

    fn stream_bytes(&self) -> u64 {
        0
    }
}

impl World {
    /// So many listen, and the connection has been introduced.
    async fn new(listeners_count: usize) -> Self {
        let shards = shards_in_memory();
        let (mut listeners, mut clients) = (Vec::new(), Vec::new());
        for number in 1..=listeners_count {
            let (socket, client) = pair().await;
            let outbox = Arc::new(Outbox::new(1 << 20));
            let listener = Asleep { outbox, socket };
            listener.listen(&shards, number as u64);
            listeners.push(listener);
            clients.push(client);
        }
        Self::introduced(shards, listeners.into(), clients).await
    }

    /// A connection to these shards, which has been introduced.
    async fn introduced(shards: Shards, listeners: Arc<[Asleep]>, clients: Vec<TcpStream>) -> Self {
        let (writes, written) = mpsc::unbounded_channel();
        let witness = Witness {
            listeners: Arc::clone(&listeners),
            writes,
        };
        let (asker, reader) = duplex(FRAME_FROM_CLIENT);
        let connection = connection(shards, Arc::new(Outbox::new(1 << 20)));
        tokio::spawn(connection.serve(reader, witness, None));
        let mut world = Self {
            asker,
            next_id: 1,
            writes: written,
            listeners,
            clients,
        };
        let hello = request::Hello {
            version: VERSION,
            client: "test",
            key: None,
        };
        let introduced = timeout(AT_ONCE, world.ask(Request::Hello(hello)));
        introduced.await.expect("nobody else has to say anything");
        world
    }

    /// Asks, and hears nothing for a while.
    async fn ask_in_vain(&mut self, request: Request<'_>) {
        let asked = timeout(SOON, self.ask(request)).await;
        assert!(asked.is_err(), "expected no answer yet, found {asked:?}");
    }

    /// Asks. Gives the answer, and how many of the listeners had been told something by then.
    async fn ask(&mut self, request: Request<'_>) -> (Reply<'static>, u64) {
        let id = self.next_id;
        self.next_id += 1;
        let mut out = BytesMut::new();
        request.encode(id, &mut out);
        self.asker.write_all(&out).await.unwrap();
        let mut told = 0;
        loop {
            let write = timeout(LIMIT, self.writes.recv()).await.unwrap();
            let mut write = write.expect("the connection lives");
            told += write.told;
            while let Some(frame) = cut(&mut write.bytes, FRAME_FROM_SERVER).unwrap() {
                if let FromServer::Reply { id: found, reply } = decoded(&frame)
                    && found == id
                {
                    return (reply, told);
                }
            }
        }
    }

    /// So many answers to what was asked before.
    async fn answers(&mut self, count: usize) -> Vec<Reply<'static>> {
        let (mut bytes, mut answers) = (BytesMut::new(), Vec::new());
        while answers.len() < count {
            match cut(&mut bytes, FRAME_FROM_SERVER).unwrap() {
                Some(frame) => {
                    let found = decoded(&frame);
                    let FromServer::Reply { reply, .. } = found else {
                        panic!("expected an answer, found {found:?}")
                    };
                    answers.push(reply);
                }
                None => {
                    let write = timeout(LIMIT, self.writes.recv()).await.unwrap();
                    bytes.unsplit(write.expect("the connection lives").bytes);
                }
            }
        }
        answers
    }

    async fn session(&mut self) -> u64 {
        match self.ask(open_session()).await {
            (Reply::SessionOpen(opened), 0) => opened.session,
            other => panic!("expected a session of which nobody hears, found {other:?}"),
        }
    }

    /// What the other end of each socket reads.
    async fn heard(&mut self) -> Vec<Event<'static>> {
        let mut heard = Vec::new();
        for client in &mut self.clients {
            let mut bytes = BytesMut::new();
            let frame = loop {
                if let Some(frame) = cut(&mut bytes, FRAME_FROM_SERVER).unwrap() {
                    break frame;
                }
                let read = timeout(LIMIT, client.read_buf(&mut bytes)).await;
                assert!(read.unwrap().unwrap() > 0);
            };
            assert!(bytes.is_empty());
            let found = decoded(&frame);
            let FromServer::Push(Push::StreamEvent(happened)) = found else {
                panic!("expected an event, found {found:?}")
            };
            heard.push(happened.event);
        }
        heard
    }
}

/// Kept for as long as the tests run.
fn decoded(frame: &[u8]) -> FromServer<'static> {
    FromServer::decode(Vec::from(frame).leak()).unwrap()
}

fn open_session() -> Request<'static> {
    Request::SessionOpen(request::OpenSession {
        org: ORG,
        owner: "ada",
        name: "",
        role: None,
        on_disconnect: None,
        metadata: b"",
    })
}

fn acquire(session: u64, path: &str) -> Request<'_> {
    Request::LockAcquire(request::Acquire {
        session,
        path,
        mode: Mode::Exclusive,
        wait_ms: 0,
        ttl_ms: None,
        limit: None,
        note: None,
        seize: None,
        metadata: b"",
    })
}

fn publish() -> Request<'static> {
    Request::StreamPublish(request::Publish {
        org: ORG,
        path: "doc/1",
        event: "happened",
        payload: b"",
        event_id: None,
        session: None,
    })
}

#[tokio::test]
async fn a_few_listeners_are_told_before_whoever_made_the_event_is_answered() {
    for count in FEW {
        let mut world = World::new(count).await;
        let session = world.session().await;
        let (_, told) = world.ask(acquire(session, "doc/1")).await;
        assert_eq!(told, count as u64, "of a lock");
        let heard = world.heard().await;
        assert!(matches!(heard[..], [Event::LockGranted { .. }, ..]));
        let (_, told) = world.ask(publish()).await;
        assert_eq!(told, count as u64, "of what was published");
        let heard = world.heard().await;
        assert!(matches!(heard[..], [Event::Published { .. }, ..]));
    }
}

#[tokio::test]
async fn an_answer_does_not_wait_until_many_listeners_are_told() {
    for count in MANY {
        let mut world = World::new(count).await;
        let session = world.session().await;
        let (_, told) = world.ask(acquire(session, "doc/1")).await;
        assert_eq!(told, 0, "of a lock, of {count}");
        let heard = world.heard().await;
        assert!(matches!(heard[..], [Event::LockGranted { .. }, ..]));
        assert_eq!(self::told(&world.listeners), count as u64);
        let (_, told) = world.ask(publish()).await;
        assert_eq!(told, 0, "of what was published, of {count}");
        let heard = world.heard().await;
        assert!(matches!(heard[..], [Event::Published { .. }, ..]));
        assert_eq!(self::told(&world.listeners), count as u64);
    }
}

/// The answers are taken before it is looked at what they rest on.
#[tokio::test]
async fn no_answer_is_written_before_what_it_rests_on_is_on_the_disk() {
    let (mut disk, shards) = Disk::with_shards();
    let mut world = World::introduced(shards, Arc::new([]), Vec::new()).await;
    world.ask_in_vain(open_session()).await;
    disk.sync();
    let opened = world.answers(1).await;
    let [Reply::SessionOpen(opened)] = &opened[..] else {
        panic!("expected a session, found {opened:?}")
    };
    // One after the other, while the disk stands still.
    for path in ["doc/1", "doc/2"] {
        world.ask_in_vain(acquire(opened.session, path)).await;
    }
    disk.sync();
    let granted = world.answers(2).await;
    assert!(
        granted
            .iter()
            .all(|reply| matches!(reply, Reply::LockAcquire(reply::Acquire::Granted { .. })))
    );
}

/// A socket that takes everything, and something new to be said each time it does.
struct Called {
    socket: Socket,
    outbox: Arc<Outbox>,
    writes: Arc<AtomicU64>,
}

impl AsyncWrite for Called {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.outbox.push(&Push::ServerPing(push::Ping {}));
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn others_have_their_turn_beside_a_connection_that_is_called_in_each_round() {
    const WRITES: u64 = 5_000;
    /// What a task may do before others have their turn, and some.
    const WRITES_IN_A_TURN: u64 = 300;
    let (socket, mut client) = pair().await;
    let (_reader, nothing) = duplex(1);
    let outbox = Arc::new(Outbox::new(1 << 20));
    let writes = Arc::new(AtomicU64::new(0));
    let writer = Called {
        socket: socket.clone(),
        outbox: Arc::clone(&outbox),
        writes: Arc::clone(&writes),
    };
    let connection = connection(shards_in_memory(), Arc::clone(&outbox));
    outbox.push(&Push::ServerPing(push::Ping {}));
    tokio::spawn(connection.serve(nothing, writer, Some(socket)));
    tokio::spawn(async move { tokio::io::copy(&mut client, &mut tokio::io::sink()).await });
    // A task like the connection: the one that runs the test is not asked as often.
    let watch = tokio::spawn(async move {
        let (mut seen, mut most) = (0, 0);
        while seen < WRITES {
            tokio::task::yield_now().await;
            let before = replace(&mut seen, writes.load(Ordering::Relaxed));
            most = most.max(seen - before);
        }
        most
    });
    let most = timeout(LIMIT, watch).await.expect("it is called on and on");
    let most = most.unwrap();
    assert!(most <= WRITES_IN_A_TURN, "{most} writes in one turn");
}
