//! What one connection too many is told.
//!
//! Knows no route but by its beginning. Rules: it is answered like everybody else, with words and when to come back; what
//! operators look at is answered as ever, since a full house is when they look.

use std::time::Duration;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::document::PRIVATE;
use super::problem::{Code, Problem};

/// When to come back: others leave at any moment, and everybody at once would fill the house again.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Goes with each request of a connection beyond those that there may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OneTooMany;

/// Answers in place of the route.
pub(super) async fn turn_away(request: Request, next: Next) -> Response {
    let is_one_too_many = request.extensions().get::<OneTooMany>().is_some();
    if is_one_too_many && request.uri().path().starts_with(PRIVATE) {
        let detail = "as many connections as may be are open; nothing was done, come back";
        let full = Problem::new(Code::Full, detail).retry_after(AGAIN_AFTER);
        return full.into_response();
    }
    next.run(request).await
}
