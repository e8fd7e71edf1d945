//! What has happened in an org, as its stream tells it.
//! Knows the words of both sides; where an event goes, `streams/` says.

use tenure_engine::{What, Who};
use tenure_protocol as wire;
use tenure_protocol::Event;

use super::terms::{cause_to_wire, mode_to_wire, wait_end_to_wire};
use crate::homes::Home;

/// The event, unless it is one of sessions: those have no path, and no stream tells them.
pub(crate) fn event<'w>(home: Home, what: &'w What<&'w str>) -> Option<Event<'w>> {
    Some(match what {
        What::Granted {
            path,
            who,
            mode,
            token,
            waited,
        } => Event::LockGranted {
            path,
            who: who_to_wire(who),
            mode: mode_to_wire(*mode),
            token: token.0,
            waited_ms: waited.0,
        },
        What::Converted {
            path,
            who,
            mode,
            token,
        } => Event::LockConverted {
            path,
            who: who_to_wire(who),
            mode: mode_to_wire(*mode),
            token: token.0,
        },
        What::Ended {
            path,
            who,
            token,
            cause,
            held,
        } => Event::LockEnded {
            path,
            who: who_to_wire(who),
            token: token.0,
            cause: cause_to_wire(cause),
            held_ms: held.0,
        },
        What::Orphaned { path, who, token } => Event::LockOrphaned {
            path,
            who: who_to_wire(who),
            token: token.0,
        },
        What::Adopted { path, who, token } => Event::LockAdopted {
            path,
            who: who_to_wire(who),
            token: token.0,
        },
        What::Queued { paths, who, wait } => Event::LockQueued {
            paths: paths.clone(),
            who: who_to_wire(who),
            wait: home.to_wire(wait.0),
        },
        What::WaitEnded {
            paths,
            who,
            wait,
            why,
        } => Event::LockWaitEnded {
            paths: paths.clone(),
            who: who_to_wire(who),
            wait: home.to_wire(wait.0),
            why: wait_end_to_wire(*why),
        },
        What::SessionOpened { .. }
        | What::SessionDetached { .. }
        | What::SessionResumed { .. }
        | What::SessionEnded { .. } => return None,
    })
}

const fn who_to_wire<'w>(who: &Who<&'w str>) -> wire::Who<'w> {
    wire::Who {
        owner: who.owner,
        name: who.name,
    }
}
