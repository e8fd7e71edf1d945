//! Promise 2: tokens only rise, per path, whatever it was that ended the hold before.
//!
//! Each test lets one owner lose `doc/1` in one way and another get it, and compares the tokens that they were told.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a panic in a test is its message, also about what it does not expect"
)]

mod support;

use support::{Client, Session, TestServer, exclusive, for_a_second, shared, waiting, with_wait};
use tenure_protocol::{
    Cause, Disconnect, Grant, GrantKind, Item, Mode, Push, Target, limits, reply, request,
};

const ORG: &str = "acme";
const PATH: &str = "doc/1";

/// Two connections with a session each, of two owners.
struct Two {
    server: TestServer,
    anna: Client,
    anna_session: Session,
    ben: Client,
    ben_session: Session,
}

impl Two {
    async fn start() -> Self {
        let server = TestServer::start().await;
        let mut anna = server.connect().await;
        let mut ben = server.connect().await;
        let anna_session = anna.open(ORG, "anna").await;
        let ben_session = ben.open(ORG, "ben").await;
        Self {
            server,
            anna,
            anna_session,
            ben,
            ben_session,
        }
    }

    async fn anna_takes(&mut self) -> u64 {
        let acquire = exclusive(self.anna_session.number, PATH);
        fresh(self.anna.take(acquire).await)
    }

    async fn ben_takes(&mut self) -> u64 {
        let acquire = exclusive(self.ben_session.number, PATH);
        fresh(self.ben.take(acquire).await)
    }

    async fn ben_waits(&mut self) -> u64 {
        let acquire = waiting(self.ben_session.number, PATH);
        self.ben.queue(acquire).await
    }
}

fn fresh(grant: Grant) -> u64 {
    assert_eq!(grant.kind, GrantKind::Fresh);
    assert!(grant.token <= limits::NUMBER_MAX);
    grant.token
}

fn granted(convert: reply::Convert<'_>) -> Grant {
    match convert {
        reply::Convert::Granted { grant } => grant,
        other => panic!("expected a grant, found {other:?}"),
    }
}

const fn convert(session: u64, mode: Mode) -> request::Convert<'static> {
    request::Convert {
        session,
        path: PATH,
        mode,
        wait_ms: 0,
        limit: None,
    }
}

#[tokio::test]
async fn a_token_rises_across_a_release() {
    let mut two = Two::start().await;
    let mut last = 0;
    for _ in 0..50 {
        let anna = two.anna_takes().await;
        two.anna.release(two.anna_session.number, PATH).await;
        let ben = two.ben_takes().await;
        two.ben.release(two.ben_session.number, PATH).await;
        assert!(last < anna && anna < ben, "{last}, {anna}, {ben}");
        last = ben;
    }
}

#[tokio::test]
async fn a_token_rises_when_the_same_owner_comes_back() {
    let mut two = Two::start().await;
    let before = two.anna_takes().await;
    two.anna.release(two.anna_session.number, PATH).await;
    let after = two.anna_takes().await;
    assert!(before < after, "{before}, {after}");
}

#[tokio::test]
async fn a_token_rises_when_a_release_hands_the_lock_to_a_waiter() {
    let mut two = Two::start().await;
    let before = two.anna_takes().await;
    let wait = two.ben_waits().await;
    two.anna.release(two.anna_session.number, PATH).await;
    let after = two.ben.granted_token(wait).await;
    assert!(before < after, "{before}, {after}");
}

#[tokio::test]
async fn a_token_rises_across_an_expiry() {
    let mut two = Two::start().await;
    let acquire = for_a_second(two.anna_session.number, PATH);
    let before = fresh(two.anna.take(acquire).await);
    let lost = two.anna.lost(two.anna_session.number).await;
    assert_eq!((lost.token, lost.cause), (before, Cause::Expired));
    let after = two.ben_takes().await;
    assert!(before < after, "{before}, {after}");
}

