//! The end of a connection: what was said last has to arrive, though whoever it was said to is still speaking.
//!
//! Knows no HTTP. Rule: a connection that is closed while something of the other side is unread makes the network drop what
//! was written last, so the rest is read and thrown away first, for a moment.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How long whoever is still speaking is listened to.
const LISTEN_FOR: Duration = Duration::from_secs(1);

/// A stream that ends in order when it is shut down.
pub(super) struct Leaving<S> {
    stream: S,
    /// Since everything was said that is to be: how long the other side may take to end.
    until: Option<Pin<Box<Sleep>>>,
}

impl<S> Leaving<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self {
            stream,
            until: None,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Leaving<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Leaving<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.until.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
        }
        let until = this
            .until
            .get_or_insert_with(|| Box::pin(sleep(LISTEN_FOR)));
        let mut unread = [0; 4096];
        loop {
            if until.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut unread = ReadBuf::new(&mut unread);
            let read = ready!(Pin::new(&mut this.stream).poll_read(context, &mut unread));
            // However it ended, it has ended.
            if read.is_err() || unread.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test]
    async fn whoever_still_speaks_is_heard_out_for_a_moment_only() {
        let (mut theirs, ours) = duplex(16);
        let mut ours = Leaving::new(ours);
        let began = Instant::now();
        let speaking = async {
            let mut heard = Vec::new();
            theirs.write_all(&[b'x'; 100]).await.expect("it is read");
            theirs.read_to_end(&mut heard).await.expect("it ends");
            // And never ends by itself.
            theirs
        };
        let leaving = async {
            ours.write_all(b"enough").await.expect("there is room");
            ours.shutdown().await.expect("there is an end");
        };
        let (theirs, ()) = tokio::join!(speaking, leaving);
        assert!((LISTEN_FOR..10 * LISTEN_FOR).contains(&began.elapsed()));
        drop(theirs);
    }

    #[tokio::test]
    async fn whoever_ends_is_not_waited_for() {
        let (theirs, ours) = duplex(16);
        let began = Instant::now();
        drop(theirs);
        Leaving::new(ours)
            .shutdown()
            .await
            .expect("there is an end");
        assert!(began.elapsed() < LISTEN_FOR);
    }
}
