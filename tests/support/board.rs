//! What somebody knows of an org who takes in what a subscription with state tells: who holds what, and who is where.
//!
//! The oracle of those tests is Zulip's: it equals what is read anew, whatever has happened meanwhile.

use std::collections::BTreeMap;

use tenure_client::{Client, Event, ListedHold, Mode, PathViewers, StateOf, StreamEvent};

/// Who holds what, and who is where.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Board {
    /// The mode and the token, by path and owner.
    pub(crate) holds: BTreeMap<(String, String), (Mode, u64)>,
    /// By path.
    pub(crate) viewers: BTreeMap<String, PathViewers>,
}

impl Board {
    pub(crate) fn take_in(&mut self, event: StreamEvent) {
        match event {
            StreamEvent::StateBegins(StateOf::Holds) => self.holds.clear(),
            StreamEvent::StateBegins(StateOf::Viewers) => self.viewers.clear(),
            StreamEvent::Holds(holds) => {
                self.holds.extend(holds.into_iter().map(held));
            }
            StreamEvent::Viewers(paths) => {
                let by_path = paths.into_iter().map(|of| (of.path.clone(), of));
                self.viewers.extend(by_path);
            }
            StreamEvent::Happened(happened) => self.change(&happened.event),
            StreamEvent::ViewersChanged(change) => {
                let of = self.viewers.entry(change.path.clone());
                let of = of.or_insert_with(|| PathViewers::nobody_at(&*change.path));
                change.apply(of);
                if change.total == 0 {
                    self.viewers.remove(&change.path);
                }
            }
            StreamEvent::StateWhole(_)
            | StreamEvent::Recovered { .. }
            | StreamEvent::Lost { .. }
            | StreamEvent::ViewersLost => {}
            other => panic!("nothing else is told: {other:?}"),
        }
    }

    fn change(&mut self, event: &Event) {
        match event {
            Event::LockGranted {
                path,
                who,
                mode,
                token,
                ..
            }
            | Event::LockConverted {
                path,
                who,
                mode,
                token,
            } => {
                let at = (path.clone(), who.owner.clone());
                self.holds.insert(at, (*mode, *token));
            }
            Event::LockEnded { who, loss, .. } => {
                self.holds.remove(&(loss.path.clone(), who.owner.clone()));
            }
            _ => {}
        }
    }

    /// What lists say.
    pub(crate) async fn listed(client: &Client, org: &str) -> Self {
        let holds = client.list(org).all().await.unwrap();
        let viewers = client.viewers(org, "**").all().await.unwrap();
        Self {
            holds: holds.into_iter().map(held).collect(),
            viewers: viewers
                .into_iter()
                .map(|of| (of.path.clone(), of))
                .collect(),
        }
    }
}

fn held(hold: ListedHold) -> ((String, String), (Mode, u64)) {
    ((hold.path, hold.holder.owner), (hold.mode, hold.token))
}
