//! A network between clients and the companion that knows requests: it cuts before them, within them and after them, delays
//! them, delivers them twice, and late when whoever asked has gone; and now and then there is none.
//!
//! Rule: what happens to a request is drawn from a seed and counted, so that a test can say that all of it has happened.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    Passed,
    Delayed,
    /// Two of them arrive at the same time.
    Twice,
    /// One arrives, and another when the answer has been read.
    TwiceLater,
    CutBefore,
    CutWithin,
    CutAfter,
    CutInAnswer,
    /// Whoever asked has gone when it arrives.
    Late,
}

const FATES: [Fate; 9] = [
    Fate::Passed,
    Fate::Delayed,
    Fate::Twice,
    Fate::TwiceLater,
    Fate::CutBefore,
    Fate::CutWithin,
    Fate::CutAfter,
    Fate::CutInAnswer,
    Fate::Late,
];

/// Bytes within which an export is cut.
const EXPORT_BYTES: usize = 100_000;

/// See the file's header.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) addr: SocketAddr,
    network: Arc<Network>,
}

struct Network {
    to: Mutex<SocketAddr>,
    random: Mutex<fastrand::Rng>,
    /// How many in a hundred do not just pass.
    faults: Mutex<u32>,
    loses_answers: Mutex<bool>,
    is_there: watch::Sender<bool>,
    fates: Mutex<BTreeMap<Fate, usize>>,
    /// Requests that have come, by method and path.
    asked: Mutex<BTreeMap<String, usize>>,
}

impl Proxy {
    /// To a companion, with so many faults in a hundred requests.
    pub(crate) async fn to(companion: SocketAddr, faults: u32, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let network = Arc::new(Network {
            to: Mutex::new(companion),
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            faults: Mutex::new(faults),
            loses_answers: Mutex::default(),
            is_there: watch::Sender::new(true),
            fates: Mutex::default(),
            asked: Mutex::default(),
        });
        let serving = Arc::clone(&network);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let network = Arc::clone(&serving);
                tokio::spawn(async move {
                    let mut is_there = network.is_there.subscribe();
                    tokio::select! {
                        _ = carry(&network, stream) => {}
                        _ = is_there.wait_for(|there| !there) => {}
                    }
                });
            }
        });
        Self { addr, network }
    }

    /// There is no network: connections end, and so do those that are made.
    pub(crate) fn cut(&self) {
        self.network.is_there.send_replace(false);
    }

    pub(crate) fn mend(&self) {
        self.network.is_there.send_replace(true);
    }

    pub(crate) fn set_faults(&self, faults: u32) {
        *self.network.faults.lock() = faults;
    }

    /// Every request arrives, and no answer comes back.
    pub(crate) fn lose_answers(&self) {
        *self.network.loses_answers.lock() = true;
    }

    /// Everything goes to this companion from here on, once connections have ended.
    pub(crate) fn lead_to(&self, companion: SocketAddr) {
        *self.network.to.lock() = companion;
    }

    /// How often each has happened.
    pub(crate) fn fates(&self) -> BTreeMap<Fate, usize> {
        self.network.fates.lock().clone()
    }

    /// How many requests have come whose method and path begin like this.
    pub(crate) fn asked(&self, begin: &str) -> usize {
        let asked = self.network.asked.lock();
        asked
            .iter()
            .filter(|(line, _)| line.starts_with(begin))
            .map(|(_, count)| count)
            .sum()
    }
}

impl Network {
    fn draw(&self) -> Fate {
        let mut random = self.random.lock();
        if *self.loses_answers.lock() {
            return Fate::CutAfter;
        }
        let is_fault = random.u32(0..100) < *self.faults.lock();
        let fate = if is_fault {
            FATES[random.usize(1..FATES.len())]
        } else {
            Fate::Passed
        };
        *self.fates.lock().entry(fate).or_default() += 1;
        fate
    }

    fn span(&self, ms: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.random.lock().u64(ms))
    }

    fn part(&self, whole: usize) -> usize {
        self.random.lock().usize(0..=whole)
    }
}

/// The connection is over.
struct Over;

impl From<std::io::Error> for Over {
    fn from(_: std::io::Error) -> Self {
        Self
    }
}

/// A request or an answer, as it came.
struct Exchange {
    bytes: Vec<u8>,
    /// Where the head ends.
    head: usize,
}

impl Exchange {
    fn line(&self) -> String {
        let line = self.bytes.split(|byte| *byte == b'\r').next();
        let line = String::from_utf8_lossy(line.unwrap_or_default()).into_owned();
        line.trim_end_matches(" HTTP/1.1").to_owned()
    }
}

/// Carries one request after the other.
async fn carry(network: &Arc<Network>, mut client: TcpStream) -> Result<(), Over> {
    client.set_nodelay(true)?;
    loop {
        if !*network.is_there.borrow() {
            return Err(Over);
        }
        let request = read(&mut client).await?;
        let line = request.line();
        *network.asked.lock().entry(line.clone()).or_default() += 1;
        if line.starts_with("GET /v1/feed") {
            return carry_feed(network, client, &request).await;
        }
        if line.contains("/export") {
            return carry_export(network, client, &request).await;
        }
        let answer = carry_one(network, &mut client, &request).await?;
        client.write_all(&answer.bytes).await?;
    }
}

