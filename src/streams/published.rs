//! The ids of published events, for as long as the ring remembers the events themselves: a repeated one is not published
//! again, and is told where it was put at first.
//!
//! Must hold: an id is known exactly as long as its event is kept, so this can grow no larger than the ring.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;

/// See the file's header.
#[derive(Debug, Default)]
pub(super) struct Published {
    offsets: HashMap<Arc<str>, u64>,
    /// By offset, oldest first.
    in_order: VecDeque<(u64, Arc<str>)>,
}

impl Published {
    /// Where the event with this id was put.
    pub(super) fn offset_of(&self, id: &str) -> Option<u64> {
        self.offsets.get(id).copied()
    }

    /// An event with this id has been put at `offset`, which is above every one before.
    pub(super) fn remember(&mut self, id: &str, offset: u64) {
        let id = Arc::<str>::from(id);
        self.in_order.push_back((offset, Arc::clone(&id)));
        self.offsets.insert(id, offset);
    }

    /// Events before `oldest` are kept no longer.
    pub(super) fn forget_before(&mut self, oldest: u64) {
        if self.in_order.is_empty() {
            return;
        }
        while let Some((_, id)) = self.in_order.pop_front_if(|(offset, _)| *offset < oldest) {
            self.offsets.remove(&id);
        }
        if self.in_order.is_empty() {
            // A burst of ids takes room that quieter times need not keep.
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_is_known_as_long_as_its_event(
            steps in proptest::collection::vec((0..6_u8, 0..4_u64), 1..80),
        ) {
            let mut published = Published::default();
            let mut model = Vec::<(String, u64)>::new();
            let mut offset = 0;
            for (id, forgotten) in steps {
                let id = format!("id-{id}");
                offset += 1;
                let known = model.iter().find(|(known, _)| *known == id);
                prop_assert_eq!(published.offset_of(&id), known.map(|(_, offset)| *offset));
                if known.is_none() {
                    published.remember(&id, offset);
                    model.push((id, offset));
                }
                let oldest = offset.saturating_sub(forgotten);
                published.forget_before(oldest);
                model.retain(|(_, offset)| *offset >= oldest);
                prop_assert_eq!(published.in_order.len(), model.len());
                prop_assert_eq!(published.offsets.len(), model.len());
            }
        }
    }
}
