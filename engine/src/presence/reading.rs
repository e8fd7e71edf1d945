//! Answering what is asked, and changing nothing by it.
//! Must hold: a page, with the changes above its version applied, is what a later page would be; it costs a bounded step.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;

use super::command::Audience;
use super::gathering::Gathering;
use super::keys::GatheringKey;
use super::machine::{Org, Presence};
use super::query::{List, Page, PathViewers, Stats, Within};
use crate::limits::{PAGE_MAX, SCAN_MAX};

impl Presence {
    /// Who is at some paths of an org. Costs a look at each path of the page, and at each viewer listed there.
    #[must_use]
    pub fn list<'a>(&'a self, list: &List<'_>) -> Page<'a> {
        let mut page = Page {
            version: self.version(list.org),
            paths: Vec::new(),
            next: None,
        };
        let Some(org) = self.org_named(list.org) else {
            return page;
        };
        let most = (list.page as usize).clamp(1, PAGE_MAX);
        let (mut viewers, mut looked_at, mut last) = (0, 0, None);
        for (path, gathering) in org.within(list.within, list.after) {
            if viewers >= most || looked_at >= SCAN_MAX {
                page.next = last;
                break;
            }
            let gathering = self.gathering(gathering);
            if gathering.total() > 0 {
                let listed = self.path_viewers(gathering, list.audience);
                viewers += listed.viewers.len().max(1);
                page.paths.push(listed);
            }
            looked_at += 1;
            last = Some(path);
        }
        page
    }

    /// How many are where in an org. Costs one look-up.
    #[must_use]
    pub fn stats(&self, org: &str, audience: Audience) -> Stats {
        let Some(org) = self.org_named(org) else {
            return Stats::default();
        };
        let counts = *org.counts.by(audience);
        Stats {
            paths: org.occupied,
            viewers: counts.total(),
            sittings: org.sittings,
            counts,
        }
    }

    fn path_viewers<'a>(&'a self, gathering: &'a Gathering, audience: Audience) -> PathViewers<'a> {
        let listed = gathering.listed();
        let listed = listed.map(|viewer| {
            let viewer = &self.viewers[viewer.place()];
            viewer.viewed(&self.sittings, audience)
        });
        PathViewers {
            path: &gathering.path,
            total: gathering.total(),
            counts: *gathering.counts.by(audience),
            viewers: listed.collect(),
        }
    }
}

impl Org {
    /// Paths in order, from the first that is wanted and lies beyond `after`.
    fn within<'a>(
        &'a self,
        within: Within<'_>,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&'a str, GatheringKey)> {
        let (beginning, is_whole) = match within {
            Within::Path(path) => (String::from(path), true),
            Within::Below(path) => (beginning_below(path), false),
            Within::All => (String::new(), false),
        };
        let start = match after {
            Some(after) if after >= &*beginning => Bound::Excluded(after),
            _ => Bound::Included(&*beginning),
        };
        let paths: &'a BTreeMap<Arc<str>, GatheringKey> = &self.paths;
        let found = paths.range::<str, _>((start, Bound::Unbounded));
        let wanted = found.take_while(move |(path, _)| {
            path.starts_with(&*beginning) && (!is_whole || path.len() == beginning.len())
        });
        wanted.map(|(path, gathering)| (&**path, *gathering))
    }
}

/// How the paths below a path begin.
fn beginning_below(path: &str) -> String {
    let mut beginning = String::with_capacity(path.len() + 1);
    beginning.push_str(path);
    beginning.push('/');
    beginning
}
