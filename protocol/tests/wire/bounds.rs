//! The bounds of every field: what lies on one is taken, what lies beyond is refused in words that help.
//! Client and server judge alike: what decoding refuses, `Request::check` refuses in the same words.

use tenure_protocol::{
    Activity, Counts, Disconnect, ErrorCode, Filter, FromClient, Grant, GrantKind, Held, Item,
    Missed, Mode, OnDisconnect, PathViewers, PolicyLayer, Position, Reply, Request, ResumeKey,
    Role, Secret, Target, Viewer, Waiting, Who, limits, reply, request,
};

const NUMBER_MAX: u64 = (1 << 53) - 1;

/// What a server makes of the request: nothing to complain of, or the fault.
fn verdict(request: &Request<'_>) -> Result<(), String> {
    let mut out = bytes::BytesMut::new();
    request.encode(1, &mut out);
    let payload = tenure_protocol::frame::cut(&mut out, limits::FRAME_FROM_CLIENT)
        .expect("no request is too large")
        .expect("a whole frame");
    let decoded = FromClient::decode(&payload);
    let checked = request.check().map_err(|fault| fault.to_string());
    if let Err(error) = &decoded {
        assert_eq!(error.id, Some(1), "it fails alone");
        assert_eq!(error.code(), ErrorCode::BadValue);
    }
    let decoded = decoded.map(drop).map_err(|error| error.to_string());
    assert_eq!(decoded, checked, "client and server judge alike");
    decoded
}

#[track_caller]
fn taken(request: &Request<'_>) {
    assert_eq!(verdict(request), Ok(()));
}

#[track_caller]
fn refused(request: &Request<'_>, message: &str) {
    assert_eq!(verdict(request), Err(message.to_owned()));
}

fn acquire(path: &str) -> request::Acquire<'_> {
    request::Acquire {
        session: 1,
        path,
        mode: Mode::Shared,
        wait_ms: 0,
        ttl_ms: None,
        limit: None,
        note: None,
        seize: None,
        metadata: b"",
    }
}

fn open<'a>(org: &'a str, owner: &'a str) -> request::OpenSession<'a> {
    request::OpenSession {
        org,
        owner,
        name: "",
        role: None,
        on_disconnect: None,
        metadata: b"",
    }
}

#[test]
fn paths() {
    let longest = "p".repeat(512);
    for path in [
        "d",
        "doc/quote-123",
        "a b/ü/😀",
        "doc/*x",
        "***",
        longest.as_str(),
    ] {
        taken(&Request::LockAcquire(acquire(path)));
    }
    let expected = "path: expected 1 to 512 bytes: segments with `/` between them, none empty, none \
                    `*` or `**`, no control characters, found ";
    let too_long = "p".repeat(513);
    for (path, found) in [
        ("", "0 bytes"),
        (too_long.as_str(), "513 bytes"),
        ("/doc", "an empty segment"),
        ("doc/", "an empty segment"),
        ("doc//x", "an empty segment"),
        ("doc/*", "a segment that is a wildcard"),
        ("**/x", "a segment that is a wildcard"),
        ("doc/\n", "a control character"),
        ("doc/\u{7f}", "a control character"),
        ("doc/\u{85}", "a control character"),
    ] {
        refused(
            &Request::LockAcquire(acquire(path)),
            &format!("{expected}{found}"),
        );
    }
}

#[test]
fn orgs_and_owners() {
    let longest = "o".repeat(64);
    for org in ["a", "Acme-2.eu_west", longest.as_str()] {
        taken(&Request::SessionOpen(open(org, "u")));
    }
    let expected = "org: expected 1 to 64 bytes of letters, digits, `.`, `_` and `-`, found ";
    let too_long = "o".repeat(65);
    for (org, found) in [
        ("", "0 bytes"),
        (too_long.as_str(), "65 bytes"),
        ("a b", "another character"),
        ("ä", "another character"),
        ("a/b", "another character"),
    ] {
        refused(
            &Request::SessionOpen(open(org, "u")),
            &format!("{expected}{found}"),
        );
    }

    let longest = "o".repeat(1024);
    taken(&Request::SessionOpen(open("a", &longest)));
    let expected = "owner: expected 1 to 1024 bytes without control characters, found ";
    let too_long = "o".repeat(1025);
    for (owner, found) in [
        ("", "0 bytes"),
        (too_long.as_str(), "1025 bytes"),
        ("a\tb", "a control character"),
    ] {
        refused(
            &Request::SessionOpen(open("a", owner)),
            &format!("{expected}{found}"),
        );
    }
}

