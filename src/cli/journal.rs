//! `tenure journal`: whether a data directory is whole, and what is in one of its files.
//!
//! Reads as a start of the server would, and changes nothing; needs no server.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use serde::Serialize;
use tenure::journal::{self, Damage, Inspected, InspectedRecord, JournalError, Report, Tail};

use super::output::Output;
use super::{Exit, Shared};

/// Look at what a server has kept on disk
///
/// Reads as a start would, and changes nothing. A server may run meanwhile.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Journal {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Verify(Verify),
    Inspect(Inspect),
}

/// Say whether a server could start from a data directory
///
/// Reads the snapshots and replays every record since. Of a directory that a server uses it reads what
/// there is at this moment, and says how far that goes; what is written from then on is not looked at.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = AFTER_HELP_OF_VERIFY)]
struct Verify {
    /// The data directory
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

const AFTER_HELP_OF_VERIFY: &str = "\
Examples:
  tenure journal verify ./tenure-data
  tenure journal verify /backup/tenure --json | jq .shards

An end that a crash has torn is no damage: a start cuts it, and nothing in it was ever acknowledged. Equal digests are
equal states.
--json has sound, and what was read: in_use, and written_up_to with file, offset and records, of a directory that a
server uses; or file, offset and what of the damage.
Exit status: 0 it is whole, 1 it is damaged, 2 trouble";

/// Show the records of a segment, or the head of a snapshot
///
/// One line for each command, with the shard and the time. Secrets of sessions are left out.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = AFTER_HELP_OF_INSPECT)]
struct Inspect {
    /// A file of a data directory
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

const AFTER_HELP_OF_INSPECT: &str = "\
Examples:
  tenure journal inspect ./tenure-data/journal-000000000001
  tenure journal inspect ./tenure-data/journal-000000000001 --json | jq 'select(.shard == 3)'

SEQUENCE counts the records of all shards, NUMBER those of one; AT is log time in milliseconds.
--json has the head, one object for each record, and what comes after the last one.
Exit status: 0 shown, 1 shown as far as it is not damaged, 2 trouble";

impl Journal {
    pub(super) fn run(self, shared: &Shared) -> anyhow::Result<Exit> {
        let mut output = Output::new(shared);
        match self.what {
            What::Verify(verify) => verify.run(&mut output),
            What::Inspect(inspect) => inspect.run(&mut output),
        }
    }
}

/// The answer to `verify`, for programs.
#[derive(Serialize)]
struct Sound<'a> {
    sound: bool,
    shards: Vec<SoundShard>,
    segments: usize,
    snapshots: usize,
    records: u64,
    bytes: u64,
    log_time_ms: u64,
    torn: Option<Torn<'a>>,
    in_use: bool,
    written_up_to: Option<UpTo<'a>>,
}

/// How far a server had got that goes on.
#[derive(Serialize)]
struct UpTo<'a> {
    file: &'a str,
    offset: u64,
    records: u64,
}

#[derive(Serialize)]
struct SoundShard {
    next_record: u64,
    tokens_below: u64,
    digest: String,
}

#[derive(Serialize)]
struct Torn<'a> {
    file: &'a str,
    offset: u64,
    bytes: u64,
}

/// Where something is damaged, for programs.
#[derive(Serialize)]
struct Damaged<'a> {
    sound: bool,
    file: &'a str,
    offset: u64,
    what: &'a str,
}

impl<'a> Damaged<'a> {
    fn of(damage: &'a Damage) -> Self {
        Self {
            sound: false,
            file: &damage.file,
            offset: damage.offset,
            what: &damage.what,
        }
    }
}

impl Verify {
    fn run(self, output: &mut Output) -> anyhow::Result<Exit> {
        match journal::verify(&self.directory, |_| {}) {
            Ok(report) => {
                output.answer(&Sound::of(&report), |paint| {
                    let mut sound = format!("{} is whole", self.directory.display());
                    if report.is_in_use {
                        sound += ", as far as the server that uses it had written it";
                    }
                    format!("{}\n{}", paint.yes(&sound), told(&report))
                })?;
                Ok(Exit::Yes)
            }
            Err(JournalError::Damaged(damage)) => {
                output.answer(&Damaged::of(&damage), |paint| paint.no(&damage.to_string()))?;
                Ok(Exit::No)
            }
            Err(error) => {
                Err(error).with_context(|| format!("cannot verify {}", self.directory.display()))
            }
        }
    }
}

