//! The chat client: what a program has in its hands, and what its tasks share.
//!
//! A table of contents: each call is a line or a few, and what it means is in the file of its subject. Rule: when the last
//! handle is dropped the tasks end, and what waited is told so.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use moka::sync::Cache as Kept;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, broadcast, watch};
use tokio::time::Instant;
use uuid::Uuid;

use super::cache::{Cache, Found, Part};
use super::error::{Error, ErrorKind, Result};
use super::event::Told;
use super::events::Events;
use super::exporting::Export;
use super::feed;
use super::figures::{Counters, Figures};
use super::limiter::{Limiter, Pace};
use super::link::{Ask, Link};
use super::marks::{self, MarkTable, Marking, Marks};
use super::options::ChatOptions;
use super::pages::{self, History, Pages};
use super::queue::SendQueue;
use super::searching::Search;
use super::sending::{AT_ONCE, Outgoing, Sending};
use super::state::{ConnectionState, ConnectionStates};
use super::types::{
    Chat, ChatId, Message, MessageId, NewChat, NewMessage, Receipts, Unread, Unsent,
};
use super::typing::{self, Audible, TypingTable};

/// Messages whose way back through the feed is measured at a time.
const EXPECTED_MAX: u64 = 4096;

/// A client of the companion on behalf of one person. Cheap to clone; the tasks behind it end with the last clone, so close
/// or [flush](Self::flush) it before.
///
/// # What it promises
///
/// - **A message is stored once, and after those that were handed over for its chat before it.** One task for each chat sends
///   one message at a time, under a name by which the companion knows it again, until its fate is known.
/// - **The answer is that of the message that asked.** A [`Sending`] is a future of one message's fate.
/// - **What waits is bounded**, and so is how fast it may be handed over: [`ErrorKind::QueueFull`] and
///   [`ErrorKind::RateLimited`] say when to try again.
/// - **An event is given once and in order, or a loss is told**, over reconnects and companions.
/// - **What comes from memory is as true as the events that were told**, or says that it is old: [`Source`].
///
/// # When the connection ends
///
/// | what was under way | becomes |
/// | --- | --- |
/// | a message that waits | waits on, at most for [`give_up_after`](ChatOptions::give_up_after) |
/// | a message without an answer | is sent again under its name; the companion answers with the original, if it has it |
/// | a mark | is told later, or a higher one is |
/// | a read, an edit, a deletion | is tried again for as long as [`patience`](ChatOptions::patience) lasts; while the companion is known to be away it fails at once, or is answered from [old memory](Source::OldMemory) |
/// | the feed | goes on where it was, or tells a loss |
///
/// Pauses between tries grow, are drawn by chance, and keep what the companion asks for (`Retry-After`). After some failures in
/// a row the companion counts as away and is left alone for a while, but for one request now and then; [`states`](Self::states)
/// tells so.
///
/// What it cannot promise: a message that is given up or refused after a try without an answer
/// ([`Error::is_in_doubt`]) may still be stored, if the network has kept that try for so long; and perhaps after later ones.
#[derive(Clone)]
pub struct ChatClient {
    lifeline: Arc<Lifeline>,
}

/// What the handles and the tasks share.
pub(super) struct Shared {
    pub(super) link: Link,
    pub(super) queue: Mutex<SendQueue<Arc<Outgoing>>>,
    /// Rings whenever something has left the queue, or marks were told.
    pub(super) moved: Notify,
    /// What may be handed over.
    pub(super) sends: Limiter,
    /// How fast it leaves.
    pub(super) pace: Pace,
    pub(super) places: Semaphore,
    pub(super) give_up_after: Duration,
    pub(super) marks: Mutex<MarkTable>,
    pub(super) marked: Notify,
    pub(super) typing: Mutex<TypingTable>,
    pub(super) typed: Notify,
    marks_every: Duration,
    pub(super) cache: Cache,
    /// None once the client is closed, which is how its readers know.
    events: Mutex<Option<broadcast::Sender<Arc<Told>>>>,
    pub(super) resume_from: Option<Arc<str>>,
    pub(super) position: watch::Sender<Option<Arc<str>>>,
    begun: Mutex<Begun>,
    expected: Kept<(ChatId, String), Instant>,
    pub(super) counters: Arc<Counters>,
    pub(super) runtime: Handle,
}

/// Which tasks run.
#[derive(Debug, Default)]
struct Begun {
    feed: bool,
    marks: bool,
    typing: bool,
}

