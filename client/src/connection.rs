//! One connection: its opening with the hello, and its reading, writing and heartbeats until it ends.
//!
//! Knows frames and the clock, and nothing of sessions or locks: bytes go to and come from the ledger. Rule: whoever
//! waits here holds nothing; a slow socket slows only those who wait for answers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use parking_lot::Mutex;
use tenure_protocol::frame::{self, Frames};
use tenure_protocol::{FromServer, Push, Reply, Request, Secret, limits, request};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::convert;
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::{Ended, Hello};
use crate::options::Options;
use crate::shared::Shared;

/// Room made for reading at a time.
const READ_CHUNK: usize = 32 * 1024;

/// Frames taken into the ledger under one lock.
const FRAMES_AT_ONCE: usize = 64;

/// How long the end of a client waits for what is on its way.
const DRAIN: Duration = Duration::from_secs(1);

type Reading = Box<dyn AsyncRead + Send + Unpin>;
type Writing = Box<dyn AsyncWrite + Send + Unpin>;

/// A connection that has been introduced.
pub(crate) struct Connection {
    reading: Reading,
    writing: Writing,
    /// What was read beyond the answer to the hello.
    read: BytesMut,
    pub(crate) hello: Hello,
}

/// Connects and introduces the client.
pub(crate) async fn open(options: &Options) -> Result<Connection, Ended> {
    let opening = async {
        let (mut reading, mut writing) = dial(options).await?;
        let mut read = BytesMut::new();
        let hello = introduce(options, &mut reading, &mut writing, &mut read).await?;
        Ok(Connection {
            reading,
            writing,
            read,
            hello,
        })
    };
    timeout(options.connect_timeout, opening)
        .await
        .unwrap_or_else(|_| {
            let message = format!("no answer from {} in time", options.address);
            let late = io::Error::from(io::ErrorKind::TimedOut);
            Err(Ended::retry(
                Error::new(ErrorKind::Connect, message).with_source(late),
            ))
        })
}

async fn dial(options: &Options) -> Result<(Reading, Writing), Ended> {
    let failed = |what, error: io::Error| {
        let message = format!("{what} {}: {error}", options.address);
        Ended::retry(Error::new(ErrorKind::Connect, message).with_source(error))
    };
    let stream = TcpStream::connect(&options.address)
        .await
        .map_err(|error| failed("connecting to", error))?;
    // Requests are gathered into one write already; waiting for more would only add latency.
    stream
        .set_nodelay(true)
        .map_err(|error| failed("setting up the socket to", error))?;
    #[cfg(feature = "tls")]
    if let Some(tls) = &options.tls {
        let stream = tls
            .connect(stream)
            .await
            .map_err(|error| failed("TLS with", error))?;
        let (reading, writing) = tokio::io::split(stream);
        return Ok((Box::new(reading), Box::new(writing)));
    }
    let (reading, writing) = stream.into_split();
    Ok((Box::new(reading), Box::new(writing)))
}

async fn introduce(
    options: &Options,
    reading: &mut Reading,
    writing: &mut Writing,
    read: &mut BytesMut,
) -> Result<Hello, Ended> {
    let hello = Request::Hello(request::Hello {
        version: tenure_protocol::VERSION,
        client: &options.name,
        key: options.api_key.as_deref().map(Secret),
    });
    hello.check().map_err(|fault| Ended {
        why: convert::fault(&fault),
        again: false,
    })?;
    let mut out = BytesMut::new();
    hello.encode(1, &mut out);
    let written = writing.write_all(&out).await;
    let written = written.and(writing.flush().await);
    written.map_err(|error| lost("writing", error))?;
    loop {
        let cut = frame::cut(read, limits::FRAME_FROM_SERVER).map_err(not_a_frame)?;
        if let Some(payload) = cut {
            return answer_to_hello(&payload);
        }
        read.reserve(READ_CHUNK);
        match reading.read_buf(read).await {
            Ok(0) => return Err(closed()),
            Ok(_) => {}
            Err(error) => return Err(lost("reading", error)),
        }
    }
}

fn answer_to_hello(payload: &[u8]) -> Result<Hello, Ended> {
    let protocol = |message: String| Ended::retry(Error::new(ErrorKind::Protocol, message));
    match FromServer::decode(payload).map_err(|error| protocol(error.to_string()))? {
        FromServer::Reply {
            id: 1,
            reply: Reply::Hello(hello),
        } => Ok(Hello {
            server: hello.server.to_owned(),
            connection: hello.connection,
            in_flight: hello.limits.in_flight,
            frame_bytes: usize::try_from(hello.limits.frame_bytes).unwrap_or(usize::MAX),
            heartbeat: convert::span(hello.heartbeat_ms.max(1)),
            dead_after: convert::span(hello.dead_after_ms.max(1)),
        }),
        FromServer::Error { error, .. } => Err(crate::ledger::refused(&error)),
        FromServer::Push(Push::ServerGoodbye(goodbye)) => Err(Ended {
            why: convert::error(goodbye.code, goodbye.message, None),
            again: goodbye.code.class().reconnects(),
        }),
        FromServer::Reply { .. } | FromServer::Push(_) | FromServer::UnknownPush { .. } => {
            Err(protocol("expected the answer to the hello".to_owned()))
        }
    }
}

/// When something was sent and heard last.
struct Pulse {
    sent: Mutex<Instant>,
    heard: Mutex<Instant>,
}

