//! Promise 10: one org never sees another's paths, people or events; a connection acts for its own sessions alone; and
//! nobody does more than their role allows.
//!
//! All orgs lie in one shard here, so that nothing but the rule keeps them apart.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a panic in a test is its message, also about what it does not expect"
)]

mod support;

use support::{
    Client, Session, TestServer, config, entering, exclusive, happening, key, millis, shared,
    waiting,
};
use tenure::config::Config;
use tenure_engine::Role;
use tenure_protocol::{
    Activity, CollisionLevel, ErrorCode, Filter, LostWhy, PolicyLayer, Push, Recovery, Request,
    ResumeKey, Role as WireRole, Target, reply, request,
};

const PATH: &str = "doc/1";

const ACME: &str = "key-of-acme-0123456789";
const ACME_OBSERVER: &str = "key-of-the-acme-observer";
const ACME_MEMBER: &str = "key-of-the-acme-member";
const ACME_MODERATOR: &str = "key-of-the-acme-moderator";
const GLOBEX: &str = "key-of-globex-0123456789";
const TESTS: &str = "key-of-all-tests-0123456789";

async fn server() -> TestServer {
    let keys = vec![
        key(ACME, "acme-ops", Role::Admin, &["acme"]),
        key(ACME_OBSERVER, "acme-board", Role::Observer, &["acme"]),
        key(ACME_MEMBER, "acme-desk", Role::Member, &["acme"]),
        key(ACME_MODERATOR, "acme-lead", Role::Moderator, &["acme"]),
        key(GLOBEX, "globex-ops", Role::Admin, &["globex"]),
        key(TESTS, "tests", Role::Admin, &["test-*", "acme"]),
    ];
    TestServer::with(Config {
        shards: 1,
        keys,
        ..config()
    })
    .await
}

/// An admin of each of two orgs, with a session of the same owner.
struct Two {
    server: TestServer,
    acme: Client,
    anna: Session,
    globex: Client,
    gus: Session,
}

impl Two {
    async fn start() -> Self {
        let server = server().await;
        let mut acme = server.connect_with(ACME).await;
        let mut globex = server.connect_with(GLOBEX).await;
        let anna = acme.open("acme", "u-17").await;
        let gus = globex.open("globex", "u-17").await;
        Self {
            server,
            acme,
            anna,
            globex,
            gus,
        }
    }
}

/// Every request that names an org.
fn about(org: &str) -> Vec<Request<'_>> {
    let target = Target::All;
    vec![
        Request::SessionOpen(request::OpenSession {
            org,
            owner: "u-1",
            name: "",
            role: None,
            on_disconnect: None,
            metadata: b"",
        }),
        Request::SessionResume(request::ResumeSession {
            org,
            session: 1,
            resume_key: ResumeKey([0; 16]),
        }),
        Request::LockForceRelease(request::ForceRelease {
            org,
            target,
            reason: "a test",
            dry_run: false,
            cursor: None,
        }),
        Request::LockStatus(request::Status { org, path: PATH }),
        Request::LockList(request::List {
            org,
            target,
            mode: None,
            held_min_ms: 0,
            cursor: None,
            page: 256,
        }),
        Request::LockCheck(request::Check {
            org,
            path: PATH,
            token: 1,
        }),
        Request::PolicySet(request::SetPolicy {
            org,
            kind: None,
            layer: PolicyLayer::default(),
        }),
        Request::PolicyGet(request::GetPolicy { org, kind: None }),
        Request::AuditList(request::ListAudit {
            org,
            since_ms: 0,
            cursor: 0,
            page: 256,
        }),
        Request::StreamSubscribe(request::Subscribe {
            org,
            filters: vec![Filter::ALL],
            since: None,
            presence: false,
        }),
        Request::StreamPublish(happening(org, PATH)),
        Request::StreamStats(request::StreamStats { org, path: None }),
    ]
}