#[test]
fn names_metadata_and_grace() {
    let name = "n".repeat(257);
    let metadata = [b'm'; 4097];
    let least = open("a", "u");
    let grace = |grace_ms| request::OpenSession {
        on_disconnect: Some(Disconnect::Release {
            grace_ms: Some(grace_ms),
        }),
        ..least
    };
    taken(&Request::SessionOpen(request::OpenSession {
        name: &name[..256],
        metadata: &metadata[..4096],
        ..grace(3_600_000)
    }));
    refused(
        &Request::SessionOpen(request::OpenSession {
            name: &name,
            ..least
        }),
        "name: expected 0 to 256 bytes without control characters, found 257 bytes",
    );
    refused(
        &Request::SessionOpen(request::OpenSession {
            metadata: &metadata,
            ..least
        }),
        "metadata: expected at most 4096 bytes, found 4097 bytes",
    );
    refused(
        &Request::SessionOpen(grace(3_600_001)),
        "on_disconnect.grace_ms: expected 0 to 3600000, found 3600001",
    );
}

#[test]
fn times_and_limits() {
    let plain = acquire("d");
    for ttl_ms in [1000, 86_400_000] {
        taken(&Request::LockAcquire(request::Acquire {
            ttl_ms: Some(ttl_ms),
            ..plain
        }));
    }
    for ttl_ms in [999, 86_400_001] {
        refused(
            &Request::LockAcquire(request::Acquire {
                ttl_ms: Some(ttl_ms),
                ..plain
            }),
            &format!("ttl_ms: expected 1000 to 86400000, found {ttl_ms}"),
        );
    }
    taken(&Request::LockAcquire(request::Acquire {
        wait_ms: 86_400_000,
        ..plain
    }));
    refused(
        &Request::LockAcquire(request::Acquire {
            wait_ms: 86_400_001,
            ..plain
        }),
        "wait_ms: expected 0 to 86400000, found 86400001",
    );
    for limit in [1, 4096] {
        taken(&Request::LockAcquire(request::Acquire {
            limit: Some(limit),
            ..plain
        }));
    }
    for limit in [0, 4097] {
        refused(
            &Request::LockAcquire(request::Acquire {
                limit: Some(limit),
                ..plain
            }),
            &format!("limit: expected 1 to 4096, found {limit}"),
        );
    }
    refused(
        &Request::LockAcquire(request::Acquire {
            mode: Mode::Exclusive,
            limit: Some(1),
            ..plain
        }),
        "limit: expected no limit in exclusive mode, found 1",
    );
}

#[test]
fn notes_and_seizures() {
    let text = "t".repeat(1025);
    let plain = request::Acquire {
        mode: Mode::Exclusive,
        ..acquire("d")
    };
    let waiting = request::Acquire {
        wait_ms: 1,
        ..plain
    };
    taken(&Request::LockAcquire(request::Acquire {
        note: Some(&text[..1024]),
        ..waiting
    }));
    taken(&Request::LockAcquire(request::Acquire {
        note: Some(""),
        ..waiting
    }));
    refused(
        &Request::LockAcquire(request::Acquire {
            note: Some(&text),
            ..waiting
        }),
        "note: expected 0 to 1024 bytes, found 1025 bytes",
    );
    refused(
        &Request::LockAcquire(request::Acquire {
            note: Some("please"),
            ..plain
        }),
        "note: expected no note without a wait, found a note and a wait of 0",
    );
    taken(&Request::LockAcquire(request::Acquire {
        seize: Some(&text[..1024]),
        ..plain
    }));
    for (reason, found) in [("", "0 bytes"), (text.as_str(), "1025 bytes")] {
        refused(
            &Request::LockAcquire(request::Acquire {
                seize: Some(reason),
                ..plain
            }),
            &format!("seize: expected 1 to 1024 bytes, found {found}"),
        );
    }
    refused(
        &Request::LockAcquire(request::Acquire {
            seize: Some("r"),
            ..waiting
        }),
        "seize: expected exclusive mode and no wait to seize, found a wait",
    );
    refused(
        &Request::LockAcquire(request::Acquire {
            seize: Some("r"),
            ..acquire("d")
        }),
        "seize: expected exclusive mode and no wait to seize, found shared mode",
    );
}