/// Keeps the connection going until it ends. Gives when the server was last heard of, and why it ended.
pub(crate) async fn serve(shared: &Shared, connection: Connection) -> (Instant, Ended) {
    let now = Instant::now();
    let pulse = Arc::new(Pulse {
        sent: Mutex::new(now),
        heard: Mutex::new(now),
    });
    let Connection {
        reading,
        mut writing,
        read,
        hello,
    } = connection;
    let ended = tokio::select! {
        ended = read_frames(shared, reading, read, &pulse) => ended,
        ended = write_requests(shared, &mut writing, &pulse) => ended,
        ended = keep_alive(shared, &hello, &pulse) => ended,
        ended = see_sessions_settled(shared) => ended,
        ended = drain(shared) => ended,
    };
    if shared.shutdown.is_cancelled() {
        // The other side sees the end either way.
        let _ = timeout(DRAIN, writing.shutdown()).await;
    }
    let heard = *pulse.heard.lock();
    (heard, ended)
}

async fn read_frames(
    shared: &Shared,
    mut reading: Reading,
    mut read: BytesMut,
    pulse: &Pulse,
) -> Ended {
    loop {
        if let Err(ended) = take_frames(shared, &mut read) {
            return ended;
        }
        read.reserve(READ_CHUNK);
        match reading.read_buf(&mut read).await {
            Ok(0) => return closed(),
            Ok(_) => *pulse.heard.lock() = Instant::now(),
            Err(error) => return lost("reading", error),
        }
    }
}

/// Takes all whole frames into the ledger.
fn take_frames(shared: &Shared, read: &mut BytesMut) -> Result<(), Ended> {
    loop {
        let (consumed, more) = shared.with(|ledger, now| {
            let mut frames = Frames::new(read, limits::FRAME_FROM_SERVER);
            for _ in 0..FRAMES_AT_ONCE {
                match frames.next() {
                    Some(Ok(payload)) => ledger.receive(now, payload)?,
                    Some(Err(error)) => return Err(not_a_frame(error)),
                    None => return Ok((frames.consumed(), false)),
                }
            }
            Ok((frames.consumed(), true))
        })?;
        read.advance(consumed);
        if !more {
            return Ok(());
        }
    }
}

/// Writes what the ledger has, all of it at once, whenever there is something.
async fn write_requests(shared: &Shared, writing: &mut Writing, pulse: &Pulse) -> Ended {
    let mut out = BytesMut::new();
    loop {
        shared.with(|ledger, _| ledger.take_output(&mut out));
        if out.is_empty() {
            shared.writable.notified().await;
            if shared.look(|ledger| ledger.is_shared()) {
                // Whoever was woken together with the one who rang gets to add to the same write.
                tokio::task::yield_now().await;
            }
            continue;
        }
        let written = writing.write_all(&out).await;
        let written = match written {
            Ok(()) => writing.flush().await,
            failed => failed,
        };
        if let Err(error) = written {
            return lost("writing", error);
        }
        *pulse.sent.lock() = Instant::now();
    }
}

/// Gives a sign of life when nothing else did, and takes a silent server for dead.
async fn keep_alive(shared: &Shared, hello: &Hello, pulse: &Pulse) -> Ended {
    let mut pinged = Instant::now();
    loop {
        let now = Instant::now();
        let dead_at = *pulse.heard.lock() + hello.dead_after;
        if now >= dead_at {
            return Ended::retry(Error::new(
                ErrorKind::Disconnected,
                format!("the server has been silent for {:?}", hello.dead_after),
            ));
        }
        let mut ping_at = (*pulse.sent.lock()).max(pinged) + hello.heartbeat;
        if now >= ping_at {
            pinged = now;
            shared.with(|ledger, now| ledger.ping(now));
            ping_at = now + hello.heartbeat;
        }
        sleep_until(ping_at.min(dead_at)).await;
    }
}

/// Ends a connection over which sessions are not resumed: one that makes no progress for a request timeout.
async fn see_sessions_settled(shared: &Shared) -> Ended {
    let mut before = usize::MAX;
    loop {
        match shared.look(|ledger| ledger.sessions_left()) {
            None => std::future::pending().await,
            Some(left) if left < before => before = left,
            Some(left) => {
                let message = format!("{left} sessions were not resumed in time");
                return Ended::retry(Error::new(ErrorKind::TimedOut, message));
            }
        }
        sleep(shared.options.request_timeout).await;
    }
}

/// When the client is closed: lets out what is on its way, for a moment.
async fn drain(shared: &Shared) -> Ended {
    shared.shutdown.cancelled().await;
    let drained = async {
        while !shared.look(|ledger| ledger.is_idle()) {
            sleep(Duration::from_millis(2)).await;
        }
    };
    let _ = timeout(DRAIN, drained).await;
    Ended {
        why: Error::new(ErrorKind::Closed, ""),
        again: false,
    }
}

fn closed() -> Ended {
    let message = "the server has closed the connection";
    let end = io::Error::from(io::ErrorKind::ConnectionAborted);
    Ended::retry(Error::new(ErrorKind::Disconnected, message).with_source(end))
}

fn lost(what: &str, error: io::Error) -> Ended {
    let message = format!("{what} failed: {error}");
    Ended::retry(Error::new(ErrorKind::Disconnected, message).with_source(error))
}

fn not_a_frame(error: frame::FrameError) -> Ended {
    Ended::retry(Error::new(ErrorKind::Protocol, error.to_string()))
}
