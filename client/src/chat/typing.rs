//! That one types, said as seldom as will do: with the first key stroke, and while it goes on every few seconds.
//!
//! The table is pure, time being an argument; one task empties it. Rules: what could not be said in time is not said late; of
//! what is said nobody needs to know whether it arrived; all of it is one session's, which ends with the client.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::client::Shared;
use super::error::Result;
use super::link::Ask;
use super::types::ChatId;

/// How long a companion shows that somebody types.
const SHOWN: Duration = Duration::from_secs(6);

/// Whoever types on is said to so often.
const REFRESH: Duration = Duration::from_secs(3);

/// Chats in which one types at a time. More are not told.
const CHATS_MAX: usize = 1_000;

/// How long the end of the session may take.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// Who is shown that one types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audible {
    /// All who see the chat.
    ToAll,
    /// Members and higher: to guests it is viewing.
    ToMembers,
}

/// Where one types.
#[derive(Debug, Default)]
pub(super) struct TypingTable {
    chats: HashMap<ChatId, Typed>,
    /// The companion has asked not to be told before.
    not_before: Option<Instant>,
}

/// One types in a chat.
#[derive(Debug)]
struct Typed {
    wanted: Audible,
    at: Instant,
    told: Option<(Audible, Instant)>,
    waits: bool,
}

impl TypingTable {
    /// There was a key stroke. Whether the companion has to be told.
    pub(super) fn typed(&mut self, now: Instant, chat: ChatId, wanted: Audible) -> bool {
        if self.not_before.is_some_and(|at| now < at) {
            return false;
        }
        if self.chats.len() >= CHATS_MAX {
            self.chats.retain(|_, typed| now < typed.at + SHOWN);
        }
        if self.chats.len() >= CHATS_MAX && !self.chats.contains_key(&chat) {
            return false;
        }
        let typed = self.chats.entry(chat).or_insert(Typed {
            wanted,
            at: now,
            told: None,
            waits: false,
        });
        typed.wanted = wanted;
        typed.at = now;
        let is_known =
            |(what, at): (Audible, Instant)| what == wanted && now.duration_since(at) < REFRESH;
        typed.waits |= !typed.told.is_some_and(is_known);
        typed.waits
    }

    /// What is to be told next, as told; what has waited for too long is left out. Looks at each.
    fn next(&mut self, now: Instant) -> Option<(ChatId, Audible)> {
        let waiting = self.chats.iter_mut().filter(|(_, typed)| typed.waits);
        let (&chat, typed) = waiting
            .filter(|(_, typed)| now < typed.at + SHOWN)
            .min_by_key(|(_, typed)| typed.at)?;
        typed.waits = false;
        typed.told = Some((typed.wanted, now));
        Some((chat, typed.wanted))
    }

    /// One types no more there: the next key stroke is news.
    pub(super) fn over(&mut self, chat: ChatId) {
        self.chats.remove(&chat);
    }

    /// Nothing is told for so long.
    fn hold(&mut self, until: Instant) {
        self.not_before = Some(until);
    }
}

/// What the companion answers.
#[derive(Debug, Deserialize)]
struct Here {
    session: String,
}

/// Tells it for as long as the client is there, and then ends the session.
pub(super) async fn run(shared: Arc<Shared>) {
    tokio::select! {
        () = tell_all(&shared) => {}
        () = shared.link.shutdown.cancelled() => {}
    }
    if shared.link.has_session() {
        let leave = Ask {
            shows_session: true,
            ..Ask::new(Method::DELETE, "/v1/sessions".to_owned())
        };
        // Should it fail, the companion ends it when it has been idle for long.
        let _ = timeout(LEAVE_WITHIN, shared.link.ask(&leave)).await;
    }
}

async fn tell_all(shared: &Shared) {
    loop {
        let bell = shared.typed.notified();
        let next = shared.typing.lock().next(Instant::now());
        let Some((chat, wanted)) = next else {
            bell.await;
            continue;
        };
        if let Err(error) = tell(shared, chat, wanted).await {
            tracing::debug!(%chat, %error, "it could not be told that one types");
            if let Some(after) = error.retry_after() {
                shared.typing.lock().hold(Instant::now() + after);
            }
        }
    }
}

async fn tell(shared: &Shared, chat: ChatId, wanted: Audible) -> Result<()> {
    shared.link.reads.take()?;
    let body = json!({"internal": wanted == Audible::ToMembers});
    let ask = Ask {
        shows_session: true,
        ..Ask::json(Method::POST, format!("/v1/chats/{chat}/typing"), &body)?
    };
    let mut answer = shared.link.ask(&ask).await;
    if answer
        .as_ref()
        .is_ok_and(|answer| answer.status == StatusCode::GONE)
    {
        // It was idle for long, or the lock server has forgotten it: another is as good.
        shared.link.set_session(None);
        answer = shared.link.ask(&ask).await;
    }
    let here: Here = answer.map_err(super::link::Failure::of_write)?.read()?;
    shared.link.set_session(Some(&here.session));
    Ok(())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use Audible::{ToAll, ToMembers};

    const CHAT: ChatId = ChatId(Uuid::nil());
    const STROKE: Duration = Duration::from_millis(100);

    fn chat(number: u128) -> ChatId {
        ChatId(Uuid::from_u128(number))
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_told_when_it_is_news_and_then_now_and_then() {
        let mut table = TypingTable::default();
        let mut told = Vec::new();
        let began = Instant::now();
        for stroke in 0..100 {
            let now = began + STROKE * stroke;
            let wanted = if stroke < 50 { ToAll } else { ToMembers };
            assert_eq!(table.typed(now, CHAT, wanted), {
                let next = table.next(now);
                told.extend(next.map(|(_, wanted)| (stroke, wanted)));
                next.is_some()
            });
        }
        let expected = [(0, ToAll), (30, ToAll), (50, ToMembers), (80, ToMembers)];
        assert_eq!(told, expected);
        // What is over begins anew.
        let now = began + STROKE * 100;
        assert!(!table.typed(now, CHAT, ToMembers));
        table.over(CHAT);
        assert!(table.typed(now, CHAT, ToMembers));
    }

    #[tokio::test(start_paused = true)]
    async fn what_could_not_be_told_in_time_is_not_told_late() {
        let mut table = TypingTable::default();
        let began = Instant::now();
        assert!(table.typed(began, chat(1), ToAll));
        assert!(table.typed(began + REFRESH, chat(2), ToAll));
        assert!(table.typed(began + REFRESH + STROKE, chat(3), ToAll));
        table.over(chat(3));
        assert_eq!(table.next(began + SHOWN), Some((chat(2), ToAll)));
        assert_eq!(table.next(began + SHOWN), None);
        table.hold(began + 2 * SHOWN);
        assert!(!table.typed(began + SHOWN, chat(4), ToAll));
        assert!(table.typed(began + 2 * SHOWN, chat(4), ToAll));
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_only_so_many_chats() {
        let mut table = TypingTable::default();
        let began = Instant::now();
        for number in 0..2 * CHATS_MAX {
            let is_told = table.typed(began, chat(number as u128), ToAll);
            assert_eq!(is_told, number < CHATS_MAX);
        }
        assert!(table.typed(began + SHOWN, chat(u128::MAX), ToAll));
        assert_eq!(table.chats.len(), 1);
    }
}