#[tokio::test]
async fn a_key_speaks_for_its_orgs_alone() {
    let server = server().await;
    let mut acme = server.connect_with(ACME).await;
    let mut tests = server.connect_with(TESTS).await;
    for org in ["globex", "acme-eu", "acm", "Acme", "test-1"] {
        for request in about(org) {
            let kind = request.kind();
            let code = acme.fails(request).await;
            assert_eq!(code, ErrorCode::OrgNotAllowed, "{kind} of {org}");
        }
    }
    for org in ["globex", "test", "tests", "acme-eu"] {
        for request in about(org) {
            let kind = request.kind();
            let code = tests.fails(request).await;
            assert_eq!(code, ErrorCode::OrgNotAllowed, "{kind} of {org}");
        }
    }
    for org in ["acme", "test-", "test-1"] {
        tests.open(org, "u-1").await;
        tests.status(org, PATH).await;
    }
}

#[tokio::test]
async fn a_stream_tells_nothing_of_another_org() {
    let mut two = Two::start().await;
    let mut hers = two.acme.follow("acme", &["**"], None).await;
    let mut his = two.globex.follow("globex", &["**"], None).await;
    assert_ne!(hers.position.epoch, his.position.epoch);
    two.acme.take(exclusive(two.anna.number, PATH)).await;
    for number in 1..=3 {
        let published = two.globex.publish(happening("globex", PATH)).await;
        // Offsets count what happens here alone, and so do listeners.
        assert_eq!(
            (published.position.offset, published.listeners),
            (number, 1)
        );
    }
    hers.reach(&mut two.acme, 1).await;
    his.reach(&mut two.globex, 3).await;
    assert_eq!(two.acme.stream("acme", None).await.published, 0);
    // A position of another org's is none of this one's.
    let elsewhere = two.acme.follow("acme", &["**"], Some(his.since())).await;
    let why = LostWhy::Epoch;
    assert_eq!(elsewhere.recovery, Recovery::Lost { why });
    for (client, org, count) in [(&mut two.acme, "acme", 1), (&mut two.globex, "globex", 3)] {
        let pushes = client.pushes_until_now().await;
        assert_eq!(pushes.len(), count);
        let is_own = |push: &Push<'_>| matches!(push, Push::StreamEvent(it) if it.org == org);
        assert!(pushes.iter().all(is_own), "{pushes:?}");
    }
    // What somebody else has subscribed to is not for others to end.
    let of_another = request::Unsubscribe {
        subscription: his.number + 1,
    };
    let code = two
        .globex
        .fails(Request::StreamUnsubscribe(of_another))
        .await;
    assert_eq!(code, ErrorCode::UnknownSubscription);
}

#[tokio::test]
async fn an_observer_listens_and_does_not_publish() {
    let server = server().await;
    let mut observer = server.connect_with(ACME_OBSERVER).await;
    let mut all = observer.follow("acme", &["**"], None).await;
    let publish = Request::StreamPublish(happening("acme", PATH));
    assert_eq!(observer.fails(publish).await, ErrorCode::RoleTooLow);
    let mut member = server.connect_with(ACME_MEMBER).await;
    member.publish(happening("acme", PATH)).await;
    all.reach(&mut observer, 1).await;
    // A session speaks for the connection that has it.
    let session = member.open("acme", "desk").await.number;
    let mut admin = server.connect_with(ACME).await;
    let by_another = request::Publish {
        session: Some(session),
        ..happening("acme", PATH)
    };
    let code = admin.fails(Request::StreamPublish(by_another)).await;
    assert_eq!(code, ErrorCode::NotAttached);
    assert_eq!(member.publish(by_another).await.position.offset, 2);
}

/// Also where both orgs live in one shard.
#[tokio::test]
async fn a_session_publishes_in_its_own_org_alone() {
    let server = TestServer::with(Config {
        shards: 1,
        ..config()
    })
    .await;
    let mut client = server.connect().await;
    let session = client.open("acme", "desk").await.number;
    let elsewhere = request::Publish {
        session: Some(session),
        ..happening("globex", PATH)
    };
    let code = client.fails(Request::StreamPublish(elsewhere)).await;
    assert_eq!(code, ErrorCode::NotAttached);
    let at_home = request::Publish {
        org: "acme",
        ..elsewhere
    };
    assert_eq!(client.publish(at_home).await.position.offset, 1);
}