/// The answer that the client is to be given.
async fn carry_one(
    network: &Arc<Network>,
    client: &mut TcpStream,
    request: &Exchange,
) -> Result<Exchange, Over> {
    match network.draw() {
        Fate::Passed => ask(network, &request.bytes).await,
        Fate::Delayed => {
            sleep(network.span(1..120)).await;
            let answer = ask(network, &request.bytes).await?;
            sleep(network.span(1..60)).await;
            Ok(answer)
        }
        Fate::Twice => {
            let both = tokio::join!(ask(network, &request.bytes), ask(network, &request.bytes));
            if network.part(1) == 0 { both.0 } else { both.1 }
        }
        Fate::TwiceLater => {
            let answer = ask(network, &request.bytes).await?;
            arrive_later(network, request);
            Ok(answer)
        }
        Fate::CutBefore => Err(Over),
        Fate::CutWithin => {
            let mut companion = connect(network).await?;
            let part = network.part(request.bytes.len() - 1);
            companion.write_all(&request.bytes[..part]).await?;
            Err(Over)
        }
        Fate::CutAfter => {
            ask(network, &request.bytes).await?;
            Err(Over)
        }
        Fate::CutInAnswer => {
            let answer = ask(network, &request.bytes).await?;
            let part = network.part(answer.bytes.len() - 1);
            client.write_all(&answer.bytes[..part]).await?;
            Err(Over)
        }
        Fate::Late => {
            arrive_later(network, request);
            Err(Over)
        }
    }
}

fn arrive_later(network: &Arc<Network>, request: &Exchange) {
    let (network, request) = (Arc::clone(network), request.bytes.clone());
    tokio::spawn(async move {
        sleep(network.span(10..400)).await;
        let _ = ask(&network, &request).await;
    });
}

/// A feed is carried as it comes, and cut somewhere.
async fn carry_feed(
    network: &Network,
    mut client: TcpStream,
    request: &Exchange,
) -> Result<(), Over> {
    let mut companion = connect(network).await?;
    companion.write_all(&request.bytes).await?;
    let until = match network.draw() {
        Fate::Passed => Instant::now() + Duration::from_secs(3600),
        _ => Instant::now() + network.span(1..1500),
    };
    let mut piece = vec![0; 4096];
    loop {
        let count = tokio::select! {
            count = companion.read(&mut piece) => count?,
            gone = client.readable() => { gone?; return Err(Over) }
        };
        if count == 0 {
            return Err(Over);
        }
        if Instant::now() >= until {
            let part = network.part(count);
            client.write_all(&piece[..part]).await?;
            return Err(Over);
        }
        client.write_all(&piece[..count]).await?;
        // A feed in which nothing happens is cut too.
        tokio::select! {
            ready = companion.readable() => ready?,
            () = sleep_until(until) => {}
        }
    }
}

/// An export is carried as it comes, and cut somewhere. It is the last on its connection, so that its end is seen.
async fn carry_export(
    network: &Network,
    mut client: TcpStream,
    request: &Exchange,
) -> Result<(), Over> {
    let mut companion = connect(network).await?;
    let last = b"connection: close\r\n\r\n";
    let request = [&request.bytes[..request.head - 2], last].concat();
    companion.write_all(&request).await?;
    let mut left = match network.draw() {
        Fate::Passed => usize::MAX,
        _ => network.part(EXPORT_BYTES),
    };
    let mut piece = vec![0; 4096];
    while left > 0 {
        let count = companion.read(&mut piece).await?;
        if count == 0 {
            break;
        }
        client.write_all(&piece[..count.min(left)]).await?;
        left = left.saturating_sub(count);
    }
    Err(Over)
}

async fn connect(network: &Network) -> Result<TcpStream, Over> {
    let to = *network.to.lock();
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn ask(network: &Network, request: &[u8]) -> Result<Exchange, Over> {
    let mut companion = connect(network).await?;
    companion.write_all(request).await?;
    read(&mut companion).await
}

/// One request or answer, whole.
async fn read(stream: &mut TcpStream) -> Result<Exchange, Over> {
    let mut bytes = Vec::new();
    loop {
        if let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let exchange = Exchange {
                head: head + 4,
                bytes,
            };
            return rest(stream, exchange).await;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(Over);
        }
    }
}

async fn rest(stream: &mut TcpStream, mut exchange: Exchange) -> Result<Exchange, Over> {
    let head = String::from_utf8_lossy(&exchange.bytes[..exchange.head]).to_ascii_lowercase();
    if head.starts_with("get /v1/feed") {
        return Ok(exchange);
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .and_then(|length| length.trim().parse().ok());
    let whole = exchange.head + length.unwrap_or(0_usize);
    while exchange.bytes.len() < whole {
        if stream.read_buf(&mut exchange.bytes).await? == 0 {
            return Err(Over);
        }
    }
    Ok(exchange)
}
