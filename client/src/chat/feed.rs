//! The feed: one task that opens it, reads it, and opens it again where it was, for as long as the client is there.
//!
//! Knows the companion's Server-Sent Events, and no reader. Rules: each event is told once, also when the companion tells it
//! again; whatever may be missing is told as a loss; a feed that is silent for longer than a companion ever is has ended.

use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use http::HeaderValue;
use hyper::body::{Body as _, Incoming};
use moka::sync::Cache as Kept;
use sse_stream::{Sse, SseByteStream};
use tokio::time::{Instant, Sleep, sleep};

use super::client::Shared;
use super::error::{Error, ErrorKind, Result};
use super::event::{Change, Event, Recovery, Told, parse};
use super::link::Ask;
use super::types::ChatId;

/// A companion shows a sign of life every 10 seconds.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Bytes of the longest event: a companion tells of nothing larger than 64 KiB.
const EVENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Chats of which is remembered what was told last.
const CHATS_MAX: u64 = 10_000;

/// A feed that ran for so long is not one that ends as it begins.
const SOUND_AFTER: Duration = Duration::from_secs(10);

/// Runs until the client is closed.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut reader = Reader {
        last_id: shared.resume_from.clone(),
        repeated: Repeated::new(),
        shared,
    };
    let shutdown = reader.shared.link.shutdown.clone();
    tokio::select! {
        () = reader.keep_open() => {}
        () = shutdown.cancelled() => {}
    }
}

struct Reader {
    shared: Arc<Shared>,
    last_id: Option<Arc<str>>,
    repeated: Repeated,
}

impl Reader {
    async fn keep_open(&mut self) {
        let mut back_off = self.shared.link.new_back_off();
        loop {
            self.shared.link.token().await;
            self.shared.link.worth_asking().await;
            let began = Instant::now();
            let ask = Ask::get("/v1/feed".to_owned());
            let opened = self.shared.link.open(&ask, self.last_id.as_deref()).await;
            let after = match opened {
                Ok((body, token)) => {
                    self.shared.counters.feeds_opened.one();
                    let why = self.read(body, &token).await;
                    tracing::debug!(%why, "the feed has ended, and is opened again");
                    self.shared.cache.is_not_live();
                    self.shared.link.set(|standing| standing.is_live = false);
                    if began.elapsed() >= SOUND_AFTER {
                        back_off.reset();
                    }
                    None
                }
                Err(error) => {
                    tracing::debug!(%error, "the feed cannot be opened yet");
                    self.forget_bad_position(&error);
                    error.retry_after()
                }
            };
            let pause = back_off.next(fastrand::f64(), after);
            self.shared.link.pause(pause).await;
        }
    }

    /// A position that the companion cannot even read will not get better.
    fn forget_bad_position(&mut self, error: &Error) {
        if error.kind() == ErrorKind::BadRequest && self.last_id.take().is_some() {
            let why = "ended".to_owned();
            self.tell(None, Event::Lost { why });
        }
    }

    /// Reads until the end, and says why it came.
    async fn read(&mut self, body: Incoming, token: &HeaderValue) -> Error {
        let chunks = Chunks::new(body);
        let bytes = Arc::clone(&chunks.bytes);
        let mut frames = SseByteStream::new(chunks);
        loop {
            match poll_fn(|context| Pin::new(&mut frames).poll_next(context)).await {
                Some(Ok(frame)) => {
                    bytes.store(0, Ordering::Relaxed);
                    if let Err(over) = self.take(frame, token) {
                        return over;
                    }
                }
                Some(Err(why)) => {
                    return Error::new(ErrorKind::Unreachable, "it broke off").with_source(why);
                }
                None => return Error::new(ErrorKind::Unreachable, "it ended"),
            }
        }
    }

    /// Takes in one frame. Fails when it is the last.
    fn take(&mut self, frame: Sse, token: &HeaderValue) -> Result<()> {
        let id: Option<Arc<str>> = frame.id.map(Into::into);
        if let (Some(name), Some(data)) = (&frame.event, &frame.data) {
            if name == "goodbye" {
                if data.contains("\"token_expired\"") {
                    self.shared.link.refused(token);
                }
                return Err(Error::new(ErrorKind::Unavailable, data.clone()));
            }
            let (event, change) = parse(name, data);
            if let Event::Ready(recovery) = event {
                self.ready(recovery);
            }
            if change.is_some_and(|change| self.repeated.is_known(change, name)) {
                self.shared.counters.events_repeated.one();
            } else {
                self.tell(id.clone(), event);
            }
        }
        // After it was told: whoever reads the position has heard of everything up to it.
        if id.is_some() {
            self.last_id = id;
            self.shared.position.send_replace(self.last_id.clone());
        }
        Ok(())
    }

    fn ready(&mut self, recovery: Recovery) {
        if recovery == Recovery::Fresh {
            self.repeated = Repeated::new();
        }
        self.shared.link.set(|standing| standing.is_live = true);
    }

    fn tell(&self, id: Option<Arc<str>>, event: Event) {
        self.shared.counters.events.one();
        if event.is_loss() {
            self.shared.counters.losses.one();
        }
        self.shared.cache.told(&event);
        if let Event::MessageCreated(told) = &event
            && let Some(message) = &told.message
        {
            self.shared.heard(message.chat, &message.client_msg_id);
        }
        self.shared.tell(Told { id, event });
    }
}

/// What was told last of each chat. A companion that was killed may tell again what another has told before it; within a chat
/// numbers of changes rise, so what is not above the last is known.
struct Repeated(Kept<ChatId, (i64, Vec<Box<str>>)>);

impl Repeated {
    fn new() -> Self {
        Self(Kept::new(CHATS_MAX))
    }

    /// Whether this was told before. One change may be told under several names, each once.
    fn is_known(&self, change: Change, name: &str) -> bool {
        let Change { chat, rev } = change;
        let mut names = match self.0.get(&chat) {
            Some((last, _)) if rev < last => return true,
            Some((last, names)) if rev == last => names,
            _ => Vec::new(),
        };
        if names.iter().any(|known| **known == *name) {
            return true;
        }
        names.push(name.into());
        self.0.insert(chat, (rev, names));
        false
    }
}

/// A body's bytes, as long as they come. Ends with an error after a silence, or when one event is too long.
struct Chunks {
    body: Incoming,
    silence: Pin<Box<Sleep>>,
    /// Since the last event, which whoever reads them knows.
    bytes: Arc<AtomicUsize>,
}

impl Chunks {
    fn new(body: Incoming) -> Self {
        Self {
            body,
            silence: Box::pin(sleep(SILENCE_MAX)),
            bytes: Arc::default(),
        }
    }
}

impl Stream for Chunks {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
                ready!(self.silence.as_mut().poll(context));
                return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
            };
            let frame = match frame {
                None => return Poll::Ready(None),
                Some(Err(why)) => return Poll::Ready(Some(Err(io::Error::other(why)))),
                Some(Ok(frame)) => frame,
            };
            self.silence.as_mut().reset(Instant::now() + SILENCE_MAX);
            if let Ok(chunk) = frame.into_data() {
                let before = self.bytes.fetch_add(chunk.len(), Ordering::Relaxed);
                if before + chunk.len() > EVENT_BYTES_MAX {
                    return Poll::Ready(Some(Err(io::ErrorKind::InvalidData.into())));
                }
                return Poll::Ready(Some(Ok(chunk)));
            }
        }
    }
}
