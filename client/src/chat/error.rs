//! Why a call of the chat client did not do what was asked, sorted by what the caller can do about it.
//!
//! Knows the companion's problems (RFC 9457) by their codes. Rule: an error says whether what was asked may have been done all
//! the same, and when it is of use to come back, if either is so; a message names no secret and no payload.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;

use super::types::{ChatLock, Message};

/// The result of most calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, by what can be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// More was asked for than is taken in this time, by this client or by the companion. See [`Error::retry_after`].
    RateLimited,
    /// As many messages or marks wait already as may. See [`Error::retry_after`].
    QueueFull,
    /// The companion cannot be reached, and nothing was done.
    Unreachable,
    /// The companion, or what it needs, is away at the moment; or was a moment ago, and is not asked again yet. See
    /// [`Error::retry_after`].
    Unavailable,
    /// It was sent, and no answer came: it may or may not have been done.
    UnknownOutcome,
    /// The message has waited for as long as a message may, and was never sent.
    TimedOut,
    /// It was taken out of the queue before it was sent.
    TakenBack,
    /// The token is missing, wrong or over: [`set_token`](super::ChatClient::set_token).
    Unauthorized,
    /// The role does not allow it.
    NotAllowed,
    /// There is no such thing, or none that one may know of.
    NotFound,
    /// Somebody else holds the chat. See [`Error::lock`].
    Locked,
    /// There are messages that the sender has not seen. See [`Error::missed`].
    StaleView,
    /// Somebody else has had the chat's lock since. See [`Error::current_token`].
    StaleToken,
    /// The same name was used for another message.
    Mismatch,
    /// What was asked is wrong, and will be wrong again.
    BadRequest,
    /// The companion has failed; its operator should know. See [`Error::request_id`].
    Server,
    /// The other side does not answer as a companion does.
    Protocol,
    /// This client has been closed.
    Closed,
}

impl ErrorKind {
    const fn describe(self) -> &'static str {
        match self {
            Self::RateLimited => "more than is taken in this time",
            Self::QueueFull => "the queue is full",
            Self::Unreachable => "the companion cannot be reached",
            Self::Unavailable => "the companion cannot do this at the moment",
            Self::UnknownOutcome => "no answer came, the outcome is unknown",
            Self::TimedOut => "it could not be sent in time",
            Self::TakenBack => "it was taken back before it was sent",
            Self::Unauthorized => "the token is not taken",
            Self::NotAllowed => "not allowed",
            Self::NotFound => "not found",
            Self::Locked => "the chat is locked",
            Self::StaleView => "there are messages that were not seen",
            Self::StaleToken => "the lock's token is old",
            Self::Mismatch => "another message has this name",
            Self::BadRequest => "the request is wrong",
            Self::Server => "the companion has failed",
            Self::Protocol => "the other side does not answer as a companion does",
            Self::Closed => "the client is closed",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.describe())
    }
}

/// What a call of the chat client failed with. Cheap to clone.
#[derive(Clone)]
pub struct Error(Arc<Repr>);

#[derive(Clone)]
struct Repr {
    kind: ErrorKind,
    detail: Cow<'static, str>,
    in_doubt: bool,
    retry_after: Option<Duration>,
    problem: Problem,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// What a companion says beside the status.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Problem {
    pub(super) code: String,
    pub(super) detail: String,
    request_id: String,
    lock: Option<ChatLock>,
    last_seq: Option<i64>,
    missed: Vec<Message>,
    token: Option<u64>,
}

