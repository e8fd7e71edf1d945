//! Every measurement against a server in this process, on a small scale: that it ends by itself, and counts what there was.
//!
//! Rule: nothing here asserts how quick anything is.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use tenure::config::{Config, Durability};
use tenure::server::Server;
use tenure_bench::client_load::{self, ClientLoad};
use tenure_bench::dialect::{Resp, Tenure};
use tenure_bench::replay::{Model, Replay, Schedule, Trace};
use tenure_bench::scale::expiry::{self, Due};
use tenure_bench::scale::idle::{self, Idle};
use tenure_bench::scale::keep::{self, Keep};
use tenure_bench::scale::memory::{self, Fill, Progress};
use tenure_bench::scale::{Bulk, Shape, System};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// Ends with the test.
struct TestServer {
    address: SocketAddr,
    _runtime: Runtime,
}

impl TestServer {
    fn start() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let config = Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            admin: None,
            durability: Durability::Memory,
            ..Config::default()
        };
        let server = runtime.block_on(Server::bind(config)).expect("a server");
        let address = server.local_addr();
        runtime.spawn(server.serve(CancellationToken::new()));
        Self {
            address,
            _runtime: runtime,
        }
    }
}

const TENURE: System = System::Tenure(None);

#[test]
fn memory_is_looked_at_with_all_holds_and_with_none() {
    let server = TestServer::start();
    let fill = Fill {
        address: server.address,
        pid: std::process::id(),
        holds: 3000,
        sessions: 70,
        shape: Shape::InTheHold,
    };
    let mut most = (0, 0);
    let measured = memory::measure(&fill, &TENURE, &mut |progress| match progress {
        Progress::Acquired(count) => most.0 = count,
        Progress::Released(count) => most.1 = count,
    })
    .unwrap();
    assert_eq!(most, (3000, 3000));
    assert!(measured.before > 0 && measured.bytes_per_hold(3000) >= 0.0);
}

#[test]
fn the_end_of_each_hold_is_heard_of() {
    let server = TestServer::start();
    let due = Due {
        address: server.address,
        pid: Some(std::process::id()),
        holds: 5000,
        sessions: 90,
        connections: 3,
        lead: Duration::from_secs(4),
        within: Duration::from_millis(200),
        probe_rate: 200,
    };
    let measured = expiry::measure(&due, &TENURE, &mut |_| {}).unwrap();
    assert_eq!(measured.lateness.len(), 5000);
    assert!(!measured.calm.is_empty() && !measured.meanwhile.is_empty());
    assert!(measured.server.is_some());
}

