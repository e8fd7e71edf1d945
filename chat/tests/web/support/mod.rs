//! What the tests stand on: a place with a lock server, companions and a database; people who ask; feeds that are heard.
//!
//! Rule: nothing in here waits without a limit.

mod hearing;
mod http;
mod place;

use std::time::{Duration, Instant};

pub(crate) use hearing::{Hearing, Told};
pub(crate) use http::{Answer, Http};
#[macro_use]
mod both;
pub(crate) use place::{
    Companion, Person, Place, on_killable_postgres, on_postgres, on_sqlite, outbox_has, says,
};

/// Long enough for anything that takes no time on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again until it is so.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let began = Instant::now();
    while !is_so().await {
        assert!(
            began.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
