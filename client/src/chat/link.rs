//! The one way to the companion: requests and their answers, the token that goes with them, and whether it is there at all.
//!
//! Knows no route. Rules: whatever is asked passes the breaker, so that a companion that is away costs nobody time; an answer
//! belongs to the request that asked, since each has its own exchange; a failure says whether the request may have arrived.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::back_off::BackOff;
use super::breaker::{Breaker, Turn};
use super::connector::Connector;
use super::error::{Error, ErrorKind, Problem, Result};
use super::figures::Counters;
use super::limiter::Pace;
use super::options::ChatOptions;
use super::retry_after;
use super::state::{Standing, Standings};

/// Bytes of the longest answer: a page of 200 messages, each as large as may be.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Connections that are kept for later.
const IDLE_MAX: usize = 8;

/// For how long.
const IDLE_FOR: Duration = Duration::from_secs(60);

/// What a session is shown with.
const SESSION: HeaderName = HeaderName::from_static("tenure-session");

/// What says that the answer is of an earlier request.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// See the file's header.
pub(super) struct Link {
    http: legacy::Client<Connector, Full<Bytes>>,
    base: String,
    token: watch::Sender<Token>,
    breaker: Mutex<Breaker>,
    standings: Standings,
    session: Mutex<Option<HeaderValue>>,
    /// Rings for everybody who waits for the companion to come back.
    back: Notify,
    pub(super) reads: Pace,
    pub(super) counters: Arc<Counters>,
    pub(super) shutdown: CancellationToken,
    request_timeout: Duration,
    patience: Duration,
    back_off: (Duration, Duration),
}

#[derive(Clone)]
struct Token {
    header: HeaderValue,
    /// Until the companion says otherwise.
    is_taken: bool,
}

/// A question.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: Option<Bytes>,
    /// Whether it is a matter of the session too, if there is one.
    pub(super) shows_session: bool,
}

/// An answer, whichever.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) replayed: bool,
    retry_after: Option<Duration>,
    body: Bytes,
}

/// There is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The companion was away a moment ago, and was not asked.
    Away { retry_after: Duration },
    /// The token was refused before, and nothing was asked.
    NoToken,
    /// The exchange has failed.
    Broken {
        /// Whether the request may have arrived.
        may_have_arrived: bool,
        why: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Ask {
    pub(super) const fn get(path: String) -> Self {
        Self::new(Method::GET, path)
    }

    /// One without a body.
    pub(super) const fn new(method: Method, path: String) -> Self {
        Self {
            method,
            path,
            body: None,
            shows_session: false,
        }
    }

    /// One with a body, which is JSON.
    pub(super) fn json(method: Method, path: String, body: &impl serde::Serialize) -> Result<Self> {
        let body = serde_json::to_vec(body).map_err(|why| {
            Error::new(ErrorKind::BadRequest, "it cannot be written as JSON").with_source(why)
        })?;
        Ok(Self {
            body: Some(body.into()),
            ..Self::new(method, path)
        })
    }
}

impl Answer {
    /// What it says, or why it says nothing.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T> {
        if !self.status.is_success() {
            return Err(self.refusal());
        }
        serde_json::from_slice(&self.body).map_err(|why| {
            Error::new(ErrorKind::Protocol, "the answer cannot be read").with_source(why)
        })
    }

    pub(super) fn refusal(&self) -> Error {
        Error::answered(self.status, self.retry_after, self.problem())
    }

    /// A proxy on the way may answer too, in words of its own.
    fn problem(&self) -> Problem {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Whether it comes from one that cannot serve anybody, rather than from one that has judged the request.
    fn is_of_nobody(&self) -> bool {
        match self.status.as_u16() {
            502 | 504 => true,
            // What a companion needs may be away for some requests and not for others.
            503 => !["tenure_away", "full"].contains(&self.problem().code.as_str()),
            _ => false,
        }
    }
}

impl Failure {
    /// As an error of something that leaves nothing behind when it is asked twice.
    fn of_read(self) -> Error {
        match self {
            Self::Broken { why, .. } => {
                Error::new(ErrorKind::Unreachable, why.to_string()).with_source(why)
            }
            other @ (Self::Away { .. } | Self::NoToken) => other.of_write(),
        }
    }

    /// As an error of something that may have been done.
    pub(super) fn of_write(self) -> Error {
        match self {
            Self::Away { retry_after } => {
                let why = "it was away a moment ago, and is not asked again yet";
                Error::new(ErrorKind::Unavailable, why).with_retry_after(retry_after)
            }
            Self::NoToken => Error::new(ErrorKind::Unauthorized, "it was refused before"),
            Self::Broken {
                may_have_arrived,
                why,
            } => {
                let kind = if may_have_arrived {
                    ErrorKind::UnknownOutcome
                } else {
                    ErrorKind::Unreachable
                };
                Error::new(kind, why.to_string()).with_source(why)
            }
        }
    }
}

/// A request that was let through. Whoever gives it up without an answer leaves its place to another.
struct Admitted<'l> {
    link: &'l Link,
    is_judged: bool,
}

