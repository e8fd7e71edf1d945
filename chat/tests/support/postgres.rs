//! A PostgreSQL server of one's own, on a socket in a temporary folder, for as long as the test's process lives.
//!
//! A shell beside it waits for the end of its standard input, which comes with the end of the test's process however
//! that ends; then it stops the server and removes the folder. As root it runs as another user, since PostgreSQL
//! refuses to be root. Where there is no PostgreSQL there is no server, and with `TENURE_REQUIRE_POSTGRES=1` that is a
//! failure.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use nix::unistd::{User, geteuid};
use sqlx::{Connection, PgConnection};

/// The server of this process.
pub(crate) struct Server {
    folder: PathBuf,
    databases: AtomicU32,
    /// Its standard input ends with this process.
    _watcher: Child,
}

/// The server, started by whoever asks first; none where there is no PostgreSQL.
pub(crate) fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER.get_or_init(start).as_ref()
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
}

#[expect(
    clippy::print_stderr,
    reason = "whoever runs the tests has to know what they did not run"
)]
fn start() -> Option<Server> {
    let Some(programs) = programs() else {
        let is_required = env::var("TENURE_REQUIRE_POSTGRES").is_ok_and(|value| value == "1");
        assert!(!is_required, "expected PostgreSQL, found no initdb");
        eprintln!("skipped: there is no PostgreSQL here");
        return None;
    };
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
    let script = "\"$0\" -D \"$1/data\" -k \"$1\" -c listen_addresses= -c fsync=off -c max_connections=200 \
                  >\"$1/log\" 2>&1 </dev/null & server=$!; cat >/dev/null; kill -INT $server; wait $server; rm -rf \"$1\"";
    let watcher = as_user(&user, Command::new("sh"))
        .args(["-c", script])
        .arg(programs.join("postgres"))
        .arg(&folder)
        .current_dir(&folder)
        .stdin(Stdio::piped())
        .process_group(0)
        .spawn()
        .expect("a shell can be started");
    await_socket(&folder);
    Some(Server {
        folder,
        databases: AtomicU32::new(0),
        _watcher: watcher,
    })
}

fn await_socket(folder: &Path) {
    let began = Instant::now();
    let log = || fs::read_to_string(folder.join("log")).unwrap_or_default();
    while !log().contains("ready to accept connections") {
        let waited = began.elapsed();
        assert!(waited < Duration::from_secs(60), "{}", log());
        thread::sleep(Duration::from_millis(20));
    }
}

/// Where initdb and postgres lie.
fn programs() -> Option<PathBuf> {
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
