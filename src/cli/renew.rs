//! `tenure renew`: extends what the owner holds, whichever call acquired it.
//! Rule: it brings nothing back; what is not held any more is said, with who has it.

use std::time::Duration;

use tenure_protocol::{Reply, Request, reply, request};

use super::asking::Place;
use super::caller::Caller;
use super::duration::{self, ms};
use super::output::Output;
use super::wire::Wire;
use super::{Exit, Shared, words};

/// Extend a lock that the owner holds
///
/// It lives for its TTL from now on, or for the one that is given. It never gets shorter.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = AFTER_HELP)]
pub(super) struct Renew {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    caller: Caller,

    /// How long it lives without renewal from now on [default: as before]
    #[arg(long, value_name = "DURATION", value_parser = duration::ttl, allow_hyphen_values = true)]
    ttl: Option<Duration>,

    /// Only if this is still its token: if nobody else has had it meanwhile
    #[arg(long, value_name = "N")]
    token: Option<u64>,
}

const AFTER_HELP: &str = "\
Examples:
  tenure renew acme doc/quote-123 --owner alice
  tenure renew acme doc/quote-123 --owner alice --ttl 10m --token 1763600000000001

--json has the answer to lock.renew.
Exit status: 0 renewed, 1 not held (any more), 2 trouble";

impl Renew {
    pub(super) async fn run(self, shared: &Shared) -> anyhow::Result<Exit> {
        let owner = self.caller.owner()?;
        let Place { org, path } = &self.place;
        let mut wire = Wire::connect(shared).await?;
        let session = wire.open_keeping(org, &owner, "").await?;
        let answer = wire
            .ask(&Request::LockRenew(request::Renew {
                session,
                path,
                ttl_ms: self.ttl.map(ms),
                token: self.token,
            }))
            .await?;
        let Reply::LockRenew(renewed) = answer.reply()? else {
            return Err(answer.unexpected());
        };
        Output::new(shared).answer(&renewed, |paint| match &renewed {
            reply::Renew::Granted { grant } => {
                let left = words::span(grant.remaining_ms);
                paint.yes(&format!("renewed, token {}, for {left}", grant.token))
            }
            reply::Renew::NotHeld { lost, truth } => {
                paint.no(&words::not_held(&owner, *lost, truth))
            }
        })?;
        Ok(Exit::from(matches!(renewed, reply::Renew::Granted { .. })))
    }
}
