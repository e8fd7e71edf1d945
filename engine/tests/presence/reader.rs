//! Whoever listens: reads a list page by page while things happen, and applies what it is told from there on.
//! The oracle of presence: at the end it has to know what a fresh list says.

use std::collections::BTreeMap;

use tenure_engine::presence::{Audience, Counts, List, Presence, Within};

use super::recorded::{Changed, Listed, Row};
use super::run::whole_list;

/// See the file's header.
#[derive(Debug)]
pub(crate) struct Reader {
    org: &'static str,
    within: Within<'static>,
    audience: Audience,
    page: u32,
    /// Where each page ended, and at which version it was true.
    pages: Vec<(Option<String>, u64)>,
    paths: BTreeMap<String, Path>,
}

#[derive(Debug, Clone, PartialEq)]
struct Path {
    total: u32,
    counts: Counts,
    viewers: BTreeMap<String, Row>,
}

impl Reader {
    pub(crate) fn new(
        org: &'static str,
        within: Within<'static>,
        audience: Audience,
        page: u32,
    ) -> Self {
        Self {
            org,
            within,
            audience,
            page,
            pages: Vec::new(),
            paths: BTreeMap::new(),
        }
    }

    /// Reads the next page, if there is one.
    pub(crate) fn read(&mut self, presence: &Presence) -> bool {
        let after = match self.pages.last() {
            None => None,
            Some((None, _)) => return false,
            Some((Some(end), _)) => Some(end.clone()),
        };
        let page = presence.list(&List {
            org: self.org,
            within: self.within,
            audience: self.audience,
            after: after.as_deref(),
            page: self.page,
        });
        for listed in &page.paths {
            let listed = Listed::from(listed);
            let known = self.paths.insert(listed.path.clone(), path(listed));
            assert!(known.is_none(), "a path is listed once");
        }
        self.pages
            .push((page.next.map(str::to_owned), page.version));
        true
    }

    fn is_wanted(&self, path: &str) -> bool {
        match self.within {
            Within::Path(wanted) => path == wanted,
            Within::Below(above) => path.starts_with(&format!("{above}/")),
            Within::All => true,
        }
    }

    pub(crate) fn hear(&mut self, changed: &Changed) {
        if changed.org != self.org || !self.is_wanted(&changed.path) {
            return;
        }
        let mut pages = self.pages.iter();
        let has_read = |end: &Option<String>| end.as_ref().is_none_or(|end| *end >= changed.path);
        let Some((_, version)) = pages.find(|(end, _)| has_read(end)) else {
            return;
        };
        assert!(changed.version > *version, "a change comes above the page");
        let told = match self.audience {
            Audience::Insiders => Some(&changed.insiders),
            Audience::Everyone => changed.observers.as_ref(),
        };
        let Some((counts, up)) = told else {
            return;
        };
        let nobody = Path {
            total: 0,
            counts: Counts::default(),
            viewers: BTreeMap::new(),
        };
        let path = self.paths.entry(changed.path.clone()).or_insert(nobody);
        (path.total, path.counts) = (changed.total, *counts);
        for owner in &changed.gone {
            path.viewers.remove(owner);
        }
        for row in up {
            path.viewers.insert(row.owner.clone(), row.clone());
        }
        if changed.total == 0 {
            self.paths.remove(&changed.path);
        }
    }

    /// All having been told, it knows what there is.
    pub(crate) fn knows_all(&mut self, presence: &Presence) {
        while self.read(presence) {}
        let fresh = whole_list(presence, self.org, self.within, self.audience);
        let fresh = fresh
            .into_iter()
            .map(|listed| (listed.path.clone(), path(listed)));
        assert_eq!(self.paths, fresh.collect(), "{self:?}");
    }
}

fn path(listed: Listed) -> Path {
    let viewers = listed.viewers.into_iter();
    Path {
        total: listed.total,
        counts: listed.counts,
        viewers: viewers.map(|row| (row.owner.clone(), row)).collect(),
    }
}
