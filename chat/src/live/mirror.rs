//! Who holds which chat of an organisation, and who is in it, kept up to date by what happens: so that a list of chats asks
//! nobody.
//!
//! Pure: it is told the state and what changes it. It may be some milliseconds behind the lock server, which is asked itself
//! wherever that matters.

use std::collections::HashMap;

use serde::Serialize;
use tenure_client::{
    Event, Happened, ListedHold, PathViewers, StateOf, StreamEvent, ViewersChange,
};
use utoipa::ToSchema;

use crate::locks::{ViewersView, at, chat_at};
use crate::store::{ChatId, UnixMs};

/// Who holds a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ChatLock {
    /// The person.
    pub(crate) person: String,
    /// How others see them.
    pub(crate) name: String,
    /// Since when.
    pub(crate) since: UnixMs,
    /// The fencing token.
    pub(crate) token: u64,
    /// Whether none of their browsers is connected.
    pub(crate) orphaned: bool,
}

/// See the file's header.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    holders: HashMap<ChatId, Vec<ChatLock>>,
    viewers: HashMap<ChatId, PathViewers>,
}

/// Who is in a chat has changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ViewersChanged {
    pub(super) chat: ChatId,
    pub(super) before: ViewersView,
    pub(super) after: ViewersView,
}

impl Mirror {
    /// Who holds the chat, longest first.
    pub(super) fn lock(&self, chat: ChatId) -> Option<&ChatLock> {
        self.holders.get(&chat)?.first()
    }

    /// Who is in the chat.
    pub(super) fn viewers(&self, chat: ChatId) -> ViewersView {
        self.viewers
            .get(&chat)
            .map(ViewersView::from)
            .unwrap_or_default()
    }

    /// Takes in what a subscription with state tells.
    pub(super) fn take(&mut self, told: &StreamEvent) -> Option<ViewersChanged> {
        match told {
            StreamEvent::StateBegins(StateOf::Holds) => self.holders.clear(),
            StreamEvent::StateBegins(StateOf::Viewers) => self.viewers.clear(),
            StreamEvent::Holds(holds) => holds.iter().for_each(|hold| self.hold(hold)),
            StreamEvent::Viewers(paths) => {
                for viewers in paths {
                    if let Some(chat) = chat_at(&viewers.path) {
                        self.viewers.insert(chat, viewers.clone());
                    }
                }
            }
            StreamEvent::Happened(happened) => self.happened(happened),
            StreamEvent::ViewersChanged(change) => return self.changed(change),
            StreamEvent::StateBegins(_)
            | StreamEvent::StateWhole(_)
            | StreamEvent::Recovered { .. }
            | StreamEvent::Lost { .. }
            | StreamEvent::ViewersLost
            | StreamEvent::Ended { .. }
            | _ => {}
        }
        None
    }

    fn hold(&mut self, hold: &ListedHold) {
        let Some(chat) = chat_at(&hold.path) else {
            return;
        };
        self.holders.entry(chat).or_default().push(ChatLock {
            person: hold.holder.owner.clone(),
            name: hold.holder.display_name().to_owned(),
            since: at(hold.holder.since),
            token: hold.token,
            orphaned: hold.holder.orphaned,
        });
    }

    fn happened(&mut self, happened: &Happened) {
        let Some(chat) = happened
            .event
            .paths()
            .first()
            .and_then(|path| chat_at(path))
        else {
            return;
        };
        let holders = self.holders.entry(chat).or_default();
        match &happened.event {
            Event::LockGranted { who, token, .. } => {
                holders.retain(|holder| holder.person != who.owner);
                holders.push(ChatLock {
                    person: who.owner.clone(),
                    name: who.to_string(),
                    since: at(happened.at),
                    token: *token,
                    orphaned: false,
                });
            }
            Event::LockConverted { who, token, .. } => {
                let theirs = holders.iter_mut().find(|holder| holder.person == who.owner);
                if let Some(holder) = theirs {
                    holder.token = *token;
                }
            }
            Event::LockEnded { who, .. } => holders.retain(|holder| holder.person != who.owner),
            Event::LockOrphaned { who, .. } => orphaned(holders, &who.owner, true),
            Event::LockAdopted { who, .. } => orphaned(holders, &who.owner, false),
            Event::LockQueued { .. }
            | Event::LockWaitEnded { .. }
            | Event::Published { .. }
            | _ => {}
        }
        if holders.is_empty() {
            self.holders.remove(&chat);
        }
    }

    fn changed(&mut self, change: &ViewersChange) -> Option<ViewersChanged> {
        let chat = chat_at(&change.path)?;
        let before = self.viewers(chat);
        let place = self
            .viewers
            .entry(chat)
            .or_insert_with(|| PathViewers::nobody_at(&change.path));
        change.apply(place);
        let after = ViewersView::from(&*place);
        if place.total == 0 {
            self.viewers.remove(&chat);
        }
        Some(ViewersChanged {
            chat,
            before,
            after,
        })
    }
}

fn orphaned(holders: &mut [ChatLock], person: &str, orphaned: bool) {
    for holder in holders.iter_mut().filter(|holder| holder.person == person) {
        holder.orphaned = orphaned;
    }
}
