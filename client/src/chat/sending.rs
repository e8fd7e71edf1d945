//! Sending: whoever hands a message over is given a handle; a task for each chat with something to send works through its lane.
//!
//! Knows the queue and the one way to the companion. Rules: this is the only path by which a message leaves; the next of a chat
//! goes when the one before has ended; a message is sent again until its fate is known, under the same name, by which the
//! companion knows it; the handle that a send gave is answered with that message's fate and no other's.

use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Method, StatusCode};
use parking_lot::Mutex;
use tokio::sync::{SemaphorePermit, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::client::Shared;
use super::error::{Error, ErrorKind, Result};
use super::link::{Answer, Ask, Failure, is_passing};
use super::queue::{NotQueued, Pushed};
use super::types::{ChatId, Message, NewMessage, Unsent};

/// Messages of different chats that are on their way at once.
pub(super) const AT_ONCE: usize = 8;

/// A companion that fails in judging a message is asked so often. It may be the message.
const FAILURES_MAX: u32 = 5;

/// When a full queue is worth trying again, while nothing is known of the companion.
const FULL_AFTER: Duration = Duration::from_secs(1);

/// A message that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// As the companion has it, with its place in the chat.
    pub message: Message,
    /// Whether it was stored by an earlier try, or by an earlier process: it may have been edited since.
    pub replayed: bool,
    /// How often it was tried.
    pub attempts: u32,
    /// From handing it over until it was known to be stored.
    pub took: Duration,
}

/// A message on its way: a future of its fate. Dropping it changes nothing; the message is sent all the same.
#[derive(Debug)]
#[must_use = "awaiting it says whether the message was stored"]
pub struct Sending {
    chat: ChatId,
    client_msg_id: String,
    fate: oneshot::Receiver<Result<Sent>>,
}

impl Sending {
    /// The chat.
    #[must_use]
    pub const fn chat(&self) -> ChatId {
        self.chat
    }

    /// The name that the message is known by.
    #[must_use]
    pub fn client_msg_id(&self) -> &str {
        &self.client_msg_id
    }
}

impl Future for Sending {
    type Output = Result<Sent>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let fate = ready!(Pin::new(&mut self.fate).poll(context));
        // Whoever had to tell is gone: so is the client.
        Poll::Ready(fate.unwrap_or_else(|_| Err(Error::new(ErrorKind::Closed, ""))))
    }
}

/// A message that waits, or is on its way.
pub(super) struct Outgoing {
    chat: ChatId,
    message: NewMessage,
    since: Instant,
    told: Mutex<Option<oneshot::Sender<Result<Sent>>>>,
    /// Whether a try has had no answer.
    in_doubt: Mutex<bool>,
}

impl Outgoing {
    fn tell(&self, fate: Result<Sent>) {
        if let Some(told) = self.told.lock().take() {
            // Whoever sent it may not care.
            let _ = told.send(fate);
        }
    }

    /// The client is closed before its fate was known.
    pub(super) fn close(&self) -> Unsent {
        let in_doubt = *self.in_doubt.lock();
        self.tell(Err(Error::new(ErrorKind::Closed, "").with_doubt(in_doubt)));
        Unsent {
            chat: self.chat,
            message: self.message.clone(),
        }
    }
}

impl Shared {
    /// Puts a message into its chat's lane.
    pub(super) fn send(self: &Arc<Self>, chat: ChatId, message: NewMessage) -> Result<Sending> {
        if let Some(fault) = message.fault() {
            return Err(Error::new(ErrorKind::BadRequest, fault));
        }
        let now = Instant::now();
        let (told, fate) = oneshot::channel();
        let client_msg_id = message.client_msg_id.clone();
        let bytes = message.weight();
        let outgoing = Arc::new(Outgoing {
            chat,
            message,
            since: now,
            told: Mutex::new(Some(told)),
            in_doubt: Mutex::default(),
        });
        let mut queue = self.queue.lock();
        // Under the mutex, so that a message that finds no room has not used up anything.
        if !queue.has_room(bytes) {
            drop(queue);
            let why = "as many messages wait to be sent as may";
            return Err(Error::new(ErrorKind::QueueFull, why).with_retry_after(FULL_AFTER));
        }
        self.sends.take().map_err(|wait| {
            let why = format!("more messages than are taken; in {wait:.1?} there is room for one");
            Error::new(ErrorKind::RateLimited, why).with_retry_after(wait)
        })?;
        let pushed = queue.push(now, chat, bytes, outgoing);
        drop(queue);
        match pushed {
            Ok(Pushed::LaneBegins) => {
                self.runtime.spawn(see_to(Arc::clone(self), chat));
            }
            Ok(Pushed::LaneGoesOn) => {}
            Err(NotQueued::Full) => unreachable!("there was room, and nobody else has the mutex"),
            Err(NotQueued::Closed) => return Err(Error::new(ErrorKind::Closed, "")),
        }
        self.expect_to_hear(chat, &client_msg_id, now);
        self.typing.lock().over(chat);
        Ok(Sending {
            chat,
            client_msg_id,
            fate,
        })
    }

    /// Takes a message out of the queue that is not on its way yet.
    pub(super) fn take_back(&self, chat: ChatId, client_msg_id: &str) -> bool {
        let is_it = |outgoing: &Arc<Outgoing>| outgoing.message.client_msg_id == client_msg_id;
        let Some(taken) = self.queue.lock().take_back(chat, is_it) else {
            return false;
        };
        taken.tell(Err(Error::new(ErrorKind::TakenBack, "")));
        self.moved.notify_waiters();
        true
    }
}

