//! Requests about the audit trail, as work for a shard, and its answers. The trail follows from history and is no part of
//! the engine's state, so the engine is not asked.

use bytes::BytesMut;
use tenure_engine::WallTime;
use tenure_protocol::{ActKind, AuditedAct, Reply, reply, request};

use super::terms::layer_to_wire;
use crate::audit::{Act, Deed, Loss, Trail};

/// Which acts of an org.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AuditWork<'a> {
    pub(crate) org: &'a str,
    pub(crate) since: WallTime,
    /// Later than the act with this number.
    pub(crate) after: u64,
    pub(crate) page: u32,
}

pub(super) fn work<'a>(list: &request::ListAudit<'a>) -> AuditWork<'a> {
    AuditWork {
        org: list.org,
        since: WallTime(list.since_ms),
        after: list.cursor,
        page: list.page,
    }
}

/// Appends one page.
pub(crate) fn page(id: u64, work: &AuditWork<'_>, trail: &Trail, out: &mut BytesMut) {
    let mut acts = trail.acts(work.org, work.after, work.since);
    let page: Vec<_> = acts
        .by_ref()
        .take(work.page as usize)
        .map(to_wire)
        .collect();
    let has_more = acts.next().is_some();
    let next = page.last().filter(|_| has_more).map(|act| act.number);
    Reply::AuditList(reply::AuditPage { acts: page, next }).encode(id, out);
}

fn to_wire(act: &Act) -> AuditedAct<'_> {
    let bare = AuditedAct {
        number: act.number,
        at_ms: act.wall.0,
        act: ActKind::PolicySet,
        principal: &act.principal,
        reason: None,
        path: None,
        owner: None,
        token: None,
        kind: None,
        layer: None,
    };
    match &act.deed {
        Deed::ForceRelease(loss) => lost(bare, ActKind::ForceRelease, loss),
        Deed::Seize(loss) => lost(bare, ActKind::Seize, loss),
        Deed::Policy { kind, layer } => AuditedAct {
            kind: kind.as_deref(),
            layer: Some(layer_to_wire(layer)),
            ..bare
        },
    }
}

fn lost<'a>(bare: AuditedAct<'a>, act: ActKind, loss: &'a Loss) -> AuditedAct<'a> {
    AuditedAct {
        act,
        reason: Some(&loss.reason),
        path: Some(&loss.path),
        owner: Some(&loss.owner),
        token: Some(loss.token.0),
        ..bare
    }
}
