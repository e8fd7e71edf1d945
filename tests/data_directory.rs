//! The data directory through the real server: what an operator reads when it cannot be used, and what goes on when the
//! disk is full. What is sound and what is damage, byte for byte, is in `tests/journal/`.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::print_stdout,
    reason = "a panic in a test is its message; what is skipped is to be seen"
)]

mod support;

use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{Client, Process, exclusive, millis};
use tempfile::TempDir;
use tenure_protocol::{ErrorCode, Request, Target, request};

const ORG: &str = "acme";
const SMALL: &str = "4194304";

/// What a session takes at most, nearly all of it metadata.
const METADATA: [u8; 4096] = [7; 4096];

fn serve(data: &Path, segment_bytes: &str) -> Process {
    Process::start(&arguments(data, segment_bytes))
}

fn arguments<'a>(data: &'a Path, segment_bytes: &'a str) -> [&'a str; 6] {
    let data = data.to_str().unwrap();
    [
        "--data",
        data,
        "--shards",
        "4",
        "--segment-bytes",
        segment_bytes,
    ]
}

/// What a server says that does not start.
fn refusal(data: &Path) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tenure"))
        .args(["serve", "--listen", "127.0.0.1:0", "--admin", "off"])
        .args(arguments(data, SMALL))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > Duration::from_secs(20) {
            child.kill().unwrap();
            panic!("it has started");
        }
        std::thread::sleep(millis(20));
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with("tenure: "));
    let said = String::from(
        lines
            .next()
            .unwrap_or_else(|| panic!("expected a reason, found {text}")),
    );
    assert_eq!(lines.next(), None, "once is enough");
    said
}

fn assert_says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "expected {word:?} in: {text}");
    }
}

/// A directory in which `anna` holds `doc/1`, left as a kill leaves it. Gives the file of the records, and where they end.
async fn killed() -> (TempDir, PathBuf, usize) {
    let data = TempDir::new().unwrap();
    let server = serve(data.path(), SMALL);
    let mut client = Client::introduced(server.addr).await;
    let session = client.open(ORG, "anna").await;
    client.take(exclusive(session.number, "doc/1")).await;
    server.kill();
    let file = data.path().join("journal-000000000001");
    let bytes = fs::read(&file).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    (data, file, end)
}

async fn holder(server: &Process) -> Option<String> {
    let mut client = Client::introduced(server.addr).await;
    let truth = client.status(ORG, "doc/1").await;
    truth
        .holders
        .first()
        .map(|holder| String::from(holder.owner))
}

#[tokio::test]
async fn a_second_server_is_told_whose_the_directory_is() {
    let data = TempDir::new().unwrap();
    let server = serve(data.path(), SMALL);
    let name = data.path().to_str().unwrap();
    assert_says(&refusal(data.path()), &[name, "in use by another server"]);
    assert_eq!(holder(&server).await, None);
    drop(server);
    serve(data.path(), SMALL);
}

#[test]
fn a_later_version_is_named() {
    let data = TempDir::new().unwrap();
    fs::write(
        data.path().join("about"),
        "format 99\nshards 4\ntenure 9.9.9\n",
    )
    .unwrap();
    assert_says(
        &refusal(data.path()),
        &["format 99", "start tenure 9.9.9 or later"],
    );
}

#[cfg(target_os = "linux")]
#[test]
fn where_nothing_can_be_written_is_said() {
    // Not even root makes a folder there.
    let said = refusal(Path::new("/sys/kernel/tenure-data"));
    assert_says(
        &said,
        &["/sys/kernel/tenure-data", "has to be able to write there"],
    );
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "no folder").unwrap();
    assert_says(&refusal(&file), &[file.to_str().unwrap()]);
}

#[tokio::test]
async fn damage_is_refused_with_its_place_and_nothing_is_changed() {
    let (data, file, end) = killed().await;
    let whole = fs::read(&file).unwrap();
    let mut bytes = whole.clone();
    // In the first block, behind which others were written.
    bytes[512 + 40] ^= 1;
    assert!(end > 1024);
    fs::write(&file, &bytes).unwrap();
    let said = refusal(data.path());
    let name = file.file_name().unwrap().to_str().unwrap();
    assert_says(
        &said,
        &[
            name,
            "damaged at byte 512",
            "tenure journal verify",
            "backup",
        ],
    );
    assert_eq!(fs::read(&file).unwrap(), bytes);
    fs::write(&file, &whole).unwrap();
    assert_eq!(
        holder(&serve(data.path(), SMALL)).await.as_deref(),
        Some("anna")
    );
}