/// Works through a chat's lane until it is empty.
async fn see_to(shared: Arc<Shared>, chat: ChatId) {
    loop {
        let Some(next) = shared.queue.lock().begin(chat) else {
            return;
        };
        let fate = tokio::select! {
            fate = deliver(&shared, &next) => fate,
            // What waits is told by whoever closes.
            () = shared.link.shutdown.cancelled() => return,
        };
        match &fate {
            Ok(sent) => {
                shared.counters.stored.took(sent.took);
                if sent.replayed {
                    shared.counters.replayed.one();
                }
                // Whoever was told that it is stored finds it.
                shared.cache.created(&sent.message);
            }
            Err(_) => shared.counters.failed.one(),
        }
        shared.queue.lock().finish(chat);
        next.tell(fate);
        shared.moved.notify_waiters();
    }
}

/// What one try has come to: an end, or that the same may go better later.
type Tried = ControlFlow<Result<Sent>, Error>;

/// Sends a message until its fate is known, or its time is over. A try that has begun is not cut short: it may be the one.
async fn deliver(shared: &Shared, outgoing: &Outgoing) -> Result<Sent> {
    let deadline = outgoing.since + shared.give_up_after;
    let path = format!("/v1/chats/{}/messages", outgoing.chat);
    // Whoever has sent it types no more.
    let ask = Ask {
        shows_session: true,
        ..Ask::json(Method::POST, path, &outgoing.message)?
    };
    let mut back_off = shared.link.new_back_off();
    let mut last = Error::new(ErrorKind::TimedOut, "");
    let (mut attempts, mut failures) = (0, 0);
    while Instant::now() < deadline {
        let Ok(place) = timeout_at(deadline, may_go(shared)).await else {
            break;
        };
        if attempts > 0 {
            shared.counters.retries.one();
        }
        attempts += 1;
        let error = match try_once(shared, outgoing, &ask, attempts).await {
            ControlFlow::Break(fate) => return fate,
            ControlFlow::Continue(error) => error,
        };
        drop(place);
        failures += u32::from(error.kind() == ErrorKind::Server);
        if failures >= FAILURES_MAX {
            return Err(error.with_doubt(true));
        }
        tracing::debug!(chat = %outgoing.chat, %error, attempts, "a message is sent again");
        let pause = back_off.next(fastrand::f64(), error.retry_after());
        let until = deadline.min(Instant::now() + pause);
        if error.retry_after().is_some() {
            sleep_until(until).await;
        } else {
            shared.link.pause_until(until).await;
        }
        last = error;
    }
    let in_doubt = *outgoing.in_doubt.lock();
    let kind = if in_doubt {
        ErrorKind::UnknownOutcome
    } else {
        ErrorKind::TimedOut
    };
    Err(last.of_kind(kind).with_doubt(in_doubt))
}

/// Waits until there is a token, a companion, room among those on their way, and time.
async fn may_go(shared: &Shared) -> Option<SemaphorePermit<'_>> {
    shared.link.token().await;
    shared.link.worth_asking().await;
    let place = shared.places.acquire().await.ok();
    shared.pace.wait().await;
    place
}

async fn try_once(shared: &Shared, outgoing: &Outgoing, ask: &Ask, attempts: u32) -> Tried {
    let doubt = Doubt::begin(outgoing);
    let began = Instant::now();
    match shared.link.ask(ask).await {
        Ok(answer) => {
            shared.counters.attempts.took(began.elapsed());
            doubt.answered(&answer);
            judge(shared, outgoing, &answer, attempts)
        }
        Err(failure) => {
            if !matches!(
                failure,
                Failure::Broken {
                    may_have_arrived: true,
                    ..
                }
            ) {
                doubt.never_sent();
            }
            ControlFlow::Continue(failure.of_write())
        }
    }
}

fn judge(shared: &Shared, outgoing: &Outgoing, answer: &Answer, attempts: u32) -> Tried {
    if answer.status.is_success() {
        let read = answer.read::<Message>().map(|message| Sent {
            message,
            replayed: answer.replayed,
            attempts,
            took: outgoing.since.elapsed(),
        });
        return ControlFlow::Break(read.map_err(|error| error.with_doubt(true)));
    }
    let error = answer.refusal();
    if answer.status == StatusCode::TOO_MANY_REQUESTS {
        // It counts all that this person sends.
        shared.pace.hold(error.retry_after().unwrap_or(FULL_AFTER));
    }
    let may_pass =
        is_passing(&error) || matches!(error.kind(), ErrorKind::Unauthorized | ErrorKind::Server);
    if may_pass {
        return ControlFlow::Continue(error);
    }
    let in_doubt = *outgoing.in_doubt.lock();
    ControlFlow::Break(Err(error.with_doubt(in_doubt)))
}

/// From the moment a try begins its outcome is unknown, also to whoever gives up in the middle of it.
struct Doubt<'o> {
    outgoing: &'o Outgoing,
    before: bool,
}

impl<'o> Doubt<'o> {
    fn begin(outgoing: &'o Outgoing) -> Self {
        let before = std::mem::replace(&mut *outgoing.in_doubt.lock(), true);
        Self { outgoing, before }
    }

    /// Nothing has changed.
    fn never_sent(self) {
        *self.outgoing.in_doubt.lock() = self.before;
    }

    /// A refusal says that nothing was stored by this try; a companion that has failed says nothing.
    fn answered(self, answer: &Answer) {
        if !answer.status.is_server_error() {
            *self.outgoing.in_doubt.lock() = self.before;
        }
    }
}
