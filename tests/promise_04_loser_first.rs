//! Promise 4: who loses a hold is told by whom and why, before whoever gets the lock because of it is told anything.
//!
//! On one connection the order can be read off the wire. On two it cannot, but this can: once the winner knows, the loser's
//! notice lies before the answer to anything the loser asks from then on. And who is away finds it in its resume answer.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a panic in a test is its message, also about what it does not expect"
)]

mod support;

use support::{
    Client, PATIENCE, Proxy, Session, TestServer, Way, exclusive, for_a_second, millis, waiting,
    within,
};
use tenure_protocol::{
    Cause, Disconnect, FromServer, Missed, Push, ReleaseScope, Reply, Request, Target, WaitEnd,
    Who, push, reply, request,
};

const ORG: &str = "acme";
const PATH: &str = "doc/1";

/// The place of a message in what a client has heard.
fn place(client: &Client, what: &str, is_it: impl Fn(&FromServer<'static>) -> bool) -> usize {
    let places: Vec<_> = (0..client.heard().len())
        .filter(|at| is_it(&client.heard()[*at]))
        .collect();
    let [place] = places[..] else {
        panic!("expected {what} once, found it at {places:?}");
    };
    place
}

fn place_of_loss(client: &Client, session: u64) -> usize {
    place(
        client,
        "the loss",
        |heard| matches!(heard, FromServer::Push(Push::LockLost(lost)) if lost.session == session),
    )
}

fn place_of_grant(client: &Client, wait: u64) -> usize {
    place(
        client,
        "the grant",
        |heard| matches!(heard, FromServer::Push(Push::LockGranted(granted)) if granted.wait == wait),
    )
}

fn place_of_answer(client: &Client, id: u64) -> usize {
    place(
        client,
        "the answer",
        |heard| matches!(heard, FromServer::Reply { id: of, .. } if *of == id),
    )
}

const fn seizure(session: u64) -> request::Acquire<'static> {
    request::Acquire {
        seize: Some("the customer is on the phone"),
        ..exclusive(session, PATH)
    }
}

const WINNER: Who<'static> = Who {
    owner: "winner",
    name: "Wilma",
};

const fn opening(owner: &'static str, name: &'static str) -> request::OpenSession<'static> {
    request::OpenSession {
        org: ORG,
        owner,
        name,
        role: None,
        on_disconnect: Some(Disconnect::Release {
            grace_ms: Some(60_000),
        }),
        metadata: b"",
    }
}

/// Loser and winner on one connection.
struct One {
    _server: TestServer,
    client: Client,
    loser: u64,
    winner: u64,
}

impl One {
    async fn start() -> Self {
        let server = TestServer::start().await;
        let mut client = server.connect().await;
        let loser = client.open_with(opening("loser", "Louis")).await.number;
        let winner = client.open_with(opening("winner", "Wilma")).await.number;
        Self {
            _server: server,
            client,
            loser,
            winner,
        }
    }

    async fn loss(&mut self) -> push::Lost<'static> {
        let lost = self.client.lost(self.loser).await;
        assert_eq!(lost.path, PATH);
        lost
    }
}

#[tokio::test]
async fn an_expiry_is_told_before_the_grant_that_follows() {
    let mut one = One::start().await;
    let token = one.client.take(for_a_second(one.loser, PATH)).await.token;
    let wait = one.client.queue(waiting(one.winner, PATH)).await;
    one.client.granted(wait).await;
    let lost = one.loss().await;
    assert_eq!((lost.token, lost.cause), (token, Cause::Expired));
    assert!(place_of_loss(&one.client, one.loser) < place_of_grant(&one.client, wait));
}

#[tokio::test]
async fn an_expiry_is_told_before_the_reply_that_finds_it() {
    let mut one = One::start().await;
    let token = one.client.take(for_a_second(one.loser, PATH)).await.token;
    // Asks until it is granted: whoever is first at the deadline, the timer or this, the order is the same.
    let id = loop {
        let id = one
            .client
            .send(Request::LockAcquire(exclusive(one.winner, PATH)))
            .await;
        match one.client.answer(id).await.unwrap() {
            Reply::LockAcquire(reply::Acquire::Granted { .. }) => break id,
            Reply::LockAcquire(reply::Acquire::Refused { .. }) => {}
            other => panic!("expected a grant or a refusal, found {other:?}"),
        }
    };
    let lost = one.loss().await;
    assert_eq!((lost.token, lost.cause), (token, Cause::Expired));
    assert!(place_of_loss(&one.client, one.loser) < place_of_answer(&one.client, id));
}

