//! `tenure status`: the truth about one path, or whether a token is current.
//! Opens no session and changes nothing.

use tenure_protocol::{Holder, Reply, Request, Truth, reply, request};

use super::asking::Place;
use super::output::{Output, Paint};
use super::wire::Wire;
use super::{Exit, Shared, words};

/// Say who has a lock, since when, for how long still, and how many wait
///
/// With --token: whether this token is the lock's current one.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = AFTER_HELP)]
pub(super) struct Status {
    #[command(flatten)]
    place: Place,

    /// Ask whether this token is current
    #[arg(long, value_name = "N")]
    token: Option<u64>,
}

const AFTER_HELP: &str = "\
Examples:
  tenure status acme doc/quote-123
  tenure status acme doc/quote-123 --json | jq -r '.truth.holders[].owner'
  tenure status acme doc/quote-123 --token 1763600000000001

A look at the token narrows the window in which an old holder can do harm. What closes it is to store the token with the
data, and to refuse a lower one in the same transaction.
--json has the answer to lock.status, or to lock.check.
Exit status: 0 held (the token is current), 1 free (it is not), 2 trouble";

impl Status {
    pub(super) async fn run(self, shared: &Shared) -> anyhow::Result<Exit> {
        let Place { org, path } = &self.place;
        let mut wire = Wire::connect(shared).await?;
        let mut output = Output::new(shared);
        if let Some(token) = self.token {
            let check = Request::LockCheck(request::Check { org, path, token });
            let answer = wire.ask(&check).await?;
            let Reply::LockCheck(checked) = answer.reply()? else {
                return Err(answer.unexpected());
            };
            output.answer(&checked, |paint| in_words(paint, &checked))?;
            return Ok(Exit::from(checked.current));
        }
        let answer = wire
            .ask(&Request::LockStatus(request::Status { org, path }))
            .await?;
        let Reply::LockStatus(status) = answer.reply()? else {
            return Err(answer.unexpected());
        };
        output.answer(&status, |paint| text(paint, &status.truth))?;
        Ok(Exit::from(status.truth.mode.is_some()))
    }
}

fn in_words(paint: Paint, checked: &reply::Checked) -> String {
    match (checked.current, checked.token) {
        (true, _) => paint.yes("the token is current"),
        (false, Some(token)) => paint.no(&format!("the token is not current; {token} is")),
        (false, None) => paint.no("the token is not current; the lock is free"),
    }
}

/// The sentence that says it all, then a line for each thing there is more to know about.
fn text(paint: Paint, truth: &Truth<'_>) -> String {
    let sentence = words::truth(truth);
    let mut lines = match truth.token {
        Some(_) => vec![paint.no(&sentence)],
        None => vec![paint.yes(&sentence)],
    };
    let mode = truth.mode.map_or("", |mode| mode.name());
    if let Some(token) = truth.token {
        lines.push(format!("token {token}, {mode}"));
    }
    if let [alone] = &*truth.holders {
        lines.extend(details(alone));
    } else {
        for holder in &truth.holders {
            lines.push(format!(
                "  {} for {}, {} left",
                words::person(holder.owner, holder.name),
                words::span(holder.held_ms),
                words::span(holder.remaining_ms)
            ));
            lines.extend(details(holder).map(|detail| format!("    {detail}")));
        }
    }
    let told = truth.holders.len();
    let more = u64::from(truth.holder_count).saturating_sub(told as u64);
    if more > 0 {
        lines.push(format!("  and {}", words::count(more, "other")));
    }
    lines.join("\n")
}

fn details(holder: &Holder<'_>) -> impl Iterator<Item = String> {
    let orphaned = holder
        .orphaned
        .then(|| String::from("no process of the owner is connected"));
    let metadata = (!holder.metadata.is_empty()).then(|| match str::from_utf8(holder.metadata) {
        Ok(text) => format!("metadata {}", words::quote(text)),
        Err(_) => format!("metadata of {} bytes", holder.metadata.len()),
    });
    orphaned.into_iter().chain(metadata)
}
