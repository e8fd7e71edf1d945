//! The events of the feed, for one reader.
//!
//! Rule: a slow reader slows neither the feed nor other readers; it is told that it has lost something.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::ReusableBoxFuture;

use super::event::{Event, Told};

/// What the feed tells, from the moment of asking on: a [`Stream`] of [`Told`]. Made by
/// [`ChatClient::events`](super::ChatClient::events).
///
/// It goes on over reconnects; each event is given once and in order, and whatever may be missing is given as a
/// [loss](Event::is_loss). It ends with the client.
#[must_use = "streams do nothing unless they are polled"]
pub struct Events(ReusableBoxFuture<'static, Received>);

type Received = (Result<Arc<Told>, RecvError>, Receiver<Arc<Told>>);

impl Events {
    pub(super) fn new(receiver: Receiver<Arc<Told>>) -> Self {
        Self(ReusableBoxFuture::new(receive(receiver)))
    }

    /// The next event; `None` when the client is closed. Cancel-safe.
    pub async fn next(&mut self) -> Option<Told> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for Events {
    type Item = Told;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Told>> {
        let (received, receiver) = ready!(self.0.poll(context));
        self.0.set(receive(receiver));
        Poll::Ready(match received {
            Ok(told) => Some(Arc::unwrap_or_clone(told)),
            Err(RecvError::Lagged(_)) => Some(Told {
                id: None,
                event: Event::Lost {
                    why: "slow_reader".to_owned(),
                },
            }),
            Err(RecvError::Closed) => None,
        })
    }
}

async fn receive(mut receiver: Receiver<Arc<Told>>) -> Received {
    let received = receiver.recv().await;
    (received, receiver)
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}
