//! One hold of a browser, watched: its loss is told, and so is whoever asks for it.
//!
//! Owns the guard's questions; the guard itself belongs to the browser as well. Rule: whoever lets go of the hold by
//! themselves ends the watch first, so that a loss is told only to whom it is news.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use tenure_client::{Ask, LockGuard, Loss};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use super::browser::{Browser, Told};
use super::link::Trouble;

/// Most questions of others that wait for an answer; the oldest makes room.
const ASKS_MAX: usize = 32;

/// Answers on their way to the watch.
const ANSWERS_MAX: usize = 8;

/// What the browser keeps of a hold. Dropping it ends the watch.
pub(super) struct Hold {
    pub(super) guard: Arc<LockGuard>,
    answers: mpsc::Sender<Decline>,
    watch: AbortHandle,
}

/// No, to one who asks.
struct Decline {
    ask: u64,
    done: oneshot::Sender<Result<(), Trouble>>,
}

impl Hold {
    pub(super) fn watched(browser: Weak<Browser>, guard: Arc<LockGuard>) -> Self {
        let (answers, asked) = mpsc::channel(ANSWERS_MAX);
        let watch = tokio::spawn(watch(browser, Arc::clone(&guard), asked)).abort_handle();
        Self {
            guard,
            answers,
            watch,
        }
    }

    /// The guard alone: what becomes of it from here on is told to nobody.
    pub(super) fn unwatched(self) -> Arc<LockGuard> {
        Arc::clone(&self.guard)
    }

    /// Whoever wants to decline, without keeping the hold.
    pub(super) fn decliner(&self) -> Decliner {
        Decliner(self.answers.clone())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

/// Says no to those who ask for a hold.
pub(super) struct Decliner(mpsc::Sender<Decline>);

impl Decliner {
    pub(super) async fn decline(self, ask: u64) -> Result<(), Trouble> {
        let (done, answer) = oneshot::channel();
        let over = || Trouble::Lost(None);
        self.0
            .send(Decline { ask, done })
            .await
            .map_err(|_| over())?;
        answer.await.map_err(|_| over())?
    }
}

async fn watch(
    browser: Weak<Browser>,
    guard: Arc<LockGuard>,
    mut answers: mpsc::Receiver<Decline>,
) {
    let mut asks: VecDeque<(u64, Ask<'_>)> = VecDeque::new();
    let mut count = 0;
    let lost = guard.lost();
    tokio::pin!(lost);
    loop {
        tokio::select! {
            loss = &mut lost => return tell_loss(&browser, &guard, &loss),
            ask = guard.next_ask() => {
                let Some(ask) = ask else {
                    let loss = lost.await;
                    return tell_loss(&browser, &guard, &loss);
                };
                count += 1;
                let told = Told::Asked {
                    path: guard.path().to_owned(),
                    ask: count,
                    who: ask.who().clone(),
                    note: ask.note().to_owned(),
                };
                asks.push_back((count, ask));
                if asks.len() > ASKS_MAX {
                    asks.pop_front();
                }
                let Some(browser) = browser.upgrade() else { return };
                browser.tell(told);
            }
            answer = answers.recv() => {
                let Some(Decline { ask, done }) = answer else { return };
                let at = asks.iter().position(|(number, _)| *number == ask);
                let result = match at.and_then(|at| asks.remove(at)) {
                    Some((_, ask)) => ask.decline().await.map_err(Trouble::from),
                    None => Err(Trouble::Wrong(format!("expected the number of somebody who asks, found {ask}"))),
                };
                // Whoever declined may have gone.
                let _ = done.send(result);
            }
        }
    }
}

fn tell_loss(browser: &Weak<Browser>, guard: &Arc<LockGuard>, loss: &Loss) {
    if let Some(browser) = browser.upgrade() {
        browser.hold_lost(guard, loss);
    }
}
