//! The audit trail of a shard as its snapshot keeps it: behind the state, in the order of the acts.
//!
//! Types of its own, as for commands. Must hold: a number is never given another meaning, fields are only ever appended.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tenure_engine::{Token, WallTime};

use super::command::Layer;
use super::record::{self, RecordError};
use crate::audit::{Act, Deed, Loss, Trail};

const FORCE_RELEASE: u8 = 1;
const SEIZE: u8 = 2;
const POLICY: u8 = 3;

#[derive(Serialize, Deserialize)]
struct Kept<'a> {
    last: u64,
    #[serde(borrow)]
    acts: Vec<KeptAct<'a>>,
}

#[derive(Serialize, Deserialize)]
struct KeptAct<'a> {
    number: u64,
    wall: u64,
    org: &'a str,
    principal: &'a str,
    deed: u8,
    path: &'a str,
    owner: &'a str,
    token: u64,
    reason: &'a str,
    kind: Option<&'a str>,
    layer: Option<Layer>,
}

/// Appends a trail; nothing, if there has been no act.
pub(super) fn encode(trail: &Trail, out: &mut Vec<u8>) {
    if trail.last() == 0 {
        return;
    }
    let kept = Kept {
        last: trail.last(),
        acts: trail.all().into_iter().map(KeptAct::of).collect(),
    };
    record::encode(&kept, out);
}

/// Reads what comes behind a state.
pub(super) fn decode(bytes: &[u8]) -> Result<Trail, RecordError> {
    if bytes.is_empty() {
        return Ok(Trail::default());
    }
    let kept: Kept<'_> = record::decode(bytes)?;
    let acts = kept.acts.into_iter().map(KeptAct::lived);
    Ok(Trail::of(acts.collect::<Result<Vec<_>, _>>()?, kept.last))
}

impl<'a> KeptAct<'a> {
    fn of(act: &'a Act) -> Self {
        let bare = Self {
            number: act.number,
            wall: act.wall.0,
            org: &act.org,
            principal: &act.principal,
            deed: POLICY,
            path: "",
            owner: "",
            token: 0,
            reason: "",
            kind: None,
            layer: None,
        };
        let losing = |deed, loss: &'a Loss| Self {
            deed,
            path: &loss.path,
            owner: &loss.owner,
            token: loss.token.0,
            reason: &loss.reason,
            ..bare
        };
        match &act.deed {
            Deed::ForceRelease(loss) => losing(FORCE_RELEASE, loss),
            Deed::Seize(loss) => losing(SEIZE, loss),
            Deed::Policy { kind, layer } => Self {
                kind: kind.as_deref(),
                layer: Some(Layer::from(*layer)),
                ..bare
            },
        }
    }

    fn lived(self) -> Result<Act, RecordError> {
        let loss = || Loss {
            path: Arc::from(self.path),
            owner: Arc::from(self.owner),
            token: Token(self.token),
            reason: Arc::from(self.reason),
        };
        let deed = match (self.deed, &self.layer) {
            (FORCE_RELEASE, None) => Deed::ForceRelease(loss()),
            (SEIZE, None) => Deed::Seize(loss()),
            (POLICY, Some(layer)) => Deed::Policy {
                kind: self.kind.map(Arc::from),
                layer: layer.lent(),
            },
            (deed, _) => return Err(RecordError::new(format!("unknown act {deed}"))),
        };
        Ok(Act {
            number: self.number,
            wall: WallTime(self.wall),
            org: Arc::from(self.org),
            principal: Arc::from(self.principal),
            deed,
        })
    }
}

#[cfg(test)]
mod tests {
    use tenure_engine::{Millis, PolicyLayer};

    use super::*;

    #[test]
    fn a_trail_comes_back_as_it_was() {
        let loss = Loss {
            path: Arc::from("doc/1"),
            owner: Arc::from("anna"),
            token: Token(7),
            reason: Arc::from("on holiday"),
        };
        let layer = PolicyLayer {
            ttl_max: Some(Millis(5)),
            ..PolicyLayer::default()
        };
        let kind = Some(Arc::from("doc"));
        let deeds = [
            Deed::ForceRelease(loss.clone()),
            Deed::Seize(loss),
            Deed::Policy { kind, layer },
            Deed::Policy { kind: None, layer },
        ];
        let acts = (3..).zip(deeds).map(|(number, deed)| Act {
            number,
            wall: WallTime(9),
            org: Arc::from("acme"),
            principal: Arc::from("ops"),
            deed,
        });
        let trail = Trail::of(acts, 8);
        let mut bytes = Vec::new();
        encode(&trail, &mut bytes);
        assert_eq!(decode(&bytes).unwrap(), trail);
        for end in 1..bytes.len() {
            assert!(decode(&bytes[..end]).is_err(), "cut at {end}");
        }
        let mut nothing = Vec::new();
        encode(&Trail::default(), &mut nothing);
        assert!(nothing.is_empty() && decode(&nothing).unwrap() == Trail::default());
    }
}
