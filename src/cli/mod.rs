//! The command line: what all sub-commands share. Each sub-command is one file here and one variant of [`Command`].
//!
//! A sub-command is a `clap::Args` struct with a `run` that takes it, and the [`Shared`] options if it talks to a server,
//! and returns an [`Exit`]; what it asks is answered on stdout, what goes wrong is returned and printed here.
//!
//! What asks one question and goes speaks over `wire.rs` and answers what came back; what stays with a lock does so by
//! `tenure-client`.
//!
//! Rules: 0 is yes, 1 is no, 2 is trouble, for every sub-command. Help teaches: an example, every default and variable.

mod acquire;
mod arguments;
mod asking;
mod audit;
mod backup;
mod caller;
mod duration;
mod endpoint;
mod force_release;
mod happening;
mod hold;
#[cfg(unix)]
mod job;
mod journal;
mod keeping;
mod locks;
mod open_files;
mod output;
mod ping;
mod policy;
mod publish;
mod release;
mod renew;
#[cfg(unix)]
mod run;
mod serve;
mod signals;
mod status;
mod table;
mod told;
mod trouble;
mod watch;
mod who;
mod wire;
mod words;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::builder::BoolishValueParser;
use clap::{Parser, Subcommand};

/// Tenure is a lock server: who may edit this document, for how long, and who is next.
#[derive(Debug, Parser)]
#[command(name = "tenure", version, after_help = AFTER_HELP)]
struct Cli {
    #[command(flatten)]
    shared: Shared,

    #[command(subcommand)]
    command: Command,
}

/// What `tenure` can do: one variant, and one file of the same name, for each sub-command.
#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::Serve>),
    Ping(ping::Ping),
    Acquire(acquire::Acquire),
    Renew(renew::Renew),
    Release(release::Release),
    Status(status::Status),
    #[cfg(unix)]
    Run(run::Run),
    Hold(hold::Hold),
    Locks(locks::Locks),
    Watch(watch::Watch),
    Who(who::Who),
    Publish(publish::Publish),
    ForceRelease(force_release::ForceRelease),
    Policy(policy::Policy),
    Audit(audit::Audit),
    Journal(journal::Journal),
    Backup(backup::Backup),
}

/// Options of every sub-command that talks to a server; before or after its name.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Server to talk to")]
struct Shared {
    /// Where the server listens
    #[arg(long, global = true, env = "TENURE_SERVER", value_name = "HOST:PORT")]
    #[arg(default_value = "127.0.0.1:7420")]
    server: String,

    /// The API key; the variable is safer, since other users can read command lines
    #[arg(long, global = true, env = "TENURE_KEY", value_name = "KEY")]
    key: Option<String>,

    /// Encrypt, and check the server's certificate
    #[arg(long, global = true, env = "TENURE_TLS", value_parser = BoolishValueParser::new())]
    tls: bool,

    /// Trust these authorities instead of the operating system's, PEM; implies --tls
    #[arg(long, global = true, env = "TENURE_TLS_CA", value_name = "FILE")]
    tls_ca: Option<PathBuf>,

    /// Certificate to show to a server that asks for one, PEM; implies --tls
    #[arg(
        long,
        global = true,
        env = "TENURE_TLS_CLIENT_CERT",
        value_name = "FILE"
    )]
    #[arg(requires = "tls_client_key")]
    tls_client_cert: Option<PathBuf>,

    /// Private key of that certificate, PEM
    #[arg(
        long,
        global = true,
        env = "TENURE_TLS_CLIENT_KEY",
        value_name = "FILE"
    )]
    #[arg(requires = "tls_client_cert")]
    tls_client_key: Option<PathBuf>,

    /// Answer in JSON, for programs
    #[arg(long, global = true)]
    json: bool,
}

/// How it went, for shell scripts: `if tenure acquire …; then`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    /// Done; the answer is yes.
    Yes,
    /// The answer is no: held by somebody else, not held, lost.
    No,
    /// It could not be asked, or not be done. (clap ends with the same number.)
    Trouble,
    /// What a command under a lock ended with.
    Own(u8),
}

impl Exit {
    const fn code(self) -> u8 {
        match self {
            Self::Yes => 0,
            Self::No => 1,
            Self::Trouble => 2,
            Self::Own(code) => code,
        }
    }
}

impl From<bool> for Exit {
    fn from(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

const AFTER_HELP: &str = "\
Examples:
  tenure serve                                             a server for development on this machine
  tenure ping                                              is it there?
  tenure acquire acme doc/quote-123 --owner alice          take a lock, and keep it without a process
  tenure status acme doc/quote-123                         who has it, since when, for how long still
  tenure release acme doc/quote-123 --owner alice          let go
  tenure run acme jobs/report --wait 1m -- ./report.sh     run a command under a lock
  tenure hold acme doc/quote-123                           hold a lock until Ctrl-C
  tenure locks acme doc/                                   what is held
  tenure watch acme 'doc/**'                               what happens, as it happens
  tenure who acme chat/42                                  who is there, and what they do
  tenure publish acme chat/42 refresh                      tell whoever listens
  tenure force-release acme doc/quote-123 --reason TEXT    end what somebody else holds
  tenure audit acme --since 24h                            who did so, and why
  tenure backup /backup/now                                a copy of what the server keeps, while it runs

acme is the org: orgs never see each other. doc/quote-123 is the path; its first segment is its kind.
Durations: 250ms, 90s, 5m, 1h30m.
Exit status: 0 yes, 1 no (refused, not held, lost), 2 trouble (also a mistake on the command line)";

/// Runs what the command line says.
pub(crate) fn main() -> ExitCode {
    let cli = arguments::parse(std::env::args_os()).unwrap_or_else(|error| error.exit());
    let exit = run(cli).unwrap_or_else(|error| {
        if error.is::<output::NobodyReads>() {
            return Exit::Yes;
        }
        output::remark(&format!("tenure: {error:#}"));
        Exit::Trouble
    });
    ExitCode::from(exit.code())
}

fn run(cli: Cli) -> anyhow::Result<Exit> {
    let shared = &cli.shared;
    match cli.command {
        Command::Serve(serve) => serve.run(),
        Command::Ping(ping) => wait_for(ping.run(shared)),
        Command::Acquire(acquire) => wait_for(acquire.run(shared)),
        Command::Renew(renew) => wait_for(renew.run(shared)),
        Command::Release(release) => wait_for(release.run(shared)),
        Command::Status(status) => wait_for(status.run(shared)),
        #[cfg(unix)]
        Command::Run(run) => wait_for(run.run(shared)),
        Command::Hold(hold) => wait_for(hold.run(shared)),
        Command::Locks(locks) => wait_for(locks.run(shared)),
        Command::Watch(watch) => wait_for(watch.run(shared)),
        Command::Who(who) => wait_for(who.run(shared)),
        Command::Publish(publish) => wait_for(publish.run(shared)),
        Command::ForceRelease(force) => wait_for(force.run(shared)),
        Command::Policy(policy) => wait_for(policy.run(shared)),
        Command::Audit(audit) => wait_for(audit.run(shared)),
        Command::Journal(journal) => journal.run(shared),
        Command::Backup(backup) => backup.run(shared),
    }
}

/// A client has one connection: one thread does.
fn wait_for(asking: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot watch sockets")?;
    let exit = runtime.block_on(asking);
    // Not even for a name that is still being looked up.
    runtime.shutdown_background();
    exit
}
