//! The feeds of one organisation: what has happened lately, who listens, and who may hear what.
//!
//! Knows neither sockets nor how a frame came to be. Rules: whoever begins to listen at a position hears everything after
//! it, once, or is told that something is lost; who may hear of a chat is asked of the database once and remembered until
//! its participants change.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tenure_client::{Position, StreamEvent};
use tokio::sync::watch;

use super::mirror::{ChatLock, Mirror, ViewersChanged};
use super::queue::Queue;
use super::ring::{Entry, Ring};
use super::telling::{For, Telling, is_about_typing, typing, viewers};
use crate::identity::Person;
use crate::locks::ViewersView;
use crate::store::{Audience, ChatId, Listeners, Role, Store};

/// Chats whose audience is remembered.
const AUDIENCES_MAX: usize = 10_000;

/// Feeds of one person at a time.
const FEEDS_OF_PERSON_MAX: usize = 32;

/// See the file's header.
pub(super) struct Org {
    pub(super) name: String,
    store: Store,
    stream: Mutex<Stream>,
    mirror: Mutex<Mirror>,
    /// Whether the stream is followed, and whether the mirror is whole.
    up: watch::Sender<Up>,
}

/// How far the beginning has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Up {
    pub(super) stream: bool,
    pub(super) mirror: bool,
}

struct Stream {
    ring: Option<Ring<Telling>>,
    audiences: HashMap<ChatId, Arc<Listeners>>,
    listeners: HashMap<u64, Arc<Listener>>,
    of_person: HashMap<String, Vec<u64>>,
    next_listener: u64,
    used: Instant,
}

/// One feed, as its organisation knows it.
pub(super) struct Listener {
    person: String,
    role: Role,
    /// What has happened up to there it knows, or was told that it is lost.
    since: Position,
    pub(super) queue: Queue,
}

/// A feed that listens until this is dropped.
pub(super) struct Listening {
    org: Arc<Org>,
    number: u64,
    pub(super) listener: Arc<Listener>,
}

/// Where a feed begins.
pub(super) enum Begins {
    /// Here.
    Fresh(Position),
    /// With these, some of which may not be for it.
    Exact(Vec<Arc<Entry<Telling>>>),
    /// Here, and what was before cannot be had.
    Lost(Position),
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut stream = self.org.stream.lock();
        stream.listeners.remove(&self.number);
        stream.used = Instant::now();
        if let Some(numbers) = stream.of_person.get_mut(&self.listener.person) {
            numbers.retain(|number| *number != self.number);
            if numbers.is_empty() {
                stream.of_person.remove(&self.listener.person);
            }
        }
    }
}

