//! A reconnect storm: very many connections, each with a session, a subscription and a viewer, are cut at once and come back
//! at once. How long until each is back, how long until everybody sees everybody again, and how many bytes that takes.
//!
//! ```text
//!  open all -> quiet -> cut all -> resume, subscribe since, enter, list -> quiet again -> is everybody's view whole?
//! ```
//!
//! Speaks the protocol itself, without the pauses of a client: the worst that clients can do. Rule: a view that is not whole
//! in the end is an error, not a figure.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::{Buf as _, BytesMut};
use hdrhistogram::Histogram;
use tenure_protocol::frame;
use tenure_protocol::{
    Activity, Disconnect, Filter, FromServer, Position, Push, Recovery, Reply, Request, ResumeKey,
    Secret, VERSION, limits, request,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::cpu::CpuTime;

const ORG: &str = "bench";

/// Connections that are opened at a time before the storm. In it, all are.
const OPENED_AT_A_TIME: usize = 128;

/// How long a server may take for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// It is quiet when nobody has heard anything for so long: several times what changes are gathered for.
const QUIET: Duration = Duration::from_millis(1000);

/// How long it may take to become quiet.
const QUIET_WITHIN: Duration = Duration::from_secs(60);

/// How long sessions may be resumed.
const GRACE_MS: u64 = 60_000;

/// Who is in the storm.
#[derive(Debug, Clone)]
pub struct Storm {
    /// Where the server listens.
    pub address: SocketAddr,
    /// Its process, if its processor time is to be told.
    pub pid: Option<u32>,
    /// The API key, for a server that asks for one.
    pub key: Option<Arc<str>>,
    /// How many connections.
    pub connections: u32,
    /// Over how many paths they are spread.
    pub paths: u32,
}

/// What has come of it.
#[derive(Debug)]
pub struct Measured {
    /// From the cut until a connection had every answer it needs, in microseconds.
    pub back: Histogram<u64>,
    /// From the cut until the last byte before it was quiet.
    pub quiet_after: Duration,
    /// Bytes that the server has sent in that time, to all.
    pub bytes_to_clients: u64,
    /// Bytes that it was sent.
    pub bytes_to_server: u64,
    /// The server's processor time.
    pub server: Option<CpuTime>,
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub enum Progress {
    /// So many connections are open.
    Opened(u32),
    /// They were cut, and so many are back.
    Back(u32),
}

/// Opens, cuts, waits until all is as it was, and tells `watch` how far it is.
///
/// # Errors
/// The server cannot be reached, a session cannot be resumed, events are lost, or somebody's view is not whole in the end.
pub fn measure(storm: &Storm, watch: &mut dyn FnMut(Progress)) -> Result<Measured> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(run(storm, watch))
}

async fn run(storm: &Storm, watch: &mut dyn FnMut(Progress)) -> Result<Measured> {
    let traffic = Arc::new(Traffic::new());
    let mut people = Vec::new();
    let numbers: Vec<_> = (0..storm.connections).collect();
    for some in numbers.chunks(OPENED_AT_A_TIME) {
        let mut opening = JoinSet::new();
        for &number in some {
            opening.spawn(Person::open(storm.clone(), number, Arc::clone(&traffic)));
        }
        while let Some(person) = opening.join_next().await {
            people.push(person??);
        }
        watch(Progress::Opened(people.len() as u32));
    }
    let mut people = listen_until_quiet(people, &traffic).await?;
    are_whole(&people, storm)?;

    let before = (traffic.counts(), storm.pid.and_then(CpuTime::of));
    let cut = Instant::now();
    people.iter_mut().for_each(Person::cut);
    let mut coming_back = JoinSet::new();
    for mut person in people {
        coming_back.spawn(async move {
            person.come_back().await?;
            anyhow::Ok((person, Instant::now()))
        });
    }
    let mut back = Histogram::new_with_max(600_000_000, 3)?;
    let mut people = Vec::new();
    while let Some(returned) = coming_back.join_next().await {
        let (person, at) = returned??;
        back.saturating_record((at - cut).as_micros() as u64);
        people.push(person);
        watch(Progress::Back(people.len() as u32));
    }
    let people = listen_until_quiet(people, &traffic).await?;
    are_whole(&people, storm)?;
    let after = (traffic.counts(), storm.pid.and_then(CpuTime::of));
    Ok(Measured {
        back,
        quiet_after: traffic.last_heard().saturating_duration_since(cut),
        bytes_to_clients: after.0.0 - before.0.0,
        bytes_to_server: after.0.1 - before.0.1,
        server: before.1.zip(after.1).map(|(before, after)| after - before),
    })
}

/// Everybody reads until nobody has heard anything for a while.
async fn listen_until_quiet(people: Vec<Person>, traffic: &Arc<Traffic>) -> Result<Vec<Person>> {
    let mut listening = JoinSet::new();
    for mut person in people {
        listening.spawn(async move {
            let began = Instant::now();
            while began.elapsed() < QUIET_WITHIN {
                match timeout(QUIET, person.hear()).await {
                    Ok(heard) => heard?,
                    Err(_) if person.traffic.last_heard().elapsed() >= QUIET => return Ok(person),
                    Err(_) => {}
                }
            }
            bail!("it has not become quiet within {QUIET_WITHIN:?}")
        });
    }
    traffic.heard(0);
    let mut people = Vec::new();
    while let Some(person) = listening.join_next().await {
        people.push(person??);
    }
    Ok(people)
}

fn are_whole(people: &[Person], storm: &Storm) -> Result<()> {
    for person in people {
        let path = person.number % storm.paths;
        let expected = (storm.connections - path).div_ceil(storm.paths);
        ensure!(
            person.viewers == expected,
            "expected {expected} viewers in the view of number {}, found {}",
            person.number,
            person.viewers
        );
    }
    Ok(())
}

/// What all have read and written.
struct Traffic {
    began: Instant,
    read: AtomicU64,
    written: AtomicU64,
    /// In microseconds since it began.
    last_heard: AtomicU64,
}

impl Traffic {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            read: AtomicU64::new(0),
            written: AtomicU64::new(0),
            last_heard: AtomicU64::new(0),
        }
    }

    fn heard(&self, bytes: usize) {
        self.read.fetch_add(bytes as u64, Ordering::Relaxed);
        let now = self.began.elapsed().as_micros() as u64;
        self.last_heard.fetch_max(now, Ordering::Relaxed);
    }

    fn last_heard(&self) -> Instant {
        self.began + Duration::from_micros(self.last_heard.load(Ordering::Relaxed))
    }

    fn counts(&self) -> (u64, u64) {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        (count(&self.read), count(&self.written))
    }
}

