//! `tenure force-release`: an operator ends what others hold, step by step until all of it is ended.
//! Rule: what was ended is said also when the rest could not be, since an operator has to know that it is half done.

use anyhow::Context as _;
use tenure_protocol::{EndedHold, Reply, Request, Target, request};

use super::output::{Meanwhile, Output};
use super::table::Table;
use super::wire::Wire;
use super::{Exit, Shared, words};

/// End what others hold, for a reason that they are told
///
/// Who waits has the lock at once. Needs the role of an admin. Who did it and why is in the audit trail (tenure audit).
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = AFTER_HELP)]
pub(super) struct ForceRelease {
    /// The tenant
    org: String,

    #[command(flatten)]
    what: What,

    /// Why: told to those who lose a lock, and kept
    #[arg(long, value_name = "TEXT")]
    reason: String,

    /// Only say what would be ended
    #[arg(long)]
    dry_run: bool,
}

/// Which holds: one of these.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct What {
    /// The lock
    path: Option<String>,

    /// All holds on paths that begin so
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,

    /// All holds of this owner
    #[arg(long, value_name = "OWNER")]
    owner: Option<String>,

    /// All holds of the org
    #[arg(long)]
    all: bool,
}

const AFTER_HELP: &str = "\
Examples:
  tenure force-release acme doc/quote-123 --reason \"alice is on holiday\"
  tenure force-release acme --owner alice --reason \"alice has left\" --dry-run
  tenure force-release acme --prefix import/ --reason \"the import was stopped\"

--json has one object for each hold that was ended, as in the answer to lock.force_release.
Exit status: 0 something was ended (or would be), 1 nothing was held, 2 trouble";

impl ForceRelease {
    pub(super) async fn run(self, shared: &Shared) -> anyhow::Result<Exit> {
        let mut wire = Wire::connect(shared).await?;
        let mut output = Output::new(shared);
        let mut meanwhile = Meanwhile::new(shared);
        let done = if self.dry_run { "would end" } else { "ended" };
        let mut table = Table::new(["PATH", "OWNER", "TOKEN"]);
        let (mut count, mut cursor) = (0, None);
        loop {
            let answer = wire.ask(&self.request(cursor.as_deref())).await;
            let answer = match count {
                0 => answer?,
                // An operator has to know that it is half done.
                _ => answer.with_context(|| {
                    format!("{done} {}, and not all", words::count(count, "hold"))
                })?,
            };
            let Reply::LockForceRelease(forced) = answer.reply()? else {
                return Err(answer.unexpected());
            };
            count += forced.ended.len() as u64;
            meanwhile.clear();
            if output.is_json() {
                for hold in &forced.ended {
                    output.object(hold)?;
                }
                output.flush()?;
            } else {
                let rows = forced.ended.iter().map(row).collect::<Vec<_>>();
                table.write(&mut output, &rows)?;
            }
            let Some(next) = forced.next else { break };
            meanwhile.show(&format!("{done} {}, going on", words::count(count, "hold")));
            cursor = Some(String::from(next));
        }
        if !output.is_json() {
            let line = match count {
                0 => output.paint().no("nothing is held there"),
                _ => output
                    .paint()
                    .yes(&format!("{done} {}", words::count(count, "hold"))),
            };
            output.line(&line)?;
            output.flush()?;
        }
        Ok(Exit::from(count > 0))
    }

    fn request<'a>(&'a self, cursor: Option<&'a str>) -> Request<'a> {
        let What {
            path,
            prefix,
            owner,
            all: _,
        } = &self.what;
        let target = match (path, prefix, owner) {
            (Some(path), _, _) => Target::Path { path },
            (None, Some(prefix), _) => Target::Prefix { prefix },
            (None, None, Some(owner)) => Target::Owner { owner },
            (None, None, None) => Target::All,
        };
        Request::LockForceRelease(request::ForceRelease {
            org: &self.org,
            target,
            reason: &self.reason,
            dry_run: self.dry_run,
            cursor,
        })
    }
}

fn row(hold: &EndedHold<'_>) -> [String; 3] {
    [
        String::from(hold.path),
        words::person(hold.owner, hold.name),
        hold.token.to_string(),
    ]
}