impl Org {
    pub(super) fn new(name: &str, store: Store) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            store,
            stream: Mutex::new(Stream {
                ring: None,
                audiences: HashMap::new(),
                listeners: HashMap::new(),
                of_person: HashMap::new(),
                next_listener: 0,
                used: Instant::now(),
            }),
            mirror: Mutex::default(),
            up: watch::Sender::default(),
        })
    }

    /// Waits until that much is there.
    pub(super) async fn is_up(&self, within: Duration, enough: impl FnMut(&Up) -> bool) -> bool {
        let mut up = self.up.subscribe();
        let waited = tokio::time::timeout(within, up.wait_for(enough)).await;
        matches!(waited, Ok(Ok(_)))
    }

    /// For how long nobody has listened or looked.
    pub(super) fn unused_for(&self, now: Instant) -> Duration {
        let stream = self.stream.lock();
        if stream.listeners.is_empty() {
            now.saturating_duration_since(stream.used)
        } else {
            Duration::ZERO
        }
    }

    pub(super) fn touch(&self) {
        self.stream.lock().used = Instant::now();
    }

    /// Who holds the chats, and who is in them.
    pub(super) fn look_at(&self, chats: &[ChatId]) -> Vec<(Option<ChatLock>, ViewersView)> {
        let mirror = self.mirror.lock();
        chats
            .iter()
            .map(|chat| (mirror.lock(*chat).cloned(), mirror.viewers(*chat)))
            .collect()
    }

    /// Up to where everything is known.
    pub(super) fn position(&self) -> Option<Position> {
        self.stream.lock().ring.as_ref().map(Ring::position)
    }

    /// Begins to listen. `None` when the person has as many feeds as may be, or the stream is not followed yet.
    pub(super) fn listen(
        self: &Arc<Self>,
        person: &Person,
        since: Option<Position>,
    ) -> Option<(Listening, Begins)> {
        let mut stream = self.stream.lock();
        let ring = stream.ring.as_ref()?;
        let begins = match since {
            None => Begins::Fresh(ring.happened()),
            Some(since) => match ring.after(since) {
                Some(entries) => Begins::Exact(entries),
                None => Begins::Lost(ring.happened()),
            },
        };
        let since = match (&begins, since) {
            (Begins::Exact(_), Some(since)) => since,
            _ => ring.happened(),
        };
        let theirs = stream.of_person.get(&person.id).map_or(0, Vec::len);
        if theirs >= FEEDS_OF_PERSON_MAX {
            return None;
        }
        let listener = Arc::new(Listener {
            person: person.id.clone(),
            role: person.role,
            since,
            queue: Queue::default(),
        });
        let number = stream.next_listener;
        stream.next_listener += 1;
        stream.listeners.insert(number, Arc::clone(&listener));
        stream
            .of_person
            .entry(person.id.clone())
            .or_default()
            .push(number);
        drop(stream);
        Some((
            Listening {
                org: Arc::clone(self),
                number,
                listener,
            },
            begins,
        ))
    }

    /// The position to repeat to a feed that has been told everything.
    pub(super) fn position_for(&self, listener: &Listener) -> Option<Position> {
        let stream = self.stream.lock();
        let ring = stream.ring.as_ref()?;
        let position = ring.position();
        let is_behind =
            listener.since.epoch == position.epoch && listener.since.offset > position.offset;
        let position = if is_behind { listener.since } else { position };
        listener.queue.is_empty().then_some(position)
    }

    /// The stream is followed from here on, and has come so far; what is known goes on, if it is of the same epoch.
    pub(super) fn begin(&self, from: Position, happened: Position) {
        let mut stream = self.stream.lock();
        let goes_on = stream
            .ring
            .as_ref()
            .is_some_and(|ring| ring.position().epoch == from.epoch);
        if !goes_on {
            stream.ring = Some(Ring::new(from));
        }
        if let Some(ring) = &mut stream.ring {
            ring.expect(happened);
        }
        drop(stream);
        self.up
            .send_if_modified(|up| !std::mem::replace(&mut up.stream, true));
    }

    /// Something was left out: whoever listens has to read anew.
    pub(super) fn lost(&self, why: &'static str, from: Position) {
        let mut stream = self.stream.lock();
        stream.ring = Some(Ring::new(from));
        stream.audiences.clear();
        for listener in stream.listeners.values() {
            listener.queue.lose(why);
        }
    }

    /// Everything up to there is known.
    pub(super) fn reach(&self, position: Position) {
        if let Some(ring) = &mut self.stream.lock().ring {
            ring.reach(position);
        }
    }

    /// Who may hear of a chat has changed, or may have.
    pub(super) fn forget_audience(&self, chat: ChatId) {
        self.stream.lock().audiences.remove(&chat);
    }

    /// Tells whom it is for.
    pub(super) async fn tell(&self, at: Position, telling: Telling) {
        let audience = match &telling.to {
            For::Chat(chat) => {
                if telling.name == "participants.changed" {
                    self.forget_audience(*chat);
                }
                // A chat that is deleted is told to whoever is known to have heard of it.
                let audience = self.audience(*chat).await;
                if telling.name == "chat.deleted" {
                    self.forget_audience(*chat);
                }
                audience
            }
            For::Person(person) => Ok(Some(Arc::new(Listeners {
                audience: Audience::Participants,
                people: vec![person.clone()],
            }))),
        };
        let is_private = matches!(telling.to, For::Person(_));
        let mut stream = self.stream.lock();
        let Some(ring) = stream.ring.as_mut() else {
            return;
        };
        let entry = ring.push(at, telling.frame.len(), telling);
        let telling = &entry.what;
        match audience {
            Ok(audience) => {
                let what = Pushed {
                    at: Some(at),
                    is_private,
                    also: &telling.also,
                    frame: Some(&telling.frame),
                    to_guests: Some(&telling.frame),
                };
                stream.push(audience.as_deref(), &what);
            }
            Err(_) => {
                for listener in stream.listeners.values() {
                    listener.queue.lose("store_away");
                }
            }
        }
    }

    /// Takes in what the mirror's subscription tells, and tells who is where.
    pub(super) async fn mirrored(&self, told: StreamEvent) {
        let changed = self.mirror.lock().take(&told);
        if matches!(
            told,
            StreamEvent::StateWhole(tenure_client::StateOf::Viewers)
        ) {
            self.up
                .send_if_modified(|up| !std::mem::replace(&mut up.mirror, true));
        }
        let Some(changed) = changed else { return };
        // Who cannot be asked about is told with the next change.
        let Ok(Some(audience)) = self.audience(changed.chat).await else {
            return;
        };
        let all = Frames::of(&changed);
        // Of what they may not see they are not told either that there is a change.
        let to_guests = Frames::of(&ViewersChanged {
            before: changed.before.shown_to(Role::Guest),
            after: changed.after.shown_to(Role::Guest),
            ..changed
        });
        let state = |frame, to_guests| Pushed {
            at: None,
            is_private: false,
            also: &[],
            frame,
            to_guests,
        };
        let stream = self.stream.lock();
        let (viewers, guests_viewers) = (all.viewers.as_ref(), to_guests.viewers.as_ref());
        stream.push(Some(&audience), &state(viewers, guests_viewers));
        let (typing, guests_typing) = (all.typing.as_ref(), to_guests.typing.as_ref());
        stream.push(Some(&audience), &state(typing, guests_typing));
    }

    /// The mirror is not to be relied on until it is whole again.
    pub(super) fn mirror_is_behind(&self) {
        self.up
            .send_if_modified(|up| std::mem::replace(&mut up.mirror, false));
    }

    async fn audience(&self, chat: ChatId) -> Result<Option<Arc<Listeners>>, crate::store::Error> {
        if let Some(known) = self.stream.lock().audiences.get(&chat) {
            return Ok(Some(Arc::clone(known)));
        }
        let Some(found) = self.store.listeners(&self.name, chat).await? else {
            return Ok(None);
        };
        let found = Arc::new(found);
        let mut stream = self.stream.lock();
        if stream.audiences.len() >= AUDIENCES_MAX {
            stream.audiences.clear();
        }
        stream.audiences.insert(chat, Arc::clone(&found));
        Ok(Some(found))
    }
}