struct Lifeline {
    shared: Arc<Shared>,
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// A part of a history, oldest first, deleted messages included.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// The messages, by rising `seq`.
    pub messages: Vec<Message>,
    /// Whether there are older ones.
    pub has_older: bool,
    /// Whether there are newer ones.
    pub has_newer: bool,
    /// Number of the chat's last message.
    pub last_seq: i64,
    /// Where it comes from.
    pub source: Source,
}

/// Where a page comes from, and so how far it can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// From the companion, by this request.
    Companion,
    /// From memory, which the feed keeps true: as the companion has it, as of the last event.
    Memory,
    /// From memory while the companion is away: as it once was, and perhaps less than was asked for.
    OldMemory,
}

impl ChatClient {
    /// A client with the defaults for the companion at an address such as `http://127.0.0.1:7430`, on behalf of the person
    /// that the token names. Nothing is asked yet.
    ///
    /// # Errors
    /// [`BadRequest`](ErrorKind::BadRequest) when the address or the token cannot be one.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn connect(url: impl Into<String>, token: impl Into<String>) -> Result<Self> {
        Self::builder(url, token).connect()
    }

    /// The same with options.
    pub fn builder(url: impl Into<String>, token: impl Into<String>) -> ChatOptions {
        ChatOptions::new(url.into(), token.into())
    }

    pub(super) fn with_options(options: ChatOptions) -> Result<Self> {
        let counters = Arc::new(Counters::new());
        let link = Link::new(&options, Arc::clone(&counters))?;
        let shared = Shared {
            link,
            queue: Mutex::new(SendQueue::new(options.queue)),
            moved: Notify::new(),
            sends: Limiter::new(options.sends),
            pace: Pace::new(options.sends),
            places: Semaphore::new(AT_ONCE),
            give_up_after: options.give_up_after,
            marks: Mutex::default(),
            marked: Notify::new(),
            typing: Mutex::default(),
            typed: Notify::new(),
            marks_every: options.marks_every,
            cache: Cache::new(options.cache.bytes, options.cache.ttl),
            events: Mutex::new(Some(broadcast::Sender::new(options.events_buffer))),
            resume_from: options.resume_from.map(Into::into),
            position: watch::Sender::new(None),
            begun: Mutex::default(),
            expected: Kept::new(EXPECTED_MAX),
            counters,
            runtime: Handle::current(),
        };
        let shared = Arc::new(shared);
        Ok(Self {
            lifeline: Arc::new(Lifeline { shared }),
        })
    }

    /// Sends a message, once and after those that were handed over for the same chat before, whatever happens to the
    /// connection meanwhile. Returns at once; await the [`Sending`] to know its fate, or let it go.
    ///
    /// # Errors
    /// [`QueueFull`](ErrorKind::QueueFull) and [`RateLimited`](ErrorKind::RateLimited) say when to try again;
    /// [`BadRequest`](ErrorKind::BadRequest) what is wrong with the message; [`Closed`](ErrorKind::Closed).
    pub fn send(&self, chat: ChatId, message: impl Into<NewMessage>) -> Result<Sending> {
        self.shared().send(chat, message.into())
    }

    /// Takes a message back that waits to be sent. False if it is on its way, stored, or unknown: it may reach others then.
    #[must_use]
    pub fn take_back(&self, chat: ChatId, client_msg_id: &str) -> bool {
        self.shared().take_back(chat, client_msg_id)
    }

    /// Waits until nothing waits to be sent or marked. Cancel-safe.
    pub async fn flush(&self) {
        let shared = self.shared();
        loop {
            let moved = shared.moved.notified();
            if shared.is_idle() {
                return;
            }
            moved.await;
        }
    }

    /// A chat that this person has made or, by an earlier request under the same name, had made.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn create_chat(&self, mut chat: NewChat) -> Result<Chat> {
        chat.client_chat_id
            .get_or_insert_with(|| Uuid::now_v7().to_string());
        let ask = Ask::json(Method::POST, "/v1/chats".to_owned(), &chat)?;
        self.shared().link.call(&ask).await
    }

    /// One chat, with all who take part.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn chat(&self, chat: ChatId) -> Result<Chat> {
        self.read(format!("/v1/chats/{chat}")).await
    }

    /// All chats, the one with the newest message first, read as they are needed.
    pub fn chats(&self) -> Pages<Chat> {
        pages::chats(Arc::clone(self.shared()))
    }

    /// The newest messages of a chat, at most so many (1 to 200).
    ///
    /// # Errors
    /// See [`ErrorKind`]. While the companion is away, and what was asked for is in memory, there is none: see [`Source`].
    pub async fn newest(&self, chat: ChatId, count: u32) -> Result<Page> {
        self.page(chat, Part::Newest, count).await
    }

    /// Those right before one, at most so many.
    ///
    /// # Errors
    /// As [`newest`](Self::newest).
    pub async fn before(&self, chat: ChatId, seq: i64, count: u32) -> Result<Page> {
        self.page(chat, Part::Before(seq), count).await
    }

    /// Those right after one, at most so many.
    ///
    /// # Errors
    /// As [`newest`](Self::newest).
    pub async fn after(&self, chat: ChatId, seq: i64, count: u32) -> Result<Page> {
        self.page(chat, Part::After(seq), count).await
    }

    /// One and those on both sides of it, so many together.
    ///
    /// # Errors
    /// As [`newest`](Self::newest).
    pub async fn around(&self, chat: ChatId, seq: i64, count: u32) -> Result<Page> {
        self.page(chat, Part::Around(seq), count).await
    }

    /// A history as a stream of messages.
    pub fn history(&self, chat: ChatId) -> History {
        History::new(Arc::clone(self.shared()), chat)
    }

    /// Messages that say all of these words, 1 to 16 of them in at most 1,024 bytes, in the chats that one may see: whole
    /// words in any order, and never a query language.
    pub fn search(&self, words: impl Into<String>) -> Search {
        Search::new(Arc::clone(self.shared()), words.into())
    }

    /// All messages of a chat, to be kept elsewhere. A history of pages does as well for what is shown.
    pub fn export(&self, chat: ChatId) -> Export {
        Export::new(Arc::clone(self.shared()), Some(chat))
    }

    /// All messages of all chats that one takes part in or that are open to the organisation, one chat after the other.
    pub fn export_all(&self) -> Export {
        Export::new(Arc::clone(self.shared()), None)
    }

    /// One message.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn message(&self, chat: ChatId, message: MessageId) -> Result<Message> {
        self.read(format!("/v1/chats/{chat}/messages/{message}"))
            .await
    }

    /// Changes what one's own message says.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn edit(
        &self,
        chat: ChatId,
        message: MessageId,
        body: impl Into<String>,
    ) -> Result<Message> {
        let body = serde_json::json!({"body": body.into()});
        let path = format!("/v1/chats/{chat}/messages/{message}");
        self.change(&Ask::json(Method::PATCH, path, &body)?).await
    }

    /// Deletes a message: one's own, or as a moderator. Its place stays, empty.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn delete(&self, chat: ChatId, message: MessageId) -> Result<Message> {
        let path = format!("/v1/chats/{chat}/messages/{message}");
        let ask = Ask::new(Method::DELETE, path);
        self.change(&ask).await
    }

    /// Says that messages up to this one were read. Told soon, together with others of the chat; a lower mark than before
    /// changes nothing. Nobody needs to wait for it.
    ///
    /// # Errors
    /// [`QueueFull`](ErrorKind::QueueFull) when marks of 10,000 chats wait.
    pub fn mark_read(&self, chat: ChatId, seq: i64) -> Result<Marking> {
        self.shared().mark(
            chat,
            Marks {
                delivered_seq: 0,
                read_seq: seq,
            },
        )
    }

    /// Says that messages up to this one have reached this device. As [`mark_read`](Self::mark_read), which says as much.
    ///
    /// # Errors
    /// As [`mark_read`](Self::mark_read).
    pub fn mark_delivered(&self, chat: ChatId, seq: i64) -> Result<Marking> {
        self.shared().mark(
            chat,
            Marks {
                delivered_seq: seq,
                read_seq: 0,
            },
        )
    }

    /// Says that one writes something in a chat. Say it with every key stroke: it is told when it is news, and then every 3 s.
    /// Others are shown it for about 6 s after the last, or until the message is stored; then one looks at the chat, as far as
    /// they are told, until the client is closed or has said nothing for some minutes.
    ///
    /// Never fails, and nobody waits for it: what cannot be told at the moment is not told late.
    pub fn typing(&self, chat: ChatId) {
        self.shared().type_in(chat, Audible::ToAll);
    }

    /// As [`typing`](Self::typing), and shown to members and higher alone: for a note among colleagues. To guests one looks at
    /// the chat; a guest who says it is not heard.
    pub fn typing_internally(&self, chat: ChatId) {
        self.shared().type_in(chat, Audible::ToMembers);
    }

    /// How far the participants of a chat are.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn receipts(&self, chat: ChatId) -> Result<Receipts> {
        self.read(format!("/v1/chats/{chat}/receipts")).await
    }

    /// What one has not read, in all chats.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn unread(&self) -> Result<Unread> {
        self.read("/v1/unread".to_owned()).await
    }

    /// What happens, from here on. The first call opens the feed, which runs from then on for as long as the client is there,
    /// and makes what is in memory good for being read.
    pub fn events(&self) -> Events {
        let shared = self.shared();
        let receiver = match &*shared.events.lock() {
            Some(events) => events.subscribe(),
            None => broadcast::channel(1).1,
        };
        if !std::mem::replace(&mut shared.begun.lock().feed, true) {
            shared.runtime.spawn(feed::run(Arc::clone(shared)));
        }
        Events::new(receiver)
    }

    /// Where the feed is: what [`resume_from`](ChatOptions::resume_from) goes on after. `None` before it has begun.
    #[must_use]
    pub fn position(&self) -> Option<Arc<str>> {
        self.shared().position.borrow().clone()
    }

    /// How the client stands with its companion.
    #[must_use]
    pub fn state(&self) -> ConnectionState {
        self.shared().link.standings().state()
    }

    /// The same whenever it changes.
    #[must_use]
    pub fn states(&self) -> ConnectionStates {
        self.shared().link.standings().watch()
    }

    /// Goes on with another token of the same person: before the old one is over, or when it was refused.
    ///
    /// # Errors
    /// [`BadRequest`](ErrorKind::BadRequest) when it cannot be a token.
    pub fn set_token(&self, token: &str) -> Result<()> {
        self.shared().link.set_token(token)
    }

    /// What the client has done so far, and how long it took.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let shared = self.shared();
        let mut figures = shared.counters.read();
        let queue = shared.queue.lock();
        figures.queued = queue.load().count;
        figures.queued_bytes = queue.load().bytes;
        figures.oldest_queued = queue.oldest().map(|since| since.elapsed());
        figures
    }

    /// Ends everything, also for the clones, and gives what was not sent or has had no answer. Sent again as it is, now or by
    /// another process, each is stored once.
    pub fn close(&self) -> Vec<Unsent> {
        self.shared().close()
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.lifeline.shared
    }

    async fn read<T: serde::de::DeserializeOwned>(&self, path: String) -> Result<T> {
        self.shared().link.reads.take()?;
        self.shared().link.call(&Ask::get(path)).await
    }

    async fn page(&self, chat: ChatId, part: Part, count: u32) -> Result<Page> {
        if let Some(found) = self.shared().remembered(chat, part, count) {
            return Ok(found);
        }
        self.shared().link.reads.take()?;
        self.shared().ask_for_page(chat, part, count).await
    }

    /// An edit or a deletion; what is in memory is the new one from then on.
    async fn change(&self, ask: &Ask) -> Result<Message> {
        let changed: Message = self.shared().link.call(ask).await?;
        self.shared().cache.changed(&changed);
        Ok(changed)
    }
}

