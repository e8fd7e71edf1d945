//! `tenure run`: runs a command under a lock, and stops it when the lock is lost.
//! Taking, renewing and letting go are in `keeping.rs`, the command and all that it starts in `job.rs`. Rule: stdout is the
//! command's alone; when it has ended nobody is left who believes in the lock.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::Signal;
use serde::Serialize;
use tenure_client::{ErrorKind, LockGuard};

use super::asking::{Asking, Place};
use super::caller::Holder;
use super::job::Job;
use super::keeping::{self, Asked, Grace, Keeper};
use super::output::{self, Meanwhile};
use super::signals::{Caught, Signals};
use super::told::{self, Told};
use super::{Exit, Shared, duration};

/// Run a command under a lock
///
/// The lock is renewed while the command runs, and released when it has ended. If it is lost the command is stopped, with
/// all that it has started: by SIGTERM, and by SIGKILL if that does not end it. SIGINT, SIGTERM and SIGHUP are passed on.
///
/// The command finds TENURE_ORG, TENURE_PATH and TENURE_TOKEN among its variables. Hand the token to what the lock protects,
/// and let that refuse a lower one: a command that was asleep may not have noticed that it was to stop.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = AFTER_HELP)]
pub(super) struct Run {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    holder: Holder,

    #[command(flatten)]
    asking: Asking,

    /// How long the command may take to end after SIGTERM when the lock is lost
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, allow_hyphen_values = true, default_value = "10s")]
    kill_after: Duration,

    /// Exit status when the lock is refused or lost, to tell it from the command's own
    #[arg(long, value_name = "STATUS", default_value_t = 1)]
    conflict_exit_code: u8,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

const AFTER_HELP: &str = "\
Examples:
  tenure run acme jobs/nightly-report --ttl 30s -- ./make-report.sh
  tenure run acme jobs/import --wait 10m -- sh -c './import --fence \"$TENURE_TOKEN\"'
  tenure run acme jobs/import --conflict-exit-code 75 -- ./import

Should this process or its machine die, or be cut off, the lock is free when its TTL is over.
What there is to say goes to stderr; stdout is the command's. With --json it is an object with op lock.acquire or lock.lost.
Exit status: the command's own when it has ended by itself (128 and the number of the signal that ended it);
1, or --conflict-exit-code, when the lock was refused or lost; 2 trouble (also: no such command)";

/// How a command under a lock ended.
enum End {
    /// By itself.
    Own(u8),
    /// It was stopped.
    Lost,
}

impl Run {
    pub(super) async fn run(self, shared: &Shared) -> anyhow::Result<Exit> {
        let owner = self.holder.owner()?;
        let mut signals = Signals::to_leave()?;
        let grace = Grace::Ttl(self.asking.ttl);
        let keeper = Keeper::connect(shared, &self.place, &owner, &self.name(), grace).await?;
        let shown = keeping::shown(Meanwhile::new(shared), &self.place.path);
        let asked = keeper
            .acquire(&self.place, &self.asking, &mut signals, shown)
            .await?;
        let guard = match asked {
            Asked::Granted(guard) => guard,
            Asked::Refused(refusal) => {
                keeper.close().await;
                let text = told::refusal_in_words(&refusal);
                say(shared, &Told::refusal(&refusal), &text);
                return Ok(Exit::Own(self.conflict_exit_code));
            }
        };
        let end = self.under(&guard, &mut signals, shared).await;
        let released = keeper.let_go(guard).await;
        match end? {
            End::Own(status) => {
                if let Err(error) = released {
                    let text = match error.loss() {
                        Some(loss) => format!(
                            "the lock was lost as the command ended: {}",
                            told::loss_in_words(loss)
                        ),
                        None if error.kind() == ErrorKind::NotHeld => {
                            String::from("the lock was lost as the command ended")
                        }
                        None => format!("the lock is free when its TTL is over: {error}"),
                    };
                    warn(&text);
                }
                Ok(Exit::Own(status))
            }
            End::Lost => Ok(Exit::Own(self.conflict_exit_code)),
        }
    }

    /// Runs the command until it ends, or the lock is lost.
    async fn under(
        &self,
        guard: &LockGuard,
        signals: &mut Signals,
        shared: &Shared,
    ) -> anyhow::Result<End> {
        let mut job = self.start(guard.token())?;
        loop {
            tokio::select! {
                // A command that has ended by itself needs not be stopped.
                biased;
                status = job.ended() => return Ok(End::Own(status?)),
                caught = signals.next() => job.signal(passed_on(caught)),
                loss = guard.lost() => {
                    let text = format!(
                        "the lock is lost: {}; stopping the command",
                        told::loss_in_words(&loss)
                    );
                    say(shared, &Told::loss(&loss), &text);
                    job.stop(self.kill_after).await?;
                    return Ok(End::Lost);
                }
            }
        }
    }

    fn start(&self, token: u64) -> anyhow::Result<Job> {
        let (program, arguments) = self
            .command
            .split_first()
            .context("expected a command after --")?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("TENURE_ORG", &self.place.org)
            .env("TENURE_PATH", &self.place.path)
            .env("TENURE_TOKEN", token.to_string());
        Job::start(&mut command)
            .with_context(|| format!("cannot run {}", program.to_string_lossy()))
    }

    /// What others see beside the owner: the command, unless a name was given.
    fn name(&self) -> String {
        if !self.asking.name.is_empty() {
            return self.asking.name.clone();
        }
        let program = self.command.first().map(Path::new);
        let name = program.and_then(Path::file_name);
        name.map_or_else(String::new, |name| {
            let name = name.to_string_lossy();
            name.chars().filter(|c| !c.is_control()).take(64).collect()
        })
    }
}

const fn passed_on(caught: Caught) -> Signal {
    match caught {
        Caught::Interrupt => Signal::SIGINT,
        Caught::Terminate => Signal::SIGTERM,
        Caught::Hangup => Signal::SIGHUP,
    }
}

/// Says it on stderr, for people or for programs: stdout is the command's.
fn say(shared: &Shared, json: &impl Serialize, text: &str) {
    match serde_json::to_string(json) {
        Ok(json) if shared.json => output::remark(&json),
        Ok(_) | Err(_) => warn(text),
    }
}

fn warn(text: &str) {
    output::remark(&format!("tenure: {text}"));
}
