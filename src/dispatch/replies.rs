//! Answers of the engine, as replies on the wire. What the engine rejects is an error there, with a code.
//!
//! Several requests are answered by the same word of the engine (`Granted`): which reply that is, the request decides.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "each word of the engine answers a few kinds of requests; the last arm is the commonest of them"
)]

use std::mem::{ManuallyDrop, needs_drop};

use bytes::BytesMut;
use tenure_engine::{Answer, Missed, NotHeld, Rejection, Released, Reply as EngineReply, Resumed};
use tenure_protocol::reply::SessionRenewal;
use tenure_protocol::{
    EndedHold, ErrorCode, Grant, ListedHold, Loss, Position, RefusedItem, Reply, RequestKind,
    ResumeKey, Truth, Waiting, limits, reply,
};

use super::Item;
use super::terms::{
    cause_to_wire, grant_to_wire, held_to_wire, holder_to_wire, layer_to_wire, mode_to_wire,
    on_disconnect_to_wire, policy_to_wire, refusal_to_wire, role_to_wire, truth_to_wire,
    wait_end_to_wire,
};
use crate::homes::Home;

/// Which request is answered, and by which shard.
pub(crate) struct Answering {
    pub(crate) home: Home,
    pub(crate) id: u64,
}

impl Answering {
    fn number(&self, number: u64) -> u64 {
        self.home.to_wire(number)
    }
}

/// Appends the answer to a command.
pub(crate) fn reply(
    answering: &Answering,
    item: &Item<'_>,
    answer: &EngineReply,
    out: &mut BytesMut,
) {
    let id = answering.id;
    match (answer, item.kind) {
        // Nearly all answers are one of these two, and own nothing that would have to be looked for.
        (EngineReply::Granted(grant), RequestKind::LockAcquire) => {
            const { assert!(!needs_drop::<Grant>()) };
            let grant = grant_to_wire(grant);
            let granted = Reply::LockAcquire(reply::Acquire::Granted { grant });
            ManuallyDrop::new(granted).encode_in_line(id, out)
        }
        (EngineReply::Released(Released::Ended), _) => {
            let ended = Reply::LockRelease(reply::Release::Ended);
            ManuallyDrop::new(ended).encode_in_line(id, out)
        }
        (EngineReply::Rejected(rejection), _) => {
            error(id, code(*rejection), advice(*rejection), out)
        }
        _ => to_wire(answering, item, answer).encode(id, out),
    };
}

/// Appends an error.
pub(crate) fn error(id: u64, code: ErrorCode, message: &str, out: &mut BytesMut) -> usize {
    reply::Error {
        code: code.into(),
        message,
        field: None,
    }
    .encode(id, out)
}

/// Appends the answer to a query; a page with where the org's stream stands. A page may also be the answer to a dry run:
/// told as what would be ended.
pub(crate) fn answer(
    answering: &Answering,
    kind: RequestKind,
    answer: &Answer,
    position: Option<Position>,
    out: &mut BytesMut,
) {
    let reply = match answer {
        Answer::Page { holds, next } if kind == RequestKind::LockForceRelease => {
            let ended = holds.iter().map(|hold| EndedHold {
                path: &hold.path,
                owner: &hold.holder.owner,
                name: &hold.holder.name,
                token: hold.token.0,
            });
            Reply::LockForceRelease(reply::Forced {
                ended: ended.collect(),
                next: next.as_deref(),
            })
        }
        Answer::Status(truth) => Reply::LockStatus(reply::Status {
            truth: truth_to_wire(truth),
        }),
        Answer::Checked { current, token } => Reply::LockCheck(reply::Checked {
            current: *current,
            token: token.map(|token| token.0),
        }),
        Answer::Page { holds, next } => Reply::LockList(reply::Page {
            holds: holds
                .iter()
                .map(|hold| ListedHold {
                    path: &hold.path,
                    mode: mode_to_wire(hold.mode),
                    token: hold.token.0,
                    holder: holder_to_wire(&hold.holder),
                    waiters: hold.waiters,
                })
                .collect(),
            next: next.as_deref(),
            position,
        }),
        Answer::Policy { policy, layer } => Reply::PolicyGet(reply::PolicyInForce {
            policy: policy_to_wire(policy),
            layer: layer_to_wire(layer),
        }),
        Answer::Places(_) | Answer::Counts(_) => {
            unreachable!("no request asks for places or counts")
        }
    };
    reply.encode(answering.id, out);
}

