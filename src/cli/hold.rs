//! `tenure hold`: holds a lock until it is interrupted, and says what happens to it.
//! Taking, renewing and letting go are in `keeping.rs`. Rule: whatever is told to people on stdout is told to programs too.

use std::time::Duration;

use tenure_client::{Ask, ConnectionEvent, LockGuard, Loss, WaitProgress};
use tenure_protocol::Who;

use super::asking::{Asking, Place};
use super::caller::Holder;
use super::keeping::{self, Asked, Grace, Keeper};
use super::output::{self, Meanwhile, Output};
use super::signals::Signals;
use super::told::{self, Held, Told};
use super::{Exit, Shared, duration, words};

/// Hold a lock until Ctrl-C
///
/// The lock is renewed, also through a reconnect. Says who asks for it, and how it was lost.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = AFTER_HELP)]
pub(super) struct Hold {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    holder: Holder,

    #[command(flatten)]
    asking: Asking,

    /// How long the lock outlives this process, or its connection [default: the policy's, 10s unless it was changed]
    #[arg(long, value_name = "DURATION", value_parser = duration::grace, allow_hyphen_values = true)]
    grace: Option<Duration>,
}

const AFTER_HELP: &str = "\
Examples:
  tenure hold acme doc/quote-123 --name Alice
  tenure hold acme doc/quote-123 --wait 1h --note \"I would like to edit\"
  tenure hold acme room/7 --shared=20 --json

--json has one object for each thing that happens; op says what it is: lock.place and lock.declined while it is waited
for, then lock.acquire, lock.asked, lock.lost, lock.release.
Exit status: 0 held until it was interrupted, 1 refused or lost, 2 trouble";

impl Hold {
    pub(super) async fn run(self, shared: &Shared) -> anyhow::Result<Exit> {
        let owner = self.holder.owner()?;
        let mut signals = Signals::to_leave()?;
        let mut output = Output::new(shared);
        let grace = Grace::Session(self.grace);
        let name = &self.asking.name;
        let keeper = Keeper::connect(shared, &self.place, &owner, name, grace).await?;
        let asked = keeper
            .acquire(
                &self.place,
                &self.asking,
                &mut signals,
                told_meanwhile(shared, &self.place.path),
            )
            .await?;
        let guard = match asked {
            Asked::Granted(guard) => guard,
            Asked::Refused(refusal) => {
                keeper.close().await;
                output.answer(&Told::refusal(&refusal), |paint| {
                    paint.no(&told::refusal_in_words(&refusal))
                })?;
                return Ok(Exit::No);
            }
        };
        match watch(&keeper, &guard, &mut signals, &mut output).await {
            Ok(Some(loss)) => {
                drop(guard);
                keeper.close().await;
                output.answer(&Told::loss(&loss), |paint| {
                    paint.no(&format!("lost: {}", told::loss_in_words(&loss)))
                })?;
                Ok(Exit::No)
            }
            end => {
                // A hold that was lost in the same moment is as good as released.
                let _ = keeper.let_go(guard).await;
                end?;
                let released = Told::Released { status: "ended" };
                output.answer(&released, |paint| paint.yes("released"))?;
                Ok(Exit::Yes)
            }
        }
    }
}

/// Tells how the wait goes on: programs on stdout, as all that happens, and people at a terminal on stderr.
fn told_meanwhile(shared: &Shared, path: &str) -> impl FnMut(WaitProgress) + Send + 'static {
    let mut shown = keeping::shown(Meanwhile::new(shared), path);
    let mut output = shared.json.then(|| Output::new(shared));
    let path = path.to_owned();
    move |progress| {
        let Some(output) = &mut output else {
            return shown(progress);
        };
        let told = match &progress {
            WaitProgress::Place(place) => Told::Place {
                path: &path,
                place: *place,
            },
            WaitProgress::Declined(who) => Told::Declined {
                path: &path,
                who: Who {
                    owner: &who.owner,
                    name: &who.name,
                },
            },
            _ => return,
        };
        // Whether anybody reads shows with the answer.
        let _ = output.answer(&told, |_| String::new());
    }
}

/// Says what happens until the lock is lost, or this is interrupted.
async fn watch(
    keeper: &Keeper,
    guard: &LockGuard,
    signals: &mut Signals,
    output: &mut Output,
) -> anyhow::Result<Option<Loss>> {
    let mut events = keeper.client.events();
    let granted = Told::Granted {
        status: "granted",
        grant: Held::of(guard),
    };
    output.answer(&granted, |paint| {
        let token = guard.token();
        paint.yes(&format!("granted, token {token}; held until Ctrl-C"))
    })?;
    loop {
        tokio::select! {
            _ = signals.next() => return Ok(None),
            loss = guard.lost() => return Ok(Some(loss)),
            Some(ask) = guard.next_ask() => tell(&ask, guard, output)?,
            Some(event) = events.next() => report(&event, guard),
        }
    }
}

fn tell(ask: &Ask<'_>, guard: &LockGuard, output: &mut Output) -> anyhow::Result<()> {
    let who = Who {
        owner: &ask.who().owner,
        name: &ask.who().name,
    };
    let asked = Told::Asked {
        path: guard.path(),
        wait: ask.wait(),
        who,
        note: ask.note(),
    };
    output.answer(&asked, |_| {
        let who = words::person(who.owner, who.name);
        format!("{who} asks for it: {}", words::quote(ask.note()))
    })
}

/// Of the connection, on stderr: it is nothing that was asked for.
fn report(event: &ConnectionEvent, guard: &LockGuard) {
    if let ConnectionEvent::Disconnected { why } = event {
        let left = words::span(duration::ms(guard.remaining()));
        output::remark(&format!(
            "tenure: the connection is gone ({why}); the lock is held for {left} more"
        ));
    } else if let ConnectionEvent::Resumed(resumption) = event
        && resumption.lost.is_empty()
    {
        output::remark("tenure: connected again, and still held");
    }
}