#[tokio::test]
async fn a_token_rises_across_a_forced_release() {
    let mut two = Two::start().await;
    let before = two.anna_takes().await;
    let forced = two.ben.force(ORG, Target::Path { path: PATH }).await;
    assert_eq!(forced.ended.len(), 1);
    assert_eq!(forced.ended[0].token, before);
    let after = two.ben_takes().await;
    assert!(before < after, "{before}, {after}");
}

#[tokio::test]
async fn a_token_rises_across_a_seizure() {
    let mut two = Two::start().await;
    let before = two.anna_takes().await;
    let seize = request::Acquire {
        seize: Some("it is urgent"),
        ..exclusive(two.ben_session.number, PATH)
    };
    let after = fresh(two.ben.take(seize).await);
    assert_eq!(two.anna.lost(two.anna_session.number).await.token, before);
    assert!(before < after, "{before}, {after}");
}

#[tokio::test]
async fn a_token_rises_across_a_hand_over() {
    let mut two = Two::start().await;
    let before = two.anna_takes().await;
    let wait = two.ben_waits().await;
    let handed = two
        .anna
        .hand_over(two.anna_session.number, PATH, Some(wait))
        .await;
    let reply::HandOver::HandedOver { token, owner } = handed else {
        panic!("expected a hand-over, found {handed:?}");
    };
    assert_eq!(owner, "ben");
    assert_eq!(two.ben.granted_token(wait).await, token);
    assert!(before < token, "{before}, {token}");
}

#[tokio::test]
async fn a_token_rises_across_the_end_of_a_session() {
    let mut two = Two::start().await;
    let before = two.anna_takes().await;
    two.anna.close(two.anna_session.number).await;
    let after = two.ben_takes().await;
    assert!(before < after, "{before}, {after}");
}

#[tokio::test]
async fn a_token_rises_across_the_loss_of_a_connection() {
    let mut two = Two::start().await;
    let mut gone = two.server.connect().await;
    let session = gone
        .open_with(request::OpenSession {
            org: ORG,
            owner: "carl",
            name: "",
            role: None,
            on_disconnect: Some(Disconnect::Release { grace_ms: Some(0) }),
            metadata: b"",
        })
        .await;
    let before = fresh(gone.take(exclusive(session.number, PATH)).await);
    let wait = two.ben_waits().await;
    drop(gone);
    let after = two.ben.granted_token(wait).await;
    assert!(before < after, "{before}, {after}");
}

#[tokio::test]
async fn an_upgrade_gets_a_higher_token_and_every_session_of_the_owner_is_told() {
    let mut two = Two::start().await;
    let (first, second) = (
        two.anna_session.number,
        two.anna.open(ORG, "anna").await.number,
    );
    let held = fresh(two.anna.take(shared(first, PATH, None)).await);
    let joined = two.anna.take(shared(second, PATH, None)).await;
    assert_eq!((joined.kind, joined.token), (GrantKind::Joined, held));

    let upgraded = granted(two.anna.convert(convert(first, Mode::Exclusive)).await);
    assert_eq!(upgraded.kind, GrantKind::Converted);
    assert!(held < upgraded.token, "{held}, {}", upgraded.token);
    let changed = two
        .anna
        .push("the change", |push| match push {
            Push::LockChanged(changed) if changed.session == second => Some(*changed),
            _ => None,
        })
        .await;
    assert_eq!(changed.grant.token, upgraded.token);
    assert_eq!(changed.grant.mode, Mode::Exclusive);

    two.anna.close(first).await;
    two.anna.close(second).await;
    let after = two.ben_takes().await;
    assert!(upgraded.token < after, "{}, {after}", upgraded.token);
}

