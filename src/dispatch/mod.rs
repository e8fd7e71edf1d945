//! The translator: requests of the wire into commands and queries of the engine, and its answers and notices back.
//!
//! The only place that knows both vocabularies, since each changes at its own speed. Decides nothing about locks: what it
//! refuses, it refuses because of who asks (role, org) or of what the connection has not (the session).

pub(crate) mod attached;
pub(crate) mod audit;
pub(crate) mod events;
pub(crate) mod notices;
pub(crate) mod presence;
pub(crate) mod replies;
pub(crate) mod requests;
pub(crate) mod streams;
pub(crate) mod terms;

use tenure_engine::{AcquireAll, Command, Item as LockItem, Millis, Query, SessionRef};
use tenure_protocol::{RequestKind, ResumeKey};

use self::audit::AuditWork;
use self::presence::PresenceWork;
use self::streams::StreamWork;
use crate::homes::ShardIndex;

/// One request, ready for its shard.
#[derive(Debug)]
pub(crate) struct Item<'a> {
    pub(crate) shard: ShardIndex,
    /// The request's, for the answer.
    pub(crate) id: u64,
    pub(crate) kind: RequestKind,
    pub(crate) work: Work<'a>,
    /// The secret of a session that is being opened, for the answer.
    pub(crate) resume_key: Option<ResumeKey>,
}

/// What a shard has to do.
#[derive(Debug)]
pub(crate) enum Work<'a> {
    Command(Command<'a>),
    Query(Query<'a>),
    AcquireAll(Box<All<'a>>),
    Stream(Box<StreamWork<'a>>),
    Presence(PresenceWork<'a>),
    Audit(AuditWork<'a>),
}

/// An acquire of several, with the items that its command borrows.
#[derive(Debug)]
pub(crate) struct All<'a> {
    pub(crate) by: SessionRef,
    pub(crate) items: Vec<LockItem<'a>>,
    pub(crate) ttl: Option<Millis>,
    pub(crate) wait: Millis,
    pub(crate) metadata: &'a [u8],
}

impl All<'_> {
    pub(crate) fn command(&self) -> Command<'_> {
        Command::AcquireAll(AcquireAll {
            by: self.by,
            items: &self.items,
            ttl: self.ttl,
            wait: self.wait,
            metadata: self.metadata,
        })
    }
}

impl Work<'_> {
    /// The path whose exact truth is read.
    pub(crate) fn reads_path(&self) -> Option<(&str, &str)> {
        match self {
            Work::Query(Query::Status { org, path } | Query::Check { org, path, .. }) => {
                Some((org, path))
            }
            Work::Query(_)
            | Work::Command(_)
            | Work::AcquireAll(_)
            | Work::Stream(_)
            | Work::Presence(_)
            | Work::Audit(_) => None,
        }
    }
}
