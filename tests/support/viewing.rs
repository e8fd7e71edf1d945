//! Presence as the document has it: what people say of where they are, and what whoever watches knows of them.
//!
//! Knows only what was heard, in order. Rule: a page is true at its version, and changes above it are applied to it.

use std::collections::BTreeMap;

use tenure_protocol::{
    Activity, CollisionLevel, Counts, Filter, FromServer, PathViewers, Push, Reply, Request,
    Viewer, push, reply, request,
};

use super::{Client, PATIENCE, within};

/// Somebody who looks, and says nothing of itself.
pub(crate) const fn entering(session: u64, path: &str) -> request::Enter<'_> {
    request::Enter {
        session,
        path,
        activity: Activity::Viewing,
        internal: false,
        metadata: b"",
    }
}

/// Who is where, as a connection knows it.
#[derive(Debug)]
pub(crate) struct Watching {
    org: String,
    filter: String,
    /// Where each page ended, and the version that it was true at.
    pages: Vec<(Option<String>, u64)>,
    pub(crate) paths: BTreeMap<String, AtPath>,
    /// Changes that were for this.
    pub(crate) changes: usize,
    /// Of what the client has heard, what was looked at.
    seen: usize,
}

/// Who is at one path.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AtPath {
    pub(crate) total: u32,
    pub(crate) counts: Counts,
    pub(crate) viewers: BTreeMap<String, Viewer<'static>>,
}

impl From<&PathViewers<'static>> for AtPath {
    fn from(path: &PathViewers<'static>) -> Self {
        let viewers = path.viewers.iter();
        Self {
            total: path.total,
            counts: path.counts,
            viewers: viewers
                .map(|viewer| (viewer.owner.to_owned(), *viewer))
                .collect(),
        }
    }
}

impl Watching {
    /// What somebody is seen doing, if they are seen.
    pub(crate) fn does(&self, path: &str, owner: &str) -> Option<Activity> {
        let viewer = self.paths.get(path)?.viewers.get(owner)?;
        Some(viewer.activity)
    }

    /// The version that its first page was true at.
    pub(crate) fn since(&self) -> u64 {
        self.pages[0].1
    }

    /// Takes what the client has heard since the last time.
    pub(crate) fn catch_up(&mut self, client: &Client) {
        for heard in &client.heard()[self.seen..] {
            match heard {
                FromServer::Push(Push::PresenceChanged(changed)) if changed.org == self.org => {
                    apply(changed, &self.filter, &self.pages, &mut self.paths);
                    self.changes += 1;
                }
                FromServer::Push(Push::PresenceGap(gap)) => panic!("too slow: {gap:?}"),
                _ => {}
            }
        }
        self.seen = client.heard().len();
    }

    /// Hears until it knows something, for so long at most.
    pub(crate) async fn until(
        &mut self,
        client: &mut Client,
        what: &str,
        mut knows: impl FnMut(&Self) -> bool,
    ) {
        within(2 * PATIENCE, what, async {
            self.catch_up(client);
            while !knows(self) {
                assert!(client.hear().await, "the connection has ended");
                self.catch_up(client);
            }
        })
        .await;
    }
}

fn apply(
    changed: &push::ViewersChanged<'static>,
    filter: &str,
    pages: &[(Option<String>, u64)],
    paths: &mut BTreeMap<String, AtPath>,
) {
    if !Filter::parse(filter).unwrap().matches(changed.path) {
        return;
    }
    let has = |end: &Option<String>| end.as_deref().is_none_or(|end| end >= changed.path);
    let page = pages.iter().find(|(end, _)| has(end));
    if page.is_none_or(|(_, version)| changed.version <= *version) {
        return;
    }
    if changed.total == 0 {
        paths.remove(changed.path);
        return;
    }
    let path = paths
        .entry(changed.path.to_owned())
        .or_insert_with(|| AtPath {
            total: 0,
            counts: changed.counts,
            viewers: BTreeMap::new(),
        });
    (path.total, path.counts) = (changed.total, changed.counts);
    for owner in &changed.gone {
        path.viewers.remove(*owner);
    }
    for viewer in &changed.up {
        path.viewers.insert(viewer.owner.to_owned(), *viewer);
    }
}

