//! One holder: a path has at most one exclusive owner, or shared owners up to the limit, never both.
//!
//! Seen through the list and the status of every path after every entry. All holds of a path carry
//! one token.

use tenure_engine::Mode;

use super::{Seen, locks};

pub(crate) fn holds(seen: &Seen<'_>) {
    for lock in locks() {
        let (holds, truth) = (&seen.after.holds[&lock], &seen.after.truths[&lock]);
        assert_eq!(
            truth.holder_count as usize,
            holds.len(),
            "{lock:?}: list and status agree"
        );
        let Some(first) = holds.first() else { continue };
        assert_eq!(
            (truth.mode, truth.token),
            (Some(first.mode), Some(first.token)),
            "{lock:?}"
        );
        for hold in holds {
            assert_eq!(
                (hold.mode, hold.token),
                (first.mode, first.token),
                "{lock:?}: one phase"
            );
        }
        let mut owners: Vec<&str> = holds.iter().map(|hold| &*hold.holder.owner).collect();
        owners.sort_unstable();
        owners.dedup();
        assert_eq!(
            owners.len(),
            holds.len(),
            "{lock:?}: one hold for each owner"
        );
        match first.mode {
            Mode::Exclusive => assert_eq!(holds.len(), 1, "{lock:?}: alone is alone"),
            Mode::Shared => {
                let limit = truth.limit.map_or(usize::MAX, |limit| limit as usize);
                assert!(
                    holds.len() <= limit,
                    "{lock:?}: {} holders of {limit}",
                    holds.len()
                );
            }
        }
    }
}
