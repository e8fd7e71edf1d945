//! Who cares for which paths of an org: finds those to wake without a look at all of them.
//!
//! Knows listeners only as values with a number. Must hold: what an event costs grows with the segments of its paths and
//! with the listeners that it is for.

use hashbrown::HashMap;
use tenure_protocol::Filter;

use super::filter_map::FilterMap;

/// See the file's header. `L` is whoever listens.
#[derive(Debug)]
pub(super) struct Interest<L> {
    filters: FilterMap<HashMap<u64, L>>,
}

impl<L> Interest<L> {
    /// The listener with this number cares for what the filter matches. Again is the same as once.
    pub(super) fn add(&mut self, filter: Filter<'_>, number: u64, listener: L) {
        self.filters.entry(filter).insert(number, listener);
    }

    pub(super) fn remove(&mut self, filter: Filter<'_>, number: u64) {
        if let Some(listeners) = self.filters.get_mut(filter) {
            listeners.remove(&number);
            if listeners.is_empty() {
                self.filters.remove(filter);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// Those who care for the path. One may be met once for each of its filters.
    pub(super) fn in_path<'i>(&'i self, path: &'i str) -> impl Iterator<Item = &'i L> {
        self.filters.matching(path).flat_map(HashMap::values)
    }

    /// How many care for the path, each counted once.
    pub(super) fn count(&self, path: &str) -> usize {
        let mut found = self.filters.matching(path);
        let (Some(first), second) = (found.next(), found.next()) else {
            return 0;
        };
        let Some(second) = second else {
            return first.len();
        };
        let rest = found.flat_map(HashMap::keys);
        let mut numbers: Vec<_> = first.keys().chain(second.keys()).chain(rest).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.len()
    }
}

impl<L> Default for Interest<L> {
    fn default() -> Self {
        Self {
            filters: FilterMap::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const FILTERS: [&str; 7] = ["**", "a", "a/**", "a/b", "a/b/**", "b/**", "b/c"];
    const PATHS: [&str; 7] = ["a", "a/b", "a/b/c", "b", "b/c", "ab", "c/a/b"];

    proptest! {
        #[test]
        fn exactly_those_who_care_are_found(
            changes in proptest::collection::vec((0..FILTERS.len(), 0..4_u64, any::<bool>()), 0..60),
        ) {
            let mut interest = Interest::<u64>::default();
            let mut model = BTreeSet::new();
            for (filter, number, is_added) in changes {
                let text = FILTERS[filter];
                if is_added {
                    interest.add(Filter::parse(text).unwrap(), number, number);
                    model.insert((text, number));
                } else {
                    interest.remove(Filter::parse(text).unwrap(), number);
                    model.remove(&(text, number));
                }
            }
            for path in PATHS {
                let found: BTreeSet<_> = interest.in_path(path).copied().collect();
                let matching = model.iter().filter(|(text, _)| Filter::parse(text).unwrap().matches(path));
                let expected: BTreeSet<_> = matching.map(|(_, number)| *number).collect();
                prop_assert_eq!(interest.count(path), expected.len());
                prop_assert_eq!(found, expected);
            }
            for (text, number) in model {
                interest.remove(Filter::parse(text).unwrap(), number);
            }
            prop_assert!(interest.is_empty(), "an empty filter is kept");
        }
    }
}