#[test]
fn holds_that_cannot_be_had_in_time_are_an_error() {
    let server = TestServer::start();
    let due = Due {
        address: server.address,
        pid: None,
        holds: 100,
        sessions: 1,
        connections: 1,
        lead: Duration::from_millis(1500),
        within: Duration::from_secs(1),
        probe_rate: 1,
    };
    let error = expiry::measure(&due, &TENURE, &mut |_| {}).unwrap_err();
    let expected = "acquiring took too long: 100 of 100 after 1.5 s; give it a longer lead";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn whatever_is_kept_is_renewed_and_not_lost() {
    let server = TestServer::start();
    let measured = keep::measure(&keep(&server, 3000), &TENURE, &mut |_| {}).unwrap();
    assert!(measured.renewed_in.len() >= 3 && !measured.others.is_empty());
    assert!(measured.server.is_some());
}

#[test]
fn what_cannot_be_kept_is_an_error() {
    let server = TestServer::start();
    let mut bulk = Bulk::connect(server.address).unwrap();
    let mut crowd = TENURE.crowd(9, 1, Shape::InTheHold);
    crowd.open(&mut bulk).unwrap();
    let held = bulk.ask_all(crowd.as_mut(), 9..10, |crowd, number, out| {
        crowd.acquire(number, Duration::from_secs(60), out);
    });
    held.unwrap();
    let error = keep::measure(&keep(&server, 10), &TENURE, &mut |_| {}).unwrap_err();
    let expected = "expected 4 times yes, found 1 times no";
    assert_eq!(error.to_string(), expected);
}

fn keep(server: &TestServer, holds: u32) -> Keep {
    Keep {
        address: server.address,
        pid: Some(std::process::id()),
        holds,
        sessions: 90,
        connections: 3,
        ttl: Duration::from_secs(1),
        duration: Duration::from_secs(1),
        probe_rate: 200,
    }
}

#[test]
fn idle_connections_give_signs_of_life() {
    let server = TestServer::start();
    let idle = Idle {
        address: server.address,
        pid: std::process::id(),
        connections: 20,
        duration: Duration::from_secs(1),
    };
    let measured = idle::measure(&idle, &TENURE, &mut |_| {}).unwrap();
    assert_eq!(measured.beats, 20);
}

#[test]
fn the_client_is_measured_as_the_generator_is() {
    let server = TestServer::start();
    let load = ClientLoad {
        address: server.address,
        server_pid: None,
        key: None,
        tasks: 4,
        paths: 100,
        threads: 1,
        warm_up: Duration::from_millis(50),
        duration: Duration::from_millis(300),
    };
    let measured = client_load::run(&load, &mut |_| {}).unwrap();
    assert!(measured.released > 0);
    assert_eq!(measured.operations(), measured.latency.len());
    assert_eq!(measured.conflicts, 0);
}

#[test]
fn each_edit_of_a_trace_is_done_in_its_turn() {
    let server = TestServer::start();
    let trace = Trace::read(&data("edits.csv")).unwrap();
    let schedule = schedule(&trace);
    let system = Tenure {
        orgs: 3,
        sessions: trace.owner_count(),
        ..Tenure::default()
    };
    let mut replay = Replay::new(&schedule, 3, server.address, None, &system).unwrap();
    // A speed at which people meet, and one at which the server cannot keep up.
    for speed in [200.0, 1e9] {
        let measured = replay.run(speed, &mut |_| {}).unwrap();
        let done = measured.edits + measured.continued;
        assert_eq!(done, 3 * trace.edits().len() as u64);
        assert_eq!(measured.conflicts, measured.hand_offs);
        assert_eq!(measured.waits.len(), measured.hand_offs);
        assert_eq!(
            measured.at_once.len() + measured.waits.len(),
            measured.edits
        );
        assert_eq!(measured.places_off.max(), 0);
        if speed < 1e3 {
            assert!(measured.conflicts > 0, "people meet");
        } else {
            assert!(!measured.has_kept_up());
        }
    }
    let error = replay.run(1.0, &mut |_| {}).unwrap_err().to_string();
    assert!(error.starts_with("a pause of 60s would last longer than 10s"));
}

#[test]
fn a_system_without_a_line_is_refused() {
    let trace = Trace::read(&data("edits.csv")).unwrap();
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let schedule = schedule(&trace);
    let refused = Replay::new(&schedule, 1, nowhere, None, &Resp { orgs: 1 });
    let error = refused.err().map(|error| error.to_string());
    assert!(
        error
            .unwrap_or_default()
            .contains("this system has no line")
    );
}

#[test]
fn a_trace_may_be_compressed() {
    let plain = data("edits.csv");
    let folder = tempfile::tempdir().unwrap();
    let compressed = folder.path().join("edits.csv.gz");
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&std::fs::read(&plain).unwrap()).unwrap();
    std::fs::write(&compressed, encoder.finish().unwrap()).unwrap();
    assert_eq!(
        Trace::read(&compressed).unwrap(),
        Trace::read(&plain).unwrap()
    );

    std::fs::write(&compressed, [0x1f, 0x8b, 8, 0, 0]).unwrap();
    let error = format!("{:#}", Trace::read(&compressed).unwrap_err());
    assert!(error.contains("line 1 cannot be read"), "{error}");
}

#[test]
fn the_history_of_a_checkout_is_a_trace() {
    let folder = tempfile::tempdir().unwrap();
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.arg("-C").arg(folder.path());
        command.args(["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]);
        command.args(arguments).output().unwrap()
    };
    let error = format!("{:#}", Trace::of_git(folder.path()).unwrap_err());
    assert!(error.contains("git tells no history of"), "{error}");

    git(&["init", "--quiet"]);
    for (file, message) in [("one.md", "first"), ("two.md", "second")] {
        std::fs::write(folder.path().join(file), message).unwrap();
        git(&["add", "--all"]);
        git(&["commit", "--quiet", "--no-gpg-sign", "--message", message]);
    }
    let trace = Trace::of_git(folder.path()).unwrap();
    assert_eq!(trace.edits().len(), 2);
    assert_eq!((trace.owner_count(), trace.path_count()), (1, 2));
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

fn schedule(trace: &Trace) -> Schedule {
    let model = Model {
        pause_max: Duration::from_secs(60),
        work_max: Duration::from_secs(60),
        work_min: Duration::from_secs(10),
    };
    Schedule::new(trace, &model)
}
