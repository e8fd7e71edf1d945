//! Tokens only rise, per path: a grant that excludes an earlier holder carries a higher token.
//!
//! Seen through the events: who joins others who hold the path carries their token, everybody else
//! one that the path has not seen.

use std::collections::{BTreeMap, BTreeSet};

use tenure_engine::{Mode, Token, What};

use super::Seen;

/// What has been seen of one path.
#[derive(Default)]
struct Path {
    highest: Option<Token>,
    holders: BTreeSet<String>,
}

#[derive(Default)]
pub(crate) struct Fencing(BTreeMap<(String, String), Path>);

impl Fencing {
    pub(crate) fn holds(&mut self, seen: &Seen<'_>) {
        for event in seen.recorded.events() {
            match &event.what {
                What::Granted {
                    path,
                    who,
                    mode,
                    token,
                    ..
                } => {
                    let of = self.of(&event.org, path);
                    if of.holders.is_empty() {
                        of.rise(*token);
                    } else {
                        assert_eq!(*mode, Mode::Shared, "{path}: nobody joins to be alone");
                        assert_eq!(of.highest, Some(*token), "{path}: a phase has one token");
                    }
                    assert!(
                        of.holders.insert(who.owner.to_string()),
                        "{path}: held afresh twice"
                    );
                }
                What::Converted {
                    path,
                    who,
                    mode,
                    token,
                } => {
                    let of = self.of(&event.org, path);
                    assert!(
                        of.holders.contains(&*who.owner),
                        "{path}: a holder converts"
                    );
                    match mode {
                        Mode::Exclusive => of.rise(*token),
                        Mode::Shared => assert_eq!(of.highest, Some(*token), "{path}: keeps it"),
                    }
                }
                What::Ended {
                    path, who, token, ..
                } => {
                    let of = self.of(&event.org, path);
                    assert!(of.holders.remove(&*who.owner), "{path}: a hold ends once");
                    assert_eq!(of.highest, Some(*token), "{path}: it had the current token");
                }
                What::Orphaned { .. }
                | What::Adopted { .. }
                | What::Queued { .. }
                | What::WaitEnded { .. }
                | What::SessionOpened { .. }
                | What::SessionDetached { .. }
                | What::SessionResumed { .. }
                | What::SessionEnded { .. } => {}
            }
        }
    }

    fn of(&mut self, org: &str, path: &str) -> &mut Path {
        self.0.entry((org.to_owned(), path.to_owned())).or_default()
    }
}

impl Path {
    fn rise(&mut self, token: Token) {
        assert!(
            self.highest < Some(token),
            "{token:?} after {:?}",
            self.highest
        );
        self.highest = Some(token);
    }
}