#[tokio::test]
async fn a_key_that_is_none_or_another_is_turned_away() {
    let server = server().await;
    for key in [
        None,
        Some("key-of-acme-012345678"),
        Some("key-of-acme-0123456789 "),
    ] {
        let mut client = Client::connect(server.addr).await;
        let hello = request::Hello {
            version: 1,
            client: "test",
            key: key.map(tenure_protocol::Secret),
        };
        let code = client.fails(Request::Hello(hello)).await;
        assert_eq!(code, ErrorCode::BadCredentials);
        assert_eq!(client.ended().await.unwrap(), ErrorCode::BadCredentials);
    }
}

#[tokio::test]
async fn the_same_path_and_owner_in_two_orgs_have_nothing_to_do_with_each_other() {
    let mut two = Two::start().await;
    let (anna, gus) = (two.anna.number, two.gus.number);
    let hers = two.acme.take(exclusive(anna, PATH)).await;
    let his = two.globex.take(exclusive(gus, PATH)).await;
    assert_eq!(his.kind, tenure_protocol::GrantKind::Fresh, "not joined");
    assert_ne!(hers.token, his.token);
    let other = two.globex.open("globex", "u-18").await.number;
    let wait = two.globex.queue(waiting(other, PATH)).await;

    let truth = two.acme.status("acme", PATH).await;
    assert_eq!(truth.token, Some(hers.token));
    assert_eq!((truth.holder_count, truth.waiters), (1, 0));
    assert!(!two.acme.check("acme", PATH, his.token).await.current);
    let page = two.acme.list("acme", Target::Owner { owner: "u-17" }).await;
    assert_eq!(page.holds.len(), 1);
    assert_eq!(page.holds[0].token, hers.token);

    // Letting go here grants nothing there.
    two.acme.release(anna, PATH).await;
    assert_eq!(two.globex.pushes_until_now().await, []);
    two.globex.release(gus, PATH).await;
    two.globex.granted(wait).await;
    assert_eq!(two.acme.status("acme", PATH).await.holder_count, 0);
    assert_eq!(two.acme.pushes_until_now().await, []);
}

#[tokio::test]
async fn an_operator_frees_nothing_of_another_org_by_whatever_target() {
    let mut two = Two::start().await;
    let (anna, gus) = (two.anna.number, two.gus.number);
    two.globex.take(exclusive(gus, PATH)).await;
    two.globex.take(exclusive(gus, "doc/2")).await;
    for target in [
        Target::Path { path: PATH },
        Target::Prefix { prefix: "doc" },
        Target::Owner { owner: "u-17" },
        Target::Session { session: gus },
        Target::All,
    ] {
        let forced = two.acme.force("acme", target).await;
        assert_eq!((forced.ended.len(), forced.next), (0, None), "{target:?}");
        let listed = two.acme.list("acme", target).await;
        assert_eq!((listed.holds.len(), listed.next), (0, None), "{target:?}");
    }
    assert_eq!(two.globex.pushes_until_now().await, []);
    assert_eq!(two.globex.list("globex", Target::All).await.holds.len(), 2);

    two.acme.take(exclusive(anna, PATH)).await;
    let forced = two.acme.force("acme", Target::All).await;
    assert_eq!(forced.ended.len(), 1);
    assert_eq!(two.globex.list("globex", Target::All).await.holds.len(), 2);
}

