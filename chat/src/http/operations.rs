//! For operators and readers: health, figures, and the document of all routes with a page that shows it.
//!
//! Rule: none of these shows a chat, an organisation or a person; the page loads nothing from elsewhere.

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{Html, IntoResponse};

use super::{OneTooMany, Shared};
use crate::metrics::CONTENT_TYPE as METRICS_TYPE;

/// The page has its own style and no script.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "operations", responses(
    (status = 200, description = "It does", body = String, content_type = "text/plain"),
))]
pub(super) async fn healthz() -> &'static str {
    "alive\n"
}

/// Whether requests are of use: the database answers. The lock server may be away; then the answer says so.
#[utoipa::path(get, path = "/readyz", tag = "operations", responses(
    (status = 200, description = "They are", body = String, content_type = "text/plain"),
    (status = 503, description = "They are not: why", body = String, content_type = "text/plain"),
))]
pub(super) async fn readyz(
    State(app): State<Shared>,
    one_too_many: Option<Extension<OneTooMany>>,
) -> impl IntoResponse {
    if app.shutdown.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n");
    }
    if one_too_many.is_some() {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "as many connections as may be are open\n",
        );
    }
    if let Err(why) = app.store.ready().await {
        tracing::warn!(%why, "the database does not answer");
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "the database does not answer\n",
        );
    }
    if app.link.is_up() {
        (StatusCode::OK, "ready\n")
    } else {
        (
            StatusCode::OK,
            "ready, without the lock server: messages as configured, no locks\n",
        )
    }
}

/// Figures, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "operations", responses(
    (status = 200, description = "OpenMetrics text", body = String, content_type = "application/openmetrics-text"),
))]
pub(super) async fn metrics(State(app): State<Shared>) -> impl IntoResponse {
    app.metrics
        .sessions
        .set(i64::try_from(app.sessions.count()).unwrap_or(i64::MAX));
    app.metrics.tenure_up.set(i64::from(app.link.is_up()));
    ([(CONTENT_TYPE, METRICS_TYPE)], app.metrics.encode())
}

/// All routes, in OpenAPI 3.1.
#[utoipa::path(get, path = "/openapi.json", tag = "operations", responses(
    (status = 200, description = "The document", body = serde_json::Value),
))]
pub(super) async fn openapi(State(app): State<Shared>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], app.openapi.clone())
}

/// The same, to be read.
#[utoipa::path(get, path = "/docs", tag = "operations", responses(
    (status = 200, description = "A page", body = String, content_type = "text/html"),
))]
pub(super) async fn docs(State(app): State<Shared>) -> impl IntoResponse {
    ([(CONTENT_SECURITY_POLICY, POLICY)], Html(app.docs.clone()))
}
