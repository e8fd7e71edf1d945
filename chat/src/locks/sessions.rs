//! The sessions of all browsers that this companion speaks for, and those that come from another.
//!
//! Owns who is known here; what a browser does is in `browser.rs`. Rules: a ticket is good at any companion, and whoever
//! shows it must be the person it was given to; a session is taken over once, however many requests show its ticket at
//! the same time; each that nobody attends any more is closed.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tenure_client::{Events, OnDisconnect, Role as LockRole, SessionEvent, SessionTicket};

use super::browser::{Browser, IsOver, Told, end_name};
use super::link::{Link, Trouble};
use crate::identity::Person;
use crate::store::Role;

/// Sessions of everybody at a time.
const SESSIONS_MAX: usize = 100_000;

/// Sessions of one person at a time.
const SESSIONS_OF_PERSON_MAX: usize = 64;

/// How often browsers are looked after.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Tickets whose sessions are taken over one after another share one of these.
const LANES: usize = 64;

/// A guard of a session that was taken over is renewed by itself for so long without a sign of life.
const RENEWED_FOR: Duration = Duration::from_secs(5);

/// A browser that was asked for.
pub(crate) struct Present {
    pub(crate) browser: Arc<Browser>,
    /// Its ticket, by now.
    pub(crate) ticket: String,
    /// What it has lost since it was with another companion.
    pub(crate) lost: Vec<tenure_client::Loss>,
}

/// See the file's header.
pub(crate) struct Sessions {
    link: Link,
    grace: Duration,
    idle: Duration,
    known: Mutex<Known>,
    lanes: [tokio::sync::Mutex<()>; LANES],
}

#[derive(Default)]
struct Known {
    by_number: HashMap<u64, Arc<Browser>>,
    of_person: HashMap<(String, String), usize>,
}

impl Sessions {
    pub(crate) fn new(link: Link, grace: Duration, idle: Duration) -> Arc<Self> {
        Arc::new(Self {
            link,
            grace,
            idle,
            known: Mutex::default(),
            lanes: std::array::from_fn(|_| tokio::sync::Mutex::new(())),
        })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.known.lock().by_number.len()
    }

    /// Opens a session for a browser of this person's.
    pub(crate) async fn open(self: &Arc<Self>, person: &Person) -> Result<Present, Trouble> {
        self.has_room(person)?;
        let opening = self
            .link
            .client()
            .session(&person.org, &person.id)
            .name(person.display_name())
            .role(lock_role(person.role))
            .on_disconnect(OnDisconnect::Release {
                grace: Some(self.grace),
            });
        let session = self.link.ask(opening.into_future()).await?;
        let ticket = session.ticket().ok_or(Trouble::SessionOver)?;
        let browser = Browser::new(self.link.clone(), session);
        self.let_in(ticket.number(), person, &browser);
        Ok(Present {
            ticket: ticket.encode(),
            browser,
            lost: Vec::new(),
        })
    }

    /// The browser that shows this ticket, taken over from another companion if it has to be.
    pub(crate) async fn find(
        self: &Arc<Self>,
        ticket: &str,
        person: &Person,
    ) -> Result<Present, Trouble> {
        let ticket =
            SessionTicket::decode(ticket).map_err(|error| Trouble::Wrong(error.to_string()))?;
        if ticket.org() != person.org {
            return Err(Trouble::SessionOver);
        }
        let lane = usize::try_from(ticket.number()).unwrap_or(0) % LANES;
        if let Some(found) = self.look_up(&ticket, person)? {
            return Ok(found);
        }
        let _alone = self.lanes[lane].lock().await;
        if let Some(found) = self.look_up(&ticket, person)? {
            return Ok(found);
        }
        self.take_over(ticket, person).await
    }

    fn look_up(&self, ticket: &SessionTicket, person: &Person) -> Result<Option<Present>, Trouble> {
        let Some(browser) = self
            .known
            .lock()
            .by_number
            .get(&ticket.number())
            .map(Arc::clone)
        else {
            return Ok(None);
        };
        let current = browser.session().ticket().ok_or(Trouble::SessionOver)?;
        // One that was opened anew has another number and key: the old ticket leads to it as long as it is here.
        let is_known = current == *ticket || current.number() != ticket.number();
        if !is_known || !browser.is_of(&person.org, &person.id) || !browser.sign_of_life() {
            return Err(Trouble::SessionOver);
        }
        Ok(Some(Present {
            ticket: current.encode(),
            browser,
            lost: Vec::new(),
        }))
    }

