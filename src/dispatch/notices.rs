//! What a session must be told, as pushes.
//! Knows the words of both sides and no connection: where a push goes, its shard says.

use tenure_engine::{Notice, Place, SessionId, WaitId};
use tenure_protocol::{Push, push};

use super::terms::{
    cause_to_wire, grant_to_wire, held_to_wire, session_end_to_wire, wait_end_to_wire, who_to_wire,
};
use crate::homes::Home;

pub(crate) fn push<'n>(home: Home, session: SessionId, notice: &'n Notice<&'n str>) -> Push<'n> {
    let session = home.to_wire(session.0);
    let wait_number = |wait: WaitId| home.to_wire(wait.0);
    match notice {
        Notice::Granted { wait, holds } => Push::LockGranted(push::Granted {
            session,
            wait: wait_number(*wait),
            holds: holds.iter().map(held_to_wire).collect(),
        }),
        Notice::Lost { path, token, cause } => Push::LockLost(push::Lost {
            session,
            path,
            token: token.0,
            cause: cause_to_wire(cause),
        }),
        Notice::Changed { path, grant } => Push::LockChanged(push::Changed {
            session,
            path,
            grant: grant_to_wire(grant),
        }),
        Notice::Asked {
            path,
            wait,
            who,
            note,
        } => Push::LockAsked(push::Asked {
            session,
            path,
            wait: wait_number(*wait),
            who: who_to_wire(who),
            note,
        }),
        Notice::Declined { wait, path, who } => Push::LockDeclined(push::Declined {
            session,
            wait: wait_number(*wait),
            path,
            who: who_to_wire(who),
        }),
        Notice::WaitEnded { wait, why } => Push::LockWaitEnded(push::WaitEnded {
            session,
            wait: wait_number(*wait),
            why: wait_end_to_wire(*why),
        }),
        Notice::Moved => Push::SessionMoved(push::Moved { session }),
        Notice::Closed { why } => Push::SessionClosed(push::Closed {
            session,
            why: session_end_to_wire(*why),
        }),
    }
}

pub(crate) fn place(home: Home, place: &Place) -> Push<'static> {
    Push::LockPlace(push::Place {
        session: home.to_wire(place.to.session.0),
        wait: home.to_wire(place.wait.0),
        place: place.place,
    })
}
