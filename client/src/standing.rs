//! How a hold, a session and a session at a path stand: what the ledger writes, and guards, watches, sessions and
//! presences read.
//!
//! Knows neither the wire nor who renews. Rule: what is over stays over; a hold that the session gets later is another
//! cell, so that an old guard never comes to life again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast};
use tokio::time::Instant;

use crate::events::SessionEvent;
use crate::types::{Loss, Mode, SessionEnd, Who};
use crate::viewing::{Collision, CollisionLevel, PresenceEvent};

/// Asks of one hold that nobody has read; beyond that the oldest is forgotten. An ask is a courtesy.
const ASKS_MAX: usize = 32;

/// Events of one session that a reader may be behind.
const SESSION_EVENTS_MAX: usize = 64;

/// Events of one session at one path that a reader may be behind.
const PRESENCE_EVENTS_MAX: usize = 16;

/// One hold of one session, shared by the ledger and the guards.
#[derive(Debug)]
pub(crate) struct HoldCell {
    pub(crate) path: Arc<str>,
    state: Mutex<HoldState>,
    asks: Mutex<VecDeque<Asked>>,
    changed: Notify,
}

#[derive(Debug, Clone)]
pub(crate) enum HoldState {
    Held(Lease),
    Lost(Loss),
    /// Let go by the last guard.
    Released,
}

/// What a hold is held as, and until when at least.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lease {
    pub(crate) token: u64,
    pub(crate) mode: Mode,
    pub(crate) ttl: Duration,
    /// When the server may end it, unless it is renewed: counted from the sending of what was answered.
    pub(crate) deadline: Instant,
    /// While the connection is gone: when the server may end the session, for all this side knows.
    pub(crate) doubt: Option<Instant>,
}

impl Lease {
    /// From when on it may not be relied on.
    pub(crate) fn reliable_until(&self) -> Instant {
        self.doubt
            .map_or(self.deadline, |doubt| doubt.min(self.deadline))
    }
}

/// A note of somebody who would like to have the lock.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) wait: u64,
    pub(crate) who: Who,
    pub(crate) note: String,
}

impl HoldCell {
    pub(crate) fn new(path: Arc<str>, lease: Lease) -> Arc<Self> {
        Arc::new(Self {
            path,
            state: Mutex::new(HoldState::Held(lease)),
            asks: Mutex::new(VecDeque::new()),
            changed: Notify::new(),
        })
    }

    pub(crate) fn state(&self) -> HoldState {
        self.state.lock().clone()
    }

    /// The lease, while it is held.
    pub(crate) fn lease(&self) -> Option<Lease> {
        match &*self.state.lock() {
            HoldState::Held(lease) => Some(*lease),
            HoldState::Lost(_) | HoldState::Released => None,
        }
    }

    pub(crate) fn loss(&self) -> Option<Loss> {
        match &*self.state.lock() {
            HoldState::Lost(loss) => Some(loss.clone()),
            HoldState::Held(_) | HoldState::Released => None,
        }
    }

    /// Changes the lease, if it is held, and wakes whoever watches when that is to be seen from outside.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Lease)) {
        let seen = match &mut *self.state.lock() {
            HoldState::Held(lease) => {
                let before = *lease;
                change(lease);
                (before.token, before.mode, before.doubt) != (lease.token, lease.mode, lease.doubt)
            }
            HoldState::Lost(_) | HoldState::Released => false,
        };
        if seen {
            self.changed.notify_waiters();
        }
    }

    pub(crate) fn lose(&self, loss: Loss) {
        self.end(HoldState::Lost(loss));
    }

    pub(crate) fn let_go(&self) {
        self.end(HoldState::Released);
    }

    fn end(&self, end: HoldState) {
        let mut state = self.state.lock();
        if matches!(&*state, HoldState::Held(_)) {
            *state = end;
            drop(state);
            self.changed.notify_waiters();
        }
    }

    /// Keeps a note for the guards. A waiter has one at most: a later one replaces it.
    pub(crate) fn ask(&self, asked: Asked) {
        let mut asks = self.asks.lock();
        asks.retain(|earlier| earlier.wait != asked.wait);
        if asks.len() == ASKS_MAX {
            asks.pop_front();
        }
        asks.push_back(asked);
        drop(asks);
        self.changed.notify_waiters();
    }

    /// The next note, or nothing when the hold is over.
    pub(crate) async fn next_ask(&self) -> Option<Asked> {
        self.until(|state| match self.asks.lock().pop_front() {
            Some(asked) => Some(Some(asked)),
            None if matches!(state, HoldState::Held(_)) => None,
            None => Some(None),
        })
        .await
    }

    /// Waits until `look` finds what it looks for. Cancel-safe.
    pub(crate) async fn until<T>(&self, mut look: impl FnMut(&HoldState) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let found = look(&self.state.lock());
            if let Some(found) = found {
                return found;
            }
            changed.await;
        }
    }
}

