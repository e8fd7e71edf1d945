//! One of each: every request, every reply in each status, every error, every push, with every optional field once there
//! and once not.
//!
//! The golden vectors are made of these, so what stands here must never change; more may be added.

mod presence;
mod streams;

use tenure_protocol::{
    ActKind, AuditedAct, Cause, Disconnect, EndedHold, ErrorCode, FromClient, FromServer, Grant,
    GrantKind, Held, Holder, Item, ListedHold, Loss, Missed, Mode, OnDisconnect, Policy,
    PolicyLayer, Push, RefusalReason, RefusedItem, ReleaseScope, Reply, Request, ResumeKey, Role,
    Secret, SessionEnd, Target, Truth, WaitEnd, Waiting, Who, push, reply, request,
};

/// A message with a name of its own.
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) message: Message,
}

/// A message of either side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    FromClient(FromClient<'static>),
    FromServer(FromServer<'static>),
}

/// All of them, in the order of the catalog.
pub(crate) fn all() -> Vec<Sample> {
    [requests(), replies(), errors(), pushes()]
        .into_iter()
        .flatten()
        .collect()
}

const ID: u64 = 5;
const ORG: &str = "acme";
const PATH: &str = "doc/quote-123";
const SESSION: u64 = 7;
const WAIT: u64 = 31;
const TOKEN: u64 = 1_763_600_000_000_001;
const KEY: ResumeKey = ResumeKey([
    0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff,
]);
const ANNA: Who<'static> = Who {
    owner: "u-17",
    name: "Anna",
};
const BORIS: Who<'static> = Who {
    owner: "u-18",
    name: "Борис",
};

const GRANT: Grant = Grant {
    token: TOKEN,
    mode: Mode::Exclusive,
    ttl_ms: 300_000,
    remaining_ms: 300_000,
    kind: GrantKind::Fresh,
};
const SHARED: Grant = Grant {
    token: 12,
    mode: Mode::Shared,
    ttl_ms: 60_000,
    remaining_ms: 45_210,
    kind: GrantKind::Joined,
};
const CONVERTED: Grant = Grant {
    kind: GrantKind::Converted,
    ..GRANT
};

const HOLDER: Holder<'static> = Holder {
    owner: ANNA.owner,
    name: ANNA.name,
    sessions: 2,
    orphaned: false,
    since: 1_763_628_000_000,
    held_ms: 61_000,
    remaining_ms: 239_000,
    metadata: b"{\"tab\":3}",
};
const ORPHAN: Holder<'static> = Holder {
    owner: BORIS.owner,
    name: BORIS.name,
    sessions: 1,
    orphaned: true,
    since: 1_763_628_030_000,
    held_ms: 31_000,
    remaining_ms: 9_000,
    metadata: b"",
};

fn held() -> Truth<'static> {
    Truth {
        mode: Some(Mode::Exclusive),
        limit: None,
        token: Some(TOKEN),
        holders: vec![HOLDER],
        holder_count: 1,
        waiters: 3,
    }
}

fn shared() -> Truth<'static> {
    Truth {
        mode: Some(Mode::Shared),
        limit: Some(2),
        token: Some(12),
        holders: vec![HOLDER, ORPHAN],
        holder_count: 2,
        waiters: 0,
    }
}

