//! A tower layer that holds a lock while a request is handled.
//!
//! Knows HTTP and no framework: it works with axum, hyper, tonic and whatever else speaks `tower` and `http`. Rule: a
//! request for which the lock is not to be had never reaches the handler.

use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::request::Parts;
use http::{Request, Response, StatusCode, header};
use serde_json::{Value, json};
use tower_layer::Layer;
use tower_service::Service;

use crate::client::Client;
use crate::convert::millis;
use crate::error::{Error, ErrorKind, Result};
use crate::guard::LockGuard;
use crate::session::Session;
use crate::types::{Holder, Refusal};

/// Which lock a request needs, and on whose behalf.
#[derive(Debug, Clone)]
pub struct RequestLock {
    who: OnBehalf,
    path: String,
}

#[derive(Debug, Clone)]
enum OnBehalf {
    Owner {
        org: String,
        owner: String,
        name: String,
    },
    Session(Session),
}

impl RequestLock {
    /// A lock for an owner who has no session here: one is opened for the request, which costs one more round trip.
    pub fn of_owner(
        org: impl Into<String>,
        owner: impl Into<String>,
        path: impl Into<String>,
    ) -> Self {
        Self {
            who: OnBehalf::Owner {
                org: org.into(),
                owner: owner.into(),
                name: String::new(),
            },
            path: path.into(),
        }
    }

    /// A lock for a session that is open already.
    pub fn of_session(session: Session, path: impl Into<String>) -> Self {
        Self {
            who: OnBehalf::Session(session),
            path: path.into(),
        }
    }

    /// How people call the owner. Of a session, its own name stands.
    #[must_use]
    pub fn name(mut self, called: impl Into<String>) -> Self {
        if let OnBehalf::Owner { name, .. } = &mut self.who {
            *name = called.into();
        }
        self
    }
}

/// The lock of a request, in its extensions: for handlers that need the fencing token, or want to know of its loss.
///
/// It is let go when the response has been made and every clone of this is gone.
#[derive(Debug, Clone)]
pub struct HeldLock(pub Arc<LockGuard>);

/// What becomes of a request when the lock server cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenUnavailable {
    /// It is answered 503, and may be repeated.
    #[default]
    Refuse,
    /// It is handled without a lock: no [`HeldLock`] is in its extensions. For resources that are safe by other means.
    PassThrough,
}

/// Holds a lock while a request is handled.
///
/// `which` says which lock a request needs; `None` lets it through without one. It gets the head of the request, with what
/// layers before have put into its extensions, such as who is signed in.
///
/// A request that does not get its lock is answered with problem details ([RFC 9457]) that name the holder: 423 Locked, or
/// another [status](Self::status), such as 409. The response body of the service is made from that text.
///
/// The same owner never locks itself out: two requests of one person share the lock.
///
/// [RFC 9457]: https://www.rfc-editor.org/rfc/rfc9457
#[derive(Clone)]
pub struct LockLayer<F> {
    terms: Arc<LayerTerms<F>>,
}

#[derive(Clone)]
struct LayerTerms<F> {
    client: Client,
    which: F,
    status: StatusCode,
    wait: Duration,
    ttl: Option<Duration>,
    when_unavailable: WhenUnavailable,
}

impl<F> LockLayer<F>
where
    F: Fn(&Parts) -> Option<RequestLock> + Clone,
{
    /// A layer that locks what `which` says, and does not wait for it.
    pub fn new(client: Client, which: F) -> Self {
        Self {
            terms: Arc::new(LayerTerms {
                client,
                which,
                status: StatusCode::LOCKED,
                wait: Duration::ZERO,
                ttl: None,
                when_unavailable: WhenUnavailable::Refuse,
            }),
        }
    }

    /// What a request is answered with whose lock somebody else holds. 423 Locked by default.
    #[must_use]
    pub fn status(self, status: StatusCode) -> Self {
        self.with(|terms| terms.status = status)
    }

    /// How long a request waits for its lock. Not at all by default.
    #[must_use]
    pub fn wait(self, wait: Duration) -> Self {
        self.with(|terms| terms.wait = wait)
    }

    /// How long the lock outlives a process that dies while it handles the request. By default what the policy says.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        self.with(|terms| terms.ttl = Some(ttl))
    }

    /// What becomes of a request when the lock server cannot be asked.
    #[must_use]
    pub fn when_unavailable(self, then: WhenUnavailable) -> Self {
        self.with(|terms| terms.when_unavailable = then)
    }

    fn with(mut self, change: impl FnOnce(&mut LayerTerms<F>)) -> Self {
        change(Arc::make_mut(&mut self.terms));
        self
    }
}