impl Error {
    /// What went wrong, by what can be done about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether what was asked may have been done all the same, or may yet be: a request was sent, and its answer never came.
    ///
    /// Of a message: send it again under the same name, and it is stored once.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.0.in_doubt || self.0.kind == ErrorKind::UnknownOutcome
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::RateLimited
                | ErrorKind::QueueFull
                | ErrorKind::Unreachable
                | ErrorKind::Unavailable
                | ErrorKind::UnknownOutcome
                | ErrorKind::TimedOut
                | ErrorKind::Locked
        )
    }

    /// When it is of use to try again, counted from when the error came, if that is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The companion's name of the problem, if it answered with one. They are listed at its `/docs`.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        Some(self.0.problem.code.as_str()).filter(|code| !code.is_empty())
    }

    /// What names the request in the companion's log, if it answered.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        Some(self.0.problem.request_id.as_str()).filter(|id| !id.is_empty())
    }

    /// Who holds the chat, for [`ErrorKind::Locked`].
    #[must_use]
    pub fn lock(&self) -> Option<&ChatLock> {
        self.0.problem.lock.as_ref()
    }

    /// What was not seen, oldest first, for [`ErrorKind::StaleView`]; at most the first of many.
    #[must_use]
    pub fn missed(&self) -> &[Message] {
        &self.0.problem.missed
    }

    /// The chat's last message, for [`ErrorKind::StaleView`].
    #[must_use]
    pub fn last_seq(&self) -> Option<i64> {
        self.0.problem.last_seq
    }

    /// The highest token that the chat has seen, for [`ErrorKind::StaleToken`].
    #[must_use]
    pub fn current_token(&self) -> Option<u64> {
        self.0.problem.token
    }

    pub(super) fn new(kind: ErrorKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Repr {
            kind,
            detail: detail.into(),
            in_doubt: false,
            retry_after: None,
            problem: Problem::default(),
            source: None,
        }))
    }

    /// What an answer that is no success says.
    pub(super) fn answered(
        status: StatusCode,
        retry_after: Option<Duration>,
        problem: Problem,
    ) -> Self {
        let kind = kind_of(status, &problem.code);
        let detail = if problem.detail.is_empty() {
            format!("status {status}")
        } else {
            problem.detail.clone()
        };
        Self::new(kind, detail).with(|repr| {
            repr.retry_after = retry_after;
            repr.problem = problem;
        })
    }

    pub(super) fn with_retry_after(self, after: Duration) -> Self {
        self.with(|repr| repr.retry_after = Some(after))
    }

    pub(super) fn with_doubt(self, in_doubt: bool) -> Self {
        self.with(|repr| repr.in_doubt |= in_doubt)
    }

    pub(super) fn with_source(
        self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        let source = source.into();
        self.with(|repr| repr.source = Some(Arc::from(source)))
    }

    /// The same cause under another kind.
    pub(super) fn of_kind(&self, kind: ErrorKind) -> Self {
        self.clone().with(|repr| repr.kind = kind)
    }

    fn with(mut self, change: impl FnOnce(&mut Repr)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

fn kind_of(status: StatusCode, code: &str) -> ErrorKind {
    match (status.as_u16(), code) {
        (401, _) => ErrorKind::Unauthorized,
        (403, _) => ErrorKind::NotAllowed,
        (404 | 410, _) => ErrorKind::NotFound,
        (409, "stale_view") => ErrorKind::StaleView,
        (412, _) => ErrorKind::StaleToken,
        (423, _) => ErrorKind::Locked,
        (422, "mismatch") => ErrorKind::Mismatch,
        (408 | 425 | 502 | 503 | 504, _) => ErrorKind::Unavailable,
        (429, _) => ErrorKind::RateLimited,
        (400..=499, _) => ErrorKind::BadRequest,
        (500..=599, _) => ErrorKind::Server,
        _ => ErrorKind::Protocol,
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let repr = &*self.0;
        let mut debug = f.debug_struct("Error");
        debug.field("kind", &repr.kind);
        if !repr.detail.is_empty() {
            debug.field("detail", &repr.detail);
        }
        if let Some(code) = self.code() {
            debug.field("code", &code);
        }
        if repr.in_doubt {
            debug.field("in_doubt", &true);
        }
        if let Some(after) = repr.retry_after {
            debug.field("retry_after", &after);
        }
        if let Some(source) = &repr.source {
            debug.field("source", source);
        }
        debug.finish_non_exhaustive()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let repr = &*self.0;
        write!(f, "{}", repr.kind)?;
        if !repr.detail.is_empty() {
            write!(f, ": {}", repr.detail)?;
        }
        if repr.in_doubt {
            f.write_str(" (it may have been done all the same)")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let source = self.0.source.as_deref()?;
        Some(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_sorted_by_what_can_be_done() {
        let kind = |status: u16, code: &str| kind_of(StatusCode::from_u16(status).unwrap(), code);
        assert_eq!(kind(409, "stale_view"), ErrorKind::StaleView);
        assert_eq!(kind(422, "invalid"), ErrorKind::BadRequest);
        assert_eq!(kind(422, "mismatch"), ErrorKind::Mismatch);
        assert_eq!(kind(503, "store_away"), ErrorKind::Unavailable);
        assert_eq!(kind(500, "internal"), ErrorKind::Server);
        assert_eq!(kind(302, ""), ErrorKind::Protocol);
    }

    #[test]
    fn a_refusal_says_who_holds_the_chat() {
        let problem = r#"{"type":"/docs#locked","title":"The chat is locked","status":423,"code":"locked",
            "detail":"Ada holds it","request_id":"r-1","lock":{"path":"chat/1","held":true,"mode":"exclusive","token":7,
            "holders":[{"person":"ada","name":"Ada","since":"2026-11-20T09:30:00Z","remaining_ms":900,"orphaned":false}],
            "holder_count":1,"waiters":0}}"#;
        let problem = serde_json::from_str(problem).unwrap();
        let after = Some(Duration::from_secs(1));
        let error = Error::answered(StatusCode::LOCKED, after, problem);
        assert_eq!(error.kind(), ErrorKind::Locked);
        assert_eq!(error.lock().unwrap().holders[0].name, "Ada");
        assert_eq!(error.request_id(), Some("r-1"));
        assert_eq!(error.retry_after(), after);
        assert!(!error.is_in_doubt());
        assert!(error.with_doubt(true).is_in_doubt());
    }
}