/// One connection with one session, which looks at one path and hears of who else does.
struct Person {
    storm: Storm,
    number: u32,
    traffic: Arc<Traffic>,
    stream: Option<TcpStream>,
    inbound: BytesMut,
    session: u64,
    resume_key: ResumeKey,
    position: Option<Position>,
    /// Changes up to this version are in what it knows.
    version: u64,
    /// How many there are at its path, as far as it knows.
    viewers: u32,
    last_id: u64,
}

impl Person {
    async fn open(storm: Storm, number: u32, traffic: Arc<Traffic>) -> Result<Self> {
        let mut person = Self {
            storm,
            number,
            traffic,
            stream: None,
            inbound: BytesMut::new(),
            session: 0,
            resume_key: ResumeKey([0; limits::RESUME_KEY_BYTES]),
            position: None,
            version: 0,
            viewers: 0,
            last_id: 0,
        };
        person.connect().await?;
        let owner = format!("owner-{number:06}");
        person
            .ask(&Request::SessionOpen(request::OpenSession {
                org: ORG,
                owner: &owner,
                name: "Somebody",
                role: None,
                on_disconnect: Some(Disconnect::Release {
                    grace_ms: Some(GRACE_MS),
                }),
                metadata: b"",
            }))
            .await?;
        person.be_there().await?;
        Ok(person)
    }

    fn cut(&mut self) {
        self.stream = None;
        self.inbound.clear();
    }

    async fn come_back(&mut self) -> Result<()> {
        self.connect().await?;
        self.ask(&Request::SessionResume(request::ResumeSession {
            org: ORG,
            session: self.session,
            resume_key: self.resume_key,
        }))
        .await?;
        self.be_there().await
    }