#[tokio::test]
async fn a_forced_release_is_told_before_the_grant_that_follows_and_before_its_reply() {
    let mut one = One::start().await;
    let token = one.client.take(exclusive(one.loser, PATH)).await.token;
    let wait = one.client.queue(waiting(one.winner, PATH)).await;
    let force = Request::LockForceRelease(request::ForceRelease {
        org: ORG,
        target: Target::Path { path: PATH },
        reason: "left for holidays",
        dry_run: false,
        cursor: None,
    });
    let id = one.client.send(force).await;
    one.client.answer(id).await.unwrap();
    one.client.granted(wait).await;
    let lost = one.loss().await;
    let cause = Cause::Forced {
        by: "anyone",
        reason: "left for holidays",
    };
    assert_eq!((lost.token, lost.cause), (token, cause));
    let loss = place_of_loss(&one.client, one.loser);
    assert!(loss < place_of_grant(&one.client, wait));
    assert!(loss < place_of_answer(&one.client, id));
}

#[tokio::test]
async fn a_seizure_is_told_before_its_reply() {
    let mut one = One::start().await;
    let token = one.client.take(exclusive(one.loser, PATH)).await.token;
    let id = one
        .client
        .send(Request::LockAcquire(seizure(one.winner)))
        .await;
    let answer = one.client.answer(id).await.unwrap();
    let Reply::LockAcquire(reply::Acquire::Granted { .. }) = answer else {
        panic!("expected a grant, found {answer:?}");
    };
    let lost = one.loss().await;
    let cause = Cause::Seized {
        by: WINNER,
        reason: "the customer is on the phone",
    };
    assert_eq!((lost.token, lost.cause), (token, cause));
    assert!(place_of_loss(&one.client, one.loser) < place_of_answer(&one.client, id));
}

#[tokio::test]
async fn a_hand_over_is_told_to_the_owners_other_sessions_before_the_grant() {
    let mut one = One::start().await;
    let giver = one.client.open_with(opening("loser", "Louis")).await.number;
    let token = one.client.take(exclusive(one.loser, PATH)).await.token;
    one.client.take(exclusive(giver, PATH)).await;
    let wait = one.client.queue(waiting(one.winner, PATH)).await;
    one.client.hand_over(giver, PATH, Some(wait)).await;
    one.client.granted(wait).await;
    let lost = one.loss().await;
    let cause = Cause::HandedTo { to: WINNER };
    assert_eq!((lost.token, lost.cause), (token, cause));
    assert!(place_of_loss(&one.client, one.loser) < place_of_grant(&one.client, wait));
    // Whoever gave it away knows.
    assert_eq!(one.client.pushes_until_now().await, []);
}

#[tokio::test]
async fn a_release_for_the_owner_is_told_to_its_other_sessions_before_the_grant() {
    let mut one = One::start().await;
    let other = one.client.open_with(opening("loser", "Louis")).await.number;
    let token = one.client.take(exclusive(one.loser, PATH)).await.token;
    one.client.take(exclusive(other, PATH)).await;
    let wait = one.client.queue(waiting(one.winner, PATH)).await;
    let release = Request::LockRelease(request::Release {
        session: other,
        path: PATH,
        scope: ReleaseScope::Owner,
        token: None,
    });
    one.client.ask(release).await;
    one.client.granted(wait).await;
    let lost = one.loss().await;
    assert_eq!((lost.token, lost.cause), (token, Cause::Released));
    assert!(place_of_loss(&one.client, one.loser) < place_of_grant(&one.client, wait));
    assert_eq!(one.client.pushes_until_now().await, []);
}

/// Loser and winner on two connections.
struct Two {
    server: TestServer,
    away: Client,
    session: Session,
    here: Client,
    winner: u64,
}

impl Two {
    async fn start() -> Self {
        let server = TestServer::start().await;
        let mut away = server.connect().await;
        let mut here = server.connect().await;
        let session = away.open_with(opening("loser", "Louis")).await;
        let winner = here.open_with(opening("winner", "Wilma")).await.number;
        Self {
            server,
            away,
            session,
            here,
            winner,
        }
    }

