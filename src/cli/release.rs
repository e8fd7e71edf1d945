//! `tenure release`: lets go of what the owner holds, whichever call acquired it.
//! Rule: a release of what is gone already says how it went, and is no trouble.

use tenure_protocol::{ReleaseScope, Reply, Request, reply, request};

use super::asking::Place;
use super::caller::Caller;
use super::output::Output;
use super::wire::Wire;
use super::{Exit, Shared, words};

/// Let go of a lock that the owner holds
///
/// The hold ends for the owner, in all sessions and processes. Whoever waits first in line has it at once.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = AFTER_HELP)]
pub(super) struct Release {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    caller: Caller,

    /// Only if this is still its token: if nobody else has had it meanwhile
    #[arg(long, value_name = "N")]
    token: Option<u64>,
}

const AFTER_HELP: &str = "\
Examples:
  tenure release acme doc/quote-123 --owner alice
  tenure release acme doc/quote-123 --owner alice --token 1763600000000001

To end what somebody else holds there is tenure force-release.
--json has the answer to lock.release.
Exit status: 0 released, 1 not held (any more), 2 trouble";

impl Release {
    pub(super) async fn run(self, shared: &Shared) -> anyhow::Result<Exit> {
        let owner = self.caller.owner()?;
        let Place { org, path } = &self.place;
        let mut wire = Wire::connect(shared).await?;
        let session = wire.open_keeping(org, &owner, "").await?;
        let answer = wire
            .ask(&Request::LockRelease(request::Release {
                session,
                path,
                scope: ReleaseScope::Owner,
                token: self.token,
            }))
            .await?;
        let Reply::LockRelease(released) = answer.reply()? else {
            return Err(answer.unexpected());
        };
        Output::new(shared).answer(&released, |paint| match &released {
            reply::Release::Ended | reply::Release::Left => paint.yes("released"),
            reply::Release::AlreadyExpired => paint.yes("it had expired already"),
            reply::Release::NotHeld { lost, truth } => {
                paint.no(&words::not_held(&owner, *lost, truth))
            }
        })?;
        let is_held_no_more = !matches!(released, reply::Release::NotHeld { .. });
        Ok(Exit::from(is_held_no_more))
    }
}