fn requests() -> Vec<Sample> {
    let acquire = request::Acquire {
        session: SESSION,
        path: PATH,
        mode: Mode::Exclusive,
        wait_ms: 0,
        ttl_ms: None,
        limit: None,
        note: None,
        seize: None,
        metadata: b"",
    };
    let list = request::List {
        org: ORG,
        target: Target::All,
        mode: None,
        held_min_ms: 0,
        cursor: None,
        page: 256,
    };
    let force = request::ForceRelease {
        org: ORG,
        target: Target::Path { path: PATH },
        reason: "left for the day",
        dry_run: false,
        cursor: None,
    };
    let samples = [
        (
            "hello",
            Request::Hello(request::Hello {
                version: 1,
                client: "crm/3.2",
                key: Some(Secret("tk_example")),
            }),
        ),
        (
            "hello, without a key",
            Request::Hello(request::Hello {
                version: 1,
                client: "",
                key: None,
            }),
        ),
        ("ping", Request::Ping(request::Ping {})),
        (
            "session.open",
            Request::SessionOpen(request::OpenSession {
                org: ORG,
                owner: ANNA.owner,
                name: ANNA.name,
                role: Some(Role::Member),
                on_disconnect: Some(Disconnect::Release {
                    grace_ms: Some(30_000),
                }),
                metadata: b"{\"tab\":3}",
            }),
        ),
        (
            "session.open, least",
            Request::SessionOpen(request::OpenSession {
                org: ORG,
                owner: ANNA.owner,
                name: "",
                role: None,
                on_disconnect: None,
                metadata: b"",
            }),
        ),
        (
            "session.open, grace by policy",
            Request::SessionOpen(request::OpenSession {
                org: ORG,
                owner: BORIS.owner,
                name: BORIS.name,
                role: Some(Role::Observer),
                on_disconnect: Some(Disconnect::Release { grace_ms: None }),
                metadata: b"",
            }),
        ),
        (
            "session.open, keeping",
            Request::SessionOpen(request::OpenSession {
                org: ORG,
                owner: BORIS.owner,
                name: BORIS.name,
                role: Some(Role::Moderator),
                on_disconnect: Some(Disconnect::Keep),
                metadata: b"\x00\xff",
            }),
        ),
        (
            "session.resume",
            Request::SessionResume(request::ResumeSession {
                org: ORG,
                session: SESSION,
                resume_key: KEY,
            }),
        ),
        (
            "session.renew",
            Request::SessionRenew(request::RenewSessions {
                sessions: vec![SESSION, 8, 70_000],
            }),
        ),
        (
            "session.close",
            Request::SessionClose(request::CloseSession { session: SESSION }),
        ),
        ("lock.acquire", Request::LockAcquire(acquire)),
        (
            "lock.acquire, waiting with a note",
            Request::LockAcquire(request::Acquire {
                wait_ms: 30_000,
                ttl_ms: Some(60_000),
                note: Some("May I have it?"),
                metadata: b"{\"tab\":3}",
                ..acquire
            }),
        ),
        (
            "lock.acquire, shared with a limit",
            Request::LockAcquire(request::Acquire {
                mode: Mode::Shared,
                limit: Some(3),
                ..acquire
            }),
        ),
        (
            "lock.acquire, seizing",
            Request::LockAcquire(request::Acquire {
                seize: Some("the customer is on the phone"),
                ..acquire
            }),
        ),
        (
            "lock.acquire_all",
            Request::LockAcquireAll(request::AcquireAll {
                session: SESSION,
                items: vec![
                    Item {
                        path: PATH,
                        mode: Mode::Exclusive,
                        limit: None,
                    },
                    Item {
                        path: "price-list/2027",
                        mode: Mode::Shared,
                        limit: Some(10),
                    },
                ],
                wait_ms: 5_000,
                ttl_ms: Some(60_000),
                metadata: b"x",
            }),
        ),
        (
            "lock.acquire_all, least",
            Request::LockAcquireAll(request::AcquireAll {
                session: SESSION,
                items: vec![Item {
                    path: PATH,
                    mode: Mode::Shared,
                    limit: None,
                }],
                wait_ms: 0,
                ttl_ms: None,
                metadata: b"",
            }),
        ),
        (
            "lock.renew",
            Request::LockRenew(request::Renew {
                session: SESSION,
                path: PATH,
                ttl_ms: Some(120_000),
                token: Some(TOKEN),
            }),
        ),
        (
            "lock.renew, least",
            Request::LockRenew(request::Renew {
                session: SESSION,
                path: PATH,
                ttl_ms: None,
                token: None,
            }),
        ),
        (
            "lock.release",
            Request::LockRelease(request::Release {
                session: SESSION,
                path: PATH,
                scope: ReleaseScope::Session,
                token: None,
            }),
        ),
        (
            "lock.release, for the owner",
            Request::LockRelease(request::Release {
                session: SESSION,
                path: PATH,
                scope: ReleaseScope::Owner,
                token: Some(TOKEN),
            }),
        ),
        (
            "lock.cancel",
            Request::LockCancel(request::Cancel {
                session: SESSION,
                wait: WAIT,
            }),
        ),
        (
            "lock.convert, up",
            Request::LockConvert(request::Convert {
                session: SESSION,
                path: PATH,
                mode: Mode::Exclusive,
                wait_ms: 10_000,
                limit: None,
            }),
        ),
        (
            "lock.convert, down",
            Request::LockConvert(request::Convert {
                session: SESSION,
                path: PATH,
                mode: Mode::Shared,
                wait_ms: 0,
                limit: Some(5),
            }),
        ),
        (
            "lock.hand_over",
            Request::LockHandOver(request::HandOver {
                session: SESSION,
                path: PATH,
                to: Some(WAIT),
            }),
        ),
        (
            "lock.hand_over, to the first who asked",
            Request::LockHandOver(request::HandOver {
                session: SESSION,
                path: PATH,
                to: None,
            }),
        ),
        (
            "lock.decline",
            Request::LockDecline(request::Decline {
                session: SESSION,
                path: PATH,
                to: WAIT,
            }),
        ),
        (
            "lock.force_release, a path",
            Request::LockForceRelease(force),
        ),
        (
            "lock.force_release, a prefix, dry run",
            Request::LockForceRelease(request::ForceRelease {
                target: Target::Prefix { prefix: "doc/" },
                dry_run: true,
                ..force
            }),
        ),
        (
            "lock.force_release, an owner, next step",
            Request::LockForceRelease(request::ForceRelease {
                target: Target::Owner { owner: ANNA.owner },
                cursor: Some(PATH),
                ..force
            }),
        ),
        (
            "lock.force_release, a session",
            Request::LockForceRelease(request::ForceRelease {
                target: Target::Session { session: SESSION },
                ..force
            }),
        ),
        (
            "lock.force_release, all",
            Request::LockForceRelease(request::ForceRelease {
                target: Target::All,
                ..force
            }),
        ),
        (
            "lock.status",
            Request::LockStatus(request::Status {
                org: ORG,
                path: PATH,
            }),
        ),
        ("lock.list", Request::LockList(list)),
        (
            "lock.list, filtered, next page",
            Request::LockList(request::List {
                target: Target::Prefix { prefix: "doc/" },
                mode: Some(Mode::Exclusive),
                held_min_ms: 600_000,
                cursor: Some(PATH),
                page: 50,
                ..list
            }),
        ),
        (
            "lock.check",
            Request::LockCheck(request::Check {
                org: ORG,
                path: PATH,
                token: TOKEN,
            }),
        ),
        (
            "policy.set, of the org",
            Request::PolicySet(request::SetPolicy {
                org: ORG,
                kind: None,
                layer: PolicyLayer {
                    ttl_default_ms: Some(120_000),
                    ttl_min_ms: Some(5_000),
                    ttl_max_ms: Some(3_600_000),
                    queue_max: Some(100),
                    grace_ms: Some(20_000),
                    release_on_disconnect: Some(true),
                    sessions_max: Some(5_000),
                    holds_max: Some(50_000),
                    session_holds_max: Some(500),
                    session_waits_max: Some(50),
                },
            }),
        ),
        (
            "policy.set, of a kind",
            Request::PolicySet(request::SetPolicy {
                org: ORG,
                kind: Some("doc"),
                layer: PolicyLayer {
                    ttl_default_ms: Some(600_000),
                    ..PolicyLayer::default()
                },
            }),
        ),
        (
            "policy.set, removing",
            Request::PolicySet(request::SetPolicy {
                org: ORG,
                kind: Some("doc"),
                layer: PolicyLayer::default(),
            }),
        ),
        (
            "policy.get",
            Request::PolicyGet(request::GetPolicy {
                org: ORG,
                kind: None,
            }),
        ),
        (
            "policy.get, of a kind",
            Request::PolicyGet(request::GetPolicy {
                org: ORG,
                kind: Some("doc"),
            }),
        ),
        (
            "audit.list",
            Request::AuditList(request::ListAudit {
                org: ORG,
                since_ms: 1_760_000_000_000,
                cursor: 12,
                page: 256,
            }),
        ),
    ];
    let others = [streams::requests(), presence::requests()]
        .into_iter()
        .flatten();
    let numbered = samples
        .into_iter()
        .chain(others)
        .map(|(name, request)| Sample {
            name: format!("request {name}"),
            message: Message::FromClient(FromClient { id: ID, request }),
        });
    numbered.collect()
}

