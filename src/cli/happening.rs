//! What happens in an org, in plain words and in the words and the JSON of the wire.
//!
//! As `told.rs`: the client has types of its own, and what `--json` promises are the names of `docs/protocol.md`. Decides
//! nothing.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tenure_client::{
    Activity, Event, Happened, LostWhy, Position, Viewer, ViewerCounts, ViewersChange, WaitEnd,
};
use tenure_protocol::{self as wire, Filter, push};

use super::duration::ms;
use super::{told, words};

/// What is said of a payload at most, for people.
const PAYLOAD_SHOWN: usize = 200;

/// One thing that happens, for programs: one object a line, `op` saying what it is.
#[derive(Serialize)]
#[serde(tag = "op")]
pub(super) enum Line<'a> {
    /// Something has happened.
    #[serde(rename = "stream.event")]
    Happened {
        org: &'a str,
        position: wire::Position,
        at_ms: u64,
        event: wire::Event<'a>,
    },
    /// Who is at a path has changed.
    #[serde(rename = "presence.changed")]
    Changed(push::ViewersChanged<'a>),
    /// Nothing was missed.
    #[serde(rename = "stream.recovered")]
    Recovered { position: wire::Position },
    /// Something was missed.
    #[serde(rename = "stream.lost")]
    Lost {
        why: &'static str,
        position: wire::Position,
    },
    /// Changes of presence were missed.
    #[serde(rename = "presence.lost")]
    PresenceLost {},
}

impl<'a> Line<'a> {
    /// Nothing for what has no name on the wire.
    pub(super) fn happened(org: &'a str, happened: &'a Happened) -> Option<Self> {
        Some(Self::Happened {
            org,
            position: position(happened.position),
            at_ms: unix_ms(happened.at),
            event: event(&happened.event)?,
        })
    }

    pub(super) fn changed(org: &'a str, change: &'a ViewersChange) -> Self {
        Self::Changed(push::ViewersChanged {
            org,
            version: change.version,
            path: &change.path,
            total: change.total,
            counts: counts(change.counts),
            up: change.up.iter().map(viewer).collect(),
            gone: change.gone.iter().map(String::as_str).collect(),
        })
    }

    pub(super) const fn recovered(at: Position) -> Self {
        Self::Recovered {
            position: position(at),
        }
    }

    pub(super) const fn lost(why: LostWhy, at: Position) -> Self {
        Self::Lost {
            why: why.name(),
            position: position(at),
        }
    }
}

/// A filter on the command line.
pub(super) fn filter(text: &str) -> Result<String, String> {
    Filter::parse(text)
        .map(|filter| filter.as_str().to_owned())
        .map_err(|fault| fault.to_string())
}

/// A position on the command line.
pub(super) fn parse_position(text: &str) -> Result<Position, String> {
    text.parse().map_err(|_| {
        String::from(
            "expected EPOCH:OFFSET, such as 46116860:229, as told by an earlier watch or publish",
        )
    })
}

/// `15:57:02Z`: on a line that is read as it comes the day is known.
pub(super) fn time(at: SystemTime) -> String {
    let at = humantime::format_rfc3339_seconds(at).to_string();
    let time = at.split_once('T').map(|(_, time)| time.to_owned());
    time.unwrap_or(at)
}

/// What has happened, without where.
pub(super) fn in_words(event: &Event) -> String {
    match event {
        Event::LockGranted {
            who,
            mode,
            token,
            waited,
            ..
        } => {
            let who = person(who);
            let waited = match ms(*waited) {
                0 => String::new(),
                waited => format!(" after {}", words::span(waited)),
            };
            format!("granted to {who}{waited}, {mode}, token {token}")
        }
        Event::LockConverted {
            who, mode, token, ..
        } => format!("{} has it {mode} now, token {token}", person(who)),
        Event::LockEnded {
            who,
            loss,
            held_for,
        } => {
            let (why, held) = (told::loss_in_words(loss), words::span(ms(*held_for)));
            format!("{} had it for {held}: {why}", person(who))
        }
        Event::LockOrphaned { who, .. } => {
            format!(
                "{} has lost the connection, and holds it still",
                person(who)
            )
        }
        Event::LockAdopted { who, .. } => format!("{} is connected again", person(who)),
        Event::LockQueued { who, .. } => format!("{} waits for it", person(who)),
        Event::LockWaitEnded { who, why, .. } => {
            format!("{} no longer waits: {}", person(who), wait_end(*why))
        }
        Event::Published { event, payload, .. } => published(event, payload),
        _ => String::from(event.name()),
    }
}

/// Who comes, does something and leaves, without where.
pub(super) fn change_in_words(change: &ViewersChange) -> String {
    let up = change.up.iter().map(|viewer| {
        let who = words::person(&viewer.owner, &viewer.name);
        format!("{who} is {}", viewer.activity)
    });
    let gone = change.gone.iter().map(|owner| format!("{owner} has left"));
    let changes: Vec<_> = up.chain(gone).collect();
    let here = words::number(u64::from(change.total));
    format!("{} ({here} here)", changes.join(", "))
}

