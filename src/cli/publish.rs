//! `tenure publish`: puts an event into an org's stream, and says where it is.
//! Needs no session: nobody's typing ends with it.

use std::io::Read as _;

use anyhow::Context as _;
use tenure_protocol::{Reply, Request, limits, request};

use super::output::Output;
use super::wire::Wire;
use super::{Exit, Shared, words};

/// Tell whoever listens that something has happened
///
/// Subscribers of the path hear of it, in one order with what happens to its locks. It is kept for some minutes, in memory.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = AFTER_HELP)]
pub(super) struct Publish {
    /// The tenant
    org: String,

    /// Where: segments with / between them, such as chat/42; nobody has to hold or to have made it
    path: String,

    /// What has happened: letters, digits, dots, underscores and hyphens
    #[arg(value_name = "EVENT")]
    event: String,

    /// What goes with it: JSON as a rule, any text will do; - reads it from stdin; at most 65536 bytes
    #[arg(value_name = "JSON", default_value = "", hide_default_value = true)]
    payload: String,

    /// Do not publish if the stream has an event with this id already: makes it safe to call again
    #[arg(long, value_name = "ID")]
    id: Option<String>,
}

const AFTER_HELP: &str = "\
Examples:
  tenure publish acme chat/42 message.new '{\"seq\":12}' --id 0192f0c1
  tenure publish acme site refresh
  make-report | tenure publish acme report/7 done -

The position that it tells can be given to tenure watch --since.
--json has the answer to stream.publish.
Exit status: 0 published, or there already, 2 trouble";

impl Publish {
    pub(super) async fn run(self, shared: &Shared) -> anyhow::Result<Exit> {
        let Self { org, path, .. } = &self;
        let payload = match &*self.payload {
            "-" => from_stdin()?,
            payload => payload.as_bytes().to_vec(),
        };
        let mut wire = Wire::connect(shared).await?;
        let answer = wire
            .ask(&Request::StreamPublish(request::Publish {
                org,
                path,
                event: &self.event,
                payload: &payload,
                event_id: self.id.as_deref(),
                session: None,
            }))
            .await?;
        let Reply::StreamPublish(published) = answer.reply()? else {
            return Err(answer.unexpected());
        };
        Output::new(shared).answer(&published, |paint| {
            let (epoch, offset) = (published.position.epoch, published.position.offset);
            let listeners = words::count(u64::from(published.listeners), "listener");
            if published.repeated {
                paint.yes(&format!("was there already, at {epoch}:{offset}"))
            } else {
                paint.yes(&format!("published at {epoch}:{offset}, to {listeners}"))
            }
        })?;
        Ok(Exit::Yes)
    }
}

/// One byte more than may be, so that too much is told as such.
fn from_stdin() -> anyhow::Result<Vec<u8>> {
    let most = limits::PAYLOAD.max as u64 + 1;
    let mut payload = Vec::new();
    std::io::stdin()
        .take(most)
        .read_to_end(&mut payload)
        .context("cannot read stdin")?;
    Ok(payload)
}
