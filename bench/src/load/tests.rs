//! A load against a small server of the test's own, which keeps count of what it is asked.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use bytes::{Buf as _, BytesMut};
use tenure_protocol::frame::Frames;
use tenure_protocol::{
    ErrorCode, FromClient, Grant, GrantKind, OnDisconnect, RefusalReason, Reply, Request,
    ResumeKey, Role, Truth, limits, reply,
};

use super::*;
use crate::dialect::Tenure;

/// Who holds what.
type Holds = Arc<Mutex<HashMap<String, u64>>>;

/// Serves until the test ends. `fails` answers every acquire with an error.
fn server(fails: bool) -> (SocketAddr, Holds) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let holds = Holds::default();
    let shared = Arc::clone(&holds);
    thread::spawn(move || {
        for (session, stream) in (1..).zip(listener.incoming()) {
            let holds = Arc::clone(&shared);
            thread::spawn(move || serve(session, stream.unwrap(), &holds, fails));
        }
    });
    (address, holds)
}

fn serve(session: u64, mut stream: TcpStream, holds: &Holds, fails: bool) {
    let (mut inbound, mut out, mut part) = (BytesMut::new(), BytesMut::new(), [0; 65536]);
    while let Ok(count @ 1..) = stream.read(&mut part) {
        inbound.extend_from_slice(&part[..count]);
        let mut frames = Frames::new(&inbound, limits::FRAME_FROM_CLIENT);
        for payload in frames.by_ref() {
            let FromClient { id, request } = FromClient::decode(payload.unwrap()).unwrap();
            if fails && matches!(request, Request::LockAcquire(_)) {
                let error = reply::Error {
                    code: ErrorCode::Internal.into(),
                    message: "no",
                    field: None,
                };
                error.encode(id, &mut out);
            } else {
                answer(session, &request, &mut holds.lock().unwrap()).encode(id, &mut out);
            }
        }
        let consumed = frames.consumed();
        inbound.advance(consumed);
        if stream.write_all(&out).is_err() {
            return;
        }
        out.clear();
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a load asks little")]
fn answer(session: u64, request: &Request<'_>, holds: &mut HashMap<String, u64>) -> Reply<'static> {
    match request {
        Request::Hello(_) => Reply::Hello(reply::Hello {
            version: 1,
            server: "test",
            connection: session,
            principal: "everybody",
            role: Role::Admin,
            heartbeat_ms: 5000,
            dead_after_ms: 15_000,
            limits: reply::Limits {
                frame_bytes: 65_536,
                in_flight: 1024,
                sessions: 1,
                path_bytes: 512,
                metadata_bytes: 1024,
            },
        }),
        Request::SessionOpen(_) => Reply::SessionOpen(reply::Opened {
            session,
            resume_key: ResumeKey([0; 16]),
            on_disconnect: OnDisconnect::Keep,
        }),
        Request::LockAcquire(acquire) => Reply::LockAcquire(match holds.get(acquire.path) {
            Some(holder) if *holder != session => reply::Acquire::Refused {
                reason: RefusalReason::Held,
                truth: Truth::default(),
            },
            held => {
                let kind = held.map_or(GrantKind::Fresh, |_| GrantKind::Joined);
                holds.insert(acquire.path.to_owned(), session);
                reply::Acquire::Granted {
                    grant: Grant {
                        token: 1,
                        mode: acquire.mode,
                        ttl_ms: 1000,
                        remaining_ms: 1000,
                        kind,
                    },
                }
            }
        }),
        Request::LockRelease(release) => {
            assert_eq!(holds.remove(release.path), Some(session));
            Reply::LockRelease(reply::Release::Ended)
        }
        other => panic!("a load does not ask {:?}", other.kind()),
    }
}

fn load(address: SocketAddr, paths: u32) -> Load {
    Load {
        address,
        server_pid: Some(std::process::id()),
        connections: 3,
        depth: 8,
        paths,
        threads: 2,
        warm_up: Duration::from_millis(50),
        duration: Duration::from_millis(300),
    }
}

fn tenure() -> Tenure {
    Tenure::default()
}

#[test]
fn a_run_counts_pairs_and_leaves_nothing_held() {
    let (address, holds) = server(false);
    let mut told = 0;
    let measured = run(&load(address, 100_000), &tenure(), &mut |_| told += 1).unwrap();
    assert!(measured.pairs > 0);
    assert_eq!(measured.lost, 0);
    let requests = 2 * measured.pairs + measured.conflicts;
    // Pairs that lie across the ends of the measured time are at most one a slot.
    assert!(measured.latency.len().abs_diff(requests) <= 2 * 3 * 8);
    assert!(told > 0);
    assert!(holds.lock().unwrap().is_empty(), "what is held is released");
}

#[test]
fn who_comes_too_late_does_not_count() {
    let (address, _) = server(false);
    let measured = run(&load(address, 2), &tenure(), &mut |_| {}).unwrap();
    assert!(measured.conflicts > measured.pairs, "24 slots, 2 paths");
    assert_eq!(measured.lost, 0);
}

#[test]
fn an_error_ends_the_run() {
    let (address, _) = server(true);
    let mut load = load(address, 10);
    load.duration = Duration::from_secs(60);
    let error = run(&load, &tenure(), &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("the server answered: no"));
}

#[test]
fn a_server_that_is_not_there_is_told_of() {
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = run(&load(address, 10), &tenure(), &mut |_| {}).unwrap_err();
    assert!(error.to_string().starts_with("cannot connect to"));
}
