//! An attempt to get locks: it is sent, its progress is told, and its outcome becomes guards.
//!
//! Knows not how a wait is kept; that is in the ledger. Rule: dropping the future at any point leaves nothing behind,
//! neither a wait nor a hold.

use std::time::Duration;

use tenure_protocol::Request;
use tokio::sync::{mpsc, oneshot};

use crate::error::{Error, ErrorKind, Result};
use crate::guard::LockGuard;
use crate::ledger::{Aim, Attempt, AttemptItem, GuardSeed};
use crate::session::Session;
use crate::types::{Refusal, RefusalReason, WaitProgress};

/// Progress that a waiting future has not told yet.
const PROGRESS_MAX: usize = 8;

pub(crate) type Progress = Box<dyn FnMut(WaitProgress) + Send>;

/// What is asked for, whichever way.
pub(crate) struct Wish {
    pub(crate) items: Vec<AttemptItem>,
    pub(crate) aim: Aim,
    pub(crate) wait: Duration,
    pub(crate) on_progress: Option<Progress>,
}

/// Asks, and waits for the outcome.
pub(crate) async fn attempt<'a>(
    session: &Session,
    wish: Wish,
    request: impl FnOnce(u64) -> Request<'a>,
) -> Result<Vec<LockGuard>> {
    let limit = wish
        .wait
        .saturating_add(session.shared().options.request_timeout);
    let waited = !wish.wait.is_zero();
    let outcome = crate::shared::within(limit, ask(session, wish, request)).await;
    match outcome {
        Err(error) if waited && error.kind() == ErrorKind::Refused => {
            Err(with_holders(session, error).await)
        }
        outcome => outcome,
    }
}

async fn ask<'a>(
    session: &Session,
    wish: Wish,
    request: impl FnOnce(u64) -> Request<'a>,
) -> Result<Vec<LockGuard>> {
    let (done, outcome) = oneshot::channel();
    let (progress, told) = match &wish.on_progress {
        Some(_) => {
            let (sender, receiver) = mpsc::channel(PROGRESS_MAX);
            (Some(sender), Some(receiver))
        }
        None => (None, None),
    };
    let mut pending = Pending {
        session,
        items: wish.items.clone(),
        outcome: Some(outcome),
    };
    let attempt = Attempt {
        items: wish.items,
        aim: wish.aim,
        done,
        progress,
    };
    let key = session.key();
    session
        .shared()
        .send(|ledger, now, permit| ledger.ask(now, permit, key, attempt, request))
        .await?;
    let progress = wish.on_progress.zip(told);
    let seeds = pending.outcome(progress).await?;
    let guard = |seed| LockGuard::new(session.clone(), seed);
    Ok(seeds.into_iter().map(guard).collect())
}

/// An attempt that somebody waits for. Dropped before the outcome was taken, it takes everything back.
struct Pending<'s> {
    session: &'s Session,
    items: Vec<AttemptItem>,
    outcome: Option<oneshot::Receiver<Result<Vec<GuardSeed>>>>,
}

impl Pending<'_> {
    async fn outcome(
        &mut self,
        mut progress: Option<(Progress, mpsc::Receiver<WaitProgress>)>,
    ) -> Result<Vec<GuardSeed>> {
        let outcome = self.outcome.as_mut().expect("an outcome is taken once");
        let mut last = None;
        let result = loop {
            match &mut progress {
                None => break outcome.await,
                Some((tell, told)) => tokio::select! {
                    biased;
                    // The same place may be told twice, by the reply and by a push.
                    Some(news) = told.recv() => if last.as_ref() != Some(&news) {
                        last = Some(news.clone());
                        tell(news);
                    },
                    result = &mut *outcome => break result,
                },
            }
        };
        self.outcome = None;
        crate::shared::received(result)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        let Some(mut outcome) = self.outcome.take() else {
            return;
        };
        // After this the ledger can no longer deliver: either it has, or it sees that nobody is there.
        outcome.close();
        let delivered = outcome.try_recv();
        let key = self.session.key();
        self.session.shared().with(|ledger, _| match delivered {
            Ok(Ok(seeds)) => ledger.not_taken(key, &seeds),
            Ok(Err(_)) => {}
            Err(_) => ledger.given_up(key, &self.items),
        });
    }
}

/// The end of a wait does not say who holds the lock; whoever waited wants to know.
async fn with_holders(session: &Session, error: Error) -> Error {
    let mut refusals = Vec::with_capacity(error.refusals().len());
    for refusal in error.refusals() {
        let known = !refusal.status.is_free() || refusal.reason == RefusalReason::QueueFull;
        let status = if known {
            Ok(refusal.status.clone())
        } else {
            let client = session.client();
            client.status(session.org(), refusal.path()).await
        };
        refusals.push(Refusal {
            reason: refusal.reason,
            status: status.unwrap_or_else(|_| refusal.status.clone()),
        });
    }
    Error::refused(refusals)
}