fn replies() -> Vec<Sample> {
    let lost = Some(Loss {
        token: TOKEN,
        cause: Cause::Expired,
    });
    let samples = vec![
        (
            "hello",
            Reply::Hello(reply::Hello {
                version: 1,
                server: "tenure/0.1.0",
                connection: 42,
                principal: "crm",
                role: Role::Admin,
                heartbeat_ms: 5_000,
                dead_after_ms: 15_000,
                limits: reply::Limits {
                    frame_bytes: 262_144,
                    in_flight: 1_024,
                    sessions: 100_000,
                    path_bytes: 512,
                    metadata_bytes: 4_096,
                },
            }),
        ),
        ("ping", Reply::Ping(reply::Done {})),
        (
            "session.open",
            Reply::SessionOpen(reply::Opened {
                session: SESSION,
                resume_key: KEY,
                on_disconnect: OnDisconnect::Release { grace_ms: 30_000 },
            }),
        ),
        (
            "session.open, keeping",
            Reply::SessionOpen(reply::Opened {
                session: 8,
                resume_key: KEY,
                on_disconnect: OnDisconnect::Keep,
            }),
        ),
        (
            "session.resume",
            Reply::SessionResume(reply::Resumed {
                owner: ANNA.owner,
                role: Role::Member,
                on_disconnect: OnDisconnect::Release { grace_ms: 10_000 },
                holds: vec![
                    Held {
                        path: PATH,
                        grant: GRANT,
                    },
                    Held {
                        path: "chat/42",
                        grant: SHARED,
                    },
                ],
                waits: vec![
                    Waiting {
                        wait: WAIT,
                        paths: vec!["chat/43"],
                        place: 2,
                        remaining_ms: 12_345,
                    },
                    Waiting {
                        wait: 32,
                        paths: vec!["a", "b/c"],
                        place: 0,
                        remaining_ms: 0,
                    },
                ],
                missed: vec![
                    Missed::Lost {
                        path: "ticket/1",
                        token: 3,
                        cause: Cause::Forced {
                            by: "ops",
                            reason: "left for the day",
                        },
                    },
                    Missed::Lost {
                        path: "ticket/2",
                        token: 4,
                        cause: Cause::Seized {
                            by: BORIS,
                            reason: "urgent",
                        },
                    },
                    Missed::Lost {
                        path: "ticket/3",
                        token: 5,
                        cause: Cause::HandedTo { to: BORIS },
                    },
                    Missed::Lost {
                        path: "ticket/4",
                        token: 6,
                        cause: Cause::Expired,
                    },
                    Missed::WaitEnded {
                        wait: 30,
                        why: WaitEnd::TimedOut,
                    },
                ],
                missed_left_out: 0,
            }),
        ),
        (
            "session.resume, nothing held",
            Reply::SessionResume(reply::Resumed {
                owner: ANNA.owner,
                role: Role::Observer,
                on_disconnect: OnDisconnect::Keep,
                holds: vec![],
                waits: vec![],
                missed: vec![],
                missed_left_out: 0,
            }),
        ),
        (
            "session.renew",
            Reply::SessionRenew(reply::SessionsRenewed {
                results: vec![
                    reply::SessionRenewal::Renewed { holds: 2 },
                    reply::SessionRenewal::UnknownSession,
                    reply::SessionRenewal::NotAttached,
                ],
            }),
        ),
        ("session.close", Reply::SessionClose(reply::Done {})),
        (
            "lock.acquire, granted",
            Reply::LockAcquire(reply::Acquire::Granted { grant: GRANT }),
        ),
        (
            "lock.acquire, joined",
            Reply::LockAcquire(reply::Acquire::Granted { grant: SHARED }),
        ),
        (
            "lock.acquire, queued",
            Reply::LockAcquire(reply::Acquire::Queued {
                wait: WAIT,
                place: 2,
            }),
        ),
        (
            "lock.acquire, refused",
            Reply::LockAcquire(reply::Acquire::Refused {
                reason: RefusalReason::Held,
                truth: held(),
            }),
        ),
        (
            "lock.acquire, refused a shared lock",
            Reply::LockAcquire(reply::Acquire::Refused {
                reason: RefusalReason::LimitDiffers,
                truth: shared(),
            }),
        ),
        (
            "lock.acquire_all, granted",
            Reply::LockAcquireAll(reply::AcquireAll::Granted {
                grants: vec![GRANT, SHARED],
            }),
        ),
        (
            "lock.acquire_all, queued",
            Reply::LockAcquireAll(reply::AcquireAll::Queued { wait: 32, place: 0 }),
        ),
        (
            "lock.acquire_all, refused",
            Reply::LockAcquireAll(reply::AcquireAll::Refused {
                items: vec![
                    RefusedItem {
                        item: 0,
                        reason: RefusalReason::Held,
                        truth: held(),
                    },
                    RefusedItem {
                        item: 3,
                        reason: RefusalReason::QueueFull,
                        truth: shared(),
                    },
                ],
            }),
        ),
        (
            "lock.renew, granted",
            Reply::LockRenew(reply::Renew::Granted { grant: SHARED }),
        ),
        (
            "lock.renew, not held",
            Reply::LockRenew(reply::Renew::NotHeld {
                lost: Some(Loss {
                    token: TOKEN,
                    cause: Cause::Seized {
                        by: BORIS,
                        reason: "urgent",
                    },
                }),
                truth: held(),
            }),
        ),
        (
            "lock.release, ended",
            Reply::LockRelease(reply::Release::Ended),
        ),
        (
            "lock.release, left",
            Reply::LockRelease(reply::Release::Left),
        ),
        (
            "lock.release, already expired",
            Reply::LockRelease(reply::Release::AlreadyExpired),
        ),
        (
            "lock.release, not held",
            Reply::LockRelease(reply::Release::NotHeld {
                lost: None,
                truth: Truth::default(),
            }),
        ),
        (
            "lock.cancel, cancelled",
            Reply::LockCancel(reply::Cancel::Cancelled),
        ),
        (
            "lock.cancel, granted",
            Reply::LockCancel(reply::Cancel::Granted {
                holds: vec![Held {
                    path: PATH,
                    grant: GRANT,
                }],
            }),
        ),
        (
            "lock.convert, granted",
            Reply::LockConvert(reply::Convert::Granted { grant: CONVERTED }),
        ),
        (
            "lock.convert, queued",
            Reply::LockConvert(reply::Convert::Queued {
                wait: WAIT,
                place: 1,
            }),
        ),
        (
            "lock.convert, refused",
            Reply::LockConvert(reply::Convert::Refused {
                reason: RefusalReason::UpgradePending,
                truth: shared(),
            }),
        ),
        (
            "lock.convert, not held",
            Reply::LockConvert(reply::Convert::NotHeld {
                lost,
                truth: Truth::default(),
            }),
        ),
        (
            "lock.hand_over, handed over",
            Reply::LockHandOver(reply::HandOver::HandedOver {
                token: TOKEN,
                owner: BORIS.owner,
            }),
        ),
        (
            "lock.hand_over, not held",
            Reply::LockHandOver(reply::HandOver::NotHeld {
                lost,
                truth: held(),
            }),
        ),
        (
            "lock.decline, done",
            Reply::LockDecline(reply::Decline::Done),
        ),
        (
            "lock.decline, not held",
            Reply::LockDecline(reply::Decline::NotHeld {
                lost,
                truth: held(),
            }),
        ),
        (
            "lock.force_release",
            Reply::LockForceRelease(reply::Forced {
                ended: vec![EndedHold {
                    path: PATH,
                    owner: ANNA.owner,
                    name: ANNA.name,
                    token: TOKEN,
                }],
                next: Some(PATH),
            }),
        ),
        (
            "lock.force_release, nothing left",
            Reply::LockForceRelease(reply::Forced {
                ended: vec![],
                next: None,
            }),
        ),
        (
            "lock.status, held",
            Reply::LockStatus(reply::Status { truth: held() }),
        ),
        (
            "lock.status, free",
            Reply::LockStatus(reply::Status {
                truth: Truth::default(),
            }),
        ),
        (
            "lock.list",
            Reply::LockList(reply::Page {
                holds: vec![
                    ListedHold {
                        path: PATH,
                        mode: Mode::Exclusive,
                        token: TOKEN,
                        holder: HOLDER,
                        waiters: 3,
                    },
                    ListedHold {
                        path: "x",
                        mode: Mode::Shared,
                        token: 12,
                        holder: ORPHAN,
                        waiters: 0,
                    },
                ],
                next: Some("x"),
                position: None,
            }),
        ),
        (
            "lock.list, last page",
            Reply::LockList(reply::Page {
                holds: vec![],
                next: None,
                position: None,
            }),
        ),
        (
            "lock.list, beside a stream",
            Reply::LockList(reply::Page {
                holds: vec![],
                next: None,
                position: Some(streams::POSITION),
            }),
        ),
        (
            "lock.check, current",
            Reply::LockCheck(reply::Checked {
                current: true,
                token: Some(TOKEN),
            }),
        ),
        (
            "lock.check, free",
            Reply::LockCheck(reply::Checked {
                current: false,
                token: None,
            }),
        ),
        ("policy.set", Reply::PolicySet(reply::Done {})),
        (
            "policy.get",
            Reply::PolicyGet(reply::PolicyInForce {
                policy: Policy {
                    ttl_default_ms: 120_000,
                    ttl_min_ms: 1_000,
                    ttl_max_ms: 86_400_000,
                    queue_max: 10_000,
                    grace_ms: 10_000,
                    release_on_disconnect: true,
                    sessions_max: 1_000_000,
                    holds_max: 10_000_000,
                    session_holds_max: 10_000,
                    session_waits_max: 1_000,
                },
                layer: PolicyLayer {
                    ttl_default_ms: Some(120_000),
                    ..PolicyLayer::default()
                },
            }),
        ),
        (
            "audit.list",
            Reply::AuditList(reply::AuditPage {
                acts: vec![released(), seized(), policy_set()],
                next: Some(15),
            }),
        ),
        (
            "audit.list, none",
            Reply::AuditList(reply::AuditPage {
                acts: vec![],
                next: None,
            }),
        ),
    ];
    let others = [streams::replies(), presence::replies()]
        .into_iter()
        .flatten();
    let numbered = samples
        .into_iter()
        .chain(others)
        .map(|(name, reply)| Sample {
            name: format!("reply {name}"),
            message: Message::FromServer(FromServer::Reply { id: ID, reply }),
        });
    numbered.collect()
}

