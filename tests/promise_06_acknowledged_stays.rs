//! Promise 6: what was acknowledged stays, through the death of the server: locks, who waits for them, sessions, policies.
//!
//! Each test kills a server of its own with SIGKILL, or stops it, and starts another on the same directory. What a loss of
//! power leaves is in `tests/journal/`, since a killed process loses nothing that was written.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a panic in a test is its message, also about what it does not expect"
)]

mod support;

use std::path::Path;

use support::{Client, Process, exclusive, waiting};
use tempfile::TempDir;
use tenure_protocol::{PolicyLayer, Reply, Request, request};

const ORG: &str = "acme";
const PATH: &str = "doc/1";

fn serve(data: &Path) -> Process {
    Process::start(&["--data", data.to_str().unwrap(), "--shards", "4"])
}

#[tokio::test]
async fn locks_waits_sessions_and_policies_are_there_after_a_kill_and_after_a_stop() {
    let data = TempDir::new().unwrap();
    let mut server = serve(data.path());
    let mut anna = Client::introduced(server.addr).await;
    let mut ben = Client::introduced(server.addr).await;
    let (annas, bens) = (anna.open(ORG, "anna").await, ben.open(ORG, "ben").await);
    let grant = anna.take(exclusive(annas.number, PATH)).await;
    let wait = ben.queue(waiting(bens.number, PATH)).await;
    let policy = request::SetPolicy {
        org: ORG,
        kind: Some("doc"),
        layer: PolicyLayer {
            queue_max: Some(7),
            ..PolicyLayer::default()
        },
    };
    anna.ask(Request::PolicySet(policy)).await;

    for is_killed in [true, false, true] {
        if is_killed {
            server.kill();
        } else {
            server.stop();
        }
        server = serve(data.path());
        anna = Client::introduced(server.addr).await;
        let truth = anna.status(ORG, PATH).await;
        let [holder] = &truth.holders[..] else {
            panic!("expected one holder, found {truth:?}");
        };
        assert_eq!((holder.owner, truth.token), ("anna", Some(grant.token)));
        assert!(holder.orphaned && truth.waiters == 1, "{truth:?}");
        let policy = request::GetPolicy {
            org: ORG,
            kind: Some("doc"),
        };
        let reply = anna.ask(Request::PolicyGet(policy)).await;
        let Reply::PolicyGet(policy) = reply else {
            panic!("expected a policy, found {reply:?}");
        };
        assert_eq!(policy.policy.queue_max, 7);
        let resumed = anna.resume(&annas).await;
        assert_eq!(resumed.holds[0].grant.token, grant.token);
        ben = Client::introduced(server.addr).await;
        let resumed = ben.resume(&bens).await;
        assert_eq!(resumed.waits[0].wait, wait);
    }
    anna.release(annas.number, PATH).await;
    let token = ben.granted_token(wait).await;
    assert!(token > grant.token, "{token} is not above {}", grant.token);
}