impl Shared {
    /// A part of a history, from memory if it is there and true.
    pub(super) async fn page(&self, chat: ChatId, part: Part, count: u32) -> Result<Page> {
        match self.remembered(chat, part, count) {
            Some(page) => Ok(page),
            None => self.ask_for_page(chat, part, count).await,
        }
    }

    fn remembered(&self, chat: ChatId, part: Part, count: u32) -> Option<Page> {
        let found = self.cache.read(chat, part, limit(count))?;
        self.counters.cache_hits.one();
        Some(page(&found, Source::Memory))
    }

    async fn ask_for_page(&self, chat: ChatId, part: Part, count: u32) -> Result<Page> {
        self.counters.cache_misses.one();
        let limit = limit(count);
        let query = match part {
            Part::Newest => String::new(),
            Part::Before(seq) => format!("&before={seq}"),
            Part::After(seq) => format!("&after={seq}"),
            Part::Around(seq) => format!("&around={seq}"),
        };
        let path = format!("/v1/chats/{chat}/messages?limit={limit}{query}");
        let reading = self.cache.begin(chat);
        match self.link.call::<Answered>(&Ask::get(path)).await {
            Ok(answered) => {
                reading.keep(&answered.items, answered.last_seq);
                Ok(Page {
                    messages: answered.items,
                    has_older: answered.has_older,
                    has_newer: answered.has_newer,
                    last_seq: answered.last_seq,
                    source: Source::Companion,
                })
            }
            Err(error) => {
                let is_away = matches!(
                    error.kind(),
                    ErrorKind::Unreachable | ErrorKind::Unavailable
                );
                let old = is_away.then(|| self.cache.read_old(chat, part, limit));
                match old.flatten() {
                    Some(found) => Ok(page(&found, Source::OldMemory)),
                    None => Err(error),
                }
            }
        }
    }