/// One session, shared by the ledger and the handles.
#[derive(Debug)]
pub(crate) struct SessionCell {
    standing: Mutex<SessionStanding>,
    changed: Notify,
    /// Made when somebody listens first: most sessions have no listener.
    events: OnceLock<broadcast::Sender<SessionEvent>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionStanding {
    Attached,
    Detached,
    Over(SessionEnd),
}

impl SessionCell {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            standing: Mutex::new(SessionStanding::Attached),
            changed: Notify::new(),
            events: OnceLock::new(),
        })
    }

    pub(crate) fn standing(&self) -> SessionStanding {
        *self.standing.lock()
    }

    pub(crate) fn set(&self, next: SessionStanding) {
        let mut standing = self.standing.lock();
        if !matches!(*standing, SessionStanding::Over(_)) {
            *standing = next;
            drop(standing);
            self.changed.notify_waiters();
        }
    }

    pub(crate) fn tell(&self, event: SessionEvent) {
        if let Some(events) = self.events.get() {
            // Without a listener there is nobody to tell.
            let _ = events.send(event);
        }
    }

    pub(crate) fn listen(&self) -> broadcast::Receiver<SessionEvent> {
        self.events
            .get_or_init(|| broadcast::Sender::new(SESSION_EVENTS_MAX))
            .subscribe()
    }

    /// Waits until the session is over. Cancel-safe.
    pub(crate) async fn ended(&self) -> SessionEnd {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let SessionStanding::Over(end) = self.standing() {
                return end;
            }
            changed.await;
        }
    }
}

/// One session at one path, shared by the ledger and the handles.
#[derive(Debug)]
pub(crate) struct PresenceCell {
    pub(crate) path: Arc<str>,
    collision: Mutex<Collision>,
    /// Made when somebody listens first.
    events: OnceLock<broadcast::Sender<PresenceEvent>>,
}

impl PresenceCell {
    pub(crate) fn new(path: Arc<str>) -> Arc<Self> {
        Arc::new(Self {
            path,
            collision: Mutex::new(Collision::default()),
            events: OnceLock::new(),
        })
    }

    pub(crate) fn collision(&self) -> Collision {
        self.collision.lock().clone()
    }

    /// The level that came with an answer, which does not say who. When it is no news, who is known already.
    pub(crate) fn near(&self, level: CollisionLevel) {
        if self.collision.lock().level != level {
            let by = Vec::new();
            self.collide(Collision { level, by });
        }
    }

    pub(crate) fn collide(&self, collision: Collision) {
        let mut known = self.collision.lock();
        if *known != collision {
            known.clone_from(&collision);
            drop(known);
            self.tell(PresenceEvent::Collision(collision));
        }
    }

    pub(crate) fn tell(&self, event: PresenceEvent) {
        if let Some(events) = self.events.get() {
            // Without a listener there is nobody to tell.
            let _ = events.send(event);
        }
    }

    pub(crate) fn listen(&self) -> broadcast::Receiver<PresenceEvent> {
        self.events
            .get_or_init(|| broadcast::Sender::new(PRESENCE_EVENTS_MAX))
            .subscribe()
    }
}

/// When somebody was last active at what a guard protects.
#[derive(Debug)]
pub(crate) struct Activity {
    idle_after: Duration,
    last: Mutex<Instant>,
}

impl Activity {
    pub(crate) fn new(idle_after: Duration, now: Instant) -> Arc<Self> {
        Arc::new(Self {
            idle_after,
            last: Mutex::new(now),
        })
    }

    /// Says that there is activity. True if there had been none for too long.
    pub(crate) fn touch(&self, now: Instant) -> bool {
        let mut last = self.last.lock();
        let was_idle = now >= *last + self.idle_after;
        *last = now;
        was_idle
    }

    pub(crate) fn is_active(&self, now: Instant) -> bool {
        now < *self.last.lock() + self.idle_after
    }
}
