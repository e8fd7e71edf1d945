//! Guards: what stands for a lock while it is held, and tells when it no longer is.
//!
//! A guard reads the cell that the ledger writes; what it asks for goes through the ledger. Rule: nothing here says that
//! a lock is held for longer than the server has promised, counted from the sending of what it answered.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tenure_protocol::{Request, request};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::ask::Ask;
use crate::attempt::{Wish, attempt};
use crate::client::unexpected;
use crate::convert;
use crate::error::Result;
use crate::ledger::{Aim, AttemptItem, GuardSeed, Ledger};
use crate::session::Session;
use crate::standing::{Activity, HoldCell, HoldState};
use crate::types::{Loss, LossCause, Mode, Released};
use crate::watch::{HeldAs, HoldWatch, held_as, remaining, ttl};

/// A lock that is held. Dropping it lets go.
///
/// The lock is renewed for as long as the guard lives, at a third of its TTL, together with everything else that the
/// connection holds. It can be lost all the same: taken by a moderator, ended by an operator, run out because the server
/// could not be reached. [`lost`](Self::lost) tells, and [`token`](Self::token) is what makes that harmless: a resource
/// that remembers the highest token it has seen, and refuses a lower one, is safe from a holder that does not know yet.
///
/// Guards of the same path in the same session share one hold, which ends with the last of them.
///
/// Dropping is best effort: it does not wait for the server, and when there is no connection the hold is let go after
/// the reconnect. [`release`](Self::release) says how it went.
#[must_use = "the lock is let go when the guard is dropped"]
pub struct LockGuard {
    /// Taken out when the guard is used up.
    held: Option<Held>,
    session: Session,
}

struct Held {
    cell: Arc<HoldCell>,
    activity: Option<Arc<Activity>>,
}

/// The lock has gone to a waiter. Both are `None` when the connection ended before the answer, and the resume showed that
/// it was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct HandedOver {
    /// The waiter's fencing token.
    pub token: Option<u64>,
    /// The waiter's owner.
    pub owner: Option<String>,
}

impl LockGuard {
    pub(crate) fn new(session: Session, seed: GuardSeed) -> Self {
        Self {
            held: Some(Held {
                cell: seed.cell,
                activity: seed.activity,
            }),
            session,
        }
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.cell().path
    }

    /// The session that holds it.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The fencing token: it rises with every grant of the path that excludes an earlier holder. 0 when the hold is over.
    ///
    /// Hand it to the resource with every write, and let the resource refuse a token lower than one it has seen.
    #[must_use]
    pub fn token(&self) -> u64 {
        self.held_as().map_or(0, |held| held.token)
    }