const fn released() -> AuditedAct<'static> {
    AuditedAct {
        number: 13,
        at_ms: 1_760_000_000_001,
        act: ActKind::ForceRelease,
        principal: "ops",
        reason: Some("on holiday"),
        path: Some(PATH),
        owner: Some(ANNA.owner),
        token: Some(TOKEN),
        kind: None,
        layer: None,
    }
}

fn seized() -> AuditedAct<'static> {
    AuditedAct {
        number: 14,
        act: ActKind::Seize,
        ..released()
    }
}

fn policy_set() -> AuditedAct<'static> {
    AuditedAct {
        number: 15,
        act: ActKind::PolicySet,
        reason: None,
        path: None,
        owner: None,
        token: None,
        kind: Some("doc"),
        layer: Some(PolicyLayer {
            queue_max: Some(7),
            ..PolicyLayer::default()
        }),
        ..released()
    }
}

fn errors() -> Vec<Sample> {
    let every = ErrorCode::ALL.iter().map(|&code| Sample {
        name: format!("error {}", code.name()),
        message: Message::FromServer(FromServer::Error {
            id: 9,
            error: reply::Error {
                code: code.into(),
                message: code.sentence(),
                field: None,
            },
        }),
    });
    let of_a_field = Sample {
        name: "error bad_value, of a field".into(),
        message: Message::FromServer(FromServer::Error {
            id: 9_007_199_254_740_991,
            error: reply::Error {
                code: ErrorCode::BadValue.into(),
                message: "ttl_ms: expected 1000 to 86400000, found 10",
                field: Some("ttl_ms"),
            },
        }),
    };
    let of_no_request = Sample {
        name: "error bad_message, of no request".into(),
        message: Message::FromServer(FromServer::Error {
            id: 0,
            error: reply::Error {
                code: ErrorCode::BadMessage.into(),
                message: "id: expected a number, found text",
                field: Some("id"),
            },
        }),
    };
    every.chain([of_a_field, of_no_request]).collect()
}

