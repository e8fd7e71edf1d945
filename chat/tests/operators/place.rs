//! A folder, a database in it or beside it, and `tenure-chat` as a program that is run there.
//! Knows one thing of the tables that the store does not tell: whose turn it is, and what was not read.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tenure_chat::store::{
    Actor, ChatId, Imported, NewChat, NewParticipant, Role, Store, StoreOptions, UnixMs,
};

use crate::postgres;

/// See the file's header.
pub(crate) struct Place {
    folder: TempDir,
    url: Option<String>,
}

/// Makes of each test one on either database.
macro_rules! on_both {
    ($($test:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[test]
            fn $test() {
                $crate::place::on_sqlite(super::$test);
            })*
        }
        mod on_postgres {
            $(#[test]
            fn $test() {
                $crate::place::on_postgres(super::$test);
            })*
        }
    };
}
pub(crate) use on_both;

pub(crate) fn on_sqlite<F: Future<Output = ()>>(test: impl FnOnce(Place) -> F) {
    run(test(Place::empty()));
}

pub(crate) fn on_postgres<F: Future<Output = ()>>(test: impl FnOnce(Place) -> F) {
    if let Some(server) = postgres::server() {
        run(async {
            let url = server.database().await;
            let place = Place {
                url: Some(url),
                ..Place::empty()
            };
            test(place).await;
        });
    }
}

fn run(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(test);
}

/// What a command has answered.
pub(crate) struct Told {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Told {
    fn new(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {:?} {:?}", self.stdout, self.stderr))
    }
}

impl Place {
    /// A folder with nothing in it.
    pub(crate) fn empty() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            url: None,
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The database, by its URL; the file that the commands look for by themselves, if there is no other.
    pub(crate) fn url(&self) -> String {
        let file = || format!("sqlite:{}", self.folder().join("tenure-chat.db").display());
        self.url.clone().unwrap_or_else(file)
    }

    pub(crate) async fn open(&self) -> Store {
        let options = StoreOptions {
            patience: Duration::from_secs(60),
            ..StoreOptions::default()
        };
        Store::open(&self.url(), options).await.unwrap()
    }

    /// `tenure-chat`, here.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenure-chat"));
        command
            .args(arguments)
            .current_dir(self.folder())
            .env_remove("TENURE_CHAT_DATABASE")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(url) = &self.url {
            command.env("TENURE_CHAT_DATABASE", url);
        }
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Told {
        Told::new(&self.command(arguments).output().unwrap())
    }

    /// The turn at the archive is free again, as if the lease of whoever was killed were over.
    pub(crate) async fn lease_is_over(&self) {
        self.execute("UPDATE jobs SET leased_until = 0").await;
    }

    /// Waits until PostgreSQL does nothing any more for those who are gone; nobody else may be at work for long.
    pub(crate) async fn is_done_for_whoever_was_killed(&self) {
        use sqlx::Connection as _;
        let Some(url) = &self.url else { return };
        let at_work = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                       AND pid <> pg_backend_pid() AND state <> 'idle'";
        let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
        while sqlx::query_scalar::<_, i64>(at_work)
            .fetch_one(&mut connection)
            .await
            .unwrap()
            > 0
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        connection.close().await.unwrap();
    }

    /// Makes wrong what somebody has not read.
    pub(crate) async fn spoil_counters(&self) {
        self.execute("UPDATE members SET unread = unread + 40 WHERE person = 'bob'")
            .await;
    }

    async fn execute(&self, statement: &'static str) {
        use sqlx::Connection as _;
        match &self.url {
            None => {
                let mut connection = sqlx::SqliteConnection::connect(&self.url()).await.unwrap();
                sqlx::query(statement)
                    .execute(&mut connection)
                    .await
                    .unwrap();
                connection.close().await.unwrap();
            }
            Some(url) => {
                let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
                sqlx::query(statement)
                    .execute(&mut connection)
                    .await
                    .unwrap();
                connection.close().await.unwrap();
            }
        }
    }
}

pub(crate) const DAY_MS: i64 = 86_400_000;

pub(crate) fn actor(id: &str, role: Role) -> Actor {
    Actor {
        org: "acme".to_owned(),
        id: id.to_owned(),
        name: id.to_owned(),
        role,
    }
}

/// A chat of ann and bob.
pub(crate) async fn chat(store: &Store) -> ChatId {
    let new = NewChat {
        participants: vec![NewParticipant {
            person: "bob".to_owned(),
            name: "Bob".to_owned(),
        }],
        ..NewChat::default()
    };
    let made = store.create_chat(&actor("ann", Role::Member), new).await;
    made.unwrap().into_inner().id
}

/// So many messages of ann's, all older than two years.
pub(crate) async fn old(store: &Store, chat: ChatId, count: usize) {
    let began = UnixMs::now().0 - 800 * DAY_MS;
    for from in (0..count).step_by(1_000) {
        let messages: Vec<_> = (from..count.min(from + 1_000))
            .map(|number| Imported {
                sender: NewParticipant {
                    person: "ann".to_owned(),
                    name: "Ann".to_owned(),
                },
                client_msg_id: format!("old-{number}"),
                body: format!("message {number}"),
                attachments: Vec::new(),
                created_at: UnixMs(began + i64::try_from(number).unwrap()),
            })
            .collect();
        store.import("acme", chat, &messages).await.unwrap();
    }
}
