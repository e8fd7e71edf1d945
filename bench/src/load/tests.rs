//! A load against a small server of the test's own, which keeps count of what it is asked.

use std::collections::{HashMap, VecDeque};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use bytes::{Buf as _, BytesMut};
use tenure_protocol::frame::Frames;
use tenure_protocol::{
    ErrorCode, FromClient, Grant, GrantKind, Mode, OnDisconnect, Push, RefusalReason, Reply,
    Request, ResumeKey, Role, Truth, limits, push, reply, request,
};

use super::*;
use crate::dialect::Tenure;

/// Who holds what and who waits, by session.
#[derive(Default)]
struct Locks {
    sessions: u64,
    holds: HashMap<String, u64>,
    lines: HashMap<String, VecDeque<u64>>,
    /// Acquires, and reads that had any.
    acquires: u32,
    reads_with_acquires: u32,
}

type Shared = Arc<Mutex<Locks>>;

/// Serves until the test ends. `fails` answers every acquire with an error.
fn server(fails: bool) -> (SocketAddr, Shared) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let locks = Shared::default();
    let shared = Arc::clone(&locks);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let locks = Arc::clone(&shared);
            thread::spawn(move || serve(stream.unwrap(), &locks, fails));
        }
    });
    (address, locks)
}

fn serve(mut stream: TcpStream, locks: &Mutex<Locks>, fails: bool) {
    let (mut inbound, mut out, mut part) = (BytesMut::new(), BytesMut::new(), [0; 65536]);
    while let Ok(count @ 1..) = stream.read(&mut part) {
        inbound.extend_from_slice(&part[..count]);
        let mut frames = Frames::new(&inbound, limits::FRAME_FROM_CLIENT);
        let mut acquires = 0;
        for payload in frames.by_ref() {
            let FromClient { id, request } = FromClient::decode(payload.unwrap()).unwrap();
            acquires += u32::from(matches!(request, Request::LockAcquire(_)));
            if fails && matches!(request, Request::LockAcquire(_)) {
                let error = reply::Error {
                    code: ErrorCode::Internal.into(),
                    message: "no",
                    field: None,
                };
                error.encode(id, &mut out);
            } else {
                let (reply, push) = answer(&request, &mut locks.lock().unwrap());
                reply.encode(id, &mut out);
                if let Some(push) = push {
                    push.encode(&mut out);
                }
            }
        }
        let consumed = frames.consumed();
        inbound.advance(consumed);
        let mut counted = locks.lock().unwrap();
        counted.acquires += acquires;
        counted.reads_with_acquires += u32::from(acquires > 0);
        drop(counted);
        if stream.write_all(&out).is_err() {
            return;
        }
        out.clear();
    }
}

/// The answer, and who is granted what was released. All waiters are on the connection of whoever releases.
#[expect(clippy::wildcard_enum_match_arm, reason = "a load asks little")]
fn answer(request: &Request<'_>, locks: &mut Locks) -> (Reply<'static>, Option<Push<'static>>) {
    let reply = match request {
        Request::Hello(_) => hello(),
        Request::SessionOpen(_) => {
            locks.sessions += 1;
            Reply::SessionOpen(reply::Opened {
                session: locks.sessions,
                resume_key: ResumeKey([0; 16]),
                on_disconnect: OnDisconnect::Keep,
            })
        }
        Request::LockAcquire(acquire) => Reply::LockAcquire(locks.acquire(acquire)),
        Request::LockRenew(renew) => {
            assert_eq!(locks.holds.get(renew.path), Some(&renew.session));
            let grant = grant(GrantKind::Joined);
            Reply::LockRenew(reply::Renew::Granted { grant })
        }
        Request::LockRelease(release) => {
            let holder = locks.holds.remove(release.path);
            assert_eq!(holder, Some(release.session));
            let line = locks.lines.get_mut(release.path);
            let next = line.and_then(VecDeque::pop_front);
            let push = next.map(|session| {
                locks.holds.insert(release.path.to_owned(), session);
                Push::LockGranted(push::Granted {
                    session,
                    wait: session,
                    holds: vec![],
                })
            });
            return (Reply::LockRelease(reply::Release::Ended), push);
        }
        other => panic!("a load does not ask {:?}", other.kind()),
    };
    (reply, None)
}

fn hello() -> Reply<'static> {
    Reply::Hello(reply::Hello {
        version: 1,
        server: "test",
        connection: 1,
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
    })
}

fn grant(kind: GrantKind) -> Grant {
    Grant {
        token: 1,
        mode: Mode::Exclusive,
        ttl_ms: 1000,
        remaining_ms: 1000,
        kind,
    }
}

