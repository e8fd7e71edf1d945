//! `tenure audit`: who did what to whom, and why; page after page, as it comes.
//! Tells what the server keeps, and keeps nothing itself.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tenure_protocol::{AuditedAct, PolicyLayer, Reply, Request, request};

use super::duration;
use super::output::Output;
use super::table::Table;
use super::wire::Wire;
use super::{Exit, Shared, words};

/// Acts in one page: as many as the server gives.
const PAGE: u32 = 256;

/// Show the privileged acts in an org
///
/// Holds that were ended by an operator or taken by a moderator, and policies that were set, oldest
/// first. The server keeps the last 10000 acts of each org, over restarts too. Needs the role of an admin.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = AFTER_HELP)]
pub(super) struct Audit {
    /// The tenant
    org: String,

    /// Only what was done within this time
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, allow_hyphen_values = true)]
    since: Option<Duration>,
}

const AFTER_HELP: &str = "\
Examples:
  tenure audit acme
  tenure audit acme --since 24h
  tenure audit acme --json | jq -r 'select(.act == \"seize\") | .principal'

--json has one object for each act, as in the answer to audit.list.
Exit status: 0 there are acts, 1 there are none, 2 trouble";

impl Audit {
    pub(super) async fn run(self, shared: &Shared) -> anyhow::Result<Exit> {
        let mut wire = Wire::connect(shared).await?;
        let mut output = Output::new(shared);
        let mut table = Table::new(["WHEN", "PRINCIPAL", "ACT", "ON", "OWNER", "TOKEN", "WHAT"]);
        let since_ms = self.since.map_or(0, unix_ms_ago);
        let (mut count, mut cursor) = (0, 0);
        loop {
            let request = Request::AuditList(request::ListAudit {
                org: &self.org,
                since_ms,
                cursor,
                page: PAGE,
            });
            let answer = wire.ask(&request).await?;
            let Reply::AuditList(page) = answer.reply()? else {
                return Err(answer.unexpected());
            };
            count += page.acts.len() as u64;
            if output.is_json() {
                for act in &page.acts {
                    output.object(act)?;
                }
                output.flush()?;
            } else {
                let rows: Vec<_> = page.acts.iter().map(row).collect();
                table.write(&mut output, &rows)?;
            }
            match page.next {
                Some(next) => cursor = next,
                None => break,
            }
        }
        if output.is_watched() || (count == 0 && !output.is_json()) {
            output.line(&words::count(count, "act"))?;
            output.flush()?;
        }
        Ok(Exit::from(count > 0))
    }
}

/// What the server has as milliseconds of Unix time, so long ago by this machine's clock.
fn unix_ms_ago(ago: Duration) -> u64 {
    let then = SystemTime::now().checked_sub(ago);
    let since_epoch = then.and_then(|then| then.duration_since(UNIX_EPOCH).ok());
    since_epoch.map_or(0, duration::ms)
}

fn row(act: &AuditedAct<'_>) -> [String; 7] {
    let at = UNIX_EPOCH + Duration::from_millis(act.at_ms);
    let on = match (act.path, act.kind) {
        (Some(path), _) => String::from(path),
        (None, Some(kind)) => format!("{kind}/"),
        (None, None) => String::from("the org"),
    };
    let what = act.layer.as_ref().map(overrides);
    [
        humantime::format_rfc3339_seconds(at).to_string(),
        String::from(act.principal),
        String::from(act.act.name()),
        on,
        String::from(act.owner.unwrap_or("-")),
        act.token
            .map_or_else(|| String::from("-"), |token| token.to_string()),
        what.or_else(|| act.reason.map(words::harmless))
            .unwrap_or_default(),
    ]
}

/// What a layer of policy sets, as `tenure policy` spells it.
fn overrides(layer: &PolicyLayer) -> String {
    let number = |name: &str, value: Option<u64>| value.map(|value| format!("{name}={value}"));
    let all = [
        number("ttl_default_ms", layer.ttl_default_ms),
        number("ttl_min_ms", layer.ttl_min_ms),
        number("ttl_max_ms", layer.ttl_max_ms),
        number("queue_max", layer.queue_max.map(u64::from)),
        number("grace_ms", layer.grace_ms),
        layer
            .release_on_disconnect
            .map(|value| format!("release_on_disconnect={value}")),
        number("sessions_max", layer.sessions_max.map(u64::from)),
        number("holds_max", layer.holds_max.map(u64::from)),
        number("session_holds_max", layer.session_holds_max.map(u64::from)),
        number("session_waits_max", layer.session_waits_max.map(u64::from)),
    ];
    let set: Vec<_> = all.into_iter().flatten().collect();
    if set.is_empty() {
        String::from("removed")
    } else {
        set.join(" ")
    }
}