impl Client {
    /// Subscribes to changes, then reads all pages, of so many viewers each.
    pub(crate) async fn watch(&mut self, org: &str, filter: &str, page: u32) -> Watching {
        let seen = self.heard().len();
        let subscribe = request::Subscribe {
            org,
            filters: vec![Filter::parse(filter).unwrap()],
            since: None,
            presence: true,
        };
        let reply = self.ask(Request::StreamSubscribe(subscribe)).await;
        let Reply::StreamSubscribe(reply::Subscribed { version, .. }) = reply else {
            panic!("the answer to another request: {reply:?}");
        };
        assert!(version.is_some(), "changes go on from a version");
        let mut watching = Watching {
            org: org.to_owned(),
            filter: filter.to_owned(),
            pages: Vec::new(),
            paths: BTreeMap::new(),
            changes: 0,
            seen,
        };
        let mut cursor = None::<String>;
        loop {
            let page = self.viewers(org, filter, cursor.as_deref(), page).await;
            watching.catch_up(self);
            for path in &page.paths {
                watching.paths.insert(path.path.to_owned(), path.into());
            }
            cursor = page.next.map(str::to_owned);
            watching.pages.push((cursor.clone(), page.version));
            if cursor.is_none() {
                return watching;
            }
        }
    }

    /// One page of who is where.
    pub(crate) async fn viewers(
        &mut self,
        org: &str,
        filter: &str,
        cursor: Option<&str>,
        page: u32,
    ) -> reply::Viewers<'static> {
        let list = request::ListViewers {
            org,
            filter: Filter::parse(filter).unwrap(),
            cursor,
            page,
        };
        let reply = self.ask(Request::PresenceList(list)).await;
        let Reply::PresenceList(page) = reply else {
            panic!("the answer to another request: {reply:?}");
        };
        page
    }

    /// All of who is where.
    pub(crate) async fn all_viewers(
        &mut self,
        org: &str,
        filter: &str,
    ) -> BTreeMap<String, AtPath> {
        let (mut all, mut cursor) = (BTreeMap::new(), None::<String>);
        loop {
            let page = self.viewers(org, filter, cursor.as_deref(), 256).await;
            let paths = page.paths.iter();
            all.extend(paths.map(|path| (path.path.to_owned(), path.into())));
            match page.next {
                Some(next) => cursor = Some(next.to_owned()),
                None => return all,
            }
        }
    }

    pub(crate) async fn enter(&mut self, session: u64, path: &str) -> reply::Entered {
        self.enter_with(entering(session, path)).await
    }

    pub(crate) async fn enter_with(&mut self, enter: request::Enter<'_>) -> reply::Entered {
        let reply = self.ask(Request::PresenceEnter(enter)).await;
        let Reply::PresenceEnter(entered) = reply else {
            panic!("the answer to another request: {reply:?}");
        };
        entered
    }

    pub(crate) async fn does(
        &mut self,
        session: u64,
        path: &str,
        activity: Activity,
    ) -> CollisionLevel {
        let update = request::Update {
            session,
            path,
            activity,
            internal: false,
        };
        self.update(update).await
    }

    pub(crate) async fn update(&mut self, update: request::Update<'_>) -> CollisionLevel {
        let reply = self.ask(Request::PresenceUpdate(update)).await;
        let Reply::PresenceUpdate(updated) = reply else {
            panic!("the answer to another request: {reply:?}");
        };
        updated.collision
    }

    /// Leaves, and tells whether it was the last of its owner's.
    pub(crate) async fn leave(&mut self, session: u64, path: &str) -> bool {
        let leave = request::Leave { session, path };
        let reply = self.ask(Request::PresenceLeave(leave)).await;
        let Reply::PresenceLeave(left) = reply else {
            panic!("the answer to another request: {reply:?}");
        };
        left.last
    }

    pub(crate) async fn presence(&mut self, org: &str) -> reply::PresenceStats {
        let stats = request::PresenceStats { org };
        let reply = self.ask(Request::PresenceStats(stats)).await;
        let Reply::PresenceStats(stats) = reply else {
            panic!("the answer to another request: {reply:?}");
        };
        stats
    }

    /// The next that a session is told of how near others come, and who they are.
    pub(crate) async fn collision(&mut self, session: u64) -> (CollisionLevel, Vec<String>) {
        self.push("a collision", |push| {
            let Push::PresenceCollision(collision) = push else {
                return None;
            };
            let by = collision.by.iter().map(|who| who.owner.to_owned());
            (collision.session == session).then(|| (collision.level, by.collect()))
        })
        .await
    }
}