impl Locks {
    fn acquire(&mut self, acquire: &request::Acquire<'_>) -> reply::Acquire<'static> {
        let session = acquire.session;
        match self.holds.get(acquire.path) {
            Some(holder) if *holder == session => reply::Acquire::Granted {
                grant: grant(GrantKind::Joined),
            },
            Some(_) if acquire.wait_ms > 0 => {
                let line = self.lines.entry(acquire.path.to_owned()).or_default();
                line.push_back(session);
                reply::Acquire::Queued {
                    wait: session,
                    place: line.len() as u32,
                }
            }
            Some(_) => reply::Acquire::Refused {
                reason: RefusalReason::Held,
                truth: Truth::default(),
            },
            None => {
                self.holds.insert(acquire.path.to_owned(), session);
                reply::Acquire::Granted {
                    grant: grant(GrantKind::Fresh),
                }
            }
        }
    }
}

fn load(address: SocketAddr, paths: u32) -> Load {
    Load {
        address,
        server_pid: Some(std::process::id()),
        course: Course::Pairs,
        rate: None,
        connections: 3,
        depth: 8,
        paths,
        threads: 2,
        awake: AWAKE,
        warm_up: Duration::from_millis(50),
        duration: Duration::from_millis(300),
    }
}

fn tenure() -> Tenure {
    Tenure::default()
}

#[test]
fn a_run_counts_pairs_and_leaves_nothing_held() {
    let (address, locks) = server(false);
    let mut told = 0;
    let measured = run(&load(address, 100_000), &tenure(), &mut |_| told += 1).unwrap();
    assert!(measured.released > 0);
    assert_eq!(measured.lost, 0);
    let requests = 2 * measured.released + measured.conflicts;
    // Pairs that lie across the ends of the measured time are at most one a slot.
    assert!(measured.latency.len().abs_diff(requests) <= 2 * 3 * 8);
    assert!(told > 0);
    assert_all_is_released(&locks);
}

#[test]
fn who_comes_too_late_does_not_count() {
    let (address, _) = server(false);
    let measured = run(&load(address, 2), &tenure(), &mut |_| {}).unwrap();
    assert!(measured.conflicts > measured.released, "24 slots, 2 paths");
    assert_eq!(measured.lost, 0);
}

#[test]
fn what_is_renewed_is_held_throughout() {
    let (address, locks) = server(false);
    let mut load = load(address, 100);
    load.course = Course::Renew;
    let measured = run(&load, &tenure(), &mut |_| {}).unwrap();
    assert!(measured.renewed > 0);
    assert_eq!(
        (measured.acquired, measured.conflicts, measured.lost),
        (0, 0, 0)
    );
    assert_eq!(measured.operations(), measured.latency.len());
    assert_all_is_released(&locks);
}

#[test]
fn a_mixed_load_is_refused_what_others_hold_and_nothing_else() {
    let (address, locks) = server(false);
    let mut load = load(address, 1000);
    load.course = Course::Mixed;
    let measured = run(&load, &tenure(), &mut |_| {}).unwrap();
    assert_eq!(measured.lost, 0);
    let share = measured.conflicts as f64 / measured.latency.len() as f64;
    assert!((0.02..0.1).contains(&share), "5 of 100, found {share}");
    assert!(measured.renewed > 4 * measured.released);
    assert_all_is_released(&locks);
}

#[test]
fn a_mixed_load_is_refused_also_where_there_are_several_orgs() {
    // The server of this test knows no orgs; what counts is who asks for what.
    let (address, locks) = server(false);
    let mut load = load(address, 1000);
    (load.course, load.connections) = (Course::Mixed, 5);
    let system = Tenure {
        orgs: 2,
        ..tenure()
    };
    let measured = run(&load, &system, &mut |_| {}).unwrap();
    assert!(measured.conflicts > 0);
    assert_all_is_released(&locks);
}

#[test]
fn a_hand_off_serves_each_in_its_turn() {
    let (address, locks) = server(false);
    let mut load = load(address, 1);
    (load.course, load.connections) = (Course::HandOff, 1);
    let system = Tenure {
        sessions: load.depth,
        ..tenure()
    };
    let measured = run(&load, &system, &mut |_| {}).unwrap();
    assert!(measured.released > 0);
    assert!(measured.waits.len().abs_diff(measured.released) <= 1);
    assert_eq!(measured.places_off.max(), 0);
    assert_all_is_released(&locks);
}

#[test]
fn an_open_loop_keeps_its_rate_and_counts_what_it_cannot_send() {
    let (address, locks) = server(false);
    let mut load = load(address, 100_000);
    load.rate = Some(1000);
    let measured = run(&load, &tenure(), &mut |_| {}).unwrap();
    let expected = 1000.0 * measured.elapsed.as_secs_f64();
    let found = measured.released as f64;
    assert!((found - expected).abs() < 0.5 * expected, "{found}");
    assert_all_is_released(&locks);
    let Locks {
        acquires,
        reads_with_acquires,
        ..
    } = *locks.lock().unwrap();
    assert!(
        acquires > load.depth / 2 * reads_with_acquires,
        "what is due comes in bursts of {}: {acquires} came in {reads_with_acquires} reads",
        load.depth
    );

    load.rate = Some(10_000_000);
    let measured = run(&load, &tenure(), &mut |_| {}).unwrap();
    assert!(measured.overdue > 0);
    assert_all_is_released(&locks);
}

#[test]
fn a_load_that_makes_no_sense_is_refused() {
    let (address, _) = server(false);
    let refused = |course, connections, rate| {
        let mut load = load(address, 10);
        (load.course, load.connections, load.rate) = (course, connections, rate);
        run(&load, &tenure(), &mut |_| {}).unwrap_err().to_string()
    };
    for (error, expected) in [
        (
            refused(Course::Renew, 3, None),
            "a path for each of the 24 slots",
        ),
        (refused(Course::Mixed, 1, None), "two connections"),
        (
            refused(Course::HandOff, 1, None),
            "a slot for each of the 10 paths",
        ),
        (refused(Course::HandOff, 3, Some(1)), "no rate"),
        (
            refused(Course::Pairs, 3, Some(2)),
            "a rate of 3 at least for 24 slots",
        ),
    ] {
        assert!(error.contains(expected), "{error}");
    }
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

fn assert_all_is_released(locks: &Mutex<Locks>) {
    let holds = &locks.lock().unwrap().holds;
    assert!(holds.is_empty(), "what is held is released: {holds:?}");
}