#[test]
fn lists() {
    let paths: Vec<_> = (0..17).map(|number| format!("doc/{number}")).collect();
    let items = |paths: &[&str]| {
        let item = |&path: &&str| Item {
            path: leak(path),
            mode: Mode::Shared,
            limit: None,
        };
        Request::LockAcquireAll(request::AcquireAll {
            session: 1,
            items: paths.iter().map(item).collect(),
            wait_ms: 0,
            ttl_ms: None,
            metadata: b"",
        })
    };
    let paths: Vec<_> = paths.iter().map(String::as_str).collect();
    taken(&items(&paths[..1]));
    taken(&items(&paths[..16]));
    refused(&items(&[]), "items: expected 1 to 16 of them, found 0");
    refused(&items(&paths), "items: expected 1 to 16 of them, found 17");
    refused(
        &items(&["a", "b", "a"]),
        "items: expected each path once, found a path twice",
    );
    refused(
        &items(&["a", "b/"]),
        "items.path: expected 1 to 512 bytes: segments with `/` between them, none empty, none `*` \
         or `**`, no control characters, found an empty segment",
    );

    let sessions = |count| {
        Request::SessionRenew(request::RenewSessions {
            sessions: vec![NUMBER_MAX; count],
        })
    };
    taken(&sessions(1));
    taken(&sessions(1000));
    refused(
        &sessions(0),
        "sessions: expected 1 to 1000 of them, found 0",
    );
    refused(
        &sessions(1001),
        "sessions: expected 1 to 1000 of them, found 1001",
    );
}

fn leak(text: &str) -> &'static str {
    text.to_owned().leak()
}

#[test]
fn targets_reasons_and_pages() {
    let force = |target, reason| {
        Request::LockForceRelease(request::ForceRelease {
            org: "a",
            target,
            reason,
            dry_run: false,
            cursor: None,
        })
    };
    taken(&force(Target::Prefix { prefix: "doc/" }, "r"));
    taken(&force(
        Target::Session {
            session: NUMBER_MAX,
        },
        "r",
    ));
    refused(
        &force(Target::All, ""),
        "reason: expected 1 to 1024 bytes, found 0 bytes",
    );
    refused(
        &force(Target::Prefix { prefix: "" }, "r"),
        "target.prefix: expected 1 to 512 bytes without control characters, found 0 bytes",
    );
    refused(
        &force(
            Target::Session {
                session: NUMBER_MAX + 1,
            },
            "r",
        ),
        "target.session: expected a number up to 2^53-1, found 9007199254740992",
    );

    let page = |page| {
        Request::LockList(request::List {
            org: "a",
            target: Target::All,
            mode: None,
            held_min_ms: 0,
            cursor: None,
            page,
        })
    };
    taken(&page(1));
    taken(&page(256));
    refused(&page(0), "page: expected 1 to 256, found 0");
    refused(&page(257), "page: expected 1 to 256, found 257");
}

#[test]
fn policies() {
    let set = |kind, layer| {
        Request::PolicySet(request::SetPolicy {
            org: "a",
            kind,
            layer,
        })
    };
    let none = PolicyLayer::default();
    let of_locks = PolicyLayer {
        queue_max: Some(0),
        ttl_max_ms: Some(1000),
        ..none
    };
    let of_sessions = PolicyLayer {
        session_holds_max: Some(10_000),
        ..none
    };
    taken(&set(None, of_sessions));
    taken(&set(Some("doc"), of_locks));
    refused(
        &set(Some("doc"), of_sessions),
        "layer: expected only ttl_default_ms, ttl_min_ms, ttl_max_ms and queue_max for a kind, found \
         more",
    );
    refused(
        &set(
            None,
            PolicyLayer {
                session_holds_max: Some(10_001),
                ..none
            },
        ),
        "layer.session_holds_max: expected 1 to 10000, found 10001",
    );
    refused(
        &set(
            None,
            PolicyLayer {
                ttl_min_ms: Some(2000),
                ttl_max_ms: Some(1000),
                ..none
            },
        ),
        "layer: expected ttl_min_ms at most ttl_max_ms, found 2000 and 1000",
    );
    refused(
        &set(Some("a/b"), none),
        "kind: expected 1 to 512 bytes without `/` and control characters, not `*` or `**`, found a \
         `/`",
    );
}

