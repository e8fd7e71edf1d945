//! The one task of a client: makes a connection after another, and keeps the clock of the ledger.
//!
//! Knows no messages. Rule: it ends with the last handle, or when the server has said that it is no use to come back.

use std::mem::{replace, take};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::connection::{self, Connection};
use crate::error::{Error, ErrorKind};
use crate::ledger::Ended;
use crate::options::Options;
use crate::shared::Shared;

/// Runs until the client is closed. The first connection may have been made already.
pub(crate) async fn run(shared: Arc<Shared>, first: Option<Connection>) {
    let why = tokio::select! {
        why = keep_connected(&shared, first) => why,
        why = keep_time(&shared) => why,
    };
    shared.with(|ledger, _| ledger.close(&why));
    shared.ended.cancel();
}

async fn keep_connected(shared: &Shared, mut first: Option<Connection>) -> Error {
    let mut back_off = BackOff::new(&shared.options);
    // Said once for each time that it is away: attempts to come back may be very many.
    let mut is_said = false;
    loop {
        let ended = match connect(shared, first.take()).await {
            Ok(connection) => {
                if take(&mut is_said) {
                    tracing::info!("connected again");
                }
                serve(shared, connection, &mut back_off).await
            }
            Err(ended) => ended,
        };
        if shared.shutdown.is_cancelled() {
            return Error::new(ErrorKind::Closed, "");
        }
        if !ended.again {
            tracing::error!(error = %ended.why, "the server does not want this client");
            return ended.why;
        }
        let pause = back_off.next(shared.look(|ledger| ledger.shortest_grace()));
        if replace(&mut is_said, true) {
            tracing::debug!(error = %ended.why, ?pause, "still not connected");
        } else {
            tracing::warn!(error = %ended.why, ?pause, "not connected");
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = shared.shutdown.cancelled() => return Error::new(ErrorKind::Closed, ""),
        }
    }
}

async fn connect(shared: &Shared, first: Option<Connection>) -> Result<Connection, Ended> {
    if let Some(connection) = first {
        return Ok(connection);
    }
    let connection = tokio::select! {
        connection = connection::open(&shared.options) => connection?,
        () = shared.shutdown.cancelled() => {
            return Err(Ended::retry(Error::new(ErrorKind::Closed, "")));
        }
    };
    shared.with(|ledger, now| ledger.connected(now, &connection.hello));
    Ok(connection)
}

async fn serve(shared: &Shared, connection: Connection, back_off: &mut BackOff) -> Ended {
    let since = Instant::now();
    let (heard, ended) = connection::serve(shared, connection).await;
    let served = shared.look(|ledger| ledger.is_up());
    // One that was accepted and ended at once is as bad as one that was refused.
    if served && since.elapsed() >= shared.options.back_off_max {
        back_off.reset();
    }
    shared.with(|ledger, _| ledger.disconnected(heard, &ended.why));
    ended
}

/// Tells the ledger the time whenever something is due.
async fn keep_time(shared: &Shared) -> Error {
    loop {
        let mut next = shared.with(|ledger, now| ledger.tick(now));
        loop {
            tokio::select! {
                () = sleep_until(next) => break,
                () = shared.clock.notified() => next = shared.look(|ledger| ledger.wake_at()),
            }
        }
    }
}

/// Pauses that double, each drawn between zero and its length.
struct BackOff {
    min: Duration,
    max: Duration,
    jitter: bool,
    failures: u32,
}

impl BackOff {
    const fn new(options: &Options) -> Self {
        Self {
            min: options.back_off_min,
            max: options.back_off_max,
            jitter: options.jitter,
            failures: 0,
        }
    }

    const fn reset(&mut self) {
        self.failures = 0;
    }

    fn next(&mut self, shortest_grace: Option<Duration>) -> Duration {
        let doubled = self.min.saturating_mul(1 << self.failures.min(20));
        self.failures = self.failures.saturating_add(1);
        let max = shortest_grace.map_or(self.max, |grace| self.max.min(grace / 3));
        let pause = doubled.min(max.max(self.min));
        if self.jitter {
            pause.mul_f64(fastrand::f64())
        } else {
            pause
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back_off() -> BackOff {
        let options = Options::from("nowhere:1")
            .back_off(Duration::from_millis(100), Duration::from_secs(10))
            .jitter(false);
        BackOff::new(&options)
    }

    #[test]
    fn pauses_double_up_to_the_most() {
        let mut back_off = back_off();
        let pauses: Vec<_> = (0..9).map(|_| back_off.next(None).as_millis()).collect();
        assert_eq!(
            pauses,
            [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]
        );
        back_off.reset();
        assert_eq!(back_off.next(None).as_millis(), 100);
    }

    #[test]
    fn a_session_is_tried_three_times_within_its_grace() {
        let mut back_off = back_off();
        let grace = Some(Duration::from_secs(3));
        let last = (0..30).map(|_| back_off.next(grace)).last();
        assert_eq!(last, Some(Duration::from_secs(1)));
    }

    #[test]
    fn jitter_only_shortens() {
        let mut back_off = back_off();
        back_off.jitter = true;
        for _ in 0..1000 {
            assert!(back_off.next(None) <= Duration::from_secs(10));
        }
    }
}
