//! What is to be written to one connection, in order, from whichever thread it comes.
//!
//! Shards append replies and notices under their own mutex, so what one shard says to a connection arrives in the order in
//! which it happened. Knows frames only as bytes, and listeners only as what has something to read. Nothing in here is ever
//! dropped: a connection that lets it grow beyond its bound is closed instead. What is in it may be written when the mark
//! is reached that came with it. The answers to what a connection itself asks need not go through it while nothing is in it.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use parking_lot::{Mutex, MutexGuard};
use tenure_engine::Attach;
use tenure_protocol::{ErrorCode, Push, push};

use crate::journal::Mark;
use crate::outlet::{Filled, Outlet};
use crate::streams::Listener;

/// See the file's header.
#[derive(Debug)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    /// Whether there may be anything in it: its connection looks in each round, and mostly in vain.
    is_used: AtomicBool,
    call: Call,
    /// The way past the connection, which goes around what is in here only while nothing is.
    pub(crate) outlet: Outlet,
    bytes_max: usize,
}

/// How a connection is called to its outbox. It looks there after each request, nearly always in vain: so nothing is set up
/// anew for each time that it waits, and who is called while it does not wait is not woken.
#[derive(Debug, Default)]
struct Call {
    state: AtomicU8,
    /// Whom to wake, once it has waited.
    waker: Mutex<Option<Waker>>,
}

/// Nobody has called since the connection looked last, or waits.
const QUIET: u8 = 0;
/// The connection waits, or is at something else that it was woken for.
const WAITED_FOR: u8 = 1;
/// It finds this before it waits.
const CALLED: u8 = 2;

/// The connection's end of it.
#[derive(Debug)]
pub(crate) struct Calls<'o> {
    call: &'o Call,
    /// Whom it has said to wake.
    wakes: Option<Waker>,
}

#[derive(Debug, Default)]
struct State {
    bytes: BytesMut,
    frames: u64,
    /// The latest that any of the bytes rests on.
    mark: Mark,
    attachments: Vec<Attachment>,
    woken: Vec<Arc<Listener>>,
    closing: Option<ErrorCode>,
}

/// What a connection is about to write, in order.
#[derive(Debug, Default)]
pub(crate) struct Unwritten {
    pub(crate) bytes: BytesMut,
    /// It may be written when this is reached.
    pub(crate) mark: Mark,
}

/// What [`Outbox::exchange`] has found.
#[derive(Debug, Default)]
pub(crate) struct Exchanged {
    /// Frames that are to be written from here on.
    pub(crate) frames: u64,
    /// Bytes that are still in the outbox.
    pub(crate) left: usize,
    /// The sessions that have come and gone since the last time.
    pub(crate) attachments: Vec<Attachment>,
    /// Whether, and why, the connection is to end.
    pub(crate) closing: Option<ErrorCode>,
}

/// A session, by its number on the wire, has come to the connection, or gone.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Attachment {
    Made(u64, Attach),
    Gone(u64),
}

