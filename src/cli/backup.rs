//! `tenure backup`: a copy of a data directory, also of one that a server uses.
//! Reads files and speaks with no server.

use std::path::PathBuf;

use serde::Serialize;
use tenure::config::DATA;
use tenure::journal::{self, JournalError};

use super::output::Output;
use super::{Exit, Shared, words};

/// Copy what a server has kept, while it runs or not
///
/// Everything that was on disk when the copy began is in it. The copy is a data directory: to restore
/// it, stop the server, put it in the place of the other, and start. Tokens rise over that too.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = AFTER_HELP)]
pub(super) struct Backup {
    /// Where to: a folder that is empty, or not there
    #[arg(value_name = "DIR")]
    to: PathBuf,

    /// The data directory
    #[arg(long, env = "TENURE_DATA", value_name = "DIR", default_value = DATA)]
    data: PathBuf,
}

const AFTER_HELP: &str = "\
Examples:
  tenure backup /backup/tenure-$(date +%F)
  tenure backup /backup/now --data /var/lib/tenure && tenure journal verify /backup/now
  tenure serve --data /backup/now
      restored

It reads files, so it runs where the server does, as its user. What it has written has been read back when it ends.
Exit status: 0 copied, 2 trouble";

/// The answer for programs.
#[derive(Serialize)]
struct Copied {
    files: usize,
    bytes: u64,
    records: u64,
}

impl Backup {
    pub(super) fn run(self, shared: &Shared) -> anyhow::Result<Exit> {
        let copied = journal::backup(&self.data, &self.to).map_err(remedied)?;
        let mut output = Output::new(shared);
        let (files, bytes) = (copied.files, copied.bytes);
        let records = copied.progress.records;
        if output.is_json() {
            output.object(&Copied {
                files,
                bytes,
                records,
            })?;
        } else {
            let files = words::count(files as u64, "file");
            let to = self.to.display();
            output.line(&format!(
                "{files} of {bytes} bytes copied to {to}; a start replays {records} records"
            ))?;
        }
        output.flush()?;
        Ok(Exit::Yes)
    }
}

/// The journal does not know how it was told which directory to copy.
fn remedied(error: JournalError) -> anyhow::Error {
    let is_elsewhere = matches!(error, JournalError::NoDirectory { .. });
    let error = anyhow::Error::new(error);
    if is_elsewhere {
        anyhow::anyhow!("{error}; name the one that the server has: --data DIR, or TENURE_DATA")
    } else {
        error
    }
}