impl Admitted<'_> {
    fn answered(mut self) {
        self.is_judged = true;
        let turn = self.link.breaker.lock().answered();
        if turn == Turn::Closed {
            self.link.back.notify_waiters();
        }
        self.link
            .standings
            .set(|standing| standing.is_up = Some(true));
    }

    fn failed(mut self) {
        self.is_judged = true;
        let turn = self
            .link
            .breaker
            .lock()
            .failed(Instant::now(), fastrand::f64());
        if turn == Turn::Opened {
            self.link.counters.breaker_opened.one();
            tracing::warn!("the companion does not answer, and is left alone for a while");
            self.link
                .standings
                .set(|standing| standing.is_up = Some(false));
        }
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        if !self.is_judged {
            self.link.breaker.lock().given_up(Instant::now());
        }
    }
}

impl Link {
    pub(super) fn new(options: &ChatOptions, counters: Arc<Counters>) -> Result<Self> {
        let (base, connector) = target(options)?;
        let (failures, pause) = options.breaker;
        let trial = options.request_timeout + options.connect_timeout;
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_FOR)
            .pool_max_idle_per_host(IDLE_MAX)
            .build(connector);
        let token = Token {
            header: bearer(&options.token)?,
            is_taken: true,
        };
        Ok(Self {
            http,
            base,
            token: watch::Sender::new(token),
            breaker: Mutex::new(Breaker::new(failures, pause, trial)),
            standings: Standings::default(),
            session: Mutex::default(),
            back: Notify::new(),
            reads: Pace::new(options.reads),
            counters,
            shutdown: CancellationToken::new(),
            request_timeout: options.request_timeout,
            patience: options.patience,
            back_off: options.back_off,
        })
    }

    pub(super) const fn standings(&self) -> &Standings {
        &self.standings
    }

    /// What is asked from here on goes with this token.
    pub(super) fn set_token(&self, token: &str) -> Result<()> {
        self.token.send_replace(Token {
            header: bearer(token)?,
            is_taken: true,
        });
        self.standings.set(|standing| standing.is_refused = false);
        Ok(())
    }

    /// The session that the companion has given, or none.
    pub(super) fn set_session(&self, session: Option<&str>) {
        let header = session.and_then(|session| HeaderValue::from_str(session).ok());
        *self.session.lock() = header.map(|mut header| {
            header.set_sensitive(true);
            header
        });
    }

    pub(super) fn has_session(&self) -> bool {
        self.session.lock().is_some()
    }

    /// Waits until there is a token that has not been refused. Cancel-safe.
    pub(super) async fn token(&self) {
        // The sender is here as long as this is.
        let _ = self
            .token
            .subscribe()
            .wait_for(|token| token.is_taken)
            .await;
    }

    /// Waits until the companion is worth asking: at once, unless it was away a moment ago. Cancel-safe.
    pub(super) async fn worth_asking(&self) {
        loop {
            let back = self.back.notified();
            let look = self.breaker.lock().look(Instant::now());
            let Err(wait) = look else { return };
            tokio::select! {
                () = sleep(wait) => {}
                () = back => {}
            }
        }
    }

    /// Pauses, or until the companion is back. Cancel-safe.
    pub(super) async fn pause(&self, pause: Duration) {
        self.pause_until(Instant::now() + pause).await;
    }

    /// The same until an instant.
    pub(super) async fn pause_until(&self, until: Instant) {
        tokio::select! {
            () = sleep_until(until) => {}
            () = self.back.notified() => {}
        }
    }

    pub(super) const fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    pub(super) const fn patience(&self) -> Duration {
        self.patience
    }

    pub(super) const fn new_back_off(&self) -> BackOff {
        BackOff::new(self.back_off.0, self.back_off.1)
    }

    /// Asks once.
    pub(super) async fn ask(&self, ask: &Ask) -> Result<Answer, Failure> {
        let token = self.token.borrow().clone();
        if !token.is_taken {
            return Err(Failure::NoToken);
        }
        let admitted = self.admit()?;
        let exchange = async {
            let response = self.exchange(ask, &token.header, None).await?;
            whole(response).await
        };
        match timeout(self.request_timeout, exchange).await {
            Ok(Ok(answer)) => {
                if answer.is_of_nobody() {
                    admitted.failed();
                } else {
                    admitted.answered();
                }
                if answer.status == StatusCode::UNAUTHORIZED {
                    self.refused(&token.header);
                }
                Ok(answer)
            }
            Ok(Err(failure)) => {
                admitted.failed();
                Err(failure)
            }
            Err(_) => {
                admitted.failed();
                Err(Failure::Broken {
                    may_have_arrived: true,
                    why: "no answer came in time".into(),
                })
            }
        }
    }

    /// Opens what is answered for long, as the feed is: its body and the token that it was opened with, or why there is none.
    pub(super) async fn open(
        &self,
        ask: &Ask,
        last_id: Option<&str>,
    ) -> Result<(Incoming, HeaderValue)> {
        let token = self.token.borrow().clone();
        if !token.is_taken {
            return Err(Failure::NoToken.of_read());
        }
        let admitted = self.admit().map_err(Failure::of_read)?;
        let exchange = async {
            let response = self.exchange(ask, &token.header, last_id).await?;
            if response.status() == StatusCode::OK {
                Ok(Ok(response.into_body()))
            } else {
                whole(response).await.map(Err)
            }
        };
        let exchanged = timeout(self.request_timeout, exchange).await;
        match exchanged {
            Ok(Ok(Ok(body))) => {
                admitted.answered();
                Ok((body, token.header))
            }
            Ok(Ok(Err(answer))) => {
                if answer.is_of_nobody() {
                    admitted.failed();
                } else {
                    admitted.answered();
                }
                if answer.status == StatusCode::UNAUTHORIZED {
                    self.refused(&token.header);
                }
                Err(answer.refusal())
            }
            Ok(Err(failure)) => {
                admitted.failed();
                Err(failure.of_read())
            }
            Err(_) => {
                admitted.failed();
                let why = "no answer has begun in time";
                Err(Error::new(ErrorKind::Unreachable, why))
            }
        }
    }

    /// Asks until there is an answer that says something, as long as patience lasts. For what does no harm when it is asked
    /// twice. While the companion is known to be away it fails at once.
    pub(super) async fn call<T: DeserializeOwned>(&self, ask: &Ask) -> Result<T> {
        let deadline = Instant::now() + self.patience;
        let mut back_off = self.new_back_off();
        let mut in_doubt = false;
        loop {
            let closed = || Error::new(ErrorKind::Closed, "");
            let asked = tokio::select! {
                asked = self.ask(ask) => asked,
                () = self.shutdown.cancelled() => return Err(closed()),
            };
            let error = match asked {
                Ok(answer) => match answer.read() {
                    Err(error) if is_passing(&error) => error,
                    read => return read.map_err(|error| error.with_doubt(in_doubt)),
                },
                Err(failure @ (Failure::Away { .. } | Failure::NoToken)) => {
                    return Err(failure.of_read().with_doubt(in_doubt));
                }
                Err(failure) if ask.method == Method::GET => failure.of_read(),
                Err(failure) => failure.of_write(),
            };
            in_doubt |= ask.method != Method::GET && error.is_in_doubt();
            let pause = back_off.next(fastrand::f64(), error.retry_after());
            let waited = timeout_at(deadline, self.pause(pause)).await;
            if waited.is_err() || Instant::now() >= deadline {
                return Err(error.with_doubt(in_doubt));
            }
        }
    }

    fn admit(&self) -> Result<Admitted<'_>, Failure> {
        let admitted = self.breaker.lock().admit(Instant::now());
        admitted.map_err(|retry_after| Failure::Away { retry_after })?;
        Ok(Admitted {
            link: self,
            is_judged: false,
        })
    }

    async fn exchange(
        &self,
        ask: &Ask,
        token: &HeaderValue,
        last_id: Option<&str>,
    ) -> Result<Response<Incoming>, Failure> {
        let mut request = Request::builder()
            .method(&ask.method)
            .uri(format!("{}{}", self.base, ask.path))
            .header(AUTHORIZATION, token);
        if ask.body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(last_id) = last_id {
            request = request.header("last-event-id", last_id);
        }
        let session = ask.shows_session.then(|| self.session.lock().clone());
        if let Some(session) = session.flatten() {
            request = request.header(SESSION, session);
        }
        let never_sent = |why: http::Error| Failure::Broken {
            may_have_arrived: false,
            why: why.into(),
        };
        let body = Full::new(ask.body.clone().unwrap_or_default());
        let request = request.body(body).map_err(never_sent)?;
        self.http
            .request(request)
            .await
            .map_err(|why| Failure::Broken {
                may_have_arrived: !why.is_connect(),
                why: why.into(),
            })
    }

    /// A token is not taken, or not any more. One that was replaced meanwhile is nobody's concern.
    pub(super) fn refused(&self, header: &HeaderValue) {
        let is_news = self.token.send_if_modified(|token| {
            let is_news = token.is_taken && token.header == *header;
            token.is_taken &= !is_news;
            is_news
        });
        if is_news {
            tracing::warn!("the companion does not take the token");
            self.standings.set(|standing| standing.is_refused = true);
        }
    }

    pub(super) fn set(&self, change: impl FnOnce(&mut Standing)) {
        self.standings.set(change);
    }
}

