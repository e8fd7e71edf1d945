//! Whether the companion is there, as a value that can be looked at and waited for.
//!
//! Rule: what is told is what is true by then; whoever looks late sees the last state, not each that came before.

use parking_lot::Mutex;
use tokio::sync::watch;

/// How the client stands with its companion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectionState {
    /// Nothing has been answered yet.
    Connecting,
    /// It answers. No feed runs: nobody asked for one, or it is being opened again.
    Online,
    /// It answers, and the feed runs.
    Live,
    /// It does not answer, and is tried again now and then. Messages wait.
    Offline,
    /// It does not take the token. Messages wait for [`set_token`](super::ChatClient::set_token).
    Unauthorized,
    /// The client has been closed.
    Closed,
}

/// What a state is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// Whether it answers, once that is known.
    pub(super) is_up: Option<bool>,
    /// Whether the feed runs.
    pub(super) is_live: bool,
    /// Whether it has refused the token.
    pub(super) is_refused: bool,
    pub(super) is_closed: bool,
}

impl Standing {
    const fn state(self) -> ConnectionState {
        match self {
            Self {
                is_closed: true, ..
            } => ConnectionState::Closed,
            Self {
                is_refused: true, ..
            } => ConnectionState::Unauthorized,
            Self {
                is_up: Some(false), ..
            } => ConnectionState::Offline,
            Self { is_live: true, .. } => ConnectionState::Live,
            Self {
                is_up: Some(true), ..
            } => ConnectionState::Online,
            Self { is_up: None, .. } => ConnectionState::Connecting,
        }
    }
}

/// Where it is kept.
#[derive(Debug)]
pub(super) struct Standings {
    standing: Mutex<Standing>,
    told: watch::Sender<ConnectionState>,
}

impl Default for Standings {
    fn default() -> Self {
        Self {
            standing: Mutex::default(),
            told: watch::Sender::new(ConnectionState::Connecting),
        }
    }
}

impl Standings {
    pub(super) fn set(&self, change: impl FnOnce(&mut Standing)) {
        let mut standing = self.standing.lock();
        change(&mut standing);
        let state = standing.state();
        // Under the mutex, so that the last that is told is the last that was set.
        self.told.send_if_modified(|told| {
            let is_news = *told != state;
            *told = state;
            is_news
        });
    }

    pub(super) fn state(&self) -> ConnectionState {
        *self.told.borrow()
    }

    pub(super) fn watch(&self) -> ConnectionStates {
        let mut states = self.told.subscribe();
        // The state at the beginning is the first that is given.
        states.mark_changed();
        ConnectionStates(states)
    }
}

/// How the client stands with its companion, from the moment of asking on. Made by
/// [`ChatClient::states`](super::ChatClient::states).
#[derive(Debug, Clone)]
pub struct ConnectionStates(watch::Receiver<ConnectionState>);

impl ConnectionStates {
    /// The state, whenever it is another; at first as it is. `None` when the client is gone. Cancel-safe.
    pub async fn next(&mut self) -> Option<ConnectionState> {
        self.0.changed().await.ok()?;
        Some(*self.0.borrow_and_update())
    }

    /// Waits until the state is this. False when that can be no more. Cancel-safe.
    pub async fn reaches(&mut self, state: ConnectionState) -> bool {
        self.0.wait_for(|now| *now == state).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_looks_late_sees_the_last_state() {
        let standings = Standings::default();
        let mut states = standings.watch();
        assert_eq!(states.next().await, Some(ConnectionState::Connecting));
        standings.set(|standing| standing.is_up = Some(true));
        standings.set(|standing| standing.is_live = true);
        assert_eq!(states.next().await, Some(ConnectionState::Live));
        standings.set(|standing| standing.is_up = Some(false));
        assert_eq!(states.next().await, Some(ConnectionState::Offline));
        standings.set(|standing| standing.is_refused = true);
        standings.set(|standing| standing.is_up = Some(true));
        assert_eq!(standings.state(), ConnectionState::Unauthorized);
        standings.set(|standing| standing.is_closed = true);
        assert!(states.reaches(ConnectionState::Closed).await);
        drop(standings);
        assert_eq!(states.next().await, None);
    }
}
