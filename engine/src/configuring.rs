//! Policies in force: layers put in place, and read.
//! Knows no rule of locks. Lowering a bound ends nothing that is there; it is looked at when something is asked for.

use alloc::sync::Arc;

use crate::command::Scope;
use crate::engine::Engine;
use crate::keys::OrgKey;
use crate::policy::{Policy, PolicyLayer};
use crate::query::Answer;
use crate::reply::{Rejection, Reply};
use crate::step::Step;

impl Step<'_> {
    pub(crate) fn configure(&mut self, scope: &Scope<'_>, layer: &PolicyLayer) -> Reply {
        if !layer.is_sound() {
            return Reply::Rejected(Rejection::BadPolicy);
        }
        let before = self.engine.layer_of(scope);
        if before == *layer {
            return Reply::Done;
        }
        self.touch();
        match *scope {
            Scope::Server => {
                self.engine.layer = *layer;
                let orgs: alloc::vec::Vec<_> = self.engine.org_names.values().copied().collect();
                orgs.into_iter()
                    .for_each(|org| self.engine.work_out_policy(org));
            }
            Scope::Org(name) => {
                let org = self.org_at(name);
                self.engine.org_mut(org).layer = *layer;
                self.engine.work_out_policy(org);
                self.drop_org_if_unused(org);
            }
            Scope::Kind { org, kind } => {
                let org = self.org_at(org);
                let kinds = &mut self.engine.org_mut(org).kinds;
                if layer.is_empty() {
                    kinds.remove(kind);
                } else {
                    kinds.insert(Arc::from(kind), *layer);
                }
                self.drop_org_if_unused(org);
            }
        }
        Reply::Done
    }
}

impl Engine {
    pub(crate) fn work_out_policy(&mut self, org: OrgKey) {
        let policy = Policy::BUILT_IN
            .under(&self.layer)
            .under(&self.org(org).layer);
        self.org_mut(org).policy = policy;
    }

    fn layer_of(&self, scope: &Scope<'_>) -> PolicyLayer {
        let org = |name: &str| self.org_named(name).map(|org| self.org(org));
        match *scope {
            Scope::Server => self.layer,
            Scope::Org(name) => org(name).map(|org| org.layer).unwrap_or_default(),
            Scope::Kind { org: name, kind } => org(name)
                .and_then(|org| org.kinds.get(kind))
                .copied()
                .unwrap_or_default(),
        }
    }

    pub(crate) fn policy(&self, org: &str, kind: Option<&str>) -> Answer {
        let scope = kind.map_or(Scope::Org(org), |kind| Scope::Kind { org, kind });
        let layer = self.layer_of(&scope);
        let policy = match self.org_named(org).map(|org| self.org(org)) {
            Some(org) => kind.map_or(org.policy, |kind| org.policy_of_kind(kind)),
            None => Policy::BUILT_IN.under(&self.layer),
        };
        Answer::Policy { policy, layer }
    }
}
