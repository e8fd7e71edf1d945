//! A place: a lock server, a database, and companions between them, in this process or as processes that can be killed.
//!
//! Rule: nothing outlives its test, however that ends.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::Parser;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use tenure::config::{Config as TenureConfig, Durability};
use tenure::server::Server;
use tenure_chat::config::Config;
use tenure_chat::identity::{self, Issuer, development_key};
use tenure_chat::service::Service;
use tenure_chat::store::{ChatId, Imported, NewParticipant, Role, Store, StoreOptions, UnixMs};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Answer, Hearing, Http, PATIENCE, until};
use crate::postgres;

/// Names the address to a test that is started as a lock server.
const AS_TENURE: &str = "CHAT_TEST_TENURE_LISTEN";

/// Names the folder that it keeps its history in, if it does.
const TENURE_DATA: &str = "CHAT_TEST_TENURE_DATA";

/// Where companions that are processes say what they have to say.
const LOG: &str = "companion.log";

/// Below those that the system gives to whoever does not say which.
const PORTS: Range<u16> = 10_000..30_000;

/// What differs from the defaults.
pub(crate) type Options<'a> = &'a [&'a str];

/// See the file's header.
pub(crate) struct Place {
    folder: TempDir,
    pub(crate) database: String,
    pub(crate) tenure: Tenure,
}

#[derive(Parser)]
struct Given {
    #[command(flatten)]
    config: Config,
}

/// A lock server as a process of its own, since it is killed now and then.
pub(crate) struct Tenure {
    child: Option<Child>,
    pub(crate) addr: SocketAddr,
    /// Keeps the port while it is away.
    _port: Port,
    /// Where it keeps its history; in memory alone if nowhere.
    data: Option<PathBuf>,
}

/// A companion.
pub(crate) struct Companion {
    pub(crate) addr: SocketAddr,
    issuer: Issuer,
    running: Running,
}

enum Running {
    Here(CancellationToken, Option<JoinHandle<anyhow::Result<()>>>),
    Process {
        child: Child,
        /// Nobody else's before it has ended.
        _port: Port,
    },
}

/// Somebody who asks a companion.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) addr: SocketAddr,
    pub(crate) token: String,
    pub(crate) session: Option<String>,
}

pub(crate) fn on_sqlite<F: Future<Output = ()>>(test: impl FnOnce(Place) -> F) {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let database = format!("sqlite:{}", folder.path().join("chat.db").display());
        test(Place::new(folder, database).await).await;
    });
}

pub(crate) fn on_postgres<F: Future<Output = ()>>(test: impl FnOnce(Place) -> F) {
    if let Some(server) = postgres::server() {
        run(async {
            let database = server.database().await;
            test(Place::new(tempfile::tempdir().unwrap(), database).await).await;
        });
    }
}

/// With a server that no other test depends on.
pub(crate) fn on_killable_postgres<F: Future<Output = ()>>(
    test: impl FnOnce(Place, postgres::Server) -> F,
) {
    if let Some(server) = postgres::Server::start() {
        run(async {
            let database = server.database().await;
            let place = Place::new(tempfile::tempdir().unwrap(), database).await;
            test(place, server).await;
        });
    }
}