fn person(who: &tenure_client::Who) -> String {
    words::person(&who.owner, &who.name)
}

fn wait_end(why: WaitEnd) -> String {
    match why {
        WaitEnd::TimedOut => String::from("waited in vain"),
        WaitEnd::Cancelled => String::from("gave up"),
        WaitEnd::Refused(reason) => format!("refused ({})", reason.name()),
        WaitEnd::SessionEnded | WaitEnd::Detached => String::from("the session ended"),
        WaitEnd::TooManyHolds | _ => String::from("a limit on holds was reached"),
    }
}

fn published(event: &str, payload: &[u8]) -> String {
    match str::from_utf8(payload) {
        Ok("") => String::from(event),
        Ok(text) => {
            let shown: String = text.chars().take(PAYLOAD_SHOWN).collect();
            let more = if shown.len() < text.len() { " ..." } else { "" };
            format!("{event} {}{more}", words::quote(&shown))
        }
        Err(_) => format!("{event} with {} bytes", payload.len()),
    }
}

fn event(event: &Event) -> Option<wire::Event<'_>> {
    Some(match event {
        Event::LockGranted {
            path,
            who,
            mode,
            token,
            waited,
        } => wire::Event::LockGranted {
            path,
            who: wire_who(who),
            mode: told::mode(*mode),
            token: *token,
            waited_ms: ms(*waited),
        },
        Event::LockConverted {
            path,
            who,
            mode,
            token,
        } => wire::Event::LockConverted {
            path,
            who: wire_who(who),
            mode: told::mode(*mode),
            token: *token,
        },
        Event::LockEnded {
            who,
            loss,
            held_for,
        } => wire::Event::LockEnded {
            path: &loss.path,
            who: wire_who(who),
            token: loss.token,
            cause: told::cause(loss)?,
            held_ms: ms(*held_for),
        },
        Event::LockOrphaned { path, who, token } => wire::Event::LockOrphaned {
            path,
            who: wire_who(who),
            token: *token,
        },
        Event::LockAdopted { path, who, token } => wire::Event::LockAdopted {
            path,
            who: wire_who(who),
            token: *token,
        },
        Event::LockQueued { paths, who, wait } => wire::Event::LockQueued {
            paths: paths.iter().map(String::as_str).collect(),
            who: wire_who(who),
            wait: *wait,
        },
        Event::LockWaitEnded {
            paths,
            who,
            wait,
            why,
        } => wire::Event::LockWaitEnded {
            paths: paths.iter().map(String::as_str).collect(),
            who: wire_who(who),
            wait: *wait,
            why: wire_wait_end(*why)?,
        },
        Event::Published {
            path,
            event,
            payload,
            id,
        } => wire::Event::Published {
            path,
            event,
            payload,
            event_id: id.as_deref(),
        },
        _ => return None,
    })
}

fn wire_wait_end(why: WaitEnd) -> Option<wire::WaitEnd> {
    Some(match why {
        WaitEnd::TimedOut => wire::WaitEnd::TimedOut,
        WaitEnd::Cancelled => wire::WaitEnd::Cancelled,
        WaitEnd::Refused(reason) => wire::WaitEnd::Refused {
            reason: told::reason(reason)?,
        },
        WaitEnd::SessionEnded => wire::WaitEnd::SessionEnded,
        WaitEnd::Detached => wire::WaitEnd::Detached,
        WaitEnd::TooManyHolds => wire::WaitEnd::TooManyHolds,
        _ => return None,
    })
}

const fn position(position: Position) -> wire::Position {
    wire::Position {
        epoch: position.epoch,
        offset: position.offset,
    }
}

fn wire_who(who: &tenure_client::Who) -> wire::Who<'_> {
    wire::Who {
        owner: &who.owner,
        name: &who.name,
    }
}

fn viewer(viewer: &Viewer) -> wire::Viewer<'_> {
    wire::Viewer {
        owner: &viewer.owner,
        name: &viewer.name,
        activity: match viewer.activity {
            Activity::Idle => wire::Activity::Idle,
            Activity::Typing => wire::Activity::Typing,
            Activity::Editing => wire::Activity::Editing,
            Activity::Viewing | _ => wire::Activity::Viewing,
        },
        internal: viewer.internal,
        since_ms: unix_ms(viewer.since),
        sittings: viewer.sittings,
        metadata: &viewer.metadata,
    }
}

const fn counts(counts: ViewerCounts) -> wire::Counts {
    wire::Counts {
        viewing: counts.viewing,
        idle: counts.idle,
        typing: counts.typing,
        editing: counts.editing,
    }
}

fn unix_ms(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, ms)
}
