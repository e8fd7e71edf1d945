//! Privileged acts, in the log: who did what to whom, and why. One line each, under the target `audit`.
//!
//! Looks at commands and their answers and knows no lock rule. What is refused, or changed nothing, leaves no line.

use tenure_engine::{Command, Reply};

/// Logs an act that was privileged and has been done.
pub(crate) fn log(command: &Command<'_>, reply: &Reply) {
    match (command, reply) {
        (Command::ForceRelease(force), Reply::Forced { ended, .. }) => {
            for hold in ended {
                tracing::info!(
                    target: "audit",
                    act = "force_release",
                    principal = force.principal,
                    org = force.org,
                    path = &*hold.path,
                    owner = &*hold.owner,
                    token = hold.token.0,
                    reason = force.reason,
                );
            }
        }
        (Command::Acquire(acquire), Reply::Granted(grant)) => {
            if let Some(seize) = &acquire.seize {
                tracing::info!(
                    target: "audit",
                    act = "seize",
                    principal = seize.principal,
                    path = acquire.path,
                    session = acquire.by.session.0,
                    token = grant.token.0,
                    reason = seize.reason,
                );
            }
        }
        (
            Command::Configure {
                scope,
                layer,
                principal,
            },
            Reply::Done,
        ) => {
            tracing::info!(target: "audit", act = "policy", principal, ?scope, ?layer);
        }
        _ => {}
    }
}