fn run(test: impl Future<Output = ()>) {
    // The provider is there already after the first test.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}

impl Place {
    async fn new(folder: TempDir, database: String) -> Self {
        Self {
            folder,
            database,
            tenure: Tenure::start(Port::free()).await,
        }
    }

    /// With a lock server that keeps its history, and starts again with it.
    pub(crate) async fn with_durable_tenure(mut self) -> Self {
        self.tenure.kill();
        self.tenure.data = Some(self.file("tenure-data"));
        self.tenure.start_again().await;
        self
    }

    /// The database's URL.
    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn arguments(&self, options: Options<'_>, listen: &str) -> Vec<String> {
        let key = self.file("development.key").display().to_string();
        let mut all: Vec<String> = ["tenure-chat", "--listen", listen]
            .map(str::to_owned)
            .into();
        if !options.contains(&"--tenure") {
            all.extend(["--tenure".to_owned(), self.tenure.addr.to_string()]);
        }
        all.extend([
            "--database".to_owned(),
            self.database.clone(),
            "--development-key".to_owned(),
            key,
        ]);
        // Tests ask more often than people do.
        for rate in ["--rate-send", "--rate-typing", "--rate-lock", "--rate-read"] {
            if !options.contains(&rate) {
                all.extend([rate.to_owned(), "100000".to_owned()]);
            }
        }
        all.extend(options.iter().map(|&option| option.to_owned()));
        all
    }

    /// So many messages of ada's from long ago, so large; each begins with its `seq`.
    pub(crate) async fn old(&self, chat: &str, count: usize, bytes: usize) {
        let store = Store::open(self.database(), StoreOptions::default());
        let store = store.await.unwrap();
        let created_at = UnixMs(UnixMs::now().0 - 800 * 86_400_000);
        let messages: Vec<_> = (1..=count)
            .map(|number| Imported {
                sender: NewParticipant {
                    person: "ada".to_owned(),
                    name: "Ada".to_owned(),
                },
                client_msg_id: format!("old-{number}"),
                body: format!("{number} {}", "x".repeat(bytes)),
                attachments: Vec::new(),
                created_at,
            })
            .collect();
        let chat = ChatId(chat.parse().unwrap());
        for messages in messages.chunks(200) {
            store.import("acme", chat, messages).await.unwrap();
        }
        store.close().await;
    }

    /// What a companion here is started with.
    pub(crate) fn config(&self, options: Options<'_>) -> Config {
        Given::parse_from(self.arguments(options, "127.0.0.1:0")).config
    }

    /// A companion in this process, which is connected to the lock server, if that is there.
    pub(crate) async fn companion(&self, options: Options<'_>) -> Companion {
        let config = self.config(options);
        let issuer = self.issuer(&config);
        let service = Service::bind(config).await.unwrap();
        let addr = service.local_addr();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(service.serve(stop.clone()));
        let companion = Companion {
            addr,
            issuer,
            running: Running::Here(stop, Some(serving)),
        };
        companion.is_connected(self.tenure.is_running()).await;
        companion
    }

    /// A companion as a process of its own.
    pub(crate) async fn companion_process(&self, options: Options<'_>) -> Companion {
        let companion = Command::new(env!("CARGO_BIN_EXE_tenure-chat"));
        self.process(companion, options).await
    }

    /// The same, where the system allows it so many open files.
    #[cfg(unix)]
    pub(crate) async fn companion_with_files(&self, files: u32, options: Options<'_>) -> Companion {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -n {files}; exec \"$0\" \"$@\"")]);
        shell.arg(env!("CARGO_BIN_EXE_tenure-chat"));
        self.process(shell, options).await
    }

    async fn process(&self, mut command: Command, options: Options<'_>) -> Companion {
        let port = Port::free();
        let arguments = self.arguments(options, &port.addr.to_string());
        let config = Given::parse_from(&arguments).config;
        let child = command
            .args(&arguments[1..])
            .stdout(self.log())
            .stderr(self.log())
            .spawn()
            .unwrap();
        let issuer = self.issuer(&config);
        let companion = Companion {
            addr: port.addr,
            issuer,
            running: Running::Process { child, _port: port },
        };
        companion.is_connected(self.tenure.is_running()).await;
        companion
    }

    /// What companions that are processes say.
    fn log(&self) -> std::fs::File {
        let mut options = std::fs::OpenOptions::new();
        let log = options.append(true).create(true).open(self.file(LOG));
        log.unwrap()
    }

    /// What they have said so far.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.file(LOG)).unwrap()
    }

    fn issuer(&self, config: &Config) -> Issuer {
        let secret = development_key(&self.file("development.key")).unwrap();
        Issuer::new(&config.tokens, &secret)
    }
}

