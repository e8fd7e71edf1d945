//! Connections: taken from the listener and served as HTTP/1.1 until they end, or until the service does.
//!
//! Knows no route. Rule: whoever connects has a bound for the head of each request, so that nobody keeps a connection by
//! saying little of it, and nobody keeps one for later for ever; what is answered for long, as a feed is, has none.

use std::io::{Error, ErrorKind};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// When no connection can be had for want of files, as long is waited for one to be free.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Serves until `ending`, then lets the requests that are under way be answered. A request's head has to be there within
/// `head_within` of the connection, or of the answer before it.
pub(crate) async fn serve(
    listener: TcpListener,
    routes: Router,
    head_within: Duration,
    ending: CancellationToken,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(head_within);
    let under_way = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            () = ending.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                tracing::warn!(%error, "no connection can be taken at the moment");
                tokio::time::sleep(AGAIN_AFTER).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(routes.clone());
        let connection = http.serve_connection(TokioIo::new(stream), service);
        let connection = under_way.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection has ended");
            }
        });
    }
    drop(listener);
    under_way.shutdown().await;
}

/// Whether it says nothing of the next connection.
fn is_of_one_connection(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
    )
}