    /// A page of the list of chats, and what to ask for next.
    pub(super) async fn chats(&self, cursor: Option<&str>) -> Result<(Vec<Chat>, Option<String>)> {
        let cursor = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
        let ask = Ask::get(format!("/v1/chats?limit=50{cursor}"));
        let listed: Listed = self.link.call(&ask).await?;
        Ok((listed.items, listed.next))
    }

    fn mark(self: &Arc<Self>, chat: ChatId, marks: Marks) -> Result<Marking> {
        if self.link.shutdown.is_cancelled() {
            return Err(Error::new(ErrorKind::Closed, ""));
        }
        let now = Instant::now();
        let marking = self.marks.lock().mark(now, self.marks_every, chat, marks)?;
        if !std::mem::replace(&mut self.begun.lock().marks, true) {
            self.runtime.spawn(marks::run(Arc::clone(self)));
        }
        self.marked.notify_one();
        Ok(marking)
    }

    fn type_in(self: &Arc<Self>, chat: ChatId, wanted: Audible) {
        let is_news = self.typing.lock().typed(Instant::now(), chat, wanted);
        if !is_news || self.link.shutdown.is_cancelled() {
            return;
        }
        if !std::mem::replace(&mut self.begun.lock().typing, true) {
            self.runtime.spawn(typing::run(Arc::clone(self)));
        }
        self.typed.notify_one();
    }