#[tokio::test]
async fn a_torn_end_is_cut_and_said() {
    let (data, file, end) = killed().await;
    let torn = end.next_multiple_of(512);
    let mut bytes = fs::read(&file).unwrap();
    bytes[torn..torn + 3].copy_from_slice(b"abc");
    fs::write(&file, &bytes).unwrap();
    let server = serve(data.path(), SMALL);
    assert_eq!(holder(&server).await.as_deref(), Some("anna"));
    let said = server.logged("was not complete").expect("the log says so");
    assert_says(
        &said,
        &[
            "journal-000000000001",
            &torn.to_string(),
            "nothing that was acknowledged",
        ],
    );
}

/// A server that takes long to start says so, and takes nobody before it knows everything.
#[tokio::test]
async fn whoever_asks_is_told_that_the_server_is_not_ready_yet() {
    const SESSIONS: u64 = 8_000;
    let data = TempDir::new().unwrap();
    let server = serve(data.path(), "67108864");
    let mut client = Client::introduced(server.addr).await;
    let filled = fill(&mut client, SESSIONS).await;
    assert_eq!(filled, SESSIONS);
    server.kill();
    let server = serve(data.path(), "67108864");
    let mut answers = Vec::new();
    while answers.last().is_none_or(|(status, _)| *status != 200) {
        answers.push(server.ready().await);
    }
    let (status, text) = &answers[0];
    assert!(
        *status == 503 && text.starts_with("starting: "),
        "{answers:?}"
    );
    assert_eq!(server.metric("tenure_sessions").await, Some(SESSIONS));
}

/// Opens large sessions, until so many are open or one is refused because it cannot be kept. Gives how many were opened.
async fn fill(client: &mut Client, count: u64) -> u64 {
    let mut opened = 0;
    while opened < count {
        let open = request::OpenSession {
            org: ORG,
            owner: "anna",
            name: "",
            role: None,
            on_disconnect: None,
            metadata: &METADATA,
        };
        let ids = client
            .send_all((0..50).map(|_| Request::SessionOpen(open)))
            .await;
        for id in ids {
            match client.answer(id).await {
                Ok(_) => opened += 1,
                Err(error) => {
                    assert_eq!(error.code.number(), ErrorCode::Unavailable.number());
                    return opened;
                }
            }
        }
    }
    opened
}

fn backup(from: &Path, to: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
    let output = command
        .arg("backup")
        .arg(to)
        .arg("--data")
        .arg(from)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// Copies of a directory that is written, rotated and compacted meanwhile; a server starts from each, knows everything that
/// was acknowledged before, and gives out no token that the other one has given out since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_running_server_is_a_server_s_beginning() {
    let data = TempDir::new().unwrap();
    let copies = TempDir::new().unwrap();
    let server = serve(data.path(), SMALL);
    let mut client = Client::introduced(server.addr).await;
    let session = client.open(ORG, "anna").await;
    let mut loader = Client::introduced(server.addr).await;
    let load = tokio::spawn(async move {
        for _ in 0..200 {
            fill(&mut loader, 50).await;
        }
    });
    let mut taken = Vec::new();
    let mut rounds = 0;
    while rounds < 3 || !load.is_finished() {
        let path = format!("doc/{rounds}");
        let token = client.take(exclusive(session.number, &path)).await.token;
        taken.push((path, token));
        let to = copies.path().join(rounds.to_string());
        let from = data.path().to_owned();
        let done = tokio::task::spawn_blocking(move || backup(&from, &to))
            .await
            .unwrap();
        assert_eq!(done.0, Some(0), "{}", done.1);
        rounds += 1;
    }
    load.await.unwrap();
    let (status, said) = backup(data.path(), &copies.path().join("0"));
    assert_eq!(status, Some(2));
    assert_says(&said, &["has something in it"]);
    let last = client
        .take(exclusive(session.number, "doc/last"))
        .await
        .token;
    drop(server);
    for round in [0, rounds - 1] {
        let server = serve(&copies.path().join(round.to_string()), SMALL);
        let mut client = Client::introduced(server.addr).await;
        for (path, token) in &taken[..=round] {
            assert_eq!(client.status(ORG, path).await.token, Some(*token), "{path}");
        }
        let session = client.open(ORG, "ben").await;
        let token = client
            .take(exclusive(session.number, "doc/other"))
            .await
            .token;
        assert!(token > last, "{token} after {last}");
    }
}