impl Outbox {
    /// An empty one, which closes its connection when what others put in it exceeds `bytes_max`.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            state: Mutex::default(),
            is_used: AtomicBool::new(false),
            call: Call::default(),
            outlet: Outlet::default(),
            bytes_max,
        }
    }

    /// Whether nothing is in it: then what is said to its connection by whoever runs it comes after all that was in it.
    pub(crate) fn is_unused(&self) -> bool {
        !self.is_used.load(Ordering::Acquire)
    }

    /// Appends what the connection itself has asked for. It takes it out without being woken.
    pub(crate) fn append(&self, bytes: &[u8], frames: u64, mark: Mark) {
        let mut state = self.put();
        if state.closing.is_some() {
            // A goodbye is the last frame; what a lost reply leaves open, the resume answers.
            return;
        }
        state.append(bytes, frames, mark);
    }

    /// Appends what the connection has not asked for. Tells whether it is to be woken, when the mark is reached. If something
    /// was to be written before, it is at it, or is woken for that, and finds this too; unless this is too much for it.
    pub(crate) fn tell(&self, bytes: &[u8], frames: u64, mark: Mark) -> bool {
        let mut state = self.put();
        if state.closing.is_some() {
            return false;
        }
        let was_idle = state.bytes.is_empty();
        state.append(bytes, frames, mark);
        let is_too_much = state.bytes.len() > self.bytes_max;
        if is_too_much {
            state.close(
                ErrorCode::SlowReader,
                "the client does not read what it is sent; connect again and resume",
            );
        }
        was_idle || is_too_much
    }

    /// Wakes the connection: there is something to be written.
    pub(crate) fn notify(&self) {
        self.call.out();
    }

    /// Appends what rests on nothing, and wakes the connection.
    pub(crate) fn push(&self, push: &Push<'_>) {
        let mut bytes = BytesMut::new();
        push.encode(&mut bytes);
        if self.tell(&bytes, 1, Mark::default()) {
            self.notify();
        }
    }

    /// Says goodbye: what is in here is still written, nothing more is taken.
    pub(crate) fn close(&self, code: ErrorCode, message: &str) {
        self.put().close(code, message);
        self.notify();
    }

    pub(crate) fn note(&self, attachment: Attachment) {
        self.put().attachments.push(attachment);
    }

    /// One of the connection's listeners has something to read. Carries no bytes: they stay where they are until the
    /// connection has room for them. A listener wakes it once until it is drained.
    pub(crate) fn wake(&self, listener: Arc<Listener>) {
        self.put().woken.push(listener);
        self.notify();
    }

    /// Has `fill` give events, and writes them, if the connection sleeps and nothing else is to be said to it. Tells
    /// whether all has been written; if not, it is to be [woken](Self::wake).
    pub(crate) fn write_past<'f>(&self, fill: impl FnOnce() -> Filled<'f>) -> bool {
        self.outlet.write(|| {
            if self.state.lock().is_empty() {
                return fill();
            }
            Filled {
                has_more: true,
                ..Filled::default()
            }
        })
    }

    /// What the connection has to know before it goes on. Swaps what is to be written for `written`, and the listeners
    /// that have had something to read since the last time for `woken`, if these are empty.
    pub(crate) fn exchange(
        &self,
        written: &mut Unwritten,
        woken: &mut Vec<Arc<Listener>>,
    ) -> Exchanged {
        if self.is_unused() {
            return Exchanged::default();
        }
        let mut state = self.state.lock();
        let mut frames = 0;
        if woken.is_empty() {
            std::mem::swap(&mut state.woken, woken);
        }
        if written.bytes.is_empty() {
            std::mem::swap(&mut state.bytes, &mut written.bytes);
            frames = std::mem::take(&mut state.frames);
            written.mark = written.mark.max(std::mem::take(&mut state.mark));
        }
        let attachments = std::mem::take(&mut state.attachments);
        if state.is_empty() {
            self.is_used.store(false, Ordering::Release);
        }
        Exchanged {
            frames,
            left: state.bytes.len(),
            attachments,
            closing: state.closing,
        }
    }

    /// For whoever puts something in.
    fn put(&self) -> MutexGuard<'_, State> {
        let state = self.state.lock();
        self.is_used.store(true, Ordering::Release);
        state
    }

    /// Waits until something has been pushed, or a listener woken. Not while there are [`calls`](Self::calls).
    pub(crate) async fn ready(&self) {
        self.calls().next().await;
    }

    /// For the connection, which is the only one that does: whoever waits last is woken, and nobody else.
    pub(crate) const fn calls(&self) -> Calls<'_> {
        Calls {
            call: &self.call,
            wakes: None,
        }
    }
}

impl Call {
    fn out(&self) {
        if self.state.swap(CALLED, Ordering::AcqRel) == WAITED_FOR
            && let Some(waker) = &*self.waker.lock()
        {
            waker.wake_by_ref();
        }
    }
}

