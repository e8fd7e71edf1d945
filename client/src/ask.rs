//! Notes of those who would like to have a lock, and the holder's answers.
//!
//! Rule: an answer names the waiter, so that it never goes to somebody else who came later.

use tenure_protocol::{Reply, Request, reply, request};

use crate::client::unexpected;
use crate::convert;
use crate::error::Result;
use crate::guard::{HandedOver, LockGuard};
use crate::ledger::Effect;
use crate::standing::Asked;
use crate::types::Who;

/// Somebody would like to have the lock. Not answering is an answer too: the waiter stays in line.
#[derive(Debug)]
pub struct Ask<'g> {
    pub(crate) guard: &'g LockGuard,
    pub(crate) asked: Asked,
}

impl Ask<'_> {
    /// Who asks.
    #[must_use]
    pub fn who(&self) -> &Who {
        &self.asked.who
    }

    /// The number of their wait, as the server's events and its log call it.
    #[must_use]
    pub const fn wait(&self) -> u64 {
        self.asked.wait
    }

    /// What they say.
    #[must_use]
    pub fn note(&self) -> &str {
        &self.asked.note
    }

    /// Gives them the lock, in one step. Afterwards the guard is lost.
    ///
    /// # Errors
    /// As [`LockGuard::hand_over`].
    pub async fn hand_over(&self) -> Result<HandedOver> {
        self.guard.hand_over_to(Some(self.asked.wait)).await
    }

    /// Tells them that the answer is no. They may go on waiting, and may still be handed the lock later.
    ///
    /// # Errors
    /// [`BadRequest`](crate::ErrorKind::BadRequest) when they no longer wait; [`NotHeld`](crate::ErrorKind::NotHeld) when
    /// the hold is over.
    pub async fn decline(&self) -> Result<()> {
        let shared = self.guard.session().shared();
        let number = shared.with(|ledger, _| ledger.number(self.guard.session().key()))?;
        let path = self.guard.path();
        let request = Request::LockDecline(request::Decline {
            session: number,
            path,
            to: self.asked.wait,
        });
        let path = path.to_owned();
        let read = move |reply: Reply<'_>| {
            let Reply::LockDecline(reply) = reply else {
                return Err(unexpected());
            };
            match reply {
                reply::Decline::Done => Ok(()),
                reply::Decline::NotHeld { lost, .. } => Err(convert::not_held(&path, lost)),
            }
        };
        shared.ask(request, Effect::Changes, read).await
    }
}
