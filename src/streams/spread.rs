//! Many listeners, told past their connections part by part, by several at once.
//!
//! Tasks tell them where whoever has made the event waits for it: each on a worker, between what else that one has to do.
//! Threads do where much happens: a worker takes commands meanwhile, and what comes together while others are told is told
//! in one go. Must hold: each listener is told by one of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::runtime::Handle;
use tokio::task;
use tokio::time::Instant;

use super::excerpt::Excerpt;
use super::listener::Listener;

/// So many are told by a worker before others have their turn: each may be a write to a socket, and others wait a third of a
/// millisecond. A turn is dear, too: of 16 at once, a thousand cost a tenth more.
const TOLD_BY_TASK: usize = 64;

/// So many are told by a thread before whoever else wants its core has it: whoever reads what it writes, above all, and whoever
/// takes commands, which would wait three times as long.
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
    pub(super) fn of(listeners: Vec<Arc<Listener>>, excerpt: Excerpt, now: Instant) -> Arc<Self> {
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

    /// By as many threads as there are workers, and one for the core that these leave.
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
        let from = self.next.fetch_add(count, Ordering::Relaxed);
        let Some(part) = self.listeners.get(from..) else {
            return false;
        };
        tell_each(&part[..count.min(part.len())], excerpt, self.now);
        true
    }
}

/// Tells some, one after the other.
pub(super) fn tell_each(listeners: &[Arc<Listener>], excerpt: &mut Excerpt, now: Instant) {
    for listener in listeners {
        listener.tell(excerpt, now);
    }
}

fn workers() -> usize {
    Handle::current().metrics().num_workers()
}