fn verify(data: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
    command.args(["journal", "verify"]).arg(data);
    let output = command.args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// However much is written, rotated and compacted meanwhile, it is whole as far as it was written when it was looked at; and
/// what is damaged is so in a directory that is in use, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_directory_of_a_running_server_is_verified_as_far_as_it_is_written() {
    let data = TempDir::new().unwrap();
    let server = serve(data.path(), SMALL);
    let mut loader = Client::introduced(server.addr).await;
    let load = tokio::spawn(async move {
        for _ in 0..200 {
            fill(&mut loader, 50).await;
        }
    });
    let mut records = 0;
    let mut rounds = 0;
    while rounds < 3 || !load.is_finished() {
        let at = data.path().to_owned();
        let verified = tokio::task::spawn_blocking(move || verify(&at, &["--json"]));
        let (status, text) = verified.await.unwrap();
        let report: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (status, &report["sound"]),
            (Some(0), &true.into()),
            "{text}"
        );
        assert_eq!(
            (&report["in_use"], &report["torn"]),
            (&true.into(), &().into())
        );
        let found = report["written_up_to"]["records"].as_u64().unwrap();
        assert!(found >= records, "{found} after {records}");
        records = found;
        rounds += 1;
    }
    load.await.unwrap();
    println!("{rounds} rounds, {records} records");
    let (status, text) = verify(data.path(), &[]);
    assert_eq!(status, Some(0), "{text}");
    assert_says(
        &text,
        &[
            "is whole, as far as the server that uses it",
            "the server goes on from there",
        ],
    );

    let mut client = Client::introduced(server.addr).await;
    let session = client.open(ORG, "anna").await;
    client.take(exclusive(session.number, "doc/1")).await;
    let segments = fs::read_dir(data.path()).unwrap();
    let names = segments.map(|entry| entry.unwrap().path());
    let is_segment = |path: &PathBuf| path.to_str().unwrap().contains("/journal-");
    let first = names.filter(is_segment).min().unwrap();
    let mut file = fs::OpenOptions::new().write(true).open(&first).unwrap();
    file.seek(SeekFrom::Start(512 + 40)).unwrap();
    file.write_all(b"rot").unwrap();
    let (status, text) = verify(data.path(), &[]);
    assert_eq!(status, Some(1), "{text}");
    assert_says(
        &text,
        &[
            "is damaged at byte 512",
            first.file_name().unwrap().to_str().unwrap(),
        ],
    );
    drop(server);
    let (status, text) = verify(data.path(), &["--json"]);
    assert_eq!(status, Some(1), "{text}");
}

/// A file system of its own, as small as it is told to be.
struct Tmpfs(TempDir);

impl Tmpfs {
    /// `None` where it may not be made.
    fn of(size: &str) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(folder.path());
        mount
            .status()
            .is_ok_and(|status| status.success())
            .then_some(Self(folder))
    }

    fn resize(&self, size: &str) {
        let mut mount = Command::new("mount");
        mount
            .args(["-o", &format!("remount,size={size}")])
            .arg(self.0.path());
        assert!(mount.status().unwrap().success());
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.0.path()).status());
    }
}

#[tokio::test]
async fn a_full_disk_refuses_what_needs_it_and_goes_on_when_there_is_room() {
    let Some(disk) = Tmpfs::of("9m") else {
        println!("skipped: no file system can be mounted here");
        return;
    };
    let data = disk.0.path().join("data");
    let server = serve(&data, SMALL);
    let mut client = Client::introduced(server.addr).await;
    let session = client.open(ORG, "ben").await;
    let token = client.take(exclusive(session.number, "doc/1")).await.token;
    let opened = fill(&mut client, 10_000).await;
    assert!(
        (500..4_000).contains(&opened),
        "{opened} of 4 KiB went into two segments of 4 MiB"
    );

    // What is there can be looked at, and what would change it is to be tried again.
    let page = client.list(ORG, Target::All).await;
    assert_eq!(page.holds.len(), 1);
    let taking = Request::LockAcquire(exclusive(session.number, "doc/2"));
    let letting_go = Request::LockRelease(request::Release {
        session: session.number,
        path: "doc/2",
        scope: tenure_protocol::ReleaseScope::Session,
        token: None,
    });
    let mut refused = false;
    for _ in 0..5_000 {
        for request in [&taking, &letting_go] {
            let id = client.send(request.clone()).await;
            let answer = client.answer(id).await;
            refused |=
                answer.is_err_and(|error| error.code.number() == ErrorCode::Unavailable.number());
        }
        if refused {
            break;
        }
    }
    assert!(refused, "the disk is not full");
    let sessions = vec![session.number];
    let renew = request::RenewSessions { sessions };
    assert_eq!(
        client.fails(Request::SessionRenew(renew)).await,
        ErrorCode::Unavailable
    );
    server.kill();
    assert_says(
        &refusal(&data),
        &["No space left", "make room on the disk, nothing is lost"],
    );

    disk.resize("40m");
    let server = serve(&data, SMALL);
    let mut client = Client::introduced(server.addr).await;
    assert_eq!(client.status(ORG, "doc/1").await.token, Some(token));
    assert_eq!(server.metric("tenure_sessions").await, Some(opened + 1));

    // A server that meets a full disk goes on by itself.
    disk.resize("20m");
    let _ = fill(&mut client, 20_000).await;
    disk.resize("80m");
    let began = Instant::now();
    while fill(&mut client, 1).await == 0 {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "it does not go on"
        );
        tokio::time::sleep(millis(100)).await;
    }
}
