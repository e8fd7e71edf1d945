//! Where a test runs: a fresh database of one kind, with a clock that it can set, and the people of a small
//! organisation. `ann` makes all chats.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tenure_chat::store::{
    Actor, Audience, ChatId, ChatView, Message, NewChat, NewMessage, NewParticipant, Role, Store,
    StoreOptions, UnixMs,
};

use crate::postgres;

/// A database, and the time there.
pub(crate) struct Place {
    pub(crate) url: String,
    clock: Arc<AtomicI64>,
    named: AtomicU32,
    _folder: Option<TempDir>,
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

pub(crate) fn on_sqlite<F: Future<Output = ()>>(test: impl FnOnce(Arc<Place>) -> F) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite:{}", folder.path().join("chat.db").display());
    run(test(Arc::new(Place::new(url, Some(folder)))));
}

pub(crate) fn on_postgres<F: Future<Output = ()>>(test: impl FnOnce(Arc<Place>) -> F) {
    if let Some(server) = postgres::server() {
        run(async {
            let place = Place::new(server.database().await, None);
            test(Arc::new(place)).await;
        });
    }
}

fn run(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(4).enable_all().build();
    runtime.expect("a runtime").block_on(test);
}

impl Place {
    fn new(url: String, folder: Option<TempDir>) -> Self {
        Self {
            url,
            clock: Arc::new(AtomicI64::new(1_700_000_000_000)),
            named: AtomicU32::new(0),
            _folder: folder,
        }
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        self.url.starts_with("sqlite:")
    }

    pub(crate) async fn open(&self) -> Store {
        let clock = Arc::clone(&self.clock);
        let options = StoreOptions {
            connections_max: 8,
            patience: Duration::from_secs(60),
            clock: Arc::new(move || UnixMs(clock.load(Ordering::Relaxed))),
        };
        Store::open(&self.url, options)
            .await
            .expect("a fresh database can be opened")
    }

    pub(crate) fn now(&self) -> UnixMs {
        UnixMs(self.clock.load(Ordering::Relaxed))
    }

    pub(crate) fn pass(&self, span: Duration) {
        let span = i64::try_from(span.as_millis()).expect("a short time");
        self.clock.fetch_add(span, Ordering::Relaxed);
    }

    /// A name that no other message here has.
    pub(crate) fn fresh(&self) -> String {
        format!("m{}", self.named.fetch_add(1, Ordering::Relaxed))
    }

    /// A message that was not sent before.
    pub(crate) fn message(&self, body: &str) -> NewMessage {
        message(&self.fresh(), body)
    }
}

pub(crate) const DAY: Duration = Duration::from_secs(86_400);

pub(crate) fn message(client_msg_id: &str, body: &str) -> NewMessage {
    NewMessage {
        client_msg_id: client_msg_id.to_owned(),
        body: body.to_owned(),
        ..NewMessage::default()
    }
}

pub(crate) fn member(id: &str) -> Actor {
    actor("acme", id, Role::Member)
}

pub(crate) fn actor(org: &str, id: &str, role: Role) -> Actor {
    Actor {
        org: org.to_owned(),
        id: id.to_owned(),
        name: format!("{id} of {org}"),
        role,
    }
}

pub(crate) fn people(ids: &[&str]) -> Vec<NewParticipant> {
    ids.iter()
        .map(|id| NewParticipant {
            person: (*id).to_owned(),
            name: format!("{id} of acme"),
        })
        .collect()
}

/// A chat that `ann` has made for herself and these.
pub(crate) async fn private(store: &Store, others: &[&str]) -> ChatId {
    let new = NewChat {
        participants: people(others),
        ..NewChat::default()
    };
    let made = store.create_chat(&member("ann"), new).await;
    made.expect("a chat can be made").into_inner().id
}

/// A chat that `ann` has made for everybody.
pub(crate) async fn open_chat(store: &Store) -> ChatId {
    let new = NewChat {
        audience: Audience::Org,
        ..NewChat::default()
    };
    let made = store.create_chat(&member("ann"), new).await;
    made.expect("a chat can be made").into_inner().id
}

/// Sends so many.
pub(crate) async fn talk(place: &Place, store: &Store, chat: ChatId, count: usize) {
    for number in 0..count {
        let sent = store
            .send(
                &member("ann"),
                chat,
                place.message(&format!("word {number}")),
            )
            .await;
        sent.expect("a message can be sent");
    }
}

/// All of a chat.
pub(crate) async fn all(store: &Store, who: &Actor, chat: ChatId) -> Vec<Message> {
    let mut all: Vec<Message> = Vec::new();
    loop {
        let after = all.last().map_or(0, |last| last.seq);
        let more = store.export(who, chat, after, 1_000).await;
        let more = more.expect("a chat of one's own can be read");
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

pub(crate) async fn view(store: &Store, who: &Actor, chat: ChatId) -> ChatView {
    store.chat(who, chat).await.expect("a chat of one's own")
}
