//! Many listeners, told past their connections part by part, by several at once.
//!
//! Tasks tell them of a single event: each on a worker, between what else that one has to do. Threads do where much happens:
//! a worker takes commands meanwhile, and what comes together while others are told is told in one go. Must hold: each
//! listener is told after what it is told of was shown; none waits for more than one turn, however much happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::runtime::Handle;
use tokio::task;
use tokio::time::Instant;

use super::excerpt::Excerpt;
use super::listener::Listener;

/// So many are told by a worker before others have their turn: each may be a write to a socket, and others wait a third of a
/// millisecond. A turn is dear, too: told 16 at once, a thousand cost a tenth more.
const TOLD_BY_TASK: usize = 64;

/// So many are told by a thread before whoever else wants its core has it: whoever reads what it writes, above all, and
/// commands, which would otherwise wait three times as long.
const TOLD_BY_THREAD: usize = 16;

/// See the file's header.
pub(super) struct Spread {
    listeners: Vec<Arc<Listener>>,
    /// What the first of them may be given.
    excerpt: Excerpt,
    now: Instant,
    next: AtomicUsize,
}

impl Spread {
    /// Whoever waits for a turn already is told in that.
    pub(super) fn of(
        mut listeners: Vec<Arc<Listener>>,
        excerpt: Excerpt,
        now: Instant,
    ) -> Arc<Self> {
        listeners.retain(|listener| listener.take_turn());
        Arc::new(Self {
            listeners,
            excerpt,
            now,
            next: AtomicUsize::new(0),
        })
    }

    /// By a task for each worker.
    pub(super) fn by_tasks(self: &Arc<Self>) {
        for _ in 0..workers().min(self.parts(TOLD_BY_TASK)) {
            let spread = Arc::clone(self);
            tokio::spawn(async move {
                let mut excerpt = spread.excerpt.clone();
                while spread.tell_part(TOLD_BY_TASK, &mut excerpt) {
                    task::yield_now().await;
                }
            });
        }
    }

    /// By as many threads as there are workers, and one for the core that these leave. The runtime has no more of them for all
    /// that are to be told at the same time.
    pub(super) fn by_threads(self: &Arc<Self>) {
        let threads = workers() + 1;
        for _ in 0..threads.min(self.parts(TOLD_BY_THREAD)) {
            let spread = Arc::clone(self);
            task::spawn_blocking(move || {
                let mut excerpt = spread.excerpt.clone();
                while spread.tell_part(TOLD_BY_THREAD, &mut excerpt) {
                    thread::yield_now();
                }
            });
        }
    }

    fn parts(&self, count: usize) -> usize {
        self.listeners.len().div_ceil(count)
    }

    /// Tells the next so many. Tells whether there were any.
    fn tell_part(&self, count: usize, excerpt: &mut Excerpt) -> bool {
        let part = self.next.fetch_add(1, Ordering::Relaxed);
        let Some(part) = self.listeners.chunks(count).nth(part) else {
            return false;
        };
        for listener in part {
            listener.begin_turn();
            listener.tell(excerpt, self.now);
        }
        true
    }
}

fn workers() -> usize {
    Handle::current().metrics().num_workers()
}
