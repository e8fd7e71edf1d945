//! What one feed has still to be told, in order and bounded.
//!
//! Rule: whoever tells never waits. When a browser does not keep up, what waits for it is dropped as a whole and one word
//! takes its place: that something was lost, and where the feed goes on.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Frames that wait for one browser.
const FRAMES_MAX: usize = 1024;

/// Bytes that do.
const BYTES_MAX: usize = 1024 * 1024;

/// See the file's header.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<Bytes>,
    bytes: usize,
    lost: Option<&'static str>,
}

/// What is next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// This.
    Frame(Bytes),
    /// Something was lost; why.
    Lost(&'static str),
}

impl Queue {
    pub(super) fn push(&self, frame: Bytes) {
        let mut waiting = self.waiting.lock();
        if waiting.frames.len() >= FRAMES_MAX || waiting.bytes + frame.len() > BYTES_MAX {
            waiting.lose("slow_reader");
        }
        // After a loss what follows is of use only to whoever has read anew, which is after they were told.
        waiting.bytes += frame.len();
        waiting.frames.push_back(frame);
        drop(waiting);
        self.changed.notify_one();
    }

    /// What was not told yet never will be.
    pub(super) fn lose(&self, why: &'static str) {
        self.waiting.lock().lose(why);
        self.changed.notify_one();
    }

    /// Whether everything has been told.
    pub(super) fn is_empty(&self) -> bool {
        let waiting = self.waiting.lock();
        waiting.frames.is_empty() && waiting.lost.is_none()
    }

    /// What is next. Cancel-safe; for one reader.
    pub(super) async fn next(&self) -> Next {
        loop {
            if let Some(next) = self.waiting.lock().take() {
                return next;
            }
            self.changed.notified().await;
        }
    }
}

impl Waiting {
    fn lose(&mut self, why: &'static str) {
        self.frames.clear();
        self.bytes = 0;
        self.lost = Some(why);
    }

    fn take(&mut self) -> Option<Next> {
        if let Some(why) = self.lost.take() {
            return Some(Next::Lost(why));
        }
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.len();
        Some(Next::Frame(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_browser_that_does_not_keep_up_is_told_so_and_goes_on() {
        let queue = Queue::default();
        for _ in 0..FRAMES_MAX {
            queue.push(Bytes::from_static(b"old"));
        }
        queue.push(Bytes::from_static(b"new"));
        assert_eq!(queue.next().await, Next::Lost("slow_reader"));
        assert_eq!(queue.next().await, Next::Frame(Bytes::from_static(b"new")));
        assert!(queue.is_empty());
    }

    #[tokio::test]
    async fn bytes_are_bounded_too() {
        let queue = Queue::default();
        let large = Bytes::from(vec![b'a'; BYTES_MAX / 2]);
        for _ in 0..3 {
            queue.push(large.clone());
        }
        assert_eq!(queue.next().await, Next::Lost("slow_reader"));
        assert!(queue.waiting.lock().bytes <= BYTES_MAX);
    }
}