/// What is pushed to whoever may hear it.
struct Pushed<'p> {
    /// Where it stands in the stream; what is state has no place there.
    at: Option<Position>,
    is_private: bool,
    /// Persons who hear of it besides.
    also: &'p [String],
    /// What members and higher are told, if anything.
    frame: Option<&'p Bytes>,
    /// What guests are told, if anything.
    to_guests: Option<&'p Bytes>,
}

/// What is told of a change of who is in a chat.
struct Frames {
    viewers: Option<Bytes>,
    typing: Option<Bytes>,
}

impl Frames {
    fn of(changed: &ViewersChanged) -> Self {
        let ViewersChanged {
            chat,
            before,
            after,
        } = changed;
        Self {
            viewers: (before != after).then(|| viewers(*chat, after)),
            typing: is_about_typing(before, after).then(|| typing(*chat, after)),
        }
    }
}

impl Stream {
    fn push(&self, audience: Option<&Listeners>, what: &Pushed<'_>) {
        let Some(audience) = audience else { return };
        let people = audience.people.iter().chain(what.also);
        let mut told: Vec<&u64> = people
            .filter_map(|person| self.of_person.get(person))
            .flatten()
            .collect();
        if !what.is_private {
            let sees = |listener: &Listener| match listener.role {
                Role::Admin => true,
                Role::Member | Role::Moderator => audience.audience == Audience::Org,
                Role::Guest => false,
            };
            let others = self.listeners.iter();
            let others = others.filter(|(_, listener)| sees(listener));
            told.extend(others.map(|(number, _)| number));
        }
        told.sort_unstable();
        told.dedup();
        for listener in told
            .into_iter()
            .filter_map(|number| self.listeners.get(number))
        {
            listener.push(what);
        }
    }
}

impl Listener {
    /// What it knows already is not told again: it may come here later than to the companion where it was.
    fn push(&self, what: &Pushed<'_>) {
        let frame = if self.role.is_guest() {
            what.to_guests
        } else {
            what.frame
        };
        let Some(frame) = frame else { return };
        let is_known =
            |at: Position| at.epoch == self.since.epoch && at.offset <= self.since.offset;
        if !what.at.is_some_and(is_known) {
            self.queue.push(frame.clone());
        }
    }
}
