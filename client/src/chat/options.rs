//! How to reach a companion, how patient to be, and how much to keep.
//!
//! Plain data with defaults; nothing here does anything but [`ChatOptions::connect`].

use std::fmt;
use std::time::Duration;

use super::client::ChatClient;
use super::error::Result;
use super::limiter::Rate;
use super::queue::Bounds;

/// How to reach a companion, how patient to be, and how much to keep. Made by [`ChatClient::builder`].
#[derive(Clone)]
#[must_use = "options do nothing until they are connected"]
pub struct ChatOptions {
    pub(super) url: String,
    pub(super) token: String,
    pub(super) connect_timeout: Duration,
    pub(super) request_timeout: Duration,
    pub(super) patience: Duration,
    pub(super) give_up_after: Duration,
    pub(super) back_off: (Duration, Duration),
    pub(super) queue: Bounds,
    pub(super) sends: Rate,
    pub(super) reads: Rate,
    pub(super) breaker: (u32, Duration),
    pub(super) cache: CacheBounds,
    pub(super) marks_every: Duration,
    pub(super) events_buffer: usize,
    pub(super) resume_from: Option<String>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<std::sync::Arc<rustls::ClientConfig>>,
}

/// How much is kept of histories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CacheBounds {
    pub(super) bytes: u64,
    pub(super) ttl: Duration,
}

impl ChatOptions {
    pub(super) fn new(url: String, token: String) -> Self {
        Self {
            url,
            token,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(10),
            patience: Duration::from_secs(30),
            give_up_after: Duration::from_secs(24 * 3600),
            back_off: (Duration::from_millis(100), Duration::from_secs(10)),
            queue: Bounds {
                count: 1000,
                bytes: 8 * 1024 * 1024,
            },
            sends: Rate {
                per_second: 10,
                burst: 20,
            },
            reads: Rate {
                per_second: 50,
                burst: 100,
            },
            breaker: (5, Duration::from_millis(500)),
            cache: CacheBounds {
                bytes: 16 * 1024 * 1024,
                ttl: Duration::from_secs(600),
            },
            marks_every: Duration::from_millis(250),
            events_buffer: 4096,
            resume_from: None,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// How long a connection and its TLS handshake may take together. 5 s by default.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long one request may take, until the end of its answer. 10 s by default.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// How long a call that reads or changes something may take, its retries included. 30 s by default. While the companion
    /// is known to be away such a call fails at once. Sends wait for as long as [`give_up_after`](Self::give_up_after) says.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How long a message may wait to be sent; a try that has begun by then goes on. 24 h by default. Then its error is
    /// [`TimedOut`](super::ErrorKind::TimedOut) if it was never sent, and
    /// [`UnknownOutcome`](super::ErrorKind::UnknownOutcome) if it was and no answer came.
    pub fn give_up_after(mut self, span: Duration) -> Self {
        self.give_up_after = span;
        self
    }

    /// The pauses between tries: each drawn between zero and a length that begins at `min`, doubles with each failure, and
    /// never exceeds `max`. 100 ms and 10 s by default. What the companion asks for (`Retry-After`) is kept besides.
    pub fn back_off(mut self, min: Duration, max: Duration) -> Self {
        let min = min.max(Duration::from_millis(1));
        self.back_off = (min, max.max(min));
        self
    }

    /// How many messages may wait to be sent, and how many bytes of them; more are refused with
    /// [`QueueFull`](super::ErrorKind::QueueFull). 1,000 and 8 MiB by default.
    pub fn queue(mut self, count: usize, bytes: usize) -> Self {
        self.queue = Bounds { count, bytes };
        self
    }

    /// How many messages may be handed over, and how fast they are sent; more are refused with
    /// [`RateLimited`](super::ErrorKind::RateLimited), which says when to try again. By default 10 a second and 20 at once,
    /// which is what a companion takes of one person.
    pub fn send_rate(mut self, rate: Rate) -> Self {
        self.sends = rate;
        self
    }

    /// The same for everything else. Streams of pages and marks wait instead of failing. By default 50 a second and 100 at
    /// once.
    pub fn read_rate(mut self, rate: Rate) -> Self {
        self.reads = rate;
        self
    }

    /// After how many failures in a row the companion counts as away, and how long it is left alone then; twice as long with
    /// each failure from there on, at most 10 s. 5 and 500 ms by default.
    pub fn breaker(mut self, failures: u32, pause: Duration) -> Self {
        self.breaker = (failures.max(1), pause.max(Duration::from_millis(1)));
        self
    }

    /// How many bytes of messages are kept, and for how long each. 16 MiB and 10 min by default; zero bytes keep nothing.
    pub fn cache(mut self, bytes: u64, ttl: Duration) -> Self {
        self.cache = CacheBounds { bytes, ttl };
        self
    }

    /// Marks of a chat are told at most this often, the last one alone. 250 ms by default.
    pub fn marks_every(mut self, span: Duration) -> Self {
        self.marks_every = span;
        self
    }

    /// How many events may wait for a reader of [`events`](ChatClient::events); one that is further behind is told
    /// [`Lost`](super::Event::Lost). 4,096 by default, rounded up to a power of two.
    pub fn events_buffer(mut self, count: usize) -> Self {
        self.events_buffer = count.clamp(1, 1 << 20);
        self
    }

    /// Where the feed goes on: the [id](super::Told::id) of the last event that another process has seen.
    pub fn resume_from(mut self, id: impl Into<String>) -> Self {
        self.resume_from = Some(id.into());
        self
    }

    /// Trusts what this configuration trusts, for an address that begins with `https://`.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: std::sync::Arc<rustls::ClientConfig>) -> Self {
        self.tls = Some(config);
        self
    }

    /// Gives the client. Nothing is asked yet, so this succeeds while the companion is away.
    ///
    /// # Errors
    /// [`BadRequest`](super::ErrorKind::BadRequest) when the address or the token cannot be one.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn connect(self) -> Result<ChatClient> {
        ChatClient::with_options(self)
    }
}

impl fmt::Debug for ChatOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatOptions")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}
