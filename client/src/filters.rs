//! The filters of one subscription, taken together: which paths are any of theirs.
//!
//! A connection may have thousands of filters and hear of many paths, so a path is looked up and not compared with each.
//! Rule: it judges as `tenure_protocol::Filter` does, one by one.

use std::collections::HashSet;

use tenure_protocol::{Filter, Scope};

use crate::convert;
use crate::error::Result;

/// Filters, each kept as it was spelled.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filters {
    texts: Vec<Box<str>>,
    all: bool,
    paths: HashSet<Box<str>>,
    /// Whatever is below one of these.
    below: HashSet<Box<str>>,
}

impl Filters {
    /// Looks at each, so that none has to be refused later.
    pub(crate) fn parse(texts: Vec<String>) -> Result<Self> {
        let mut filters = Self::default();
        for text in texts {
            let filter = Filter::parse(&text).map_err(|fault| convert::fault(&fault))?;
            match filter.scope() {
                Scope::All => filters.all = true,
                Scope::Path(path) => drop(filters.paths.insert(path.into())),
                Scope::Below(path) => drop(filters.below.insert(path.into())),
            }
            filters.texts.push(text.into());
        }
        Ok(filters)
    }

    /// As they go over the wire.
    pub(crate) fn to_wire(&self) -> Result<Vec<Filter<'_>>> {
        let parse = |text| Filter::parse(text).map_err(|fault| convert::fault(&fault));
        self.texts.iter().map(|text| parse(text)).collect()
    }

    pub(crate) fn texts(&self) -> &[Box<str>] {
        &self.texts
    }

    /// Whether one of them is for this path. Costs a look-up for each of its segments.
    pub(crate) fn matches(&self, path: &str) -> bool {
        let mut above = path.match_indices('/').map(|(at, _)| &path[..at]);
        self.all || self.paths.contains(path) || above.any(|above| self.below.contains(above))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All paths of up to three short segments.
    fn paths() -> Vec<String> {
        let mut paths = vec![String::new()];
        for _ in 0..3 {
            let longer = paths.iter().flat_map(|path| {
                ["a", "b", "ab"].map(|segment| match path.as_str() {
                    "" => segment.to_owned(),
                    path => format!("{path}/{segment}"),
                })
            });
            let mut longer: Vec<_> = longer.collect();
            paths.append(&mut longer);
            paths.sort();
            paths.dedup();
        }
        paths.retain(|path| !path.is_empty());
        paths
    }

    #[test]
    fn together_they_judge_as_one_by_one() {
        let paths = paths();
        let below = paths.iter().map(|path| format!("{path}/**"));
        let all: Vec<_> = below
            .chain(paths.iter().cloned())
            .chain(["**".to_owned()])
            .collect();
        for one in &all {
            for other in &all {
                let set = Filters::parse(vec![one.clone(), other.clone()]).expect("filters");
                let wire = set.to_wire().expect("filters");
                for path in &paths {
                    let expected = wire.iter().any(|filter| filter.matches(path));
                    assert_eq!(set.matches(path), expected, "{one} {other} {path}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        let error = Filters::parse(vec!["a".to_owned(), "a//b".to_owned()]);
        let error = error.expect_err("an empty segment");
        assert_eq!(error.kind(), crate::ErrorKind::BadRequest);
    }
}
