//! Connections: taken from the listener and served as HTTP/1.1 until they end, or until the service does.
//!
//! Knows no route. Rules: whoever connects has a bound for the head of each request, so that nobody keeps a connection by
//! saying little of it, and nobody keeps one for later for ever; what is answered for long, as a feed is, has none. There
//! are so many connections and no more, but one too many is taken too, for as long as it takes to tell it so.

mod leaving;

use std::io::{Error, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::http::OneTooMany;
use crate::metrics::Metrics;
use leaving::Leaving;

/// When no connection can be had for want of files, as long is waited for one to be free.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Connections that are being turned away at a time. Beyond them one is closed without a word.
pub(crate) const TURNED_AWAY_MAX: usize = 256;

/// How long one of them may take to ask, and to hear that it came to a full house.
const TURN_AWAY_WITHIN: Duration = Duration::from_secs(5);

/// How much whoever connects may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Connections at a time.
    pub(crate) connections_max: usize,
    /// A request's head has to be there so soon after the connection, or the answer before it.
    pub(crate) head_within: Duration,
}

/// Serves until `ending`, then lets the requests that are under way be answered.
pub(crate) async fn serve(
    listener: TcpListener,
    routes: Router,
    bounds: Bounds,
    metrics: Arc<Metrics>,
    ending: CancellationToken,
) {
    let house = House {
        places: Arc::new(Semaphore::new(bounds.connections_max)),
        http: http(bounds.head_within),
        doorstep: Arc::new(Semaphore::new(TURNED_AWAY_MAX)),
        turned_away: routes.clone().layer(Extension(OneTooMany)),
        routes,
        under_way: GracefulShutdown::new(),
        metrics,
    };
    loop {
        let accepted = tokio::select! {
            () = ending.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => house.admit(stream),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "no connection can be taken at the moment");
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
    }
    drop(listener);
    house.under_way.shutdown().await;
}

/// What all connections share.
struct House {
    places: Arc<Semaphore>,
    routes: Router,
    http: http1::Builder,
    /// Room for those that are turned away.
    doorstep: Arc<Semaphore>,
    turned_away: Router,
    under_way: GracefulShutdown,
    metrics: Arc<Metrics>,
}

impl House {
    /// Begins to serve a connection, or to turn it away.
    fn admit(&self, stream: TcpStream) {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            let place = Place::new(place, Arc::clone(&self.metrics));
            let connection = self.connection(&self.http, &self.routes, stream);
            tokio::spawn(async move {
                connection.await;
                drop(place);
            });
        } else if let Ok(room) = Arc::clone(&self.doorstep).try_acquire_owned() {
            self.metrics.turned_away("told");
            let mut once = http(TURN_AWAY_WITHIN);
            once.keep_alive(false);
            let connection = self.connection(&once, &self.turned_away, stream);
            tokio::spawn(async move {
                // Whoever takes longer is not waited for.
                let _ = timeout(TURN_AWAY_WITHIN, connection).await;
                drop(room);
            });
        } else {
            self.metrics.turned_away("closed");
        }
    }

    fn connection(
        &self,
        http: &http1::Builder,
        routes: &Router,
        stream: TcpStream,
    ) -> impl Future<Output = ()> + use<> {
        let service = TowerToHyperService::new(routes.clone());
        let connection = http.serve_connection(TokioIo::new(Leaving::new(stream)), service);
        let connection = self.under_way.watch(connection);
        async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection has ended");
            }
        }
    }
}

fn http(head_within: Duration) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(head_within);
    http
}

/// A connection in the figures and among those that there may be, until this is dropped.
struct Place {
    metrics: Arc<Metrics>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    fn new(permit: OwnedSemaphorePermit, metrics: Arc<Metrics>) -> Self {
        metrics.connections.inc();
        Self {
            metrics,
            _permit: permit,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.metrics.connections.dec();
    }
}

/// Whether it says nothing of the next connection.
fn is_of_one_connection(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
    )
}
