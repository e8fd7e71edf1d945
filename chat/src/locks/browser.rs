//! One browser: a session of the lock server, with what it holds and where it is.
//!
//! Knows neither HTTP nor who may do what. Rules: it lives while it is attended (a feed, a wait) or shows a sign of life;
//! after that its session is closed, and with it everything it holds. What it must be told goes to its feed.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tenure_client::{
    Activity, Collision, LockGuard, Loss, Mode, Presence, PresenceEvent, ReleaseScope, Released,
    Renewal, Session, SessionEnd, Who,
};
use tokio::sync::broadcast;
use tokio::task::AbortHandle;

use super::hold::Hold;
use super::link::{Link, Trouble};
use super::view::mode_name;

/// What a browser is told and has not taken; beyond, its feed says that something was lost.
const TOLD_MAX: usize = 64;

/// A hold is renewed by itself for so long after the last sign of life; the attended show one every second.
const RENEWED_FOR: Duration = Duration::from_secs(5);

/// What concerns one browser alone.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    /// A hold is over, and not by its own doing.
    LockLost(Loss),
    /// Somebody would like to have what it holds.
    Asked {
        /// Which lock.
        path: String,
        /// Names the question.
        ask: u64,
        /// Who asks.
        who: Who,
        /// What they say.
        note: String,
    },
    /// How near others come where it is.
    Collision {
        /// Where.
        path: String,
        /// How near, and who.
        collision: Collision,
    },
    /// It was taken from where it was, since there was no sign of life.
    Swept {
        /// Where it was.
        path: String,
    },
    /// Its session goes on under another name.
    Renamed {
        /// The ticket from now on.
        ticket: String,
    },
    /// The session is over.
    Over {
        /// Why.
        why: &'static str,
    },
}

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) path: String,
    pub(crate) mode: Mode,
    pub(crate) limit: Option<u32>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) wait: Duration,
    pub(crate) note: Option<String>,
    pub(crate) seize: Option<String>,
}

/// A lock that was granted.
#[derive(Debug, Clone)]
pub(crate) struct Granted {
    pub(crate) token: u64,
    pub(crate) mode: &'static str,
    pub(crate) remaining: Duration,
}

/// See the file's header.
pub(crate) struct Browser {
    org: String,
    owner: String,
    session: Session,
    link: Link,
    standing: Mutex<Standing>,
    told: broadcast::Sender<Told>,
}

struct Standing {
    holds: HashMap<String, Hold>,
    sittings: HashMap<String, Sitting>,
    /// Feeds and waits that are open.
    attended: usize,
    had_feed: bool,
    last_sign: Instant,
    over: bool,
}

/// What a browser does somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Does {
    /// For everybody to see.
    Openly(Activity),
    /// Types a note among colleagues: guests see it viewing.
    TypingInternally,
}

/// Where it is. Dropping it leaves.
struct Sitting {
    presence: Presence,
    watch: AbortHandle,
}

impl Drop for Sitting {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

/// Keeps a browser alive for as long as this lives.
pub(crate) struct Attended(Arc<Browser>);

impl Drop for Attended {
    fn drop(&mut self) {
        let mut standing = self.0.standing.lock();
        standing.attended = standing.attended.saturating_sub(1);
        standing.last_sign = Instant::now();
    }
}

impl Browser {
    pub(super) fn new(link: Link, session: Session) -> Arc<Self> {
        Arc::new(Self {
            org: session.org().to_owned(),
            owner: session.owner().to_owned(),
            session,
            link,
            standing: Mutex::new(Standing {
                holds: HashMap::new(),
                sittings: HashMap::new(),
                attended: 0,
                had_feed: false,
                last_sign: Instant::now(),
                over: false,
            }),
            told: broadcast::channel(TOLD_MAX).0,
        })
    }

    pub(super) const fn session(&self) -> &Session {
        &self.session
    }

    /// Whose it is.
    pub(super) fn is_of(&self, org: &str, owner: &str) -> bool {
        self.org == org && self.owner == owner
    }

    /// What it is told from here on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Told> {
        self.told.subscribe()
    }

    pub(super) fn tell(&self, told: Told) {
        // Nobody may listen.
        let _ = self.told.send(told);
    }

    /// A sign of life; false when it is too late for one.
    pub(super) fn sign_of_life(&self) -> bool {
        let mut standing = self.standing.lock();
        standing.last_sign = Instant::now();
        !standing.over
    }

    /// Keeps it alive while a feed is open.
    pub(crate) fn attend_feed(self: &Arc<Self>) -> Attended {
        self.standing.lock().had_feed = true;
        self.attend()
    }

