//! What somebody knows who reads all replies, notices and events, and nothing else.
//!
//! It draws no conclusion: what nobody has said, it does not know.

use std::collections::BTreeMap;

use tenure_engine::{Attach, Mode, Notice, Reply, SessionEnd, SessionId, SessionRef, WaitId, What};

use crate::history::owned::Owned;
use crate::history::{Recorded, Step};

/// A session, as far as is known.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) org: String,
    pub(crate) owner: String,
    pub(crate) attach: Attach,
    pub(crate) attached: bool,
    pub(crate) ended: Option<SessionEnd>,
}

/// A wait, as it was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) by: SessionId,
    pub(crate) org: String,
    pub(crate) owner: String,
    pub(crate) items: Vec<(String, Mode, Option<u32>)>,
    pub(crate) all: bool,
    pub(crate) ended: bool,
}

/// See the file's header.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    pub(crate) sessions: BTreeMap<SessionId, Known>,
    pub(crate) waits: BTreeMap<WaitId, Asked>,
}

impl Ledger {
    pub(crate) fn learn(&mut self, step: &Step, reply: &Reply, recorded: &Recorded) {
        if let (
            Owned::Open { org, owner, .. },
            Reply::Opened {
                session, attach, ..
            },
        ) = (&step.command, reply)
        {
            let (org, owner) = (org.clone(), owner.clone());
            let known = Known {
                org,
                owner,
                attach: *attach,
                attached: true,
                ended: None,
            };
            self.sessions.insert(*session, known);
        }
        if let (Owned::Resume { session, .. }, Reply::Resumed(resumed)) = (&step.command, reply) {
            let known = self
                .sessions
                .get_mut(session)
                .expect("only the known are resumed");
            (known.attach, known.attached) = (resumed.attach, true);
        }
        if let (Some(by), Reply::Queued { wait, .. }) = (step.command.by(), reply) {
            self.queued(by, *wait, &step.command);
        }
        // A start detaches everybody, and says nothing of it.
        if step.command == Owned::Started {
            for known in self
                .sessions
                .values_mut()
                .filter(|known| known.ended.is_none())
            {
                known.attached = false;
            }
        }
        for event in recorded.events() {
            match &event.what {
                What::SessionDetached { session, .. } => {
                    self.sessions
                        .get_mut(session)
                        .expect("it was opened")
                        .attached = false;
                }
                What::SessionEnded { session, why, .. } => {
                    let known = self.sessions.get_mut(session).expect("it was opened");
                    (known.attached, known.ended) = (false, Some(*why));
                }
                What::WaitEnded { wait, .. } => self.ended(*wait),
                What::Granted { .. }
                | What::Converted { .. }
                | What::Ended { .. }
                | What::Orphaned { .. }
                | What::Adopted { .. }
                | What::Queued { .. }
                | What::SessionOpened { .. }
                | What::SessionResumed { .. } => {}
            }
        }
        for (_, notice) in recorded.notices() {
            if let Notice::Granted { wait, .. } = notice {
                self.ended(*wait);
            }
        }
    }

    fn queued(&mut self, by: SessionRef, wait: WaitId, command: &Owned) {
        let known = &self.sessions[&by.session];
        let mut items = Vec::new();
        if let Owned::Acquire {
            path, mode, limit, ..
        } = command
        {
            items.push((path.clone(), *mode, *limit));
        }
        if let Owned::Convert { path, mode, .. } = command {
            items.push((path.clone(), *mode, None));
        }
        if let Owned::AcquireAll { items: all, .. } = command {
            items.extend(
                all.iter()
                    .map(|item| (item.path.clone(), item.mode, item.limit)),
            );
        }
        assert!(!items.is_empty(), "{command:?} is not queued");
        let (org, owner) = (known.org.clone(), known.owner.clone());
        let all = matches!(command, Owned::AcquireAll { .. });
        let asked = Asked {
            by: by.session,
            org,
            owner,
            items,
            all,
            ended: false,
        };
        self.waits.entry(wait).or_insert(asked);
    }

    fn ended(&mut self, wait: WaitId) {
        self.waits
            .get_mut(&wait)
            .expect("only what was queued ends")
            .ended = true;
    }

    pub(crate) fn current(&self, session: SessionId) -> Option<SessionRef> {
        let known = self.sessions.get(&session).filter(|known| known.attached)?;
        Some(SessionRef {
            session,
            attach: known.attach,
        })
    }
}
