//! `tenure locks`: what is held in an org, page after page, as it comes.
//! Keeps no more than a page. Rule: what one row has for people, one object has for programs.

use std::time::Duration;

use clap::ValueEnum;
use tenure_protocol::{ListedHold, Mode, Reply, Request, Target, request};

use super::duration::{self, ms};
use super::output::Output;
use super::table::Table;
use super::wire::Wire;
use super::{Exit, Shared, words};

/// Holds in one page: as many as the server gives.
const PAGE: u32 = 256;

/// List what is held in an org
///
/// By path, in pages: a long list begins at once, and each page is true at its own moment.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = AFTER_HELP)]
pub(super) struct Locks {
    /// The tenant
    org: String,

    /// Only paths that begin so
    prefix: Option<String>,

    /// Only what this owner holds
    #[arg(long, value_name = "OWNER")]
    owner: Option<String>,

    /// Only holds of this mode
    #[arg(long, value_name = "MODE")]
    mode: Option<HeldMode>,

    /// Only what has been held for as long as this already
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, allow_hyphen_values = true)]
    older_than: Option<Duration>,
}

const AFTER_HELP: &str = "\
Examples:
  tenure locks acme
  tenure locks acme doc/ --owner alice
  tenure locks acme --older-than 8h --json | jq -r .path

LEFT is how long a hold still lives unless it is renewed; * means that no process of its owner is connected.
--json has one object for each hold, as in the answer to lock.list.
Exit status: 0 something is held, 1 nothing is, 2 trouble";

/// Modes as words.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum HeldMode {
    Shared,
    Exclusive,
}

impl Locks {
    pub(super) async fn run(self, shared: &Shared) -> anyhow::Result<Exit> {
        let mut wire = Wire::connect(shared).await?;
        let mut output = Output::new(shared);
        let mut table = Table::new(["PATH", "OWNER", "MODE", "TOKEN", "HELD", "LEFT", "WAITING"]);
        let (mut count, mut cursor) = (0, None);
        loop {
            let answer = wire.ask(&self.request(cursor.as_deref())).await?;
            let Reply::LockList(page) = answer.reply()? else {
                return Err(answer.unexpected());
            };
            let holds = page.holds.iter().filter(|hold| self.wants(hold));
            if output.is_json() {
                for hold in holds {
                    output.object(hold)?;
                    count += 1;
                }
                output.flush()?;
            } else {
                let rows = holds.map(row).collect::<Vec<_>>();
                count += rows.len() as u64;
                table.write(&mut output, &rows)?;
            }
            match page.next {
                Some(next) => cursor = Some(String::from(next)),
                None => break,
            }
        }
        if output.is_watched() || (count == 0 && !output.is_json()) {
            output.line(&words::count(count, "hold"))?;
            output.flush()?;
        }
        Ok(Exit::from(count > 0))
    }

    /// The server chooses by one thing; the prefix is what it finds fastest.
    fn request<'a>(&'a self, cursor: Option<&'a str>) -> Request<'a> {
        let target = match (&self.prefix, &self.owner) {
            (Some(prefix), _) => Target::Prefix { prefix },
            (None, Some(owner)) => Target::Owner { owner },
            (None, None) => Target::All,
        };
        Request::LockList(request::List {
            org: &self.org,
            target,
            mode: self.mode.map(|mode| match mode {
                HeldMode::Shared => Mode::Shared,
                HeldMode::Exclusive => Mode::Exclusive,
            }),
            held_min_ms: self.older_than.map_or(0, ms),
            cursor,
            page: PAGE,
        })
    }

    /// Where the server chose by the prefix, the owner is still to be looked at.
    fn wants(&self, hold: &ListedHold<'_>) -> bool {
        self.owner
            .as_ref()
            .is_none_or(|owner| owner == hold.holder.owner)
    }
}

fn row(hold: &ListedHold<'_>) -> [String; 7] {
    let holder = &hold.holder;
    let orphaned = if holder.orphaned { "*" } else { "" };
    [
        String::from(hold.path),
        words::person(holder.owner, holder.name),
        String::from(hold.mode.name()),
        hold.token.to_string(),
        words::span(holder.held_ms),
        format!("{}{orphaned}", words::span(holder.remaining_ms)),
        words::number(u64::from(hold.waiters)),
    ]
}