    fn attend(self: &Arc<Self>) -> Attended {
        self.standing.lock().attended += 1;
        Attended(Arc::clone(self))
    }

    /// Asks for a lock.
    pub(crate) async fn acquire(self: &Arc<Self>, wish: Wish) -> Result<Granted, Trouble> {
        let _attended = self.attend();
        let mut asked = self
            .session
            .acquire(wish.path.as_str())
            .wait(wish.wait)
            .renewal(Renewal::WhileActive {
                idle_after: RENEWED_FOR,
            });
        if wish.mode == Mode::Shared {
            asked = asked.shared(wish.limit);
        }
        if let Some(ttl) = wish.ttl {
            asked = asked.ttl(ttl);
        }
        if let Some(note) = wish.note {
            asked = asked.note(note);
        }
        if let Some(reason) = wish.seize {
            asked = asked.seize(reason);
        }
        let guard = if wish.wait.is_zero() {
            self.link.ask(asked.into_future()).await?
        } else {
            self.link.wait(asked.into_future()).await?
        };
        self.keep(guard)
    }

    /// Takes a guard in, and watches it.
    pub(super) fn keep(self: &Arc<Self>, guard: LockGuard) -> Result<Granted, Trouble> {
        let held = guard
            .held_as()
            .ok_or_else(|| Trouble::Lost(guard.loss().map(Box::new)))?;
        let granted = Granted {
            token: held.token,
            mode: mode_name(held.mode),
            remaining: guard.remaining(),
        };
        let mut standing = self.standing.lock();
        if standing.over {
            return Err(Trouble::SessionOver);
        }
        let known = standing.holds.get(guard.path());
        if let Some(known) = known.filter(|known| known.guard.held_as() == Some(held)) {
            // It is the same hold, and those who ask for it are known there.
            known.guard.touch();
            return Ok(granted);
        }
        let path = guard.path().to_owned();
        let hold = Hold::watched(Arc::downgrade(self), Arc::new(guard));
        let before = standing.holds.insert(path, hold);
        drop(standing);
        drop(before);
        Ok(granted)
    }

    /// Lets go of a path: this browser, or the person in all of theirs.
    pub(crate) async fn release(
        self: &Arc<Self>,
        path: &str,
        scope: ReleaseScope,
        token: Option<u64>,
    ) -> Result<Released, Trouble> {
        let known = self.standing.lock().holds.remove(path).map(Hold::unwatched);
        let released = self
            .link
            .ask(self.session.release(path, scope, token))
            .await;
        // Another token was named, or the lock server is away: then it goes on.
        if let (Err(_), Some(guard)) = (&released, known.filter(|guard| guard.is_held())) {
            let hold = Hold::watched(Arc::downgrade(self), guard);
            self.standing
                .lock()
                .holds
                .entry(path.to_owned())
                .or_insert(hold);
        }
        released
    }

    /// Keeps a lock for its term, or for another one; says for how long it is held from now on.
    pub(crate) async fn renew(
        &self,
        path: &str,
        ttl: Option<Duration>,
        token: Option<u64>,
    ) -> Result<Granted, Trouble> {
        let remaining = self.link.ask(self.session.renew(path, ttl, token)).await?;
        let standing = self.standing.lock();
        let held = standing.holds.get(path).and_then(|hold| {
            hold.guard.touch();
            hold.guard.held_as()
        });
        Ok(Granted {
            token: held.map(|held| held.token).or(token).unwrap_or(0),
            mode: held.map_or("exclusive", |held| mode_name(held.mode)),
            remaining,
        })
    }

    /// Gives a lock to the first who asks for it.
    pub(crate) async fn hand_over(&self, path: &str) -> Result<Option<String>, Trouble> {
        let guard = self.guard(path)?;
        let given = self.link.ask(guard.hand_over()).await?;
        Ok(given.owner)
    }

    /// Says no to one who asks for a lock.
    pub(crate) async fn decline(&self, path: &str, ask: u64) -> Result<(), Trouble> {
        let decliner = {
            let standing = self.standing.lock();
            let hold = standing.holds.get(path).ok_or(Trouble::Lost(None))?;
            hold.decliner()
        };
        decliner.decline(ask).await
    }

    fn guard(&self, path: &str) -> Result<Arc<LockGuard>, Trouble> {
        let standing = self.standing.lock();
        let hold = standing.holds.get(path).ok_or(Trouble::Lost(None))?;
        Ok(Arc::clone(&hold.guard))
    }