    async fn take_over(
        self: &Arc<Self>,
        ticket: SessionTicket,
        person: &Person,
    ) -> Result<Present, Trouble> {
        self.has_room(person)?;
        let (number, text) = (ticket.number(), ticket.encode());
        let taken = self.link.ask(self.link.client().take_over(ticket)).await;
        let taken = taken.map_err(|trouble| {
            // One of this very connection that is being closed.
            let is_here = matches!(trouble, Trouble::Wrong(_));
            if is_here {
                Trouble::SessionOver
            } else {
                trouble
            }
        })?;
        if taken.session.owner() != person.id {
            tracing::warn!(
                session = number,
                "a ticket was shown by somebody who is not its owner"
            );
            for guard in taken.guards {
                guard.leave_held();
            }
            taken.session.leave_open();
            return Err(Trouble::SessionOver);
        }
        let browser = Browser::new(self.link.clone(), taken.session);
        for guard in taken.guards {
            // One that is lost by now is told as such when it is asked for.
            let _ = browser.keep(guard.while_active(RENEWED_FOR));
        }
        self.let_in(number, person, &browser);
        Ok(Present {
            browser,
            ticket: text,
            lost: taken.lost,
        })
    }

    fn has_room(&self, person: &Person) -> Result<(), Trouble> {
        let known = self.known.lock();
        let theirs = known.of_person.get(&key(person)).copied().unwrap_or(0);
        if theirs >= SESSIONS_OF_PERSON_MAX {
            let found = format!(
                "expected at most {SESSIONS_OF_PERSON_MAX} sessions of one person; close one"
            );
            return Err(Trouble::TooMany(found));
        }
        if known.by_number.len() >= SESSIONS_MAX {
            return Err(Trouble::Full(
                "as many sessions are open as may be".to_owned(),
            ));
        }
        Ok(())
    }

    fn let_in(self: &Arc<Self>, number: u64, person: &Person, browser: &Arc<Browser>) {
        let events = browser.session().events();
        {
            let mut known = self.known.lock();
            known.by_number.insert(number, Arc::clone(browser));
            *known.of_person.entry(key(person)).or_insert(0) += 1;
        }
        let follow = Follow {
            sessions: Arc::downgrade(self),
            numbers: vec![number],
            person: key(person),
        };
        tokio::spawn(follow.run(Arc::downgrade(browser), events));
    }

    /// Closes the session of a browser: what it holds is released.
    pub(crate) async fn close(&self, browser: &Arc<Browser>) -> Result<(), Trouble> {
        browser.end("closed");
        self.link.ask(browser.session().close()).await
    }

    /// Shows signs of life for those that are attended, and closes those whose time is up. To be called every
    /// [`LOOK_EVERY`].
    pub(crate) fn look_after(self: &Arc<Self>) {
        let all: Vec<_> = self
            .known
            .lock()
            .by_number
            .values()
            .map(Arc::clone)
            .collect();
        let now = Instant::now();
        for browser in all {
            if browser.look(now, self.grace, self.idle) == IsOver::Yes {
                browser.end("idle");
                let link = self.link.clone();
                // Should it fail, the session is closed after the reconnect.
                tokio::spawn(async move { link.ask(browser.session().close()).await });
            }
        }
    }

    fn forget(&self, numbers: &[u64], person: &(String, String)) {
        let mut known = self.known.lock();
        for number in numbers {
            known.by_number.remove(number);
        }
        if let Some(count) = known.of_person.get_mut(person) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                known.of_person.remove(person);
            }
        }
    }
}

/// Follows one session until it is over.
struct Follow {
    sessions: Weak<Sessions>,
    /// What the session was called, first to last.
    numbers: Vec<u64>,
    person: (String, String),
}

impl Follow {
    async fn run(mut self, browser: Weak<Browser>, mut events: Events<SessionEvent>) {
        let why = loop {
            match events.next().await {
                Some(SessionEvent::Ended(why)) => break end_name(why),
                Some(SessionEvent::Reopened) => self.renamed(&browser),
                Some(_) => {}
                None => break "closed",
            }
        };
        if let Some(browser) = browser.upgrade() {
            browser.end(why);
        }
    }

    /// The lock server had forgotten it, and it had nothing to lose: it was opened again.
    fn renamed(&mut self, browser: &Weak<Browser>) {
        let (Some(sessions), Some(browser)) = (self.sessions.upgrade(), browser.upgrade()) else {
            return;
        };
        let Some(ticket) = browser.session().ticket() else {
            return;
        };
        sessions
            .known
            .lock()
            .by_number
            .insert(ticket.number(), Arc::clone(&browser));
        self.numbers.push(ticket.number());
        browser.tell(Told::Renamed {
            ticket: ticket.encode(),
        });
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        if let Some(sessions) = self.sessions.upgrade() {
            sessions.forget(&self.numbers, &self.person);
        }
    }
}

fn key(person: &Person) -> (String, String) {
    (person.org.clone(), person.id.clone())
}

const fn lock_role(role: Role) -> LockRole {
    match role {
        Role::Guest => LockRole::Observer,
        Role::Member => LockRole::Member,
        Role::Moderator => LockRole::Moderator,
        Role::Admin => LockRole::Admin,
    }
}