    /// How it is held, which may be stronger than was asked for; [`Mode::Shared`] when the hold is over.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.held_as().map_or(Mode::Shared, |held| held.mode)
    }

    /// Token and mode at one moment; `None` when the hold is over.
    #[must_use]
    pub fn held_as(&self) -> Option<HeldAs> {
        held_as(self.cell())
    }

    /// For how long the lock is held at least, should no renewal succeed from here on.
    ///
    /// Counted from when the request was *sent* that the server answered last, so it errs on the safe side, whatever the
    /// network does. Zero when the hold is over, and while the connection has been gone for longer than the session's
    /// grace.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        remaining(self.cell())
    }

    /// How long a renewal keeps the lock: what was asked for, or the policy's, within the policy's bounds. It grows when a
    /// session of the owner asks for more. Zero when the hold is over.
    ///
    /// It is renewed at a third of this. For how long it is held as things stand says [`remaining`](Self::remaining).
    #[must_use]
    pub fn ttl(&self) -> Duration {
        ttl(self.cell())
    }

    /// Whether the lock is held, for all this side can know: [`remaining`](Self::remaining) is not zero.
    #[must_use]
    pub fn is_held(&self) -> bool {
        !self.remaining().is_zero()
    }

    /// Waits until the hold is lost, and says by whom and why. Cancel-safe.
    ///
    /// It is lost when the server says so, when a resume finds it gone, and when its deadline passes on this side's clock
    /// without a renewal that succeeded: then the cause is [`ExpiredHere`](crate::LossCause::ExpiredHere). While the
    /// connection is gone for longer than the session's grace, the hold is in doubt: `is_held` is false, and whether it is
    /// lost shows with the reconnect or at the deadline. See [`Options::lose_in_doubt`](crate::Options::lose_in_doubt).
    pub async fn lost(&self) -> Loss {
        self.watch()
            .ended()
            .await
            .unwrap_or_else(|| convert::bare_loss(self.path(), 0, LossCause::Released))
    }

    /// How the hold was lost, if it was.
    #[must_use]
    pub fn loss(&self) -> Option<Loss> {
        self.cell().loss()
    }

    /// A watch over the hold that does not keep it: for a task that is to stop when the lock is lost.
    #[must_use]
    pub fn watch(&self) -> HoldWatch {
        HoldWatch::new(Arc::clone(self.cell()))
    }

    /// Waits until token or mode differ from `from`, as they do after an upgrade or downgrade by whichever session of the
    /// owner. Cancel-safe: nothing is missed between two calls.
    ///
    /// # Errors
    /// The loss, when the hold is over.
    pub async fn changed(&self, from: HeldAs) -> Result<HeldAs, Loss> {
        let cell = self.cell();
        let changed = cell.until(|state| match state {
            HoldState::Held(lease) => {
                let held = HeldAs {
                    token: lease.token,
                    mode: lease.mode,
                };
                (held != from).then_some(Ok(held))
            }
            HoldState::Lost(loss) => Some(Err(loss.clone())),
            HoldState::Released => Some(Err(convert::bare_loss(
                &cell.path,
                from.token,
                LossCause::Released,
            ))),
        });
        changed.await
    }

    /// Says that somebody is active at what the lock protects. Costs no request.
    ///
    /// It matters for guards that were acquired with [`Renewal::WhileActive`](crate::Renewal::WhileActive), and for those
    /// only. One that was idle is renewed at once, if it is not too late.
    pub fn touch(&self) {
        let activity = self.held.as_ref().and_then(|held| held.activity.as_ref());
        if activity.is_some_and(|activity| activity.touch(Instant::now())) {
            let key = self.session.key();
            self.session
                .shared()
                .with(|ledger, now| ledger.renew_soon(now, key));
        }
    }

    /// Renews the lock from here on only while there is activity, as [`Renewal::WhileActive`](crate::Renewal::WhileActive)
    /// says: for a guard that came by another way than an acquire, such as [a session that was taken
    /// over](crate::Client::take_over).
    pub fn while_active(mut self, idle_after: Duration) -> Self {
        let key = self.session.key();
        if let Some(held) = &mut self.held {
            let shared = self.session.shared();
            let activity = shared.with(|ledger, now| {
                let before = held.activity.as_ref();
                ledger.renew_while_active(now, key, &held.cell, before, idle_after)
            });
            held.activity = activity.or_else(|| held.activity.take());
        }
        self
    }

    /// Makes a shared hold exclusive without letting go, ahead of all who wait. Waits for the other holders to leave for
    /// as long as `wait`; zero wants an answer at once. A success brings a new token.
    ///
    /// Cancel-safe: dropping it ends the wait, and the hold stays as it is, unless the upgrade came first.
    ///
    /// # Errors
    /// [`Refused`](crate::ErrorKind::Refused) when it did not come to it; the hold goes on as it was.
    /// [`NotHeld`](crate::ErrorKind::NotHeld) when the hold is over.
    pub async fn upgrade(&self, wait: Duration) -> Result<()> {
        self.convert(Mode::Exclusive, wait, None).await
    }

    /// Makes an exclusive hold shared, so that others may join: as many as come, or owners up to `limit`. The token stays.
    ///
    /// # Errors
    /// [`NotHeld`](crate::ErrorKind::NotHeld) when the hold is over.
    pub async fn downgrade(&self, limit: impl Into<Option<u32>>) -> Result<()> {
        self.convert(Mode::Shared, Duration::ZERO, limit.into())
            .await
    }

    async fn convert(&self, mode: Mode, wait: Duration, limit: Option<u32>) -> Result<()> {
        let cell = self.cell();
        let wish = Wish {
            items: vec![AttemptItem {
                path: Arc::clone(&cell.path),
                mode,
            }],
            aim: Aim::Conversion(Arc::clone(cell)),
            wait,
            on_progress: None,
        };
        let request = |session| {
            Request::LockConvert(request::Convert {
                session,
                path: &cell.path,
                mode: convert::mode_to_wire(mode),
                wait_ms: convert::millis(wait),
                limit,
            })
        };
        attempt(&self.session, wish, request).await?;
        Ok(())
    }

    /// Gives the lock to the first waiter who left a note, in one step. Afterwards the guard is lost, with the cause
    /// [`HandedOver`](crate::LossCause::HandedOver).
    ///
    /// # Errors
    /// [`BadRequest`](crate::ErrorKind::BadRequest) when there is no such waiter, or it cannot be granted the lock in this
    /// step; [`NotHeld`](crate::ErrorKind::NotHeld) when the hold is over.
    pub async fn hand_over(&self) -> Result<HandedOver> {
        self.hand_over_to(None).await
    }

    pub(crate) async fn hand_over_to(&self, to: Option<u64>) -> Result<HandedOver> {
        let (done, answer) = oneshot::channel();
        let key = self.session.key();
        let cell = self.cell();
        let send =
            |ledger: &mut Ledger, now, permit| ledger.hand_over(now, permit, key, cell, to, done);
        self.session.shared().request(send, answer).await
    }

    /// The next note of somebody who would like to have the lock, or `None` when the hold is over. Cancel-safe.
    ///
    /// Guards of the same hold share the notes: each goes to whichever asks first. The latest 32 are kept.
    pub async fn next_ask(&self) -> Option<Ask<'_>> {
        let asked = self.cell().next_ask().await?;
        Some(Ask { guard: self, asked })
    }

    /// Lets go, and says how it went. If other guards of the session share the hold, or an acquire of the path is under
    /// way, it goes on.
    ///
    /// # Errors
    /// [`NotHeld`](crate::ErrorKind::NotHeld) when it was lost, unless it had merely expired. When there is no connection,
    /// or no answer in time, the hold is let go all the same, after the reconnect at the latest.
    pub async fn release(mut self) -> Result<Released> {
        let (done, answer) = oneshot::channel();
        let shared = Arc::clone(self.session.shared());
        let exchange = async {
            let key = self.session.key();
            let at_once = shared
                .send(|ledger, now, permit| {
                    let held = self.held.as_ref().ok_or_else(unexpected)?;
                    let activity = held.activity.as_ref();
                    let released = ledger.release(now, permit, key, &held.cell, activity, done)?;
                    // The ledger has let go, and dropping the guard must not do so again.
                    self.held = None;
                    Ok(released)
                })
                .await?;
            match at_once {
                Some(released) => Ok(released),
                None => crate::shared::received(answer.await),
            }
        };
        crate::shared::within(shared.options.request_timeout, exchange).await
    }

    /// Gives the guard up and leaves the lock held: for callers that keep no guard, such as scripts. While the session has
    /// a handle, it is renewed with it; afterwards it lives by its TTL, if the session was
    /// [left open](Session::leave_open).
    pub fn leave_held(mut self) {
        if let Some(held) = self.held.take() {
            let key = self.session.key();
            self.session.shared().with(|ledger, _| {
                ledger.keep_hold(key, &held.cell, held.activity.as_ref());
            });
        }
    }

    fn cell(&self) -> &Arc<HoldCell> {
        let held = self.held.as_ref();
        &held.expect("a guard is used up by value only").cell
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            let key = self.session.key();
            self.session.shared().with(|ledger, _| {
                ledger.drop_guard(key, &held.cell, held.activity.as_ref());
            });
        }
    }
}

impl fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("LockGuard");
        if let Some(held) = &self.held {
            debug.field("path", &held.cell.path);
            debug.field("state", &held.cell.state());
        }
        debug.finish_non_exhaustive()
    }
}
