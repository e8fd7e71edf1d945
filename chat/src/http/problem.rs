//! Refusals as people's programs read them: problem details (RFC 9457), each with a code that never changes.
//!
//! Knows no route. Rules: whatever is not a success has this shape, also what the framework refuses by itself; a detail says
//! what was expected, what was found and what to do, and never holds a secret.

use std::fmt;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};

/// The media type of a problem.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// What went wrong, by name. A program may depend on these; the words beside them are for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Code {
    /// The request cannot be read: its path, its query, or what it says.
    BadRequest,
    /// No token, or one that is not taken.
    Unauthenticated,
    /// The token was good, and is over.
    TokenExpired,
    /// The role does not allow it.
    Forbidden,
    /// There is no such thing, or none that one may know of.
    NotFound,
    /// The path is known, the method is not.
    MethodNotAllowed,
    /// The lock is held by somebody else.
    Held,
    /// The chat is locked by somebody else.
    Locked,
    /// There are messages that the sender has not seen.
    StaleView,
    /// The hold is over: it was released, has expired, or was taken.
    LockLost,
    /// The session is over: its locks are released.
    SessionOver,
    /// The token is lower than one that was seen: somebody else has had the lock since.
    StaleToken,
    /// The body did not come in time.
    TooSlow,
    /// The body is larger than is taken.
    TooLarge,
    /// The body is not JSON, or does not say so.
    UnsupportedMediaType,
    /// The body is JSON, and does not say what it should.
    Invalid,
    /// The same `client_msg_id` was used for another message.
    Mismatch,
    /// More than one person may ask for in this time.
    TooManyRequests,
    /// The service has failed; its operator should know.
    Internal,
    /// The lock server is away, and is needed for this.
    TenureAway,
    /// The database is away, or too busy.
    StoreAway,
    /// As many connections, feeds or sessions are open as may be.
    Full,
}

impl Code {
    /// The name in problems.
    #[must_use]
    pub(crate) fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(Value::String(name)) => name,
            _ => String::new(),
        }
    }

    /// Its status and its title, for the page of all routes.
    pub(crate) const fn described(self) -> (StatusCode, &'static str) {
        (self.status(), self.title())
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Unauthenticated | Self::TokenExpired => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Held | Self::StaleView => StatusCode::CONFLICT,
            Self::Locked => StatusCode::LOCKED,
            Self::LockLost | Self::SessionOver => StatusCode::GONE,
            Self::StaleToken => StatusCode::PRECONDITION_FAILED,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Invalid | Self::Mismatch => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::TenureAway | Self::StoreAway | Self::Full => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::BadRequest => "The request cannot be read",
            Self::Unauthenticated => "A token is needed",
            Self::TokenExpired => "The token is over",
            Self::Forbidden => "The role does not allow it",
            Self::NotFound => "Not found",
            Self::MethodNotAllowed => "The method is not known here",
            Self::Held => "The lock is held",
            Self::Locked => "The chat is locked",
            Self::StaleView => "There are messages that were not seen",
            Self::LockLost => "The lock is lost",
            Self::SessionOver => "The session is over",
            Self::StaleToken => "The lock's token is old",
            Self::TooSlow => "The body did not come in time",
            Self::TooLarge => "The body is too large",
            Self::UnsupportedMediaType => "The body has to be JSON",
            Self::Invalid => "What was asked for cannot be done",
            Self::Mismatch => "The message differs from the one before",
            Self::TooManyRequests => "Too many requests",
            Self::Internal => "The service has failed",
            Self::TenureAway => "The lock server is away",
            Self::StoreAway => "The database is away",
            Self::Full => "No more can be taken",
        }
    }
}

/// A refusal. Turned into a response it waits for the outermost layer, which gives it the request's id.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    code: Code,
    detail: String,
    retry_after: Option<Duration>,
    members: Map<String, Value>,
    /// What the log says, and whoever asked is not told.
    cause: Option<String>,
}

/// What a handler gives.
pub(crate) type Answer<T> = Result<T, Problem>;

impl Problem {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            retry_after: None,
            members: Map::new(),
            cause: None,
        }
    }

    /// There is none, or none that one may know of: the two are not told apart.
    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(
            Code::NotFound,
            format!("there is no such {what}, or it is not yours to see"),
        )
    }

    pub(crate) fn internal(what: &str, why: &dyn fmt::Display) -> Self {
        Self::new(
            Code::Internal,
            "the service has failed, and its log says why; name the request_id to its operator",
        )
        .because(format!("{what}: {why}"))
    }

    /// What has failed behind it, for the log, where it stands with the request's id.
    pub(crate) fn because(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// What has failed behind it, if something has.
    pub(crate) fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// When it may be asked for again.
    pub(crate) fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// One more thing that is told.
    pub(crate) fn with(mut self, member: &str, value: impl Serialize) -> Self {
        if let Ok(value) = serde_json::to_value(value) {
            self.members.insert(member.to_owned(), value);
        }
        self
    }

    /// What went wrong, by name.
    #[must_use]
    pub(crate) const fn code(&self) -> Code {
        self.code
    }

    /// The response with its body.
    pub(crate) fn render(self, request_id: &str) -> Response {
        let status = self.code.status();
        let mut body = self.members;
        let name = self.code.name();
        body.insert("type".into(), format!("/docs#{name}").into());
        body.insert("title".into(), self.code.title().into());
        body.insert("status".into(), status.as_u16().into());
        body.insert("detail".into(), self.detail.into());
        body.insert("code".into(), name.into());
        body.insert("request_id".into(), request_id.into());
        let mut response = Response::new(Body::from(Value::Object(body).to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(after) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds(after)));
        }
        if status == StatusCode::REQUEST_TIMEOUT {
            // What still comes is no request.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert("www-authenticate", HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Whole seconds, and never zero: whoever comes at once comes too early.
fn seconds(after: Duration) -> u64 {
    (after.as_secs() + u64::from(after.subsec_nanos() > 0)).max(1)
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The shape of every refusal (RFC 9457), with what goes with some of them.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ProblemDetails {
    /// Where the code is explained.
    #[schema(example = "/docs#locked")]
    r#type: String,
    /// The code in words.
    title: String,
    /// The status of the response.
    status: u16,
    /// What was expected, what was found, and what to do.
    detail: String,
    /// What went wrong, by name: programs may depend on it.
    code: Code,
    /// Names this request in the service's log.
    request_id: String,
    /// With `locked` and `held`: who holds it, since when, for how long still.
    #[schema(required = false)]
    lock: Option<Value>,
    /// With `stale_view`: the last message of the chat.
    #[schema(required = false)]
    last_seq: Option<i64>,
    /// With `stale_view`: what was not seen, oldest first.
    #[schema(required = false)]
    missed: Option<Vec<Value>>,
    /// With `stale_token`: the highest token that was seen.
    #[schema(required = false)]
    token: Option<u64>,
    /// With `lock_lost`: how it was lost, if that is known.
    #[schema(required = false)]
    loss: Option<Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_spelled_in_snake_case() {
        assert_eq!(Code::StaleView.name(), "stale_view");
        assert_eq!(Code::TooManyRequests.name(), "too_many_requests");
    }

    #[test]
    fn whoever_is_sent_away_is_told_when_to_come_back() {
        assert_eq!(seconds(Duration::ZERO), 1);
        assert_eq!(seconds(Duration::from_millis(1001)), 2);
        let problem =
            Problem::new(Code::TenureAway, "away").retry_after(Duration::from_millis(100));
        let response = problem.render("r-1");
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
    }
}