impl<F> fmt::Debug for LockLayer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockLayer")
            .field("status", &self.terms.status)
            .field("wait", &self.terms.wait)
            .finish_non_exhaustive()
    }
}

impl<S, F> Layer<S> for LockLayer<F> {
    type Service = LockService<S, F>;

    fn layer(&self, inner: S) -> Self::Service {
        LockService {
            inner,
            terms: Arc::clone(&self.terms),
        }
    }
}

/// What [`LockLayer`] makes of a service.
pub struct LockService<S, F> {
    inner: S,
    terms: Arc<LayerTerms<F>>,
}

impl<S: Clone, F> Clone for LockService<S, F> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            terms: Arc::clone(&self.terms),
        }
    }
}

impl<S: fmt::Debug, F> fmt::Debug for LockService<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S, F, B, R> Service<Request<B>> for LockService<S, F>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    F: Fn(&Parts) -> Option<RequestLock> + Send + Sync + 'static,
    B: Send + 'static,
    R: From<String>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let clone = self.inner.clone();
        // The one that was polled ready is the one to call.
        let mut inner = mem::replace(&mut self.inner, clone);
        let terms = Arc::clone(&self.terms);
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            let Some(wanted) = (terms.which)(&parts) else {
                return inner.call(Request::from_parts(parts, body)).await;
            };
            let held = match terms.lock(wanted).await {
                Ok(guard) => Some(HeldLock(Arc::new(guard))),
                Err(error) => match terms.answer(&error) {
                    Some(response) => return Ok(response),
                    None => None,
                },
            };
            if let Some(held) = &held {
                parts.extensions.insert(held.clone());
            }
            let response = inner.call(Request::from_parts(parts, body)).await;
            drop(held);
            response
        })
    }
}

impl<F> LayerTerms<F> {
    async fn lock(&self, wanted: RequestLock) -> Result<LockGuard> {
        let session = match wanted.who {
            OnBehalf::Session(session) => session,
            OnBehalf::Owner { org, owner, name } => {
                self.client.session(org, owner).name(name).await?
            }
        };
        let mut acquire = session.acquire(wanted.path).wait(self.wait);
        if let Some(ttl) = self.ttl {
            acquire = acquire.ttl(ttl);
        }
        acquire.await
    }

    /// The answer to a request that has not got its lock; nothing if it is to be handled all the same.
    fn answer<R: From<String>>(&self, error: &Error) -> Option<Response<R>> {
        let passes = self.when_unavailable == WhenUnavailable::PassThrough;
        if error.is_retryable() && passes {
            tracing::warn!(%error, "request is handled without its lock");
            return None;
        }
        let (status, problem) = if let Some(refusal) = error.refusal() {
            (self.status, locked(self.status, refusal))
        } else {
            tracing::warn!(%error, "request did not get its lock");
            let status = status_of(error.kind());
            let title = error.kind().to_string();
            (status, json!({ "title": title, "status": status.as_u16() }))
        };
        let mut response = Response::new(R::from(problem.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let kind = header::HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        Some(response)
    }
}

/// The status of a failure that says nothing about the lock.
fn status_of(kind: ErrorKind) -> StatusCode {
    let passing = [
        ErrorKind::Disconnected,
        ErrorKind::UnknownOutcome,
        ErrorKind::TimedOut,
        ErrorKind::Unavailable,
        ErrorKind::Connect,
        ErrorKind::SessionEnded,
    ];
    if passing.contains(&kind) {
        StatusCode::SERVICE_UNAVAILABLE
    } else if kind == ErrorKind::BadRequest {
        // The path was made from the request.
        StatusCode::BAD_REQUEST
    } else {
        StatusCode::INTERNAL_SERVER_ERROR
    }
}

fn locked(status: StatusCode, refusal: &Refusal) -> Value {
    let detail = refusal.holder().map_or_else(
        || "somebody else holds the lock".to_owned(),
        |holder| format!("{} holds the lock", holder.display_name()),
    );
    json!({
        "title": status.canonical_reason().unwrap_or("Locked"),
        "status": status.as_u16(),
        "detail": detail,
        "path": refusal.path(),
        "reason": refusal.reason.name(),
        "holder": refusal.holder().map(holder),
        "waiters": refusal.status.waiters,
    })
}

fn holder(holder: &Holder) -> Value {
    json!({
        "owner": holder.owner,
        "name": holder.name,
        "held_ms": millis(holder.held_for),
        "remaining_ms": millis(holder.remaining),
    })
}
