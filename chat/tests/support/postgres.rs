//! A PostgreSQL server of one's own, on a socket in a temporary folder: one for all tests of a process, and for a test
//! that kills it one that is its own.
//!
//! A shell beside it waits for the end of its standard input, which comes with the end of the test's process however
//! that ends; then it stops the server and removes the folder. A line there starts the server again. As root it runs as
//! another user, since PostgreSQL refuses to be root. Where there is no PostgreSQL there is no server, and with
//! `TENURE_REQUIRE_POSTGRES=1` that is a failure.

use std::io::Write as _;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use sqlx::{Connection, PgConnection};

/// A server, stopped when this is dropped.
pub(crate) struct Server {
    folder: PathBuf,
    databases: AtomicU32,
    /// Its standard input ends with this process.
    watcher: Child,
}

/// The server of all tests, started by whoever asks first; none where there is no PostgreSQL.
pub(crate) fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER.get_or_init(Server::start).as_ref()
}

impl Server {
    /// An empty database, by its URL.
    pub(crate) async fn database(&self) -> String {
        let name = format!("chat_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut admin = PgConnection::connect(&self.url("postgres"))
            .await
            .expect("the server answers");
        let create = format!("CREATE DATABASE {name}");
        sqlx::query(sqlx::AssertSqlSafe(create))
            .execute(&mut admin)
            .await
            .expect("a database can be made");
        admin.close().await.expect("the server answers");
        self.url(&name)
    }

    fn url(&self, database: &str) -> String {
        format!(
            "postgres://postgres@localhost/{database}?host={}",
            self.folder.display()
        )
    }

    /// SIGKILL, to the server and to all that it has started: nobody is left who could write what was in memory.
    #[allow(dead_code, reason = "not every program of tests kills its database")]
    pub(crate) fn kill(&self) {
        let file = self.folder.join("data/postmaster.pid");
        let file = fs::read_to_string(file).expect("the server runs");
        let first = file.lines().next().and_then(|line| line.parse().ok());
        let server: i32 = first.expect("a file of the server begins with its number");
        let children = fs::read_to_string(format!("/proc/{server}/task/{server}/children"));
        let children = children.unwrap_or_default();
        let children = children.split(' ').filter_map(|pid| pid.parse().ok());
        for pid in std::iter::once(server).chain(children) {
            // A backend may have ended meanwhile.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }

    /// Starts it again where it was killed: it recovers by itself.
    #[allow(dead_code, reason = "not every program of tests kills its database")]
    pub(crate) fn start_again(&mut self) {
        let starts = self.starts();
        let watcher = self.watcher.stdin.as_mut().expect("it was piped");
        watcher.write_all(b"again\n").expect("the shell is there");
        self.await_start(starts + 1);
    }

    /// A server; none where there is no PostgreSQL.
    pub(crate) fn start() -> Option<Self> {
        let programs = programs()?;
        let (folder, watcher) = start(&programs);
        let server = Self {
            folder,
            databases: AtomicU32::new(0),
            watcher,
        };
        server.await_start(1);
        Some(server)
    }

    fn await_start(&self, starts: usize) {
        let began = Instant::now();
        while self.starts() < starts {
            let waited = began.elapsed();
            assert!(waited < Duration::from_secs(60), "{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// How often it has begun to answer.
    fn starts(&self) -> usize {
        self.log().matches("ready to accept connections").count()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.watcher.stdin.take());
        // However the shell ends, it has ended.
        let _ = self.watcher.wait();
    }
}

/// The folder of a server, and the shell that has started it.
fn start(programs: &Path) -> (PathBuf, Child) {
    let folder = tempfile::Builder::new()
        .prefix("tenure-pg-")
        .tempdir()
        .expect("a temporary folder")
        .keep();
    let user = unprivileged();
    if let Some(user) = &user {
        chown(&folder, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
            .expect("a folder can be given away");
    }
    let data = folder.join("data");
    let initdb = as_user(&user, Command::new(programs.join("initdb")))
        .args(["--auth=trust", "--username=postgres", "--encoding=UTF8"])
        .args(["--no-locale", "--no-sync", "--pgdata"])
        .arg(&data)
        .current_dir(&folder)
        .output()
        .expect("initdb can be started");
    assert!(
        initdb.status.success(),
        "{}",
        String::from_utf8_lossy(&initdb.stderr)
    );
    let watcher = as_user(&user, Command::new("sh"))
        .args(["-c", SCRIPT])
        .arg(programs.join("postgres"))
        .arg(&folder)
        .current_dir(&folder)
        .stdin(Stdio::piped())
        .process_group(0)
        .spawn()
        .expect("a shell can be started");
    (folder, watcher)
}

/// What is killed is waited for before the next is started: the two would not agree about shared memory.
const SCRIPT: &str = "run() { \"$0\" -D \"$1/data\" -k \"$1\" -c listen_addresses= -c fsync=off -c max_connections=200 \
                      >>\"$1/log\" 2>&1 </dev/null & server=$!; }; \
                      run \"$1\"; while read -r again; do wait $server; run \"$1\"; done; \
                      kill -INT $server 2>/dev/null; wait $server; rm -rf \"$1\"";

/// Where initdb and postgres lie.
#[expect(
    clippy::print_stderr,
    reason = "whoever runs the tests has to know what they did not run"
)]
fn programs() -> Option<PathBuf> {
    let found = look_for_programs();
    if found.is_none() {
        let is_required = env::var("TENURE_REQUIRE_POSTGRES").is_ok_and(|value| value == "1");
        assert!(!is_required, "expected PostgreSQL, found no initdb");
        eprintln!("skipped: there is no PostgreSQL here");
    }
    found
}

fn look_for_programs() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let debian = debian.flatten().map(|version| version.path().join("bin"));
    env::split_paths(&path)
        .chain(debian)
        .find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists())
}

fn unprivileged() -> Option<User> {
    if !geteuid().is_root() {
        return None;
    }
    let named = |name| User::from_name(name).ok().flatten();
    named("postgres").or_else(|| named("nobody"))
}

fn as_user(user: &Option<User>, mut command: Command) -> Command {
    if let Some(user) = user {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
}
