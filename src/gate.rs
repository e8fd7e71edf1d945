//! Holds back what a shard has said until what it rests on is on disk, and lets it go then.
//!
//! What leaves a shard bears a [`Mark`]; the journal's writer says how far the disk has got ([`Gate::reached`]). Where
//! nothing is to be held back every mark is the first one, which is always reached. Must hold: whoever is held back is
//! woken once their mark is reached, and no earlier: looking and lining up are one step, under one lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::journal::Mark;
use crate::outbox::Outbox;
use crate::streams::Woken;

/// So many are woken by the thread that writes the journal itself; more are by a task, so that it can write on.
const WOKEN_AT_ONCE: usize = 16;

/// See the file's header.
#[derive(Debug)]
pub(crate) struct Gate {
    /// The mark up to which all is on disk.
    durable: AtomicU64,
    /// At most a few for each open connection, since one that is held back reads no further.
    waiting: Mutex<Vec<(Mark, Held)>>,
    runtime: Handle,
}

/// What is held back.
#[derive(Debug)]
pub(crate) enum Held {
    /// A connection that has something to write.
    Connection(Arc<Outbox>),
    /// What a batch has put into streams.
    Events(Box<Woken>),
}

impl Gate {
    /// One through which only the first mark passes as yet. To be made where tasks can be spawned.
    pub(crate) fn new() -> Self {
        Self {
            durable: AtomicU64::new(Mark::default().0),
            waiting: Mutex::default(),
            runtime: Handle::current(),
        }
    }

    /// Whether what bears this mark may leave.
    #[inline]
    pub(crate) fn is_reached(&self, mark: Mark) -> bool {
        self.durable.load(Ordering::Acquire) >= mark.0
    }

    /// Wakes it when the mark is reached; at once, if it is.
    pub(crate) fn hold(&self, mark: Mark, held: Held) {
        if !self.is_reached(mark) {
            let mut waiting = self.waiting.lock();
            if !self.is_reached(mark) {
                waiting.push((mark, held));
                return;
            }
        }
        held.wake();
    }

    /// The disk has got as far as this. Not to be called under a shard's mutex.
    pub(crate) fn reached(&self, mark: Mark) {
        let mut free = {
            let mut waiting = self.waiting.lock();
            self.durable.fetch_max(mark.0, Ordering::Release);
            let ahead = waiting.iter().position(|(held, _)| *held > mark);
            match ahead {
                None => std::mem::take(&mut *waiting),
                Some(_) => waiting.extract_if(.., |(held, _)| *held <= mark).collect(),
            }
        };
        let _inside = self.runtime.enter();
        if free.len() <= WOKEN_AT_ONCE {
            free.drain(..).for_each(|(_, held)| held.wake());
            return;
        }
        self.runtime.spawn(async move {
            let mut free = free.into_iter();
            while free.len() > 0 {
                free.by_ref()
                    .take(WOKEN_AT_ONCE)
                    .for_each(|(_, held)| held.wake());
                tokio::task::yield_now().await;
            }
        });
    }
}

impl Held {
    fn wake(self) {
        match self {
            Self::Connection(outbox) => outbox.notify(),
            Self::Events(woken) => woken.wake(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    async fn is_woken(outbox: &Outbox) -> bool {
        timeout(SOON, outbox.ready()).await.is_ok()
    }

    #[tokio::test]
    async fn whoever_is_held_back_is_woken_once_their_mark_is_reached() {
        let gate = Gate::new();
        let outboxes = [1, 2, 3].map(|mark| (Mark(mark), Arc::new(Outbox::new(64))));
        for (mark, outbox) in &outboxes {
            assert!(!gate.is_reached(*mark));
            gate.hold(*mark, Held::Connection(Arc::clone(outbox)));
        }
        assert!(!is_woken(&outboxes[0].1).await);
        gate.reached(Mark(2));
        assert!(is_woken(&outboxes[0].1).await && is_woken(&outboxes[1].1).await);
        assert!(!is_woken(&outboxes[2].1).await && !is_woken(&outboxes[0].1).await);
        gate.reached(Mark(1));
        assert!(gate.is_reached(Mark(2)), "the disk does not go back");
        gate.reached(Mark(9));
        assert!(is_woken(&outboxes[2].1).await);
        assert!(gate.waiting.lock().is_empty());
    }

    #[tokio::test]
    async fn what_is_reached_is_not_held() {
        let gate = Gate::new();
        let outbox = Arc::new(Outbox::new(64));
        assert!(gate.is_reached(Mark::default()));
        gate.hold(Mark::default(), Held::Connection(Arc::clone(&outbox)));
        assert!(is_woken(&outbox).await);
        gate.reached(Mark(7));
        gate.hold(Mark(7), Held::Connection(Arc::clone(&outbox)));
        assert!(is_woken(&outbox).await);
    }

    /// Many line up while the disk gets on: nobody is left behind.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nobody_is_forgotten() {
        const MARKS: u64 = 2_000;
        let gate = Arc::new(Gate::new());
        let disk = Arc::clone(&gate);
        let writer = std::thread::spawn(move || {
            for mark in 1..=MARKS {
                disk.reached(Mark(mark));
                std::thread::yield_now();
            }
        });
        let connections = (0..8).map(|_| {
            let gate = Arc::clone(&gate);
            tokio::spawn(async move {
                let outbox = Arc::new(Outbox::new(64));
                for mark in 1..=MARKS {
                    gate.hold(Mark(mark), Held::Connection(Arc::clone(&outbox)));
                    outbox.ready().await;
                    assert!(gate.is_reached(Mark(mark)));
                }
            })
        });
        let connections: Vec<_> = connections.collect();
        // It takes as long as a busy machine makes it; then they have all that they wait for.
        let written = tokio::task::spawn_blocking(|| writer.join());
        written.await.unwrap().unwrap();
        for connection in connections {
            timeout(Duration::from_secs(20), connection)
                .await
                .expect("it was woken")
                .unwrap();
        }
    }
}
