//! `tenure acquire`: takes a lock and goes. The session keeps what it holds, which lives by its TTL from then on.
//! Rule: whoever is refused, gives up or is interrupted leaves neither session nor wait behind.

use serde::Serialize;
use tenure_protocol::{Grant, Push, Reply, Request, WaitEnd, push, reply, request};

use super::asking::{Asking, Place};
use super::caller::Caller;
use super::output::{Meanwhile, Output};
use super::signals::Signals;
use super::wire::{Message, Wire};
use super::{Exit, Shared, words};

/// Take a lock, and keep it without a process
///
/// The lock is the owner's until it is released, or its TTL is over without a renewal: by tenure renew, or by another
/// acquire of the same owner, which joins the hold. To hold it for as long as a command runs there is tenure run.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = AFTER_HELP)]
pub(super) struct Acquire {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    caller: Caller,

    #[command(flatten)]
    asking: Asking,
}

const AFTER_HELP: &str = "\
Examples:
  tenure acquire acme doc/quote-123 --owner alice --name Alice --ttl 5m
  tenure acquire acme doc/quote-123 --owner bob --wait 1m --note \"may I have it?\"
  tenure acquire acme room/7 --shared=20
  tenure acquire acme doc/quote-123 --owner carol --seize \"the customer is on the phone\"

  if token=$(tenure acquire acme jobs/report --ttl 10m --json | jq -e .grant.token); then
      ./report.sh --fence \"$token\"
      tenure release acme jobs/report --token \"$token\"
  fi

Hand the token to what the lock protects, and let that refuse a lower one.
--json has the answer to lock.acquire; after a wait that was in vain {\"status\": \"wait_ended\", why, truth}.
Exit status: 0 granted, 1 refused, or waited in vain, 2 trouble (also interrupted while it waited)";

/// How it went.
enum Outcome {
    Granted(Grant),
    /// The answer to the acquire.
    Refused(Message),
    /// And the answer to the status that was asked then.
    WaitEnded(WaitEnd, Message),
    /// The answer to the renewal that follows a grant after a wait.
    Lost(Message),
}

/// A wait without a grant, for programs.
#[derive(Serialize)]
struct WaitEnded<'a> {
    status: &'static str,
    why: WaitEnd,
    truth: &'a tenure_protocol::Truth<'a>,
}

impl Acquire {
    pub(super) async fn run(self, shared: &Shared) -> anyhow::Result<Exit> {
        let owner = self.caller.owner()?;
        let Place { org, .. } = &self.place;
        // From here on an interrupt leaves nothing behind.
        let mut signals = Signals::to_leave()?;
        let mut wire = Wire::connect(shared).await?;
        let session = wire.open_keeping(org, &owner, &self.asking.name).await?;
        let mut meanwhile = Meanwhile::new(shared);
        let outcome = tokio::select! {
            outcome = self.acquire(&mut wire, session, &mut meanwhile) => outcome?,
            _ = signals.next() => {
                wire.close(session).await?;
                anyhow::bail!("interrupted, and no longer waiting");
            }
        };
        self.tell(&outcome, &owner, &mut Output::new(shared))
    }

    async fn acquire(
        &self,
        wire: &mut Wire,
        session: u64,
        meanwhile: &mut Meanwhile,
    ) -> anyhow::Result<Outcome> {
        let path = &self.place.path;
        let request = Request::LockAcquire(self.asking.request(session, path));
        let answer = wire.ask(&request).await?;
        let Reply::LockAcquire(acquired) = answer.reply()? else {
            return Err(answer.unexpected());
        };
        match acquired {
            reply::Acquire::Granted { grant } => Ok(Outcome::Granted(grant)),
            reply::Acquire::Queued { wait, place } => {
                meanwhile.show(&format!("waiting for {path}, place {place}"));
                self.wait(wire, session, wait, meanwhile).await
            }
            reply::Acquire::Refused { .. } => Ok(Outcome::Refused(answer)),
        }
    }