impl Companion {
    pub(crate) async fn is_connected(&self, tenure_is_there: bool) {
        let ready = if tenure_is_there { "ready\n" } else { "ready" };
        until("the companion is ready", || async {
            let asked = Http::ask(self.addr, "GET", "/readyz", &[], None).await;
            let Ok(asked) = asked else { return false };
            asked.whole().await.is_ok_and(|answer| {
                answer.text == ready || (!tenure_is_there && answer.text.starts_with(ready))
            })
        })
        .await;
    }

    pub(crate) fn person(&self, id: &str) -> Person {
        self.with_role(id, Role::Member)
    }

    pub(crate) fn with_role(&self, id: &str, role: Role) -> Person {
        self.of_org("acme", id, role, Duration::from_secs(3600))
    }

    pub(crate) fn of_org(&self, org: &str, id: &str, role: Role, lifetime: Duration) -> Person {
        let person = identity::Person {
            org: org.into(),
            id: id.into(),
            name: format!("{}{}", id[..1].to_uppercase(), &id[1..]),
            role,
            expires: 0,
        };
        Person {
            addr: self.addr,
            token: self.issuer.token(&person, lifetime).unwrap(),
            session: None,
        }
    }

    /// Ends it in order.
    pub(crate) async fn stop(mut self) {
        if let Running::Here(stop, serving) = &mut self.running {
            stop.cancel();
            let serving = serving.take().unwrap();
            tokio::time::timeout(PATIENCE, serving)
                .await
                .unwrap()
                .unwrap()
                .unwrap();
        }
    }

    /// SIGSTOP and the like, for one that is a process.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Running::Process { child, .. } = &self.running {
            let pid = i32::try_from(child.id()).unwrap();
            nix::sys::signal::kill(Pid::from_raw(pid), signal).unwrap();
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        if let Running::Process { child, .. } = &mut self.running {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        match &mut self.running {
            Running::Here(stop, _) => stop.cancel(),
            Running::Process { child, .. } => {
                drop(child.kill());
                drop(child.wait());
            }
        }
    }
}

