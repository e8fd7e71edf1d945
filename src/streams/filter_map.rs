//! Values by the filter that they belong to, found by a path.
//!
//! Knows neither who cares nor why. Must hold: a path finds exactly the values whose filter matches it, as
//! [`Filter::matches`] has it, at a cost that grows with the segments of the path and not with the filters there are.

use std::sync::Arc;

use hashbrown::HashMap;
use tenure_protocol::{Filter, Scope};

/// See the file's header.
#[derive(Debug)]
pub(super) struct FilterMap<V> {
    all: Option<V>,
    /// By the path that is meant.
    paths: HashMap<String, V>,
    /// By the path below which all is meant.
    below: HashMap<String, V>,
}

impl<V> FilterMap<V> {
    /// The value of a filter, made if there is none.
    pub(super) fn entry(&mut self, filter: Filter<'_>) -> &mut V
    where
        V: Default,
    {
        match filter.scope() {
            Scope::All => self.all.get_or_insert_default(),
            Scope::Path(path) => self.paths.entry_ref(path).or_default(),
            Scope::Below(path) => self.below.entry_ref(path).or_default(),
        }
    }

    pub(super) fn get_mut(&mut self, filter: Filter<'_>) -> Option<&mut V> {
        match filter.scope() {
            Scope::All => self.all.as_mut(),
            Scope::Path(path) => self.paths.get_mut(path),
            Scope::Below(path) => self.below.get_mut(path),
        }
    }

    pub(super) fn remove(&mut self, filter: Filter<'_>) {
        match filter.scope() {
            Scope::All => self.all = None,
            Scope::Path(path) => drop(self.paths.remove(path)),
            Scope::Below(path) => drop(self.below.remove(path)),
        }
    }

    /// How the filter is spelled that there is a value of, if it is the only one.
    pub(super) fn only(&self) -> Option<Arc<str>> {
        let count = usize::from(self.all.is_some()) + self.paths.len() + self.below.len();
        if count != 1 {
            return None;
        }
        let all = self.all.iter().map(|_| Arc::from(Filter::ALL.as_str()));
        let paths = self.paths.keys().map(|path| Arc::from(path.as_str()));
        let below = self.below.keys();
        let below = below.map(|path| Arc::from(format!("{path}/**")));
        all.chain(paths).chain(below).next()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_none() && self.paths.is_empty() && self.below.is_empty()
    }

    /// All of them, in no order.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        let named = self.paths.values_mut().chain(self.below.values_mut());
        self.all.iter_mut().chain(named)
    }

    /// The values of the filters that match a path.
    pub(super) fn matching<'m>(&'m self, path: &'m str) -> impl Iterator<Item = &'m V> {
        let above = if self.below.is_empty() { "" } else { path };
        let above = above.match_indices('/').map(|(end, _)| &path[..end]);
        let below = above.filter_map(|above| self.below.get(above));
        self.all.iter().chain(self.paths.get(path)).chain(below)
    }
}

impl<V> Default for FilterMap<V> {
    fn default() -> Self {
        Self {
            all: None,
            paths: HashMap::new(),
            below: HashMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path() -> impl Strategy<Value = String> {
        proptest::collection::vec("[ab]{1,2}", 1..4).prop_map(|segments| segments.join("/"))
    }

    fn filter() -> impl Strategy<Value = String> {
        prop_oneof![
            1 => Just(String::from("**")),
            4 => path(),
            4 => path().prop_map(|path| path + "/**"),
        ]
    }

    proptest! {
        #[test]
        fn a_path_finds_what_its_filters_say(
            changes in proptest::collection::vec((filter(), any::<bool>()), 0..40),
            paths in proptest::collection::vec(path(), 1..20),
        ) {
            let mut map = FilterMap::<String>::default();
            let mut model = Vec::<String>::new();
            for (text, is_added) in changes {
                let filter = Filter::parse(&text).unwrap();
                model.retain(|known| *known != text);
                if is_added {
                    map.entry(filter).clone_from(&text);
                    model.push(text);
                } else {
                    map.remove(filter);
                    prop_assert!(map.get_mut(filter).is_none());
                }
            }
            for path in paths {
                let mut found: Vec<_> = map.matching(&path).cloned().collect();
                let matches = |text: &&String| Filter::parse(text).unwrap().matches(&path);
                let mut expected: Vec<_> = model.iter().filter(matches).cloned().collect();
                found.sort();
                expected.sort();
                prop_assert_eq!(found, expected);
            }
            let mut all: Vec<_> = map.values_mut().map(|text| text.clone()).collect();
            all.sort();
            model.sort();
            prop_assert_eq!(map.is_empty(), model.is_empty());
            let (found, expected) = (map.only(), model.first().filter(|_| model.len() == 1));
            prop_assert_eq!(found.as_deref(), expected.map(String::as_str));
            prop_assert_eq!(all, model);
        }
    }
}