    /// Drops the loser's connection, waits until the server knows, and gives what is needed to come back.
    async fn leave(self) -> Away {
        let Self {
            server,
            away,
            session,
            mut here,
            winner,
        } = self;
        drop(away);
        orphaned(&mut here, PATH).await;
        Away {
            server,
            session,
            here,
            winner,
        }
    }
}

struct Away {
    server: TestServer,
    session: Session,
    here: Client,
    winner: u64,
}

impl Away {
    /// What the loser is told when it comes back: its only loss.
    async fn missed(&self) -> (u64, Cause<'static>) {
        let resumed = self.server.connect().await.resume(&self.session).await;
        assert!(resumed.holds.is_empty(), "{resumed:?}");
        let [Missed::Lost { path, token, cause }] = resumed.missed[..] else {
            panic!("expected one loss, found {resumed:?}");
        };
        assert_eq!(path, PATH);
        (token, cause)
    }
}

async fn orphaned(client: &mut Client, path: &str) {
    let noticed = async {
        while !client.status(ORG, path).await.holders[0].orphaned {
            tokio::time::sleep(millis(5)).await;
        }
    };
    within(PATIENCE, "the hold is orphaned", noticed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_winner_knows_the_losers_notice_is_on_its_way() {
    let mut two = Two::start().await;
    for _ in 0..50 {
        two.away.take(exclusive(two.session.number, PATH)).await;
        two.here.take(seizure(two.winner)).await;
        // Heard before the answer to what is asked only now.
        let [Push::LockLost(lost)] = two.away.pushes_until_now().await[..] else {
            panic!("the winner knew first");
        };
        assert_eq!(lost.session, two.session.number);

        two.here.release(two.winner, PATH).await;
        two.away.take(exclusive(two.session.number, PATH)).await;
        let wait = two.here.queue(waiting(two.winner, PATH)).await;
        let mut operator = two.server.connect().await;
        operator.force(ORG, Target::All).await;
        two.here.granted(wait).await;
        let [Push::LockLost(lost)] = two.away.pushes_until_now().await[..] else {
            panic!("the winner knew first");
        };
        assert_eq!(lost.session, two.session.number);
        two.here.release(two.winner, PATH).await;
    }
}

#[tokio::test]
async fn a_detached_loser_finds_an_expiry_in_its_resume_answer() {
    let mut two = Two::start().await;
    let token = two
        .away
        .take(for_a_second(two.session.number, PATH))
        .await
        .token;
    let mut away = two.leave().await;
    let wait = away.here.queue(waiting(away.winner, PATH)).await;
    away.here.granted(wait).await;
    assert_eq!(away.missed().await, (token, Cause::Expired));
}

#[tokio::test]
async fn a_detached_loser_finds_a_forced_release_in_its_resume_answer() {
    let mut two = Two::start().await;
    let token = two
        .away
        .take(exclusive(two.session.number, PATH))
        .await
        .token;
    let mut away = two.leave().await;
    away.here.force(ORG, Target::Path { path: PATH }).await;
    let cause = Cause::Forced {
        by: "anyone",
        reason: "for a test",
    };
    assert_eq!(away.missed().await, (token, cause));
}

#[tokio::test]
async fn a_detached_loser_finds_a_seizure_in_its_resume_answer() {
    let mut two = Two::start().await;
    let token = two
        .away
        .take(exclusive(two.session.number, PATH))
        .await
        .token;
    let mut away = two.leave().await;
    away.here.take(seizure(away.winner)).await;
    let cause = Cause::Seized {
        by: WINNER,
        reason: "the customer is on the phone",
    };
    assert_eq!(away.missed().await, (token, cause));
}

#[tokio::test]
async fn a_detached_loser_finds_a_hand_over_by_its_owner_in_its_resume_answer() {
    let mut two = Two::start().await;
    let token = two
        .away
        .take(exclusive(two.session.number, PATH))
        .await
        .token;
    let tab = two.here.open_with(opening("loser", "Louis")).await.number;
    drop(two.away);
    orphaned(&mut two.here, PATH).await;
    two.here.take(exclusive(tab, PATH)).await;
    let wait = two.here.queue(waiting(two.winner, PATH)).await;
    two.here.hand_over(tab, PATH, Some(wait)).await;
    two.here.granted(wait).await;
    let resumed = two.server.connect().await.resume(&two.session).await;
    let cause = Cause::HandedTo { to: WINNER };
    let lost = Missed::Lost {
        path: PATH,
        token,
        cause,
    };
    assert_eq!(resumed.missed, [lost]);
}

#[tokio::test]
async fn a_detached_waiter_finds_the_end_of_its_wait_in_its_resume_answer() {
    let mut two = Two::start().await;
    two.here.take(exclusive(two.winner, PATH)).await;
    let acquire = request::Acquire {
        wait_ms: 500,
        ..exclusive(two.session.number, PATH)
    };
    let wait = two.away.queue(acquire).await;
    drop(two.away);
    let ended = async {
        while two.here.status(ORG, PATH).await.waiters > 0 {
            tokio::time::sleep(millis(5)).await;
        }
    };
    within(PATIENCE, "the wait ends", ended).await;
    let resumed = two.server.connect().await.resume(&two.session).await;
    let why = WaitEnd::TimedOut;
    assert!(resumed.waits.is_empty());
    assert_eq!(resumed.missed, [Missed::WaitEnded { wait, why }]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pushed_into_a_dead_link_is_told_again() {
    let two = Two::start().await;
    let link = Proxy::to(two.server.addr).await;
    let (mut here, winner) = (two.here, two.winner);
    let mut away = Client::introduced(link.addr).await;
    let session = away.open_with(opening("loser", "Louis")).await;
    let token = away.take(exclusive(session.number, PATH)).await.token;
    link.both(Way::Lost);
    here.take(seizure(winner)).await;
    // The server still takes that connection for alive, and has told it.
    let mut back = two.server.connect().await;
    let resumed = back.resume(&session).await;
    let cause = Cause::Seized {
        by: WINNER,
        reason: "the customer is on the phone",
    };
    let lost = Missed::Lost {
        path: PATH,
        token,
        cause,
    };
    assert_eq!(resumed.missed, [lost]);
    assert!(resumed.holds.is_empty());

    // And once more, since an answer may be lost too; until it holds the lock again.
    let mut again = two.server.connect().await;
    assert_eq!(again.resume(&session).await.missed, [lost]);
    here.release(winner, PATH).await;
    again.take(exclusive(session.number, PATH)).await;
    let resumed = two.server.connect().await.resume(&session).await;
    assert_eq!(resumed.missed, []);
    assert_eq!(resumed.holds.len(), 1);
}

#[tokio::test]
async fn whoever_acts_on_a_lost_hold_is_told_how_it_was_lost() {
    let mut two = Two::start().await;
    let token = two
        .away
        .take(exclusive(two.session.number, PATH))
        .await
        .token;
    let winners = two.here.take(seizure(two.winner)).await.token;
    let cause = Cause::Seized {
        by: WINNER,
        reason: "the customer is on the phone",
    };
    let renewed = two.away.renew(two.session.number, PATH).await;
    let reply::Renew::NotHeld {
        lost: Some(lost),
        truth,
    } = renewed
    else {
        panic!("expected the loss, found {renewed:?}");
    };
    assert_eq!((lost.token, lost.cause), (token, cause));
    assert_eq!(
        (truth.token, truth.holders[0].owner),
        (Some(winners), "winner")
    );
    let released = two.away.release(two.session.number, PATH).await;
    let reply::Release::NotHeld {
        lost: Some(lost), ..
    } = released
    else {
        panic!("expected the loss, found {released:?}");
    };
    assert_eq!((lost.token, lost.cause), (token, cause));
}

#[tokio::test]
async fn releasing_what_has_expired_succeeds() {
    let mut two = Two::start().await;
    let session = two.session.number;
    two.away.take(for_a_second(session, PATH)).await;
    two.away.lost(session).await;
    two.here.take(exclusive(two.winner, PATH)).await;
    let released = two.away.release(session, PATH).await;
    assert_eq!(released, reply::Release::AlreadyExpired);
    assert_eq!(two.here.status(ORG, PATH).await.holders[0].owner, "winner");
}
