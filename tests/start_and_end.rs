//! How a server begins and ends on its data directory: right behind one that was killed, told to stop before it is ready,
//! and on a disk that fails. What is kept through all of it is promise 6.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic in a test is its message; what is skipped is to be seen"
)]

mod support;

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::{Client, Process, exclusive};
use tempfile::TempDir;
use tenure_protocol::{ErrorCode, FromServer, Reply, Request, request};

const ORG: &str = "acme";
const SECONDS: Duration = Duration::from_secs(1);

fn arguments(data: &Path) -> [&str; 6] {
    let data = data.to_str().unwrap();
    [
        "--data",
        data,
        "--shards",
        "4",
        "--segment-bytes",
        "4194304",
    ]
}

/// A server whose log is read by the test.
struct Starting {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
}

impl Starting {
    fn on(data: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tenure"))
            .args(["serve", "--listen", "127.0.0.1:0", "--admin", "off"])
            .args(arguments(data))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Self { child, log }
    }

    /// Reads its log up to a line with these words in it, if there is one.
    fn says(&mut self, words: &str) -> Option<String> {
        let lines = self.log.by_ref().lines().map(Result::unwrap);
        let mut lines = lines.inspect(|line| println!("{line}"));
        lines.find(|line| line.contains(words))
    }