#[tokio::test]
async fn a_session_is_resumed_in_its_org_with_its_key_and_not_otherwise() {
    let two = Two::start().await;
    let mut other = two.server.connect_with(TESTS).await;
    let mut foreign = two.server.connect_with(GLOBEX).await;
    let wrong_key = ResumeKey([7; 16]);
    let anna = &two.anna;
    let guesses = [
        Session {
            key: wrong_key,
            ..anna.clone()
        },
        Session {
            org: String::from("test-1"),
            ..anna.clone()
        },
        Session {
            number: two.gus.number,
            ..anna.clone()
        },
        Session {
            number: 999_999,
            ..anna.clone()
        },
    ];
    // What is wrong is not told: neither that there is such a session, nor where.
    let mut answers = Vec::new();
    for guess in &guesses {
        let error = other
            .error(Request::SessionResume(guess.resumption()))
            .await;
        assert_eq!(error.code, ErrorCode::UnknownSession, "{guess:?}");
        answers.push((error.message, error.field));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    let in_acme = Request::SessionResume(anna.resumption());
    assert_eq!(foreign.fails(in_acme).await, ErrorCode::OrgNotAllowed);
    let guess = Session {
        org: String::from("globex"),
        ..anna.clone()
    };
    let in_globex = Request::SessionResume(guess.resumption());
    assert_eq!(foreign.fails(in_globex).await, ErrorCode::UnknownSession);

    // Nothing of this has disturbed the session; and with the right key it moves.
    let Two { mut acme, anna, .. } = two;
    assert_eq!(acme.pushes_until_now().await, []);
    assert_eq!(other.resume(&anna).await.owner, "u-17");
    acme.moved(anna.number).await;
}

/// Every request that a session makes.
fn by(session: u64) -> Vec<Request<'static>> {
    let path = PATH;
    vec![
        Request::SessionClose(request::CloseSession { session }),
        Request::LockAcquire(exclusive(session, path)),
        Request::LockAcquireAll(request::AcquireAll {
            session,
            items: vec![tenure_protocol::Item {
                path,
                mode: tenure_protocol::Mode::Shared,
                limit: None,
            }],
            wait_ms: 0,
            ttl_ms: None,
            metadata: b"",
        }),
        Request::LockRenew(request::Renew {
            session,
            path,
            ttl_ms: None,
            token: None,
        }),
        Request::LockRelease(request::Release {
            session,
            path,
            scope: tenure_protocol::ReleaseScope::Owner,
            token: None,
        }),
        Request::LockCancel(request::Cancel { session, wait: 1 }),
        Request::LockConvert(request::Convert {
            session,
            path,
            mode: tenure_protocol::Mode::Shared,
            wait_ms: 0,
            limit: None,
        }),
        Request::LockHandOver(request::HandOver {
            session,
            path,
            to: None,
        }),
        Request::LockDecline(request::Decline {
            session,
            path,
            to: 1,
        }),
    ]
}

#[tokio::test]
async fn a_session_of_another_connection_is_out_of_reach() {
    let mut two = Two::start().await;
    let (anna, gus) = (two.anna.number, two.gus.number);
    two.acme.take(exclusive(anna, PATH)).await;
    two.globex.take(exclusive(gus, PATH)).await;
    // Of the same org and key, of another org, and of nobody.
    let mut same = two.server.connect_with(ACME).await;
    for session in [anna, gus, 999_999] {
        for request in by(session) {
            let kind = request.kind();
            let code = same.fails(request).await;
            assert_eq!(code, ErrorCode::NotAttached, "{kind} by {session}");
        }
        let renewed = same.renew_session(session).await;
        assert_eq!(renewed, reply::SessionRenewal::NotAttached);
    }
    assert_eq!(two.acme.pushes_until_now().await, []);
    assert_eq!(two.globex.pushes_until_now().await, []);
    assert_eq!(two.acme.status("acme", PATH).await.holder_count, 1);

    // And the connection that had it, once it has moved.
    same.resume(&two.anna).await;
    two.acme.moved(anna).await;
    for request in by(anna) {
        let kind = request.kind();
        let code = two.acme.fails(request).await;
        assert_eq!(code, ErrorCode::NotAttached, "{kind}");
    }
    assert_eq!(same.status("acme", PATH).await.holder_count, 1);
}