#[test]
fn credentials() {
    let key = "k".repeat(2049);
    let hello = |key| {
        Request::Hello(request::Hello {
            version: 1,
            client: "",
            key,
        })
    };
    taken(&hello(Some(Secret(&key[..2048]))));
    refused(
        &hello(Some(Secret(&key))),
        "key: expected 1 to 2048 bytes without control characters, found 2049 bytes",
    );
}

#[test]
fn a_resume_key_has_sixteen_bytes() {
    // session.resume [11, 1, "a", 7, <15 bytes>]
    let payload = [&b"\x95\x0b\x01\xa1a\x07\xc4\x0f"[..], &[0; 15]].concat();
    let error = FromClient::decode(&payload).expect_err("a byte is missing");
    assert_eq!(
        error.to_string(),
        "resume_key: expected 16 bytes, found 15 bytes"
    );
    assert_eq!((error.id, error.code()), (Some(1), ErrorCode::BadValue));
}

#[test]
fn ids_and_operations() {
    let decode = |payload| FromClient::decode(payload).expect_err("it is no request");
    let zero = decode(b"\x92\x02\x00");
    assert_eq!((zero.op, zero.id), (Some(2), None));
    assert_eq!(zero.to_string(), "id: expected an id from 1, found 0");

    let too_large = decode(b"\x92\x02\xcf\x00\x20\x00\x00\x00\x00\x00\x00");
    assert!(too_large.fails_connection());

    let unknown = decode(b"\x92\x13\x05");
    assert_eq!(
        (unknown.id, unknown.code()),
        (Some(5), ErrorCode::UnknownCommand)
    );
    assert_eq!(
        unknown.to_string(),
        "expected the number of a command, found 19"
    );

    let push = decode(b"\x92\xcc\x80\x05");
    assert_eq!(push.code(), ErrorCode::UnknownCommand);
}

#[test]
fn names_that_do_not_exist_are_refused_with_those_that_do() {
    // lock.acquire [20, 1, 7, "d", 3]
    let error = FromClient::decode(b"\x95\x14\x01\x07\xa1d\x03").expect_err("there is no mode 3");
    assert_eq!(
        error.to_string(),
        "mode: expected one of 1 (shared), 2 (exclusive), found 3"
    );
    // lock.status of a path that is not UTF-8.
    let error = FromClient::decode(b"\x94\x1d\x01\xa1a\xa1\xff").expect_err("ff is not UTF-8");
    assert_eq!(
        error.to_string(),
        "path: expected text in UTF-8, found other bytes"
    );
}

/// A policy may not allow a session so much that its resume could not be answered.
#[test]
fn the_largest_answer_to_a_resume_fits_a_frame() {
    let path = "p".repeat(limits::PATH.max);
    let owner = "o".repeat(limits::OWNER.max);
    let name = "n".repeat(limits::NAME.max);
    let reason = "r".repeat(limits::REASON.max);
    let who = Who {
        owner: &owner,
        name: &name,
    };
    let grant = Grant {
        token: NUMBER_MAX,
        mode: Mode::Exclusive,
        ttl_ms: limits::TTL_MS.max,
        remaining_ms: limits::TTL_MS.max,
        kind: GrantKind::Fresh,
    };
    let waiting = Waiting {
        wait: NUMBER_MAX,
        paths: vec![&path; limits::ITEMS.max],
        place: u32::MAX,
        remaining_ms: limits::WAIT_MS.max,
    };
    let missed = Missed::Lost {
        path: &path,
        token: NUMBER_MAX,
        cause: tenure_protocol::Cause::Seized {
            by: who,
            reason: &reason,
        },
    };
    let count = |span: limits::Span| usize::try_from(span.max).expect("a small number");
    let resumed = reply::Resumed {
        owner: &owner,
        role: Role::Admin,
        on_disconnect: OnDisconnect::Release {
            grace_ms: limits::GRACE_MS.max,
        },
        holds: vec![Held { path: &path, grant }; count(limits::SESSION_HOLDS)],
        waits: vec![waiting; count(limits::SESSION_WAITS)],
        missed: vec![missed; limits::MISSED_MAX],
        missed_left_out: u32::MAX,
    };
    let mut out = bytes::BytesMut::new();
    let length = Reply::SessionResume(resumed).encode(NUMBER_MAX, &mut out);
    assert!(length <= limits::FRAME_FROM_SERVER, "{length} bytes");
}