    /// Listens until the wait is over.
    async fn wait(
        &self,
        wire: &mut Wire,
        session: u64,
        wait: u64,
        meanwhile: &mut Meanwhile,
    ) -> anyhow::Result<Outcome> {
        let path = &self.place.path;
        loop {
            let told = wire.push().await?;
            match told.push()? {
                Push::LockGranted(push::Granted {
                    wait: of, holds, ..
                }) if of == wait => {
                    meanwhile.clear();
                    let grant = holds.first().map(|held| held.grant);
                    let Some(grant) = grant else {
                        return Err(told.unexpected());
                    };
                    return self.confirm(wire, session, grant).await;
                }
                Push::LockWaitEnded(push::WaitEnded { wait: of, why, .. }) if of == wait => {
                    meanwhile.clear();
                    let org = &self.place.org;
                    let status = Request::LockStatus(request::Status { org, path });
                    return Ok(Outcome::WaitEnded(why, wire.ask(&status).await?));
                }
                Push::LockPlace(push::Place { place, .. }) => {
                    meanwhile.show(&format!("waiting for {path}, place {place}"));
                }
                Push::LockDeclined(push::Declined { who, .. }) => {
                    let who = words::person(who.owner, who.name);
                    meanwhile.say(&format!("{who} says no; waiting on, Ctrl-C to give up"));
                }
                Push::ServerPing(_)
                | Push::ServerGoodbye(_)
                | Push::SessionMoved(_)
                | Push::SessionClosed(_)
                | Push::LockGranted(_)
                | Push::LockLost(_)
                | Push::LockChanged(_)
                | Push::LockAsked(_)
                | Push::LockWaitEnded(_)
                | Push::StreamEvent(_)
                | Push::StreamPosition(_)
                | Push::StreamGap(_)
                | Push::PresenceChanged(_)
                | Push::PresenceCollision(_)
                | Push::PresenceGap(_)
                | Push::PresenceEnded(_) => {}
            }
        }
    }

    /// A grant after a wait has been counting down since before it came: it is renewed at once.
    async fn confirm(
        &self,
        wire: &mut Wire,
        session: u64,
        granted: Grant,
    ) -> anyhow::Result<Outcome> {
        let answer = wire
            .ask(&Request::LockRenew(request::Renew {
                session,
                path: &self.place.path,
                ttl_ms: None,
                token: Some(granted.token),
            }))
            .await?;
        let Reply::LockRenew(renewed) = answer.reply()? else {
            return Err(answer.unexpected());
        };
        match renewed {
            reply::Renew::Granted { grant } => Ok(Outcome::Granted(Grant {
                kind: granted.kind,
                ..grant
            })),
            reply::Renew::NotHeld { .. } => Ok(Outcome::Lost(answer)),
        }
    }

    fn tell(&self, outcome: &Outcome, owner: &str, output: &mut Output) -> anyhow::Result<Exit> {
        match outcome {
            Outcome::Granted(grant) => {
                let answer = reply::Acquire::Granted { grant: *grant };
                output.answer(&answer, |paint| paint.yes(&words::grant(grant)))?;
                return Ok(Exit::Yes);
            }
            Outcome::Refused(answer) => {
                let reply = answer.reply()?;
                let Reply::LockAcquire(refused @ reply::Acquire::Refused { reason, truth }) =
                    &reply
                else {
                    return Err(answer.unexpected());
                };
                output.answer(refused, |paint| paint.no(&words::refusal(*reason, truth)))?;
            }
            Outcome::WaitEnded(why, answer) => {
                let Reply::LockStatus(reply::Status { truth }) = answer.reply()? else {
                    return Err(answer.unexpected());
                };
                let ended = WaitEnded {
                    status: "wait_ended",
                    why: *why,
                    truth: &truth,
                };
                output.answer(&ended, |paint| paint.no(&words::wait_end(*why, &truth)))?;
            }
            Outcome::Lost(answer) => {
                let reply = answer.reply()?;
                let Reply::LockRenew(lost @ reply::Renew::NotHeld { lost: how, truth }) = &reply
                else {
                    return Err(answer.unexpected());
                };
                output.answer(lost, |paint| paint.no(&words::not_held(owner, *how, truth)))?;
            }
        }
        Ok(Exit::No)
    }
}