/// How the renewal of one session went.
pub(crate) fn renewal(answer: &EngineReply) -> SessionRenewal {
    match answer {
        EngineReply::SessionRenewed { holds } => SessionRenewal::Renewed { holds: *holds },
        EngineReply::Rejected(Rejection::NotAttached) => SessionRenewal::NotAttached,
        _ => SessionRenewal::UnknownSession,
    }
}

fn to_wire<'r>(answering: &Answering, item: &Item<'_>, answer: &'r EngineReply) -> Reply<'r> {
    match answer {
        EngineReply::Done => done(item.kind),
        EngineReply::Opened {
            session,
            on_disconnect,
            ..
        } => Reply::SessionOpen(reply::Opened {
            session: answering.number(session.0),
            resume_key: item
                .resume_key
                .unwrap_or(ResumeKey([0; limits::RESUME_KEY_BYTES])),
            on_disconnect: on_disconnect_to_wire(*on_disconnect),
        }),
        EngineReply::Resumed(resumed) => Reply::SessionResume(resumed_to_wire(answering, resumed)),
        EngineReply::SessionRenewed { .. } => {
            unreachable!("the renewals of a list of sessions are answered together")
        }
        EngineReply::Granted(grant) => {
            let grant = grant_to_wire(grant);
            match item.kind {
                RequestKind::LockRenew => Reply::LockRenew(reply::Renew::Granted { grant }),
                RequestKind::LockConvert => Reply::LockConvert(reply::Convert::Granted { grant }),
                _ => Reply::LockAcquire(reply::Acquire::Granted { grant }),
            }
        }
        EngineReply::GrantedAll(grants) => Reply::LockAcquireAll(reply::AcquireAll::Granted {
            grants: grants.iter().map(grant_to_wire).collect(),
        }),
        EngineReply::Queued { wait, place } => {
            let (wait, place) = (answering.number(wait.0), *place);
            match item.kind {
                RequestKind::LockConvert => {
                    Reply::LockConvert(reply::Convert::Queued { wait, place })
                }
                RequestKind::LockAcquireAll => {
                    Reply::LockAcquireAll(reply::AcquireAll::Queued { wait, place })
                }
                _ => Reply::LockAcquire(reply::Acquire::Queued { wait, place }),
            }
        }
        EngineReply::Refused(refusal) => {
            let reason = refusal_to_wire(refusal.reason);
            let truth = truth_to_wire(&refusal.truth);
            match item.kind {
                RequestKind::LockConvert => {
                    Reply::LockConvert(reply::Convert::Refused { reason, truth })
                }
                _ => Reply::LockAcquire(reply::Acquire::Refused { reason, truth }),
            }
        }
        EngineReply::RefusedAll(items) => Reply::LockAcquireAll(reply::AcquireAll::Refused {
            items: items
                .iter()
                .map(|item| RefusedItem {
                    item: item.item,
                    reason: refusal_to_wire(item.refusal.reason),
                    truth: truth_to_wire(&item.refusal.truth),
                })
                .collect(),
        }),
        EngineReply::Released(released) => Reply::LockRelease(match released {
            Released::Ended => reply::Release::Ended,
            Released::Left => reply::Release::Left,
            Released::AlreadyExpired => reply::Release::AlreadyExpired,
        }),
        EngineReply::NotHeld(not_held) => not_held_to_wire(item.kind, not_held),
        EngineReply::Cancelled => Reply::LockCancel(reply::Cancel::Cancelled),
        EngineReply::GrantedBefore(holds) => Reply::LockCancel(reply::Cancel::Granted {
            holds: holds.iter().map(held_to_wire).collect(),
        }),
        EngineReply::HandedOver { token, owner } => {
            Reply::LockHandOver(reply::HandOver::HandedOver {
                token: token.0,
                owner,
            })
        }
        EngineReply::Forced { ended, next } => Reply::LockForceRelease(reply::Forced {
            ended: ended
                .iter()
                .map(|hold| EndedHold {
                    path: &hold.path,
                    owner: &hold.owner,
                    name: &hold.name,
                    token: hold.token.0,
                })
                .collect(),
            next: next.as_deref(),
        }),
        EngineReply::Rejected(_) => unreachable!("what is rejected is answered with an error"),
    }
}

fn done(kind: RequestKind) -> Reply<'static> {
    match kind {
        RequestKind::SessionClose => Reply::SessionClose(reply::Done {}),
        RequestKind::PolicySet => Reply::PolicySet(reply::Done {}),
        RequestKind::LockDecline => Reply::LockDecline(reply::Decline::Done),
        _ => Reply::Ping(reply::Done {}),
    }
}

