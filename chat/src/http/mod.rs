//! The routes: read, ask, answer. Each is short, and decides nothing that the store or the lock server can decide.
//!
//! Owns what all handlers share, and the order of the layers around them. Rules: everything under `/v1/` needs a token;
//! whatever is no success is a problem (`problem.rs`); each route stands in the document that is served (`document.rs`).

mod answers;
mod chats;
mod crowded;
mod document;
mod documents;
mod envelope;
mod export;
mod finding;
mod input;
mod limits;
mod live;
mod locks;
mod marks;
mod messages;
mod operations;
mod presence;
mod problem;
mod refusal;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, Method, header};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::config::{Config, WhenAway};
use crate::identity::Verifier;
use crate::live::Live;
use crate::locks::{Link, Sessions};
use crate::metrics::Metrics;
use crate::store::Store;

pub(crate) use crowded::OneTooMany;
use envelope::REQUEST_ID;
pub(crate) use export::Exports;
pub(crate) use limits::{Limits, SWEEP_EVERY};
use problem::{Code, Problem};

/// Bytes of the largest body: a message of 16 KiB with 16 attachments, escaped.
pub(crate) const BODY_BYTES_MAX: usize = 256 * 1024;

/// A browser asks again whether it may, after this.
const PREFLIGHT_FOR: Duration = Duration::from_secs(600);

/// What all handlers share.
pub(crate) struct App {
    pub(crate) store: Store,
    pub(crate) link: Link,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) live: Live,
    pub(crate) limits: Limits,
    pub(crate) exports: Exports,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) verifier: Verifier,
    pub(crate) when_away: WhenAway,
    pub(crate) grace: Duration,
    pub(crate) idle: Duration,
    /// The body of a request has to be there so soon after its head.
    pub(crate) body_within: Duration,
    pub(crate) shutdown: CancellationToken,
    /// The document of all routes, and its page.
    pub(crate) openapi: String,
    pub(crate) docs: String,
}

/// How handlers have it.
pub(crate) type Shared = Arc<App>;

fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(document::frame())
        .routes(routes!(chats::create, chats::list))
        .routes(routes!(chats::show))
        .routes(routes!(chats::set_participants))
        .routes(routes!(messages::send, messages::history))
        .routes(routes!(messages::show, messages::edit, messages::delete))
        .routes(routes!(messages::changes))
        .routes(routes!(finding::search))
        .routes(routes!(export::export))
        .routes(routes!(export::export_all))
        .routes(routes!(marks::mark))
        .routes(routes!(marks::receipts))
        .routes(routes!(marks::unread))
        .routes(routes!(marks::recount))
        .routes(routes!(locks::lock, locks::status))
        .routes(routes!(locks::unlock))
        .routes(routes!(locks::heartbeat))
        .routes(routes!(presence::enter, presence::leave))
        .routes(routes!(presence::typing))
        .routes(routes!(presence::viewers))
        .routes(routes!(documents::acquire))
        .routes(routes!(documents::release))
        .routes(routes!(documents::extend))
        .routes(routes!(documents::hand_over))
        .routes(routes!(documents::decline))
        .routes(routes!(documents::status))
        .routes(routes!(documents::list))
        .routes(routes!(documents::force_release))
        .routes(routes!(documents::clear))
        .routes(routes!(live::open, live::close))
        .routes(routes!(live::feed))
        .routes(routes!(finding::me))
        .routes(routes!(finding::audit))
        .routes(routes!(operations::healthz))
        .routes(routes!(operations::readyz))
        .routes(routes!(operations::metrics))
        .routes(routes!(operations::openapi))
        .routes(routes!(operations::docs))
}

/// The document of all routes as JSON, and as a page.
pub(crate) fn document() -> anyhow::Result<(String, String)> {
    let document = document::complete(routes().into_openapi());
    Ok((document.to_pretty_json()?, document::page(&document)))
}

/// All routes, with everything around them.
pub(crate) fn router(app: Shared, config: &Config) -> anyhow::Result<Router> {
    let (router, _) = routes().split_for_parts();
    let router = router
        .fallback(async || Problem::new(Code::NotFound, "there is no such route: see /docs"))
        .method_not_allowed_fallback(async || {
            Problem::new(
                Code::MethodNotAllowed,
                "the route is known, the method is not: see /docs",
            )
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(CatchPanicLayer::custom(envelope::panicked))
        .layer(axum::middleware::from_fn(crowded::turn_away))
        .layer(axum::middleware::from_fn_with_state(
            Arc::clone(&app),
            envelope::envelope,
        ));
    let router = match cors(config)? {
        Some(cors) => router.layer(cors),
        None => router,
    };
    Ok(router.with_state(app))
}

/// What pages of other origins may do; nothing, unless some are named.
fn cors(config: &Config) -> anyhow::Result<Option<CorsLayer>> {
    if config.cors_origins.is_empty() {
        return Ok(None);
    }
    let origins: Result<Vec<HeaderValue>, _> = config
        .cors_origins
        .iter()
        .map(|origin| origin.parse())
        .collect();
    let session = HeaderName::from_static(input::SESSION);
    let last = HeaderName::from_static("last-event-id");
    Ok(Some(
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(origins?))
            .allow_methods([
                Method::GET,
                Method::POST,
                Method::PUT,
                Method::PATCH,
                Method::DELETE,
            ])
            .allow_headers([
                header::AUTHORIZATION,
                header::CONTENT_TYPE,
                session,
                last,
                REQUEST_ID,
            ])
            .expose_headers([header::RETRY_AFTER, REQUEST_ID, messages::REPLAYED])
            .max_age(PREFLIGHT_FOR),
    ))
}