    /// Says what it does at a path, and comes there if it is not yet. Gives how near others come.
    pub(crate) async fn act(
        self: &Arc<Self>,
        path: &str,
        does: Does,
    ) -> Result<Collision, Trouble> {
        if let Some(collision) = self.act_here(path, does) {
            return Ok(collision);
        }
        let activity = match does {
            Does::Openly(activity) => activity,
            Does::TypingInternally => Activity::Viewing,
        };
        let entering = self.session.enter(path).activity(activity);
        let presence = self.link.ask(entering.into_future()).await?;
        if does == Does::TypingInternally {
            presence.typing_internally();
        }
        let collision = presence.collision();
        let watch = tokio::spawn(watch_sitting(
            Arc::downgrade(self),
            path.to_owned(),
            presence.events(),
        ));
        let sitting = Sitting {
            presence,
            watch: watch.abort_handle(),
        };
        let mut standing = self.standing.lock();
        if standing.over {
            return Err(Trouble::SessionOver);
        }
        standing.sittings.insert(path.to_owned(), sitting);
        Ok(collision)
    }

    /// Says what it does at a path, if it is there.
    pub(crate) fn act_where_it_is(&self, path: &str, does: Does) {
        // Where it is not there is nothing to say.
        let _ = self.act_here(path, does);
    }

    fn act_here(&self, path: &str, does: Does) -> Option<Collision> {
        let standing = self.standing.lock();
        let presence = &standing.sittings.get(path)?.presence;
        match does {
            Does::TypingInternally => presence.typing_internally(),
            Does::Openly(Activity::Idle) => presence.idle(),
            Does::Openly(Activity::Typing) => presence.typing(),
            Does::Openly(Activity::Editing) => presence.editing(),
            Does::Openly(Activity::Viewing | _) => presence.viewing(),
        }
        Some(presence.collision())
    }

    /// Leaves a path. Where it is not, that is as good.
    pub(crate) fn leave(&self, path: &str) {
        let sitting = self.standing.lock().sittings.remove(path);
        drop(sitting);
    }

    pub(super) fn hold_lost(&self, guard: &Arc<LockGuard>, loss: &Loss) {
        let mut standing = self.standing.lock();
        let is_it = |hold: &Hold| Arc::ptr_eq(&hold.guard, guard);
        let known = standing.holds.get(guard.path()).is_some_and(is_it);
        let hold = if known {
            standing.holds.remove(guard.path())
        } else {
            None
        };
        drop(standing);
        self.tell(Told::LockLost(loss.clone()));
        drop(hold);
    }

    /// Shows the lock server a sign of life for what it holds, if it is attended; or says that its time is up.
    pub(super) fn look(&self, now: Instant, grace: Duration, idle: Duration) -> IsOver {
        let standing = self.standing.lock();
        if standing.over {
            return IsOver::No;
        }
        if standing.attended > 0 {
            for hold in standing.holds.values() {
                hold.guard.touch();
            }
            return IsOver::No;
        }
        let limit = if standing.had_feed { grace } else { idle };
        if now.saturating_duration_since(standing.last_sign) > limit {
            IsOver::Yes
        } else {
            IsOver::No
        }
    }

    /// It is over, here: what it holds is nobody's any more.
    pub(super) fn end(&self, why: &'static str) {
        let (holds, sittings) = {
            let mut standing = self.standing.lock();
            if standing.over {
                return;
            }
            standing.over = true;
            (
                std::mem::take(&mut standing.holds),
                std::mem::take(&mut standing.sittings),
            )
        };
        drop((holds, sittings));
        self.tell(Told::Over { why });
    }
}

/// Whether a browser's time is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IsOver {
    Yes,
    No,
}

async fn watch_sitting(
    browser: Weak<Browser>,
    path: String,
    mut events: tenure_client::Events<PresenceEvent>,
) {
    while let Some(event) = events.next().await {
        let Some(browser) = browser.upgrade() else {
            return;
        };
        match event {
            PresenceEvent::Collision(collision) => {
                browser.tell(Told::Collision {
                    path: path.clone(),
                    collision,
                });
            }
            PresenceEvent::Swept => browser.tell(Told::Swept { path: path.clone() }),
            PresenceEvent::SessionEnded(_) => return,
            PresenceEvent::Missed { .. } | _ => {}
        }
    }
}

/// Why a session is over, as browsers are told.
pub(super) const fn end_name(why: SessionEnd) -> &'static str {
    match why {
        SessionEnd::Closed => "closed",
        SessionEnd::GraceOver => "grace_over",
        SessionEnd::LastHoldOver => "last_hold_over",
        SessionEnd::Idle => "idle",
        SessionEnd::Moved => "moved",
        SessionEnd::Unknown => "unknown",
        SessionEnd::ClientClosed => "shutting_down",
        _ => "other",
    }
}