fn not_held_to_wire(kind: RequestKind, not_held: &NotHeld) -> Reply<'_> {
    let lost = not_held.lost.as_ref().map(|loss| Loss {
        token: loss.token.0,
        cause: cause_to_wire(&loss.cause),
    });
    let truth: Truth<'_> = truth_to_wire(&not_held.truth);
    match kind {
        RequestKind::LockRelease => Reply::LockRelease(reply::Release::NotHeld { lost, truth }),
        RequestKind::LockConvert => Reply::LockConvert(reply::Convert::NotHeld { lost, truth }),
        RequestKind::LockHandOver => Reply::LockHandOver(reply::HandOver::NotHeld { lost, truth }),
        RequestKind::LockDecline => Reply::LockDecline(reply::Decline::NotHeld { lost, truth }),
        _ => Reply::LockRenew(reply::Renew::NotHeld { lost, truth }),
    }
}

fn resumed_to_wire<'r>(answering: &Answering, resumed: &'r Resumed) -> reply::Resumed<'r> {
    let left_out = resumed.missed.len().saturating_sub(limits::MISSED_MAX);
    reply::Resumed {
        owner: &resumed.owner,
        role: role_to_wire(resumed.role),
        on_disconnect: on_disconnect_to_wire(resumed.on_disconnect),
        holds: resumed.holds.iter().map(held_to_wire).collect(),
        waits: resumed
            .waits
            .iter()
            .map(|waiting| Waiting {
                wait: answering.number(waiting.wait.0),
                paths: waiting.paths.iter().map(|path| &**path).collect(),
                place: waiting.place,
                remaining_ms: waiting.remaining.0,
            })
            .collect(),
        missed: resumed.missed[left_out..]
            .iter()
            .map(|missed| missed_to_wire(answering, missed))
            .collect(),
        missed_left_out: u32::try_from(left_out).unwrap_or(u32::MAX),
    }
}

fn missed_to_wire<'r>(answering: &Answering, missed: &'r Missed) -> tenure_protocol::Missed<'r> {
    match missed {
        Missed::Lost { path, token, cause } => tenure_protocol::Missed::Lost {
            path,
            token: token.0,
            cause: cause_to_wire(cause),
        },
        Missed::WaitEnded { wait, why } => tenure_protocol::Missed::WaitEnded {
            wait: answering.number(wait.0),
            why: wait_end_to_wire(*why),
        },
    }
}

const fn code(rejection: Rejection) -> ErrorCode {
    match rejection {
        Rejection::UnknownSession => ErrorCode::UnknownSession,
        Rejection::NotAttached => ErrorCode::NotAttached,
        Rejection::RoleTooLow => ErrorCode::RoleTooLow,
        Rejection::UnknownWait => ErrorCode::UnknownWait,
        Rejection::NotGrantable => ErrorCode::NotGrantable,
        Rejection::BadItems | Rejection::BadLimit | Rejection::BadPolicy | Rejection::BadSeize => {
            ErrorCode::BadValue
        }
        Rejection::TooManySessions => ErrorCode::TooManySessions,
        Rejection::TooManyHolds => ErrorCode::TooManyHolds,
        Rejection::TooManySessionHolds => ErrorCode::TooManySessionHolds,
        Rejection::TooManySessionWaits => ErrorCode::TooManySessionWaits,
        Rejection::TokensExhausted => ErrorCode::TokensExhausted,
    }
}

/// What to do about it, in a sentence.
const fn advice(rejection: Rejection) -> &'static str {
    match rejection {
        Rejection::UnknownSession => {
            "no such session (any more), or another resume key; open a session anew"
        }
        Rejection::NotAttached => {
            "the session is attached to another connection, or to none; resume it here first"
        }
        Rejection::RoleTooLow => "the session's role only looks; open one as a member at least",
        Rejection::UnknownWait => "the session has no such wait (any more)",
        Rejection::NotGrantable => {
            "the waiter is detached, out of time, or kept out by other holders; hand over to another"
        }
        Rejection::BadLimit => "expected a limit of 1 at least, found 0",
        Rejection::BadPolicy => "expected a shortest TTL of 1 ms at least, found 0",
        Rejection::BadItems => "expected 1 to 16 paths, none twice",
        Rejection::BadSeize => "expected the exclusive mode and no wait of a seizure",
        Rejection::TooManySessions => {
            "the org has as many sessions as it may; close some, or ask later"
        }
        Rejection::TooManyHolds => {
            "the org has as many holds as it may; release some, or ask later"
        }
        Rejection::TooManySessionHolds => {
            "the session has as many holds as it may; release some, or open another session"
        }
        Rejection::TooManySessionWaits => {
            "the session has as many waits as it may; cancel some, or ask later"
        }
        Rejection::TokensExhausted => "all fencing tokens are used; this history is at its end",
    }
}
