//! The holds of one session: one slot for each path that it holds or is asking for.
//!
//! Knows no wire and no other session. Rule: a hold is let go when no guard, no unconfirmed wait and no unanswered
//! request for its path is left. So a release never overtakes an acquire that would have joined the same hold.

use std::sync::Arc;
use std::time::Duration;

use tenure_protocol as wire;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::convert;
use crate::error::{Error, Result};
use crate::standing::{Activity, HoldCell, Lease};
use crate::types::{Loss, LossCause, Mode, Released};

/// What this side knows of one path of one session.
#[derive(Default)]
pub(crate) struct Slot {
    pub(crate) hold: Option<Hold>,
    /// Unanswered acquires and conversions of the path.
    pub(crate) asking: u32,
    /// Unanswered releases of the path.
    pub(crate) letting_go: u32,
    /// Whether an errand to look at it is in line.
    pub(crate) in_line: bool,
}

/// A hold, and who wants it.
pub(crate) struct Hold {
    pub(crate) cell: Arc<HoldCell>,
    /// Guards that are alive.
    pub(crate) guards: u32,
    /// Activities of those guards that are renewed only while there is some.
    pub(crate) activities: Vec<Arc<Activity>>,
    /// Granted waits that are not confirmed yet.
    pub(crate) claims: u32,
    /// Whether it is to live on without a guard.
    pub(crate) kept: bool,
    /// When this side learnt of it.
    pub(crate) since: Instant,
    /// Somebody whose release of it was lost with a connection.
    pub(crate) on_release: Option<oneshot::Sender<Result<Released>>>,
}

/// What one guard is made of.
#[derive(Debug)]
pub(crate) struct GuardSeed {
    pub(crate) cell: Arc<HoldCell>,
    pub(crate) activity: Option<Arc<Activity>>,
}

/// When the holds of a guard are renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Renewal {
    /// As long as the guard lives.
    #[default]
    Always,
    /// As long as the guard was [touched](crate::LockGuard::touch) within this time. Then the hold runs out: it is lost
    /// at the latest one TTL after the last renewal.
    ///
    /// A path that another guard of the same session holds with `Always` is renewed all the same.
    WhileActive {
        /// How long without a touch counts as idle.
        idle_after: Duration,
    },
}

impl Slot {
    /// Takes note of a grant, counted from `sent`; one that was pushed has no sending, and nothing remains of it until it
    /// has been renewed. A hold with another token was lost, unless the grant says or shows that it was converted.
    pub(crate) fn granted(
        &mut self,
        path: &Arc<str>,
        grant: &wire::Grant,
        sent: Option<Instant>,
        now: Instant,
    ) {
        let deadline = sent.map_or(now, |sent| sent + convert::span(grant.remaining_ms));
        let lease = lease(grant, deadline);
        if let Some(hold) = &self.hold
            && let Some(known) = hold.cell.lease()
        {
            if known.token == lease.token || goes_on(&known, grant) {
                hold.cell.update(|known| {
                    known.token = lease.token;
                    known.mode = lease.mode;
                    known.ttl = lease.ttl;
                    known.deadline = known.deadline.max(lease.deadline);
                });
                return;
            }
            self.lose(LossCause::Unknown);
        }
        self.hold = Some(Hold::unwanted(path, lease, now));
    }

    /// One more guard on the hold.
    pub(crate) fn guard(&mut self, renewal: Renewal, now: Instant) -> Option<GuardSeed> {
        let hold = self.hold.as_mut()?;
        hold.guards += 1;
        if let Some(done) = hold.on_release.take() {
            let _ = done.send(Ok(Released::SessionHolds));
        }
        let activity = match renewal {
            Renewal::Always => None,
            Renewal::WhileActive { idle_after } => {
                let activity = Activity::new(idle_after, now);
                hold.activities.push(Arc::clone(&activity));
                Some(activity)
            }
        };
        Some(GuardSeed {
            cell: Arc::clone(&hold.cell),
            activity,
        })
    }

