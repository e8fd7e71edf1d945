//! The admin listener: health, readiness and metrics over plain HTTP, for probes and scrapers.
//!
//! It answers three GETs and changes nothing; it has no access control, and shows no path, org or person. Whoever starts
//! it binds the listener and says when it ends.
//!
//! ```text
//!   Starting(why) ──ready()──▶ Ready ──shutting_down()──▶ ShuttingDown
//!        │  ▲ starting(why)                                    ▲
//!        └──┴──────────────────shutting_down()─────────────────┘
//! ```

use std::fmt;
use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use parking_lot::Mutex;
use tokio::net::TcpListener;

use crate::metrics::{CONTENT_TYPE, Metrics};

/// Whether the server takes commands, and if not, why. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<Phase>>);

/// What [`Readiness`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Not yet: what it is busy with.
    Starting(String),
    /// Commands are taken.
    Ready,
    /// No more: connections are being ended.
    ShuttingDown,
}

impl Readiness {
    /// A server that is starting.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says what the start is busy with. Without effect once the server is shutting down.
    pub fn starting(&self, busy_with: impl Into<String>) {
        self.enter(Phase::Starting(busy_with.into()));
    }

    /// Says that commands are taken. Without effect once the server is shutting down.
    pub fn ready(&self) {
        self.enter(Phase::Ready);
    }

    /// Says that commands are taken no more, for good.
    pub fn shutting_down(&self) {
        self.enter(Phase::ShuttingDown);
    }

    /// What it says.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.0.lock().clone()
    }

    fn enter(&self, next: Phase) {
        let mut phase = self.0.lock();
        if *phase != Phase::ShuttingDown {
            *phase = next;
        }
    }
}

impl Default for Phase {
    fn default() -> Self {
        Self::Starting(String::from("nothing is open yet"))
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting(busy_with) => write!(f, "starting: {busy_with}"),
            Self::Ready => f.write_str("ready"),
            Self::ShuttingDown => f.write_str("shutting down"),
        }
    }
}

/// Answers on `listener` until `shutdown` comes, then finishes the answers that are under way.
///
/// # Errors
///
/// The listener has failed.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, routes(metrics, readiness))
        .with_graceful_shutdown(shutdown)
        .await
}

fn routes(metrics: Arc<Metrics>, readiness: Readiness) -> Router {
    Router::new()
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(ready).with_state(readiness))
        .route("/metrics", get(text).with_state(metrics))
}

async fn ready(State(readiness): State<Readiness>) -> impl IntoResponse {
    let phase = readiness.phase();
    let status = match phase {
        Phase::Ready => StatusCode::OK,
        Phase::Starting(_) | Phase::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, format!("{phase}\n"))
}

async fn text(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], metrics.encode())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio_util::sync::CancellationToken;

    use super::*;

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn health_readiness_and_metrics_are_answered_until_shutdown() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let readiness = Readiness::new();
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(serve(
            listener,
            Metrics::for_tests(),
            readiness.clone(),
            shutdown.clone().cancelled_owned(),
        ));

        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        readiness.starting("replaying the journal");
        let answer = get(address, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(
            answer.ends_with("starting: replaying the journal\n"),
            "{answer}"
        );
        readiness.ready();
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        let answer = get(address, "/metrics").await;
        assert!(answer.contains("application/openmetrics-text"), "{answer}");
        assert!(answer.contains("tenure_holds 0"), "{answer}");
        assert!(get(address, "/").await.starts_with("HTTP/1.1 404"));

        readiness.shutting_down();
        readiness.ready();
        let answer = get(address, "/readyz").await;
        assert!(answer.ends_with("shutting down\n"), "{answer}");
        shutdown.cancel();
        server.await.unwrap().unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }
}
