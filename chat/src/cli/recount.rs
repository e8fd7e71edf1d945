//! `tenure-chat recount`: counts again what is unread, and puts right what was wrong.

use clap::Args;

use super::database::Database;

/// Whose counters.
#[derive(Debug, Args)]
pub(super) struct Recount {
    /// The organisation.
    org: String,
    /// One person of it alone.
    #[arg(long)]
    person: Option<String>,
    #[command(flatten)]
    database: Database,
}

pub(super) fn run(recount: &Recount) -> anyhow::Result<()> {
    let recounted = recount.database.with(async |store| {
        Ok(store
            .recount(&recount.org, recount.person.as_deref())
            .await?)
    })?;
    super::answer(&format!(
        "{} counters, {} wrong, by {} in all",
        recounted.counters, recounted.wrong, recounted.drift
    ));
    Ok(())
}
