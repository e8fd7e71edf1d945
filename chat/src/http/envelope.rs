//! What goes around every request: its id, its line in the log, its place in the figures, and the body of a refusal.
//!
//! Rules: an id that comes with a request is kept, if it is one; neither queries nor headers are logged, since tokens are
//! there; a path is told to the figures as the route it matched, never as it was; what has failed is logged here, once, with
//! the id that whoever asked was given.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use uuid::Uuid;

use super::Shared;
use super::problem::{Code, Problem};

/// Names a request, in both directions.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id that is taken from outside.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// The outermost layer.
pub(super) async fn envelope(State(app): State<Shared>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = request_id(&request);
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or_else(
        || "unmatched".to_owned(),
        |matched| matched.as_str().to_owned(),
    );
    let mut response = next.run(request).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let kept = response.headers().clone();
        let code = problem.code().name();
        match problem.cause() {
            Some(cause) if problem.code() == Code::Internal => {
                tracing::error!(request = %id, %method, route, code, cause, "failed");
            }
            Some(cause) => tracing::warn!(request = %id, %method, route, code, cause, "failed"),
            None => tracing::debug!(request = %id, %method, route, code, "refused"),
        }
        response = problem.render(&id);
        for (name, value) in &kept {
            if !response.headers().contains_key(name) && name != "content-length" {
                response.headers_mut().append(name, value.clone());
            }
        }
    }
    let status = response.status().as_u16();
    app.metrics
        .answered(&method, &route, status, began.elapsed());
    tracing::debug!(request = %id, %method, route, status, took = ?began.elapsed(), "answered");
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

fn request_id(request: &Request) -> String {
    let given = request
        .headers()
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok());
    let is_id = |text: &&str| {
        (1..=REQUEST_ID_BYTES_MAX).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
    };
    given
        .filter(is_id)
        .map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

/// What a panic becomes: our bug, told as such.
#[expect(clippy::needless_pass_by_value, reason = "the layer gives it away")]
pub(super) fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    use axum::response::IntoResponse as _;
    let what = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("something that is no text");
    Problem::internal("a request has panicked", &what).into_response()
}
