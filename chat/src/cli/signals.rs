//! Ctrl-C, and what service managers send.
//! Knows nothing of what is stopped; a second signal changes nothing.

use tokio_util::sync::CancellationToken;

/// Is cancelled by the first signal to end.
pub(super) fn stopping() -> CancellationToken {
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        if signalled().await.is_ok() {
            stopped.cancel();
        }
    });
    stop
}

#[cfg(unix)]
async fn signalled() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

#[cfg(not(unix))]
async fn signalled() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