impl Calls<'_> {
    /// Waits until the connection is called. Whoever was called while nobody waited need not wait.
    pub(crate) async fn next(&mut self) {
        poll_fn(|context| self.poll(context)).await;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let (state, waker) = (&self.call.state, context.waker());
        if !matches!(&self.wakes, Some(known) if known.will_wake(waker)) {
            self.wakes = Some(waker.clone());
            *self.call.waker.lock() = self.wakes.clone();
        }
        // What was put in before a call is seen by whoever takes it.
        let (order, on_failure) = (Ordering::AcqRel, Ordering::Acquire);
        let waits = state.load(Ordering::Acquire) == WAITED_FOR
            || (state.compare_exchange(QUIET, WAITED_FOR, order, on_failure)).is_ok();
        if waits {
            return Poll::Pending;
        }
        state.swap(QUIET, order);
        Poll::Ready(())
    }
}

/// A task that has ended is not kept for being woken.
impl Drop for Calls<'_> {
    fn drop(&mut self) {
        if self.wakes.is_some() {
            *self.call.waker.lock() = None;
        }
    }
}

impl State {
    /// Whether the connection has nothing to write, and nothing to do.
    fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.woken.is_empty() && self.closing.is_none()
    }

    fn append(&mut self, bytes: &[u8], frames: u64, mark: Mark) {
        self.bytes.extend_from_slice(bytes);
        self.frames += frames;
        self.mark = self.mark.max(mark);
    }

    fn close(&mut self, code: ErrorCode, message: &str) {
        if self.closing.is_none() {
            self.closing = Some(code);
            Push::ServerGoodbye(push::Goodbye {
                code: code.into(),
                message,
            })
            .encode(&mut self.bytes);
            self.frames += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tenure_protocol::frame::Frames;
    use tenure_protocol::limits::FRAME_FROM_SERVER;
    use tenure_protocol::{FromServer, Push};
    use tokio::time::timeout;

    use super::*;

    fn pushes(outbox: &Outbox) -> Vec<String> {
        let mut written = Unwritten::default();
        outbox.exchange(&mut written, &mut Vec::new());
        Frames::new(&written.bytes, FRAME_FROM_SERVER)
            .map(|payload| {
                let decoded = FromServer::decode(payload.unwrap()).unwrap();
                let FromServer::Push(push) = decoded else {
                    panic!("expected a push, found {decoded:?}")
                };
                push.kind().name().to_string()
            })
            .collect()
    }

    #[test]
    fn what_exceeds_the_bound_is_kept_and_followed_by_a_goodbye() {
        let outbox = Outbox::new(12);
        for _ in 0..5 {
            outbox.push(&Push::ServerPing(push::Ping {}));
        }
        assert_eq!(outbox.state.lock().closing, Some(ErrorCode::SlowReader));
        let pushes = pushes(&outbox);
        let (last, before) = pushes.split_last().unwrap();
        assert_eq!(last, "server.goodbye");
        assert!(!before.is_empty() && before.iter().all(|name| name == "server.ping"));
    }

    /// Calls come while it looks, before it waits, and while it is being woken.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn whatever_is_put_in_is_found_by_whoever_waits_for_calls() {
        const PUSHES: u64 = 20_000;
        let outbox = Arc::new(Outbox::new(usize::MAX));
        let others = [(); 2].map(|()| {
            let outbox = Arc::clone(&outbox);
            std::thread::spawn(move || {
                for number in 0..PUSHES {
                    outbox.push(&Push::ServerPing(push::Ping {}));
                    if number % 7 == 0 {
                        std::thread::yield_now();
                    }
                }
            })
        });
        let (mut calls, mut found) = (outbox.calls(), 0);
        while found < 2 * PUSHES {
            let called = timeout(Duration::from_secs(20), calls.next());
            called.await.expect("there is more");
            found += outbox
                .exchange(&mut Unwritten::default(), &mut Vec::new())
                .frames;
        }
        for other in others {
            other.join().unwrap();
        }
        assert!(outbox.is_unused());
    }

    #[test]
    fn nothing_follows_a_goodbye() {
        let outbox = Outbox::new(1024);
        outbox.close(ErrorCode::ShuttingDown, "first");
        outbox.close(ErrorCode::Silent, "second");
        outbox.push(&Push::ServerPing(push::Ping {}));
        outbox.append(b"a reply", 1, Mark::default());
        assert_eq!(outbox.state.lock().closing, Some(ErrorCode::ShuttingDown));
        assert_eq!(pushes(&outbox), ["server.goodbye"]);
    }
}