/// Before the hello frames are small; a hello has to fit.
#[test]
fn the_largest_hello_fits_its_frame() {
    let client = "c".repeat(limits::CLIENT.max);
    let key = "k".repeat(limits::KEY.max);
    let hello = request::Hello {
        version: u32::MAX,
        client: &client,
        key: Some(Secret(&key)),
    };
    let mut out = bytes::BytesMut::new();
    assert!(Request::Hello(hello).encode(NUMBER_MAX, &mut out) <= limits::FRAME_BEFORE_HELLO);
}

/// A resume key is compared, not shown.
#[test]
fn a_resume_key_is_equal_to_itself_alone() {
    assert_eq!(ResumeKey([7; 16]), ResumeKey([7; 16]));
    assert_ne!(ResumeKey([7; 16]), ResumeKey([8; 16]));
    assert_eq!(format!("{:?}", ResumeKey([7; 16])), "ResumeKey(..)");
}

#[test]
fn subscriptions_and_events() {
    let filters = |count| {
        Request::StreamSubscribe(request::Subscribe {
            org: "a",
            filters: vec![Filter::ALL; count],
            since: None,
            presence: false,
        })
    };
    taken(&filters(1));
    taken(&filters(1000));
    refused(&filters(0), "filters: expected 1 to 1000 of them, found 0");
    refused(
        &filters(1001),
        "filters: expected 1 to 1000 of them, found 1001",
    );

    let bytes = vec![7; 65_537];
    let long = "e".repeat(129);
    let publish = |event, payload, id| {
        Request::StreamPublish(request::Publish {
            org: "a",
            path: "d",
            event,
            payload,
            event_id: id,
            session: None,
        })
    };
    taken(&publish(&long[..128], &bytes[..65_536], Some(&long[..64])));
    refused(
        &publish(&long, b"", None),
        "event: expected 1 to 128 bytes of letters, digits, `.`, `_` and `-`, found 129 bytes",
    );
    refused(
        &publish("new message", b"", None),
        "event: expected 1 to 128 bytes of letters, digits, `.`, `_` and `-`, found another character",
    );
    refused(
        &publish("e", &bytes, None),
        "payload: expected at most 65536 bytes, found 65537 bytes",
    );
    refused(
        &publish("e", b"", Some("")),
        "event_id: expected 1 to 64 bytes without control characters, found 0 bytes",
    );
}

#[test]
fn viewers() {
    let bytes = [7; 257];
    let enter = |metadata| {
        Request::PresenceEnter(request::Enter {
            session: 1,
            path: "d",
            activity: Activity::Idle,
            internal: false,
            metadata,
        })
    };
    taken(&enter(&bytes[..256]));
    refused(
        &enter(&bytes),
        "metadata: expected at most 256 bytes, found 257 bytes",
    );
}

/// A page of viewers, and a change at the fullest path, as large as they can be.
#[test]
fn the_largest_page_of_viewers_fits_a_frame() {
    let path = "p".repeat(limits::PATH.max);
    let owner = "o".repeat(limits::OWNER.max);
    let name = "n".repeat(limits::NAME.max);
    let metadata = vec![7; limits::VIEWER_METADATA.max];
    let viewer = Viewer {
        owner: &owner,
        name: &name,
        activity: Activity::Editing,
        internal: false,
        since_ms: NUMBER_MAX,
        sittings: u32::MAX,
        metadata: &metadata,
    };
    let counts = Counts::default();
    let of_a_path = |viewers| PathViewers {
        path: &path,
        total: u32::MAX,
        counts,
        viewers: vec![viewer; viewers],
    };
    // One short of a page, and then a path that is not cut in two.
    let page = usize::try_from(limits::PAGE.max).expect("a small number");
    let mut paths = vec![of_a_path(1); page - 1];
    paths.push(of_a_path(limits::VIEWERS_LISTED_MAX));
    let position = Some(Position {
        epoch: NUMBER_MAX,
        offset: NUMBER_MAX,
    });
    let viewers = reply::Viewers {
        version: NUMBER_MAX,
        position,
        paths,
        next: Some(&path),
    };
    let mut out = bytes::BytesMut::new();
    let length = Reply::PresenceList(viewers).encode(NUMBER_MAX, &mut out);
    assert!(length <= limits::FRAME_FROM_SERVER, "{length} bytes");
}