impl Person {
    pub(crate) async fn try_ask(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> std::io::Result<Answer> {
        let bearer = format!("Bearer {}", self.token);
        let mut headers = vec![("authorization", bearer.as_str())];
        let text = body.map(|body| body.to_string());
        if text.is_some() {
            headers.push(("content-type", "application/json"));
        }
        if let Some(session) = &self.session {
            headers.push(("tenure-session", session));
        }
        Http::ask(self.addr, method, path, &headers, text.as_deref())
            .await?
            .whole()
            .await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.try_ask("GET", path, None).await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.try_ask("POST", path, Some(body)).await.unwrap()
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.try_ask(method, path, body).await.unwrap()
    }

    /// A chat with these people; its id.
    pub(crate) async fn chat_with(&self, people: &[&str]) -> String {
        let people: Vec<_> = people
            .iter()
            .map(|id| json!({"person": id, "name": id}))
            .collect();
        let chat = self
            .post("/v1/chats", json!({"participants": people}))
            .await
            .expect(201);
        chat["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn send(&self, chat: &str, id: &str, body: &str) -> Answer {
        let message = json!({"client_msg_id": id, "body": body});
        self.post(&format!("/v1/chats/{chat}/messages"), message)
            .await
    }

    /// Takes the chat's lock, and goes on with the session that came with it; the token.
    pub(crate) async fn lock(&mut self, chat: &str) -> u64 {
        let lock = self
            .post(&format!("/v1/chats/{chat}/lock"), json!({}))
            .await
            .expect(200);
        self.session = Some(lock["session"].as_str().unwrap().to_owned());
        lock["token"].as_u64().unwrap()
    }

    /// Goes on with a session of one's own.
    pub(crate) async fn with_session(mut self) -> Self {
        let session = self.post("/v1/sessions", json!({})).await.expect(201);
        self.session = Some(session["session"].as_str().unwrap().to_owned());
        self
    }

    pub(crate) async fn hear(&self) -> Hearing {
        self.hear_from(None).await
    }

    pub(crate) async fn hear_from(&self, last_id: Option<String>) -> Hearing {
        Hearing::new(self.ask_for_feed(&last_id).await.unwrap(), last_id)
    }

    /// A feed, if there is one to be had at this moment.
    pub(crate) async fn try_hear(&self, last_id: Option<String>) -> Option<Hearing> {
        let http = self.ask_for_feed(&last_id).await.ok()?;
        (http.status == 200).then(|| Hearing::new(http, last_id))
    }

    async fn ask_for_feed(&self, last_id: &Option<String>) -> std::io::Result<Http> {
        let bearer = format!("Bearer {}", self.token);
        let mut headers = vec![("authorization", bearer.as_str())];
        if let Some(session) = &self.session {
            headers.push(("tenure-session", session));
        }
        if let Some(last_id) = last_id {
            headers.push(("last-event-id", last_id));
        }
        Http::ask(self.addr, "GET", "/v1/feed", &headers, None).await
    }

    pub(crate) fn at(&self, companion: &Companion) -> Self {
        self.at_address(companion.addr)
    }

    pub(crate) fn at_address(&self, addr: SocketAddr) -> Self {
        Self {
            addr,
            ..self.clone()
        }
    }
}

/// Whether so much waits to be told, as a companion has last measured it.
pub(crate) async fn outbox_has(companion: &Companion, rows: RangeInclusive<u32>) -> bool {
    let metrics = companion.person("root").get("/metrics").await.text;
    let waiting = metrics
        .lines()
        .find_map(|line| line.strip_prefix("tenure_chat_outbox_rows "));
    rows.contains(&waiting.unwrap().parse().unwrap())
}

/// A figure of a companion, with its labels, if it has any.
pub(crate) async fn says(companion: &Companion, figure: &str) -> Option<u64> {
    let metrics = companion.person("root").get("/metrics").await.text;
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(&format!("tenure_chat_{figure} ")));
    line.map(|value| value.parse().unwrap())
}

/// A port that a server can come back to: nobody else is given it as long as this lives.
struct Port {
    addr: SocketAddr,
    /// Tests keep it from each other by its namesake.
    _namesake: UdpSocket,
}

impl Port {
    fn free() -> Self {
        loop {
            let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, fastrand::u16(PORTS)));
            let Ok(namesake) = UdpSocket::bind(addr) else {
                continue;
            };
            if TcpListener::bind(addr).is_ok() {
                return Self {
                    addr,
                    _namesake: namesake,
                };
            }
        }
    }
}

impl Tenure {
    async fn start(port: Port) -> Self {
        let mut tenure = Self {
            child: None,
            addr: port.addr,
            _port: port,
            data: None,
        };
        tenure.start_again().await;
        tenure
    }

    pub(crate) const fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// This test's own program, as a lock server.
    pub(crate) async fn start_again(&mut self) {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "support::place::as_tenure",
                "--ignored",
                "--nocapture",
            ])
            .env(AS_TENURE, self.addr.to_string())
            .envs(self.data.iter().map(|folder| (TENURE_DATA, folder)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        self.child = Some(child);
        let addr = self.addr;
        until("the lock server listens", || async move {
            tokio::net::TcpStream::connect(addr).await.is_ok()
        })
        .await;
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Tenure {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Not a test: what this program is when it is started as a lock server. It ends with whoever started it.
#[test]
#[ignore = "a lock server for the other tests"]
fn as_tenure() {
    let Ok(listen) = std::env::var(AS_TENURE) else {
        return;
    };
    std::thread::spawn(|| {
        // The end of the input comes with the end of whoever has its other side.
        drop(std::io::Read::read_to_end(
            &mut std::io::stdin(),
            &mut Vec::new(),
        ));
        std::process::exit(0);
    });
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let in_memory = TenureConfig {
            listen: listen.parse().unwrap(),
            admin: None,
            durability: Durability::Memory,
            ..TenureConfig::default()
        };
        let config = match std::env::var_os(TENURE_DATA) {
            Some(data) => TenureConfig {
                data: data.into(),
                durability: Durability::Always,
                ..in_memory
            },
            None => in_memory,
        };
        let server = Server::bind(config).await.unwrap();
        server.serve(CancellationToken::new()).await.unwrap();
    });
}
