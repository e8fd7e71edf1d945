//! When a connection has to look at the clock though nothing comes.
//!
//! Must hold: a timer that is set and has not come up is asked nothing, since a connection looks at it after each request
//! and it comes up every few seconds.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep};

/// See the file's header.
pub(super) struct Alarm {
    sleep: Pin<Box<Sleep>>,
    /// Whom the timer wakes, if it is set.
    wakes: Option<Waker>,
}

impl Alarm {
    pub(super) fn after(span: Duration) -> Self {
        Self {
            sleep: Box::pin(sleep(span)),
            wakes: None,
        }
    }

    /// Sets it anew.
    pub(super) fn reset(&mut self, at: Instant) {
        self.sleep.as_mut().reset(at);
        self.wakes = None;
    }

    /// Waits until it comes up, and from then on until it is set anew not at all.
    pub(super) async fn rings(&mut self) {
        poll_fn(|context| self.poll(context)).await;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let waker = context.waker();
        let is_set = matches!(&self.wakes, Some(known) if known.will_wake(waker));
        if is_set && !self.sleep.is_elapsed() {
            return Poll::Pending;
        }
        if !is_set {
            self.wakes = Some(waker.clone());
        }
        // Without a budget: who has none left is told to come again, and the timer is not set.
        pin!(unconstrained(self.sleep.as_mut())).poll(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::{consume_budget, yield_now};
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_millis(30);
    const LATE: Duration = Duration::from_secs(60);

    async fn has_rung(alarm: &mut Alarm) -> bool {
        timeout(2 * SOON, alarm.rings()).await.is_ok()
    }

    #[tokio::test]
    async fn it_comes_up_as_often_as_it_is_set_and_for_whoever_waits_last() {
        let mut alarm = Alarm::after(SOON);
        assert!(has_rung(&mut alarm).await && has_rung(&mut alarm).await);
        alarm.reset(Instant::now() + LATE);
        assert!(!has_rung(&mut alarm).await);
        alarm.reset(Instant::now() + SOON);
        // Looked at by one task, and waited for by another.
        let looked_at = tokio::spawn(async move {
            tokio::select! {
                biased;
                () = alarm.rings() => unreachable!("it is not time"),
                () = async {} => {}
            }
            alarm
        });
        let mut alarm = looked_at.await.unwrap();
        let waited = tokio::spawn(async move { has_rung(&mut alarm).await });
        assert!(waited.await.unwrap());
    }

    #[tokio::test]
    async fn it_comes_up_though_whoever_looks_has_done_as_much_as_they_may() {
        let mut alarm = Alarm::after(SOON);
        for _ in 0..3 {
            yield_now().await;
            for _ in 0..128 {
                consume_budget().await;
            }
            assert!(has_rung(&mut alarm).await);
            alarm.reset(Instant::now() + SOON);
        }
    }
}