    /// Asks it to stop, and waits until it has. Gives its exit status, and how long that took.
    fn stop(mut self) -> (Option<i32>, Duration) {
        let began = Instant::now();
        let id = self.child.id().to_string();
        let asked = Command::new("kill").args(["-s", "TERM", &id]).status();
        assert!(asked.unwrap().success());
        let status = self.child.wait().unwrap();
        (status.code(), began.elapsed())
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn names(data: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(data).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names
}

/// The lock of a directory, as a server has it that has not ended yet.
fn locked(data: &Path) -> File {
    let lock = File::create(data.join("lock")).unwrap();
    lock.lock().unwrap();
    lock
}

/// A kernel may take a while to put away what a killed process had in memory, and its files are given back after that.
#[test]
fn a_server_that_is_about_to_end_is_waited_for() {
    let data = TempDir::new().unwrap();
    let lock = locked(data.path());
    let mut starting = Starting::on(data.path());
    let said = starting.says("in use by another server").unwrap();
    assert!(said.contains("waiting 5 s at most"), "{said}");
    drop(lock);
    starting.says("listening").expect("it goes on");
    let (status, _) = starting.stop();
    assert_eq!(status, Some(0));
}

#[test]
fn a_server_that_waits_for_another_is_stopped_at_once() {
    let data = TempDir::new().unwrap();
    let _lock = locked(data.path());
    let mut starting = Starting::on(data.path());
    starting.says("waiting").unwrap();
    let (status, took) = starting.stop();
    assert_eq!(status, Some(0));
    assert!(took < 3 * SECONDS, "{took:?}");
}

/// The next one is there before the one that was killed is gone, with its address and its directory.
#[tokio::test]
async fn a_server_starts_right_behind_one_that_was_killed() {
    let data = TempDir::new().unwrap();
    let mut server = Process::start(&arguments(data.path()));
    let mut client = Client::introduced(server.addr).await;
    fill(&mut client, 4_000).await;
    let session = client.open(ORG, "anna").await;
    let token = client.take(exclusive(session.number, "doc/1")).await.token;
    for _ in 0..8 {
        server.kill_and_go();
        let next = Process::listening(&server.addr.to_string(), &arguments(data.path()));
        let mut client = Client::introduced(next.addr).await;
        assert_eq!(client.status(ORG, "doc/1").await.token, Some(token));
        server = next;
    }
}

/// Opens sessions that take much room: again, where the disk takes its time to have some.
async fn fill(client: &mut Client, count: usize) {
    let mut opened = 0;
    while opened < count {
        let open = request::OpenSession {
            org: ORG,
            owner: "anna",
            name: "",
            role: None,
            on_disconnect: None,
            metadata: &[7; 4096],
        };
        let left = (count - opened).min(50);
        let ids = client.send_all((0..left).map(|_| Request::SessionOpen(open)));
        for id in ids.await {
            match client.answer(id).await {
                Ok(_) => opened += 1,
                Err(error) if error.code.number() == ErrorCode::Unavailable.number() => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    }
}

/// What is read when it is told to stop, it reads no further, and nothing is changed. (That each part of a recovery can be
/// stopped is shown in `tests/journal/`.)
#[tokio::test]
async fn a_server_that_reads_its_history_is_stopped_at_once_and_leaves_it_as_it_was() {
    const SESSIONS: usize = 12_000;
    let data = TempDir::new().unwrap();
    let server = Process::start(&arguments(data.path()));
    let mut client = Client::introduced(server.addr).await;
    fill(&mut client, SESSIONS).await;
    server.kill();
    let before = names(data.path());
    let mut starting = Starting::on(data.path());
    starting.says("listening").unwrap();
    let (status, took) = starting.stop();
    assert_eq!(status, Some(0));
    assert!(took < 5 * SECONDS, "{took:?}");
    // Built for a test, it takes longer to read so much than a signal takes to arrive.
    if cfg!(debug_assertions) {
        assert_eq!(names(data.path()), before);
    }
    let server = Process::start(&arguments(data.path()));
    let mut client = Client::introduced(server.addr).await;
    client.ping().await;
    assert_eq!(
        server.metric("tenure_sessions").await,
        Some(SESSIONS as u64)
    );
}

/// What stands between a server and its disk, if it can be built here.
fn shim(folder: &Path) -> Option<PathBuf> {
    let shim = folder.join("failing_sync.so");
    let mut compile = Command::new("cc");
    compile
        .args(["-shared", "-fPIC", "-o"])
        .arg(&shim)
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/support/failing_sync.c"
        ))
        .arg("-ldl");
    let is_compiled = compile.status().is_ok_and(|status| status.success());
    is_compiled.then_some(shim)
}

/// What was asked is not answered, the operator is told why, and the next start knows all that was answered.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_disk_that_fails_ends_the_server_before_it_says_what_is_not_kept() {
    let folder = TempDir::new().unwrap();
    let Some(shim) = shim(folder.path()) else {
        println!("skipped: there is no C compiler here");
        return;
    };
    for what in ["sync", "write"] {
        let data = TempDir::new().unwrap();
        let when = folder.path().join(what);
        let environment = [
            ("LD_PRELOAD", shim.as_os_str()),
            ("FAIL_WHEN", when.as_os_str()),
            ("FAIL_WHAT", what.as_ref()),
        ];
        let server = Process::under(&environment, "127.0.0.1:0", &arguments(data.path()));
        let mut client = Client::introduced(server.addr).await;
        let session = client.open(ORG, "anna").await;
        let token = client.take(exclusive(session.number, "doc/1")).await.token;

        fs::write(&when, "").unwrap();
        let asked = client
            .send(Request::LockAcquire(exclusive(session.number, "doc/2")))
            .await;
        while client.hear().await {}
        let answered = client.heard().iter().any(
            |heard| matches!(heard, FromServer::Reply { id, reply: Reply::LockAcquire(_) } if *id == asked),
        );
        assert!(!answered, "{what}: it was said, and is not on disk");
        let (status, said) = server.ended(5 * SECONDS);
        assert_eq!(status.code(), Some(2), "{what}: {status}");
        for words in [
            "cannot write journal-",
            "Input/output error",
            "starts from what is on disk",
        ] {
            assert!(
                said.contains(words),
                "{what}: expected {words:?} in: {said}"
            );
        }

        let server = Process::start(&arguments(data.path()));
        let mut client = Client::introduced(server.addr).await;
        assert_eq!(client.status(ORG, "doc/1").await.token, Some(token));
        let session = client.open(ORG, "ben").await;
        let next = client.take(exclusive(session.number, "doc/3")).await.token;
        assert!(next > token, "{next} after {token}");
    }
}