#[tokio::test]
async fn nobody_sees_who_is_where_in_another_org() {
    let mut two = Two::start().await;
    let (anna, gus) = (two.anna.number, two.gus.number);
    let mut globex = two.server.connect_with(GLOBEX).await;
    let mut watching = globex.watch("globex", "**", 256).await;
    two.acme.enter(anna, PATH).await;
    // The same owner at the same path, but in another org: nobody else is there.
    let entered = two.globex.enter(gus, PATH).await;
    assert_eq!((entered.first, entered.total), (true, 1));
    assert_eq!(entered.collision, CollisionLevel::None);
    two.acme.take(exclusive(anna, PATH)).await;
    two.acme.does(anna, PATH, Activity::Editing).await;
    let acme = two.acme.all_viewers("acme", "**").await;
    assert_eq!(acme[PATH].viewers["u-17"].activity, Activity::Editing);
    watching
        .until(&mut globex, "gus is there", |known| {
            known.paths.contains_key(PATH)
        })
        .await;
    two.acme.leave(anna, PATH).await;
    tokio::time::sleep(millis(300)).await;
    globex.ping().await;
    watching.catch_up(&globex);
    assert_eq!(watching.does(PATH, "u-17"), Some(Activity::Viewing));
    assert_eq!(watching.changes, 1, "of the other org nothing was told");
    assert_eq!(two.globex.pushes_until_now().await, []);
    for request in [
        Request::PresenceList(request::ListViewers {
            org: "acme",
            filter: Filter::ALL,
            cursor: None,
            page: 1,
        }),
        Request::PresenceStats(request::PresenceStats { org: "acme" }),
        Request::StreamSubscribe(request::Subscribe {
            org: "acme",
            filters: vec![Filter::ALL],
            since: None,
            presence: true,
        }),
    ] {
        let kind = request.kind();
        let code = two.globex.fails(request).await;
        assert_eq!(code, ErrorCode::OrgNotAllowed, "{kind}");
    }
}

#[tokio::test]
async fn nobody_is_anywhere_through_another_connection() {
    let mut two = Two::start().await;
    let anna = two.anna.number;
    two.acme.enter(anna, PATH).await;
    let mut same = two.server.connect_with(ACME).await;
    for request in [
        Request::PresenceEnter(entering(anna, PATH)),
        Request::PresenceUpdate(request::Update {
            session: anna,
            path: PATH,
            activity: Activity::Editing,
            internal: false,
        }),
        Request::PresenceLeave(request::Leave {
            session: anna,
            path: PATH,
        }),
    ] {
        let kind = request.kind();
        let code = same.fails(request).await;
        assert_eq!(code, ErrorCode::NotAttached, "{kind}");
    }
    let seen = same.all_viewers("acme", "**").await;
    assert_eq!(seen[PATH].viewers["u-17"].activity, Activity::Viewing);
}

#[tokio::test]
async fn a_wait_of_another_session_is_out_of_reach() {
    let mut two = Two::start().await;
    let (anna, gus) = (two.anna.number, two.gus.number);
    two.acme.take(exclusive(anna, PATH)).await;
    two.globex.take(exclusive(gus, PATH)).await;
    let other = two.globex.open("globex", "u-18").await.number;
    let ask = request::Acquire {
        note: Some("may I?"),
        ..waiting(other, PATH)
    };
    let wait = two.globex.queue(ask).await;
    two.globex.asked(gus).await;

    let path = PATH;
    for request in [
        Request::LockCancel(request::Cancel {
            session: anna,
            wait,
        }),
        Request::LockHandOver(request::HandOver {
            session: anna,
            path,
            to: Some(wait),
        }),
        Request::LockDecline(request::Decline {
            session: anna,
            path,
            to: wait,
        }),
    ] {
        let kind = request.kind();
        let code = two.acme.fails(request).await;
        assert_eq!(code, ErrorCode::UnknownWait, "{kind}");
    }
    // Nor can another session of the same org and connection end it.
    let cancel = Request::LockCancel(request::Cancel { session: gus, wait });
    assert_eq!(two.globex.fails(cancel).await, ErrorCode::UnknownWait);
    assert_eq!(two.globex.pushes_until_now().await, []);
    assert_eq!(two.globex.status("globex", PATH).await.waiters, 1);
    assert!(two.acme.check("acme", PATH, 1).await.token.is_some());
}

#[tokio::test]
async fn the_policy_of_an_org_is_its_own() {
    let mut two = Two::start().await;
    let layer = PolicyLayer {
        ttl_default_ms: Some(5000),
        ..PolicyLayer::default()
    };
    let set = request::SetPolicy {
        org: "globex",
        kind: None,
        layer,
    };
    two.globex.ask(Request::PolicySet(set)).await;
    let hers = two.acme.take(exclusive(two.anna.number, PATH)).await;
    let his = two.globex.take(exclusive(two.gus.number, PATH)).await;
    assert_eq!(his.ttl_ms, 5000);
    assert_ne!(hers.ttl_ms, 5000);
}

