//! The link to the lock server: one client, and how long anybody waits for it.
//!
//! Owns the connection and the breaker; knows neither chats nor browsers. Rule: while the lock server is away whoever asks
//! is told so at once, and no request is kept behind their back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tenure_client::{Client, Error, ErrorKind, Loss, Refusal};

use super::breaker::Breaker;

/// How long an answer of the lock server may take. It takes a fraction of a millisecond.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// When to come back, if nothing better is known.
const COME_BACK_AFTER: Duration = Duration::from_secs(1);

/// Why the lock server did not do what was asked.
#[derive(Debug, Clone)]
pub(crate) enum Trouble {
    /// It is away, or does not answer.
    Away {
        /// When to come back.
        retry_after: Duration,
    },
    /// Somebody else holds it.
    Refused(Box<Refusal>),
    /// The hold is over; how, if that is known.
    Lost(Option<Box<Loss>>),
    /// The session is over.
    SessionOver,
    /// What was asked is wrong.
    Wrong(String),
    /// The key of this service, or the role of the session, does not allow it.
    Forbidden(String),
    /// A limit of the lock server has been reached.
    Full(String),
    /// The person has as many sessions as may be.
    TooMany(String),
    /// It has failed, or this side has.
    Failed(String),
}

/// See the file's header. Clones share one connection.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    client: Client,
    breaker: Arc<Mutex<Breaker>>,
}

impl Link {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            breaker: Arc::new(Mutex::new(Breaker::new())),
        }
    }

    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    /// Whether there is a connection, and it answers.
    pub(crate) fn is_up(&self) -> bool {
        self.client.is_connected() && !self.breaker.lock().is_open()
    }

    /// Asks something that is answered at once. At most [`ANSWER_WITHIN`], and nothing at all while the server is away.
    pub(crate) async fn ask<T>(
        &self,
        asked: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Trouble> {
        self.admit()?;
        let answer = tokio::time::timeout(ANSWER_WITHIN, asked).await;
        let failed = match &answer {
            Ok(Ok(_)) => false,
            Ok(Err(error)) => error.kind() == ErrorKind::TimedOut,
            Err(_) => true,
        };
        self.learn(failed);
        match answer {
            Ok(answer) => answer.map_err(Trouble::from),
            Err(_) => Err(Trouble::Away {
                retry_after: COME_BACK_AFTER,
            }),
        }
    }

    /// Asks something that may take as long as it takes, such as a wait in a queue.
    pub(crate) async fn wait<T>(
        &self,
        asked: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Trouble> {
        self.admit()?;
        asked.await.map_err(Trouble::from)
    }

    fn admit(&self) -> Result<(), Trouble> {
        let away = |retry_after| Trouble::Away { retry_after };
        if !self.client.is_connected() {
            return Err(away(COME_BACK_AFTER));
        }
        self.breaker.lock().admit(Instant::now()).map_err(away)
    }

    fn learn(&self, failed: bool) {
        let mut breaker = self.breaker.lock();
        if failed {
            breaker.failed(Instant::now());
        } else {
            breaker.answered();
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::Disconnected
            | ErrorKind::UnknownOutcome
            | ErrorKind::TimedOut
            | ErrorKind::Connect
            | ErrorKind::Closed => Self::Away {
                retry_after: COME_BACK_AFTER,
            },
            ErrorKind::Refused => match error.refusal() {
                Some(refusal) => Self::Refused(Box::new(refusal.clone())),
                None => Self::Failed(error.to_string()),
            },
            ErrorKind::NotHeld => Self::Lost(error.loss().cloned().map(Box::new)),
            ErrorKind::SessionEnded => Self::SessionOver,
            ErrorKind::Unavailable => Self::Full(error.to_string()),
            ErrorKind::BadRequest => Self::Wrong(error.to_string()),
            ErrorKind::NotAllowed => Self::Forbidden(error.to_string()),
            ErrorKind::Server | ErrorKind::Protocol | _ => Self::Failed(error.to_string()),
        }
    }
}
