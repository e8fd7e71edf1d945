//! A server to test: in this process, or as a process of its own.
//! Rule: it ends with the test, whichever way that ends, and listens where nobody else does.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle as Thread;
use std::time::{Duration, Instant};

use tenure::access::{ApiKey, OrgPattern, Principal, Secret};
use tenure::config::{Config, Durability};
use tenure::error::ServerError;
use tenure::server::Server;
use tenure_engine::Role;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{ANSWERED, Client, within};

/// A port that the system chooses.
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A server in this process, which ends with the test.
pub(crate) struct TestServer {
    pub(crate) addr: SocketAddr,
    pub(crate) admin: Option<SocketAddr>,
    shutdown: CancellationToken,
    serving: JoinHandle<Result<(), ServerError>>,
}

/// The defaults, on a port of its own, without an admin listener, and nothing is kept.
pub(crate) fn config() -> Config {
    Config {
        listen: ANY_PORT,
        admin: None,
        durability: Durability::Memory,
        ..Config::default()
    }
}

/// An API key with the principal that it stands for.
pub(crate) fn key(secret: &str, name: &str, role: Role, orgs: &[&str]) -> ApiKey {
    ApiKey {
        secret: Secret::new(secret),
        principal: Principal {
            name: Arc::from(name),
            role,
            orgs: orgs
                .iter()
                .map(|org| OrgPattern::parse(org).unwrap())
                .collect(),
        },
    }
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        Self::with(config()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        let server = Server::bind(config).await.unwrap();
        let (addr, admin) = (server.local_addr(), server.admin_addr());
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(server.serve(shutdown.clone()));
        Self {
            addr,
            admin,
            shutdown,
            serving,
        }
    }

    /// One that tells its metrics too.
    pub(crate) async fn with_metrics(config: Config) -> Self {
        Self::with(Config {
            admin: Some(ANY_PORT),
            ..config
        })
        .await
    }

    /// A connection that has been introduced.
    pub(crate) async fn connect(&self) -> Client {
        Client::introduced(self.addr).await
    }

    /// A connection that has been introduced with an API key.
    pub(crate) async fn connect_with(&self, key: &str) -> Client {
        let mut client = Client::connect(self.addr).await;
        client.hello(Some(key)).await;
        client
    }

    /// Tells it to stop, and does not wait.
    pub(crate) fn shut_down(&self) {
        self.shutdown.cancel();
    }

    /// Waits until it has stopped.
    pub(crate) async fn stopped(mut self, limit: Duration) {
        within(limit, "the server stops", &mut self.serving)
            .await
            .unwrap()
            .unwrap();
    }

    /// The value of one sample of its metrics, 0 when it is not there.
    pub(crate) async fn metric(&self, sample: &str) -> u64 {
        metric(self.admin.unwrap(), sample).await.unwrap_or(0)
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

async fn metric(admin: SocketAddr, sample: &str) -> Option<u64> {
    let text = within(ANSWERED, "metrics", get(admin, "/metrics")).await;
    text.lines()
        .find_map(|line| line.strip_prefix(sample)?.trim().parse().ok())
}

async fn get(admin: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(admin).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// `tenure serve` as a process of its own.
pub(crate) struct Process {
    child: Child,
    pub(crate) addr: SocketAddr,
    admin: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    /// Reads the log until it ends.
    logging: Option<Thread<()>>,
}

impl Process {
    /// On ports of its own. Nothing is kept unless the arguments say where.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::listening("127.0.0.1:0", arguments)
    }

    /// The same, where a server before it was perhaps.
    pub(crate) fn listening(listen: &str, arguments: &[&str]) -> Self {
        Self::under(&[], listen, arguments)
    }

    /// The same, with more in its environment.
    pub(crate) fn under(environment: &[(&str, &OsStr)], listen: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
        command.envs(environment.iter().copied());
        Self::of(command, listen, arguments)
    }

    /// The same, where the system allows so many open files, as `ulimit` is told.
    pub(crate) fn with_files(ulimit: &str) -> Self {
        let mut shell = Command::new("sh");
        let limited = format!("ulimit {ulimit}; exec \"$0\" \"$@\"");
        shell.args(["-c", &limited, env!("CARGO_BIN_EXE_tenure")]);
        Self::of(shell, "127.0.0.1:0", &[])
    }

    fn of(mut command: Command, listen: &str, arguments: &[&str]) -> Self {
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("TENURE_") {
                command.env_remove(variable);
            }
        }
        let mut child = command
            .args(["serve", "--listen", listen, "--admin", "127.0.0.1:0"])
            .args(["--log-format", "json"])
            .args(arguments)
            .env("TENURE_DURABILITY", durability(arguments))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let (addr, admin) = loop {
            let line = log.next().unwrap().unwrap();
            let line = serde_json::from_str::<serde_json::Value>(&line).unwrap();
            if let (Some(listen), Some(admin)) = (line["listen"].as_str(), line["admin"].as_str()) {
                break (listen.parse().unwrap(), admin.parse().unwrap());
            }
        };
        // Read on, so that it never waits for its log to be taken.
        let kept = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&kept);
        let logging =
            std::thread::spawn(move || log.for_each(|line| lines.lock().unwrap().extend(line)));
        Self {
            child,
            addr,
            admin,
            log: kept,
            logging: Some(logging),
        }
    }

    /// The first line of its log, since it listens, that has these words in it.
    pub(crate) fn logged(&self, words: &str) -> Option<String> {
        let log = self.log.lock().unwrap();
        log.iter().find(|line| line.contains(words)).cloned()
    }

    /// Status and text of what it says to whoever asks whether it is ready.
    pub(crate) async fn ready(&self) -> (u16, String) {
        let answer = within(ANSWERED, "readiness", get(self.admin, "/readyz")).await;
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let text = answer.rsplit("\r\n\r\n").next().unwrap();
        (status, String::from(text))
    }

    /// The value of one sample of its metrics, if it is there.
    pub(crate) async fn metric(&self, sample: &str) -> Option<u64> {
        metric(self.admin, sample).await
    }

    /// Bytes of memory that it has in use; `None` where the system does not tell.
    pub(crate) fn memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib * 1024)
    }
}

impl Process {
    /// Ends it without a word, as a kernel does that is out of memory.
    pub(crate) fn kill(self) {
        drop(self);
    }

    /// The same, and does not wait until it is gone.
    pub(crate) fn kill_and_go(&mut self) {
        self.child.kill().unwrap();
    }

    /// Waits until it has ended by itself. Gives its status, and all of its log since it listened.
    pub(crate) fn ended(mut self, limit: Duration) -> (ExitStatus, String) {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < limit, "it goes on");
            std::thread::sleep(Duration::from_millis(10));
        };
        self.logging.take().unwrap().join().unwrap();
        let log = self.log.lock().unwrap().join("\n");
        (status, log)
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(mut self) {
        let id = self.child.id().to_string();
        let asked = Command::new("kill").args(["-s", "TERM", &id]).status();
        assert!(asked.unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What holds where the arguments do not say.
fn durability(arguments: &[&str]) -> &'static str {
    if arguments.contains(&"--data") {
        "always"
    } else {
        "memory"
    }
}