#[tokio::test]
async fn an_observer_looks_and_does_not_touch() {
    let server = server().await;
    let mut admin = server.connect_with(ACME).await;
    let anna = admin.open("acme", "u-17").await;
    admin.take(exclusive(anna.number, PATH)).await;
    let mut observer = server.connect_with(ACME_OBSERVER).await;
    let session = observer.open("acme", "u-18").await.number;
    assert_eq!(observer.status("acme", PATH).await.holder_count, 1);
    assert_eq!(observer.list("acme", Target::All).await.holds.len(), 1);
    for request in by(session).into_iter().skip(1) {
        let kind = request.kind();
        let code = observer.fails(request).await;
        assert_eq!(code, ErrorCode::RoleTooLow, "{kind}");
    }
    observer.close(session).await;

    // A session of somebody else's does not make more of it than it is.
    let resumed = observer.resume(&anna).await;
    assert_eq!(resumed.role, WireRole::Observer);
    for request in by(anna.number).into_iter().skip(1) {
        let kind = request.kind();
        let code = observer.fails(request).await;
        assert_eq!(code, ErrorCode::RoleTooLow, "{kind}");
    }
}

#[tokio::test]
async fn each_role_does_what_it_may_and_no_more() {
    let server = server().await;
    let mut admin = server.connect_with(ACME).await;
    let mut moderator = server.connect_with(ACME_MODERATOR).await;
    let mut member = server.connect_with(ACME_MEMBER).await;
    let boss = admin.open("acme", "boss").await.number;
    let lead = moderator.open("acme", "lead").await.number;
    let desk = member.open("acme", "desk").await.number;
    let seize = |session| request::Acquire {
        seize: Some("a test"),
        ..exclusive(session, PATH)
    };

    member.take(exclusive(desk, PATH)).await;
    moderator.take(seize(lead)).await;
    let (reason, truth) = member.refused(exclusive(desk, PATH)).await;
    assert_eq!(truth.holders[0].owner, "lead", "{reason:?}");
    let (reason, _) = member.refused(seize(desk)).await;
    assert_eq!(reason, tenure_protocol::RefusalReason::RoleTooLow);
    admin.take(seize(boss)).await;
    let (reason, _) = moderator.refused(seize(lead)).await;
    assert_eq!(reason, tenure_protocol::RefusalReason::RoleTooLow);
    assert_eq!(admin.status("acme", PATH).await.holders[0].owner, "boss");

    for client in [&mut member, &mut moderator] {
        let force = Request::LockForceRelease(request::ForceRelease {
            org: "acme",
            target: Target::All,
            reason: "a test",
            dry_run: true,
            cursor: None,
        });
        let set = Request::PolicySet(request::SetPolicy {
            org: "acme",
            kind: None,
            layer: PolicyLayer::default(),
        });
        for request in [force, set] {
            assert_eq!(client.fails(request).await, ErrorCode::RoleTooLow);
        }
    }
    assert_eq!(admin.force("acme", Target::All).await.ended.len(), 1);
}

#[tokio::test]
async fn a_session_has_no_more_of_a_role_than_its_principal_and_may_have_less() {
    let server = server().await;
    let mut member = server.connect_with(ACME_MEMBER).await;
    let open = |role| request::OpenSession {
        org: "acme",
        owner: "u-17",
        name: "",
        role: Some(role),
        on_disconnect: None,
        metadata: b"",
    };
    for role in [WireRole::Moderator, WireRole::Admin] {
        let code = member.fails(Request::SessionOpen(open(role))).await;
        assert_eq!(code, ErrorCode::RoleTooLow);
    }
    let observer = member.open_with(open(WireRole::Observer)).await.number;
    let acquire = Request::LockAcquire(shared(observer, PATH, None));
    assert_eq!(member.fails(acquire).await, ErrorCode::RoleTooLow);
    let session = member.open_with(open(WireRole::Member)).await.number;
    member.take(shared(session, PATH, None)).await;
}
