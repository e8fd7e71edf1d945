//! What the handles and the connection's task share: the ledger behind its mutex, and the bells that go with it.
//!
//! Rule: the mutex is never held across an await, and nothing is called under it that might take it again.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tenure_protocol::{Reply, Request};
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Result};
use crate::ledger::{Effect, Ledger};
use crate::options::Options;

pub(crate) struct Shared {
    pub(crate) options: Options,
    ledger: Mutex<Ledger>,
    /// Rings when there is something to write.
    pub(crate) writable: Notify,
    /// Rings when something is due earlier than the clock was set to.
    pub(crate) clock: Notify,
    /// The last handle is gone, or the client was closed.
    pub(crate) shutdown: CancellationToken,
    /// The connection's task has ended.
    pub(crate) ended: CancellationToken,
}

impl Shared {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            ledger: Mutex::new(Ledger::new(options.lose_in_doubt)),
            options,
            writable: Notify::new(),
            clock: Notify::new(),
            shutdown: CancellationToken::new(),
            ended: CancellationToken::new(),
        }
    }

    /// Changes the ledger, and sees to what follows from it.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Ledger, Instant) -> T) -> T {
        let now = Instant::now();
        let mut ledger = self.ledger.lock();
        // While there is output already, the writer knows.
        let had_output = ledger.has_output();
        let result = change(&mut ledger, now);
        ledger.run_errands(now);
        let writable = !had_output && ledger.has_output();
        let woken = ledger.take_woken();
        drop(ledger);
        if writable {
            self.writable.notify_one();
        }
        if woken {
            self.clock.notify_one();
        }
        result
    }

    /// Looks at the ledger.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Ledger) -> T) -> T {
        look(&self.ledger.lock())
    }

    /// Sends a request when one may be sent. Waits while as many are unanswered as the server takes.
    pub(crate) async fn send<T>(
        &self,
        send: impl FnOnce(&mut Ledger, Instant, OwnedSemaphorePermit) -> Result<T>,
    ) -> Result<T> {
        let mut send = Some(send);
        let mut attempt = |ledger: &mut Ledger, now, permit| {
            let send = send.take().expect("a request is sent once");
            send(ledger, now, permit)
        };
        let full = self.with(|ledger, now| match ledger.permit()? {
            Ok(permit) => attempt(ledger, now, permit).map(Ok),
            Err(full) => Ok(Err(full)),
        })?;
        match full {
            Ok(sent) => Ok(sent),
            Err(full) => {
                // The semaphore is closed when the connection ends.
                let permit = full
                    .acquire_owned()
                    .await
                    .map_err(|_| Error::new(ErrorKind::Disconnected, "the connection ended"))?;
                self.with(|ledger, now| attempt(ledger, now, permit))
            }
        }
    }

    /// Sends a request and waits for its answer, together no longer than the request timeout.
    pub(crate) async fn request<T, S>(
        &self,
        send: impl FnOnce(&mut Ledger, Instant, OwnedSemaphorePermit) -> Result<S>,
        answer: oneshot::Receiver<Result<T>>,
    ) -> Result<T> {
        let exchange = async {
            self.send(send).await?;
            received(answer.await)
        };
        within(self.options.request_timeout, exchange).await
    }

    /// Asks something that has no effect on the ledger.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        request: Request<'_>,
        effect: Effect,
        read: impl FnOnce(Reply<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (done, answer) = oneshot::channel();
        let read = Box::new(move |reply: Result<Reply<'_>>| {
            // Whoever asked may have gone.
            let _ = done.send(reply.and_then(read));
        });
        let send =
            |ledger: &mut Ledger, now, permit| ledger.call(now, permit, &request, read, effect);
        self.request(send, answer).await
    }
}

pub(crate) async fn within<T>(
    limit: Duration,
    exchange: impl Future<Output = Result<T>>,
) -> Result<T> {
    timeout(limit, exchange)
        .await
        .unwrap_or_else(|_| Err(Error::new(ErrorKind::TimedOut, "")))
}

/// An answer that was dropped unsent belongs to a client that has been closed.
pub(crate) fn received<T>(answer: Result<Result<T>, oneshot::error::RecvError>) -> Result<T> {
    answer.unwrap_or_else(|_| Err(Error::new(ErrorKind::Closed, "")))
}

/// Handles hold this: when the last is dropped, the connection ends.
pub(crate) struct Lifeline {
    pub(crate) shared: Arc<Shared>,
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        self.shared.shutdown.cancel();
    }
}