impl<'a> Sound<'a> {
    fn of(report: &'a Report) -> Self {
        let shard = |shard: &journal::ShardReport| SoundShard {
            next_record: shard.number,
            tokens_below: shard.tokens_below,
            digest: format!("{:016x}", shard.digest),
        };
        let torn = report.torn.as_ref().map(|torn| Torn {
            file: &torn.file,
            offset: torn.offset,
            bytes: torn.bytes,
        });
        Self {
            sound: true,
            shards: report.shards.iter().map(shard).collect(),
            segments: report.segments,
            snapshots: report.snapshots,
            records: report.progress.records,
            bytes: report.progress.bytes,
            log_time_ms: report.log_time,
            torn,
            in_use: report.is_in_use,
            written_up_to: report.written_up_to.as_ref().map(|written| UpTo {
                file: &written.file,
                offset: written.offset,
                records: written.records,
            }),
        }
    }
}

fn told(report: &Report) -> String {
    let mut text = format!(
        "{} shards, {} snapshots, {} segments; {} records to replay, {} bytes",
        report.shards.len(),
        report.snapshots,
        report.segments,
        report.progress.records,
        report.progress.bytes,
    );
    if let Some(written) = &report.written_up_to {
        let (file, offset, records) = (&written.file, written.offset, written.records);
        text += &format!(
            "\nread up to byte {offset} of {file}, which was record {records} of the journal; the server goes on from there"
        );
    }
    if let Some(torn) = &report.torn {
        let (file, offset, bytes) = (&torn.file, torn.offset, torn.bytes);
        text += &format!(
            "\na start cuts {bytes} bytes of a write that did not end, from byte {offset} of {file}"
        );
    }
    text
}

/// One record, for programs.
#[derive(Serialize)]
struct Shown<'a> {
    offset: u64,
    sequence: u64,
    shard: u32,
    number: u64,
    at_ms: u64,
    wall_ms: u64,
    commands: &'a [String],
}

impl Inspect {
    fn run(self, output: &mut Output) -> anyhow::Result<Exit> {
        let file = self.file.display();
        match journal::inspect(&self.file) {
            Ok(Inspected::Snapshot { head, bytes }) => {
                let json = serde_json::json!({
                    "kind": "snapshot", "shard": head.shard, "shards": head.shards, "segment": head.segment,
                    "number": head.number, "next": head.next, "at_ms": head.at, "tokens_below": head.tokens_below,
                    "behaviour": head.behaviour, "binary": head.binary, "bytes": bytes,
                });
                output.answer(&json, |_| {
                    format!(
                        "{file}: shard {} of {} before its record {}, {bytes} bytes, by tenure {}",
                        head.shard, head.shards, head.number, head.binary,
                    )
                })?;
                Ok(Exit::Yes)
            }
            Ok(Inspected::Segment {
                head,
                records,
                end,
                tail,
            }) => {
                let json = serde_json::json!({
                    "kind": "segment", "index": head.index, "shards": head.shards, "behaviour": head.behaviour,
                    "binary": head.binary, "records": records.len(),
                });
                output.answer(&json, |paint| {
                    let (index, binary) = (head.index, head.binary);
                    let count = records.len();
                    let heading = "OFFSET SEQUENCE SHARD NUMBER AT COMMAND";
                    let about = format!("segment {index}, {count} records, by tenure {binary}");
                    format!("{file}: {about}\n{}", paint.heading(heading))
                })?;
                for record in &records {
                    show(record, output)?;
                }
                show_tail(end, &tail, output)
            }
            Err(JournalError::Damaged(damage)) => {
                output.answer(&Damaged::of(&damage), |paint| paint.no(&damage.to_string()))?;
                Ok(Exit::No)
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn show(record: &InspectedRecord, output: &mut Output) -> anyhow::Result<()> {
    if output.is_json() {
        return output.object(&Shown {
            offset: record.offset,
            sequence: record.sequence,
            shard: record.shard,
            number: record.number,
            at_ms: record.at,
            wall_ms: record.wall,
            commands: &record.commands,
        });
    }
    let (offset, sequence, at) = (record.offset, record.sequence, record.at);
    let place = format!(
        "{offset} {sequence} {} {} {at}",
        record.shard, record.number
    );
    if record.commands.is_empty() {
        return output.line(&format!("{place} (the time)"));
    }
    for command in &record.commands {
        output.line(&format!("{place} {command}"))?;
    }
    Ok(())
}

fn show_tail(end: u64, tail: &Tail, output: &mut Output) -> anyhow::Result<Exit> {
    let (torn, damage) = match tail {
        Tail::Clean => (0, None),
        Tail::Torn(bytes) => (*bytes, None),
        Tail::Damaged(damage) => (0, Some(damage)),
    };
    let json = serde_json::json!({
        "end": end, "torn_bytes": torn, "damage": damage.map(Damaged::of),
    });
    output.answer(&json, |paint| match (damage, torn) {
        (Some(damage), _) => paint.no(&damage.to_string()),
        (None, 0) => format!("the records end at byte {end}"),
        (None, torn) => format!(
            "the records end at byte {end}; {torn} bytes of a write that did not end follow"
        ),
    })?;
    Ok(Exit::from(damage.is_none()))
}