fn pushes() -> Vec<Sample> {
    let causes = [
        ("released", Cause::Released),
        ("expired", Cause::Expired),
        ("session closed", Cause::SessionClosed),
        ("session lost", Cause::SessionLost),
        (
            "forced",
            Cause::Forced {
                by: "ops",
                reason: "left for the day",
            },
        ),
        (
            "seized",
            Cause::Seized {
                by: BORIS,
                reason: "urgent",
            },
        ),
        ("handed over", Cause::HandedTo { to: BORIS }),
    ];
    let lost = causes.map(|(name, cause)| {
        let push = push::Lost {
            session: SESSION,
            path: PATH,
            token: TOKEN,
            cause,
        };
        (format!("lock.lost, {name}"), Push::LockLost(push))
    });
    let ends = [
        ("timed out", WaitEnd::TimedOut),
        ("cancelled", WaitEnd::Cancelled),
        ("session ended", WaitEnd::SessionEnded),
        ("detached", WaitEnd::Detached),
        ("too many holds", WaitEnd::TooManyHolds),
    ];
    let wait_ended = ends.map(|(name, why)| {
        let push = push::WaitEnded {
            session: SESSION,
            wait: WAIT,
            why,
        };
        (
            format!("lock.wait_ended, {name}"),
            Push::LockWaitEnded(push),
        )
    });
    let closed = SessionEnd::ALL.iter().map(|&why| {
        let push = push::Closed {
            session: SESSION,
            why,
        };
        (format!("session.closed, {why}"), Push::SessionClosed(push))
    });
    let others = [
        ("server.ping", Push::ServerPing(push::Ping {})),
        (
            "server.goodbye",
            Push::ServerGoodbye(push::Goodbye {
                code: ErrorCode::ShuttingDown.into(),
                message: ErrorCode::ShuttingDown.sentence(),
            }),
        ),
        (
            "session.moved",
            Push::SessionMoved(push::Moved { session: SESSION }),
        ),
        (
            "lock.granted",
            Push::LockGranted(push::Granted {
                session: SESSION,
                wait: WAIT,
                holds: vec![Held {
                    path: PATH,
                    grant: GRANT,
                }],
            }),
        ),
        (
            "lock.granted, several",
            Push::LockGranted(push::Granted {
                session: SESSION,
                wait: 32,
                holds: vec![
                    Held {
                        path: PATH,
                        grant: GRANT,
                    },
                    Held {
                        path: "price-list/2027",
                        grant: SHARED,
                    },
                ],
            }),
        ),
        (
            "lock.changed",
            Push::LockChanged(push::Changed {
                session: SESSION,
                path: PATH,
                grant: CONVERTED,
            }),
        ),
        (
            "lock.asked",
            Push::LockAsked(push::Asked {
                session: SESSION,
                path: PATH,
                wait: WAIT,
                who: BORIS,
                note: "May I have it?",
            }),
        ),
        (
            "lock.declined",
            Push::LockDeclined(push::Declined {
                session: 8,
                wait: WAIT,
                path: PATH,
                who: ANNA,
            }),
        ),
        (
            "lock.place",
            Push::LockPlace(push::Place {
                session: SESSION,
                wait: WAIT,
                place: 1,
            }),
        ),
    ];
    let others = others.map(|(name, push)| (name.to_owned(), push));
    let refused = RefusalReason::ALL.iter().map(|&reason| {
        let why = WaitEnd::Refused { reason };
        let push = push::WaitEnded {
            session: SESSION,
            wait: WAIT,
            why,
        };
        (
            format!("lock.wait_ended, refused, {reason}"),
            Push::LockWaitEnded(push),
        )
    });
    let mut all: Vec<_> = others
        .into_iter()
        .chain(closed)
        .chain(lost)
        .chain(wait_ended)
        .chain(refused)
        .collect();
    all.sort_by_key(|(_, push)| push.kind().number());
    let others = [streams::pushes(), presence::pushes()]
        .into_iter()
        .flatten();
    let others = others.map(|(name, push)| (name.to_owned(), push));
    let named = all.into_iter().chain(others).map(|(name, push)| Sample {
        name: format!("push {name}"),
        message: Message::FromServer(FromServer::Push(push)),
    });
    named.collect()
}

impl Message {
    /// The frame, header included.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let mut out = bytes::BytesMut::new();
        let length = match self {
            Self::FromClient(FromClient { id, request }) => request.encode(*id, &mut out),
            Self::FromServer(FromServer::Reply { id, reply }) => reply.encode(*id, &mut out),
            Self::FromServer(FromServer::Error { id, error }) => error.encode(*id, &mut out),
            Self::FromServer(FromServer::Push(push)) => push.encode(&mut out),
            Self::FromServer(FromServer::UnknownPush { .. }) => unreachable!("nobody sends one"),
        };
        assert_eq!(length, out.len());
        out.to_vec()
    }

    /// The payload of the frame.
    pub(crate) fn payload(&self) -> Vec<u8> {
        self.frame().split_off(tenure_protocol::frame::HEADER)
    }

    /// The same as an object with names.
    pub(crate) fn json(&self) -> String {
        match self {
            Self::FromClient(message) => serde_json::to_string(message),
            Self::FromServer(message) => serde_json::to_string(message),
        }
        .expect("every message has a JSON form")
    }
}