    /// One guard less, if it is one of the hold as it stands.
    pub(crate) fn unguard(&mut self, cell: &Arc<HoldCell>, activity: Option<&Arc<Activity>>) {
        let Some(hold) = self.hold_of(cell) else {
            return;
        };
        hold.guards = hold.guards.saturating_sub(1);
        if let Some(activity) = activity {
            hold.activities
                .retain(|other| !Arc::ptr_eq(other, activity));
        }
    }

    /// The hold, if it is the one that the cell is of.
    pub(crate) fn hold_of(&mut self, cell: &Arc<HoldCell>) -> Option<&mut Hold> {
        self.hold
            .as_mut()
            .filter(|hold| Arc::ptr_eq(&hold.cell, cell))
    }

    /// Whether the hold is to be let go.
    pub(crate) fn is_unwanted(&self) -> bool {
        self.asking == 0
            && self
                .hold
                .as_ref()
                .is_some_and(|hold| hold.guards == 0 && hold.claims == 0 && !hold.kept)
    }

    /// Whether nothing has to be remembered of the path.
    pub(crate) fn is_empty(&self) -> bool {
        self.hold.is_none() && self.asking == 0 && self.letting_go == 0
    }

    /// The hold is over, for a cause that this side has found.
    pub(crate) fn lose(&mut self, cause: LossCause) -> Option<Loss> {
        let hold = self.hold.as_ref()?;
        let loss = convert::bare_loss(&hold.cell.path, hold.token(), cause);
        self.end(loss)
    }

    /// The hold is over. Gives the loss if there was somebody to lose it.
    pub(crate) fn end(&mut self, loss: Loss) -> Option<Loss> {
        let mut hold = self.hold.take()?;
        hold.cell.lose(loss.clone());
        if let Some(done) = hold.on_release.take() {
            // Whoever let it go may have gone.
            let _ = done.send(Err(Error::not_held(Some(loss.clone()))));
        }
        (hold.guards > 0 || hold.kept).then_some(loss)
    }

    /// The hold may not be relied on any more, while the server may still have it: its guards lose it, and what is left
    /// is let go as one that nobody wants.
    pub(crate) fn run_out(&mut self) -> Option<Loss> {
        let hold = self.hold.as_ref()?;
        let lease = hold.cell.lease()?;
        let path = Arc::clone(&hold.cell.path);
        let since = hold.since;
        let loss = self.lose(LossCause::ExpiredHere);
        self.hold = Some(Hold::unwanted(&path, lease, since));
        loss
    }
}

impl Hold {
    /// One that the server has and nobody here wants, so far.
    pub(crate) fn unwanted(path: &Arc<str>, lease: Lease, since: Instant) -> Self {
        Self {
            cell: HoldCell::new(Arc::clone(path), lease),
            guards: 0,
            activities: Vec::new(),
            claims: 0,
            kept: false,
            since,
            on_release: None,
        }
    }

    pub(crate) fn token(&self) -> u64 {
        self.cell.lease().map_or(0, |lease| lease.token)
    }

    /// Whether it is to be renewed.
    pub(crate) fn wants_renewal(&self, now: Instant) -> bool {
        if self.guards == 0 {
            return self.kept || self.claims > 0;
        }
        let always = self.guards as usize > self.activities.len();
        always
            || self
                .activities
                .iter()
                .any(|activity| activity.is_active(now))
    }

    /// Whether anybody would notice its loss.
    pub(crate) fn matters(&self) -> bool {
        self.guards > 0 || self.kept
    }
}

/// Whether a hold that is known goes on under the token of the grant. An exclusive hold never changes its token
/// without having been lost; a shared one does when it is converted.
fn goes_on(known: &Lease, grant: &wire::Grant) -> bool {
    grant.kind == wire::GrantKind::Converted
        || (known.mode == Mode::Shared && grant.mode == wire::Mode::Exclusive)
}

fn lease(grant: &wire::Grant, deadline: Instant) -> Lease {
    Lease {
        token: grant.token,
        mode: convert::mode(grant.mode),
        ttl: convert::span(grant.ttl_ms),
        deadline,
        doubt: None,
    }
}