    async fn connect(&mut self) -> Result<()> {
        let connected = timeout(ANSWER_WITHIN, TcpStream::connect(self.storm.address)).await;
        let stream = connected.context("the server does not take the connection")??;
        stream.set_nodelay(true)?;
        self.stream = Some(stream);
        let key = self.storm.key.clone();
        self.ask(&Request::Hello(request::Hello {
            version: VERSION,
            client: concat!("tenure-bench/", env!("CARGO_PKG_VERSION")),
            key: key.as_deref().map(Secret),
        }))
        .await
    }

    /// Listens, enters, and reads who is there.
    async fn be_there(&mut self) -> Result<()> {
        let path = format!("ticket/{}", self.number % self.storm.paths);
        self.ask(&Request::StreamSubscribe(request::Subscribe {
            org: ORG,
            filters: vec![Filter::parse(&path)?],
            since: self.position,
            presence: true,
        }))
        .await?;
        self.ask(&Request::PresenceEnter(request::Enter {
            session: self.session,
            path: &path,
            activity: Activity::Viewing,
            internal: false,
            metadata: b"",
        }))
        .await?;
        self.ask(&Request::PresenceList(request::ListViewers {
            org: ORG,
            filter: Filter::parse(&path)?,
            cursor: None,
            page: 256,
        }))
        .await
    }

    /// Asks, and takes what comes until the answer is there.
    async fn ask(&mut self, request: &Request<'_>) -> Result<()> {
        self.last_id += 1;
        let mut out = BytesMut::new();
        let length = request.encode(self.last_id, &mut out);
        self.traffic
            .written
            .fetch_add(length as u64, Ordering::Relaxed);
        let stream = self.stream.as_mut().context("the connection is cut")?;
        stream.write_all(&out).await?;
        let kind = request.kind();
        loop {
            if self.take()? == Some(self.last_id) {
                return Ok(());
            }
            timeout(ANSWER_WITHIN, self.fill())
                .await
                .with_context(|| format!("no answer to {kind}"))??;
        }
    }

    /// Waits for bytes, and takes all that have come.
    async fn hear(&mut self) -> Result<()> {
        self.fill().await?;
        while self.take()?.is_some() {}
        Ok(())
    }

    /// Reads once. Cancel-safe.
    async fn fill(&mut self) -> Result<()> {
        let stream = self.stream.as_mut().context("the connection is cut")?;
        match stream.read_buf(&mut self.inbound).await? {
            0 => bail!("the server has closed the connection"),
            count => self.traffic.heard(count),
        }
        Ok(())
    }

    /// Takes what has come, up to the first answer, and gives its id.
    fn take(&mut self) -> Result<Option<u64>> {
        loop {
            let Some(payload) = frame::cut(&mut self.inbound, limits::FRAME_FROM_SERVER)? else {
                return Ok(None);
            };
            match FromServer::decode(payload.chunk())? {
                FromServer::Reply { id, reply } => {
                    self.answered(&reply)?;
                    return Ok(Some(id));
                }
                FromServer::Error { error, .. } => {
                    bail!("the server answered: {} ({:?})", error.message, error.code)
                }
                FromServer::Push(push) => self.told(&push)?,
                FromServer::UnknownPush { .. } => {}
            }
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the answers to the few requests that it makes"
    )]
    fn answered(&mut self, reply: &Reply<'_>) -> Result<()> {
        match reply {
            Reply::SessionOpen(opened) => {
                (self.session, self.resume_key) = (opened.session, opened.resume_key);
            }
            Reply::StreamSubscribe(subscribed) => {
                if let Recovery::Lost { why } = subscribed.recovery {
                    bail!("events were lost: {why}");
                }
                self.position = Some(subscribed.position);
            }
            Reply::PresenceList(page) => {
                self.version = page.version;
                self.viewers = page.paths.iter().map(|path| path.total).sum();
            }
            _ => {}
        }
        Ok(())
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "pushes that say nothing about who is there"
    )]
    fn told(&mut self, push: &Push<'_>) -> Result<()> {
        match push {
            Push::PresenceChanged(changed) if changed.version > self.version => {
                self.version = changed.version;
                self.viewers = changed.total;
            }
            Push::StreamEvent(event) => {
                if let Some(position) = &mut self.position {
                    position.offset = event.offset;
                }
            }
            Push::StreamGap(_) | Push::PresenceGap(_) => bail!("the server has left something out"),
            Push::ServerGoodbye(goodbye) => bail!("the server said goodbye: {}", goodbye.message),
            _ => {}
        }
        Ok(())
    }
}