/// Whether the same may be answered another time.
pub(super) fn is_passing(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::RateLimited
            | ErrorKind::Unavailable
            | ErrorKind::Unreachable
            | ErrorKind::UnknownOutcome
    )
}

async fn whole(response: Response<Incoming>) -> Result<Answer, Failure> {
    let (head, body) = response.into_parts();
    let header = |name: &HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
    let retry_after = header(&RETRY_AFTER).and_then(|text| retry_after::read(text, header(&DATE)));
    let body = Limited::new(body, ANSWER_BYTES_MAX);
    let body = body.collect().await.map_err(|why| Failure::Broken {
        may_have_arrived: true,
        why: if why.is::<LengthLimitError>() {
            format!("expected at most {ANSWER_BYTES_MAX} bytes, found more").into()
        } else {
            why
        },
    })?;
    Ok(Answer {
        status: head.status,
        replayed: header(&REPLAYED) == Some("true"),
        retry_after,
        body: body.to_bytes(),
    })
}

/// Where the companion is, and how connections to it are made.
fn target(options: &ChatOptions) -> Result<(String, Connector)> {
    let wrong = |what: &str| {
        let detail = format!("expected an address such as http://127.0.0.1:7430, found {what}");
        Error::new(ErrorKind::BadRequest, detail)
    };
    let uri: Uri = options.url.parse().map_err(|_| wrong("none"))?;
    let authority = uri.authority().ok_or_else(|| wrong("no host"))?;
    if authority.as_str().contains('@') {
        return Err(wrong("one with a name or a password in it"));
    }
    let default_port = match uri.scheme_str() {
        Some("http") => 80,
        Some("https") => 443,
        _ => return Err(wrong("another scheme")),
    };
    let port = authority.port_u16().unwrap_or(default_port);
    let connector = Connector {
        timeout: options.connect_timeout,
        address: format!("{}:{port}", authority.host()),
        #[cfg(feature = "tls")]
        tls: tls(options, default_port == 443, authority.host())?,
    };
    #[cfg(not(feature = "tls"))]
    if default_port == 443 {
        return Err(wrong("https, which needs the feature `tls`"));
    }
    let base = options.url.trim_end_matches('/').to_owned();
    Ok((base, connector))
}

#[cfg(feature = "tls")]
fn tls(options: &ChatOptions, is_wanted: bool, host: &str) -> Result<Option<crate::tls::Tls>> {
    if !is_wanted {
        return Ok(None);
    }
    let Some(config) = options.tls.clone() else {
        let detail = "expected `tls` with whom to trust, for an address with https, found none";
        return Err(Error::new(ErrorKind::BadRequest, detail));
    };
    let tls = crate::tls::Tls::new(config, host, Some(host.trim_matches(['[', ']'])));
    tls.map(Some)
        .map_err(|why| Error::new(ErrorKind::BadRequest, why.to_string()))
}

fn bearer(token: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
        let detail = "token: expected one line of ASCII, found something else";
        Error::new(ErrorKind::BadRequest, detail)
    })?;
    value.set_sensitive(true);
    Ok(value)
}