#[tokio::test]
async fn an_upgrade_that_waited_gets_a_higher_token_than_all_it_excludes() {
    let mut two = Two::start().await;
    let anna = two.anna_session.number;
    let ben = two.ben_session.number;
    let phase = fresh(two.anna.take(shared(anna, PATH, None)).await);
    let same = two.ben.take(shared(ben, PATH, None)).await.token;
    assert_eq!(
        phase, same,
        "all shared holders of one phase carry one token"
    );
    let wait = two.anna.queue(with_wait(exclusive(anna, PATH))).await;
    two.ben.release(ben, PATH).await;
    let upgraded = two.anna.granted_token(wait).await;
    assert!(phase < upgraded, "{phase}, {upgraded}");
}

#[tokio::test]
async fn a_downgrade_keeps_its_token_and_a_shared_phase_after_an_exclusive_one_does_not() {
    let mut two = Two::start().await;
    let anna = two.anna_session.number;
    let ben = two.ben_session.number;
    let before = two.anna_takes().await;
    let downgraded = granted(two.anna.convert(convert(anna, Mode::Shared)).await);
    assert_eq!(downgraded.token, before);
    let joined = two.ben.take(shared(ben, PATH, None)).await;
    assert_eq!(joined.token, before, "the phase's token");
    two.anna.release(anna, PATH).await;
    two.ben.release(ben, PATH).await;
    let after = fresh(two.ben.take(shared(ben, PATH, None)).await);
    assert!(before < after, "{before}, {after}");
}

#[tokio::test]
async fn renewing_and_asking_again_keep_the_token() {
    let mut two = Two::start().await;
    let anna = two.anna_session.number;
    let token = two.anna_takes().await;
    let again = two.anna.take(exclusive(anna, PATH)).await;
    assert_eq!((again.kind, again.token), (GrantKind::Joined, token));
    let renewed = two.anna.renew(anna, PATH).await;
    let reply::Renew::Granted { grant } = renewed else {
        panic!("expected a grant, found {renewed:?}");
    };
    assert_eq!(grant.token, token);
    assert!(two.ben.check(ORG, PATH, token).await.current);
}

#[tokio::test]
async fn locks_acquired_together_have_higher_tokens_than_their_holders_before() {
    let mut two = Two::start().await;
    let anna = two.anna_session.number;
    let mut before = Vec::new();
    for path in ["doc/1", "doc/2", "doc/3"] {
        before.push(fresh(two.anna.take(exclusive(anna, path)).await));
    }
    let items = ["doc/3", "doc/2", "doc/1"].map(|path| Item {
        path,
        mode: Mode::Exclusive,
        limit: None,
    });
    let all = request::AcquireAll {
        session: two.ben_session.number,
        items: items.to_vec(),
        wait_ms: support::WAIT_MS,
        ttl_ms: None,
        metadata: b"",
    };
    let queued = two.ben.acquire_all(all).await;
    let reply::AcquireAll::Queued { wait, .. } = queued else {
        panic!("expected a wait, found {queued:?}");
    };
    two.anna.close(anna).await;
    let holds = two.ben.granted(wait).await;
    assert_eq!(holds.len(), 3);
    for (path, before) in ["doc/1", "doc/2", "doc/3"].into_iter().zip(before) {
        let held = holds.iter().find(|held| held.path == path).unwrap();
        assert!(before < held.grant.token, "{path}: {before}, {held:?}");
    }
}

#[tokio::test]
async fn a_token_of_the_past_is_not_current() {
    let mut two = Two::start().await;
    let before = two.anna_takes().await;
    two.anna.release(two.anna_session.number, PATH).await;
    let free = two.anna.check(ORG, PATH, before).await;
    assert!(!free.current && free.token.is_none(), "{free:?}");
    let after = two.ben_takes().await;
    let stale = two.anna.check(ORG, PATH, before).await;
    assert!(!stale.current && stale.token == Some(after), "{stale:?}");
    assert!(two.anna.check(ORG, PATH, after).await.current);
}

#[tokio::test]
async fn a_server_that_remembers_nothing_starts_with_higher_tokens() {
    let before = Two::start().await.anna_takes().await;
    let after = Two::start().await.anna_takes().await;
    assert!(before < after, "{before}, {after}");
}