    /// Tells whoever listens.
    pub(super) fn tell(&self, told: Told) {
        if let Some(events) = &*self.events.lock() {
            // There may be nobody.
            let _ = events.send(Arc::new(told));
        }
    }

    /// A message was handed over: its way back through the feed is measured, if there is one.
    pub(super) fn expect_to_hear(&self, chat: ChatId, client_msg_id: &str, since: Instant) {
        if self.begun.lock().feed {
            self.expected
                .insert((chat, client_msg_id.to_owned()), since);
        }
    }

    /// The feed has told of a message; perhaps of one's own.
    pub(super) fn heard(&self, chat: ChatId, client_msg_id: &str) {
        if let Some(since) = self.expected.remove(&(chat, client_msg_id.to_owned())) {
            self.counters.heard.took(since.elapsed());
        }
    }

    fn is_idle(&self) -> bool {
        let nothing_waits = self.queue.lock().load().count == 0 && self.marks.lock().is_empty();
        nothing_waits || self.link.shutdown.is_cancelled()
    }

    fn close(&self) -> Vec<Unsent> {
        self.link.shutdown.cancel();
        let waiting = self.queue.lock().close();
        let unsent = waiting.iter().map(|outgoing| outgoing.close()).collect();
        self.events.lock().take();
        self.link.set(|standing| standing.is_closed = true);
        self.moved.notify_waiters();
        unsent
    }
}

/// As the companion takes it.
fn limit(count: u32) -> i64 {
    i64::from(count.clamp(1, 200))
}

fn page(found: &Found, source: Source) -> Page {
    Page {
        messages: found
            .messages
            .iter()
            .map(|message| Message::clone(message))
            .collect(),
        has_older: found.has_older,
        has_newer: found.has_newer,
        last_seq: found.last_seq,
        source,
    }
}

/// A part of a history as the companion writes it.
#[derive(Debug, Deserialize)]
struct Answered {
    items: Vec<Message>,
    has_older: bool,
    has_newer: bool,
    last_seq: i64,
}

/// A page of chats as the companion writes it.
#[derive(Debug, Deserialize)]
struct Listed {
    items: Vec<Chat>,
    next: Option<String>,
}

impl fmt::Debug for ChatClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatClient")
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
