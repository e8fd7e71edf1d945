//! `tenure who`: who is at a path, or at all below one, page after page, as it comes.
//! Each page is true at its own moment.

use std::time::SystemTime;

use tenure_protocol::{Filter, PathViewers, Reply, Request, Viewer, request};

use super::output::Output;
use super::table::Table;
use super::wire::Wire;
use super::{Exit, Shared, happening, words};

/// Viewers in one page: as many as the server gives.
const PAGE: u32 = 256;

/// Say who is where: who has a document open, and what they do
///
/// By path. The first hundred of a path are named, of the others their number is told.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = AFTER_HELP)]
pub(super) struct Who {
    /// The tenant
    org: String,

    /// Where: a path, everything below one (ticket/**), or everything (**)
    #[arg(value_name = "PATH", default_value = "**", value_parser = happening::filter)]
    filter: String,
}

const AFTER_HELP: &str = "\
Examples:
  tenure who acme chat/42
  tenure who acme 'ticket/**'
  tenure who acme chat/42 --json | jq -r '.viewers[].owner'

TABS is how many sessions of the owner are there: browser tabs, devices.
To see it change there is tenure watch --presence.
--json has one object for each path, as in the answer to presence.list.
Exit status: 0 somebody is there, 1 nobody is, 2 trouble";

impl Who {
    pub(super) async fn run(self, shared: &Shared) -> anyhow::Result<Exit> {
        let mut wire = Wire::connect(shared).await?;
        let mut output = Output::new(shared);
        let mut table = Table::new(["PATH", "OWNER", "DOES", "FOR", "TABS"]);
        let (mut count, mut cursor) = (0, None);
        loop {
            let answer = wire.ask(&self.request(cursor.as_deref())?).await?;
            let Reply::PresenceList(page) = answer.reply()? else {
                return Err(answer.unexpected());
            };
            count += page.paths.iter().map(|of| u64::from(of.total)).sum::<u64>();
            if output.is_json() {
                for of in &page.paths {
                    output.object(of)?;
                }
                output.flush()?;
            } else {
                let rows: Vec<_> = page.paths.iter().flat_map(rows).collect();
                table.write(&mut output, &rows)?;
            }
            match page.next {
                Some(next) => cursor = Some(String::from(next)),
                None => break,
            }
        }
        if output.is_watched() || (count == 0 && !output.is_json()) {
            output.line(&words::count(count, "viewer"))?;
            output.flush()?;
        }
        Ok(Exit::from(count > 0))
    }

    fn request<'a>(&'a self, cursor: Option<&'a str>) -> anyhow::Result<Request<'a>> {
        Ok(Request::PresenceList(request::ListViewers {
            org: &self.org,
            filter: Filter::parse(&self.filter)?,
            cursor,
            page: PAGE,
        }))
    }
}

fn rows(of: &PathViewers<'_>) -> impl Iterator<Item = [String; 5]> {
    let listed = of.viewers.iter().map(|viewer| row(of.path, viewer));
    let more = u64::from(of.total).saturating_sub(of.viewers.len() as u64);
    let others = (more > 0).then(|| {
        let others = format!("and {}", words::count(more, "other"));
        [
            String::from(of.path),
            others,
            String::new(),
            String::new(),
            String::new(),
        ]
    });
    listed.chain(others)
}

fn row(path: &str, viewer: &Viewer<'_>) -> [String; 5] {
    let since = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(viewer.since_ms);
    // Two clocks: who seems to come from the future has just come.
    let here = since.elapsed().unwrap_or_default();
    [
        String::from(path),
        words::person(viewer.owner, viewer.name),
        String::from(viewer.activity.name()),
        words::span(super::duration::ms(here)),
        viewer.sittings.to_string(),
    ]
}
