//! Following an org with the client crate, over a link that is cut again and again: state and events come to the truth.
//!
//! Many lock at once, so that conversions and hand-offs cross; what a reader knows in the end equals what is read anew. And
//! a state so large that it is read in many pages, while it changes.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::print_stdout,
    reason = "a panic in a test is its message; what a reader of holds does not care for; a seed is to be seen"
)]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use support::{
    Board, Client as Raw, Dice, Link, PATIENCE, TestServer, config, exclusive, millis, seeds,
    within,
};
use tenure::config::Config;
use tenure_client::{Attempted, Client, Event, LockGuard, StreamEvent};
use tenure_protocol::{Disconnect, request};
use tokio::task::JoinHandle;
use tokio::time::sleep;

const ORG: &str = "acme";
const LAST: &str = "doc/the-last";

/// What each of the people does.
const STEPS: u32 = 400;

/// Connections that hold many, and as many that change things between.
const CHURNERS: usize = 2;

/// One who follows, and how it went.
#[derive(Default)]
struct Reader {
    board: Board,
    is_whole: bool,
    /// How often it has begun anew, and gone on without a loss.
    begun: u32,
    recovered: u32,
}

impl Reader {
    /// Tells whether that was the last there is.
    fn take(&mut self, told: StreamEvent) -> bool {
        match &told {
            StreamEvent::StateBegins(_) => {
                self.is_whole = false;
                self.begun += 1;
            }
            StreamEvent::StateWhole(_) => self.is_whole = true,
            StreamEvent::Recovered { .. } => self.recovered += 1,
            StreamEvent::Lost { why, position } => println!("lost up to {position}: {why}"),
            StreamEvent::Happened(happened) => {
                if matches!(&happened.event, Event::Published { path, .. } if path == LAST) {
                    return true;
                }
            }
            _ => {}
        }
        self.board.take_in(told);
        false
    }
}

/// Somebody who locks this and that.
async fn live(client: Client, owner: String, mut dice: Dice) {
    let session = client.session(ORG, owner).await.unwrap();
    let mut held: Vec<LockGuard> = Vec::new();
    for _ in 0..STEPS {
        let choice = dice.below(10);
        if choice < 5 {
            let path = format!("doc/{}", dice.below(12));
            let acquire = session.try_acquire(path).ttl(Duration::from_secs(60));
            let acquire = if choice < 2 {
                acquire.shared(None)
            } else {
                acquire
            };
            if let Ok(Attempted::Granted(lock)) = acquire.await {
                held.push(lock);
            }
        } else if !held.is_empty() {
            let lock = held.swap_remove(dice.below(held.len() as u64) as usize);
            match choice {
                5 => drop(lock.upgrade(Duration::ZERO).await),
                6 => drop(lock.downgrade(None).await),
                _ => drop(lock.release().await),
            }
        }
    }
    // What is still held stays so.
    held.into_iter().for_each(LockGuard::leave_held);
    session.leave_open();
}

/// Lets people lock and a reader follow, and gives the reader, who knows the truth in the end.
async fn follow(config: Config) -> Reader {
    let seed = seeds(1).next().unwrap();
    println!("seed {seed}");
    let server = TestServer::with(config).await;
    let service = Client::connect(server.addr.to_string()).await.unwrap();
    let link = Link::to(server.addr).await;
    let watcher = Client::builder(link.addr.to_string()).back_off(millis(1), millis(20));
    let watcher = watcher.connect().await.unwrap();
    let subscribe = watcher.subscribe(ORG, ["doc/**"]).with_state();
    // More than there will be: here the link is to blame for what is lost, and not a busy machine.
    let mut events = subscribe.buffer(1 << 16).await.unwrap();
    let reading = tokio::spawn(async move {
        let mut reader = Reader::default();
        while let Some(told) = events.next().await {
            if reader.take(told) {
                break;
            }
        }
        reader
    });

    let people: Vec<_> = (0..6)
        .map(|number| {
            let dice = Dice::of(seed + number);
            tokio::spawn(live(service.clone(), format!("owner-{number}"), dice))
        })
        .collect();
    let mut dice = Dice::of(seed + 1000);
    while !people.iter().all(JoinHandle::is_finished) {
        sleep(millis(1 + dice.below(39))).await;
        link.cut();
    }
    for person in people {
        person.await.unwrap();
    }
    // Whoever is cut off just then may lose it.
    let until_heard = async {
        while !reading.is_finished() {
            let last = service.publish(ORG, LAST, "the-last", "");
            last.await.unwrap();
            sleep(millis(50)).await;
        }
        reading.await.unwrap()
    };
    let reader = within(PATIENCE, "the last is heard of", until_heard).await;
    let fresh = Board::listed(&service, ORG).await;
    assert!(reader.is_whole && !fresh.holds.is_empty(), "seed {seed}");
    assert_eq!(reader.board, fresh, "seed {seed}");
    reader
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_and_events_come_to_the_truth_over_a_link_that_is_cut() {
    let reader = follow(config()).await;
    assert!(reader.recovered > 0, "the link was cut");
    assert_eq!(reader.begun, 1, "nothing was lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_lost_something_begins_anew_and_comes_to_the_truth() {
    let reader = follow(Config {
        stream_events_max: 4,
        ..config()
    })
    .await;
    assert!(
        reader.begun > 1,
        "more happens while the link is cut than is kept"
    );
}

/// Has so many paths held by sessions that keep them and whose connections are gone, and the server knows.
async fn hold_many(server: &TestServer, count: usize) {
    let parts = (0..CHURNERS).map(|part| {
        let addr = server.addr;
        tokio::spawn(async move {
            let mut client = Raw::introduced(addr).await;
            let open = request::OpenSession {
                org: ORG,
                owner: &format!("holder-{part}"),
                name: "",
                role: None,
                on_disconnect: Some(Disconnect::Keep),
                metadata: b"",
            };
            let numbers: Vec<_> = (part..count).step_by(CHURNERS).collect();
            let mut one_of_each = Vec::new();
            // A session has a bounded number of them.
            for some in numbers.chunks(1000) {
                let session = client.open_with(open).await.number;
                for number in some {
                    client.take(held(session, &format!("doc/{number}"))).await;
                }
                one_of_each.extend(some.last().copied());
            }
            one_of_each
        })
    });
    let mut asking = Raw::introduced(server.addr).await;
    for part in parts.collect::<Vec<_>>() {
        for number in part.await.unwrap() {
            let path = format!("doc/{number}");
            // All that it holds at once: it would be an event for each, to whoever listens by then.
            let noticed = async {
                while !asking.status(ORG, &path).await.holders[0].orphaned {
                    sleep(millis(1)).await;
                }
            };
            within(PATIENCE, "the holds are orphaned", noticed).await;
        }
    }
}

fn held(session: u64, path: &str) -> request::Acquire<'_> {
    request::Acquire {
        ttl_ms: Some(3_600_000),
        ..exclusive(session, path)
    }
}

/// Takes and releases paths between those that are held, until it is told to stop.
async fn churn(addr: SocketAddr, part: usize, count: usize, is_over: Arc<AtomicBool>) {
    let mut dice = Dice::of(part as u64);
    let mut client = Raw::introduced(addr).await;
    let session = client.open(ORG, &format!("churner-{part}")).await.number;
    let mut taken = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let path = format!("doc/{}/{part}", dice.below(count as u64));
        if !taken.contains(&path) {
            client.take(held(session, &path)).await;
            taken.push(path);
        }
        if taken.len() > 100 {
            let path = taken.swap_remove(dice.below(100) as usize);
            client.release(session, &path).await;
        }
        // What happens while a million are read has to fit into the reader's buffer.
        sleep(millis(1)).await;
    }
    client.close(session).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_holds_are_read_while_they_change() {
    // A million takes some minutes: `TENURE_HOLDS=1000000 cargo test --release --test following many`.
    let count = std::env::var("TENURE_HOLDS").map_or(20_000, |count| count.parse().unwrap());
    let server = TestServer::with(config()).await;
    hold_many(&server, count).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let churners: Vec<_> = (0..CHURNERS)
        .map(|part| tokio::spawn(churn(server.addr, part, count, Arc::clone(&is_over))))
        .collect();
    let client = Client::connect(server.addr.to_string()).await.unwrap();
    let began = Instant::now();
    let subscribe = client.subscribe(ORG, ["doc/**"]).with_state();
    let mut events = subscribe.buffer(1 << 16).await.unwrap();
    let mut reader = Reader::default();
    while !reader.is_whole {
        let told = within(PATIENCE, "the next page", events.next()).await;
        reader.take(told.unwrap());
    }
    println!("{count} holds read in {:?}", began.elapsed());
    is_over.store(true, Ordering::Relaxed);
    for churner in churners {
        churner.await.unwrap();
    }
    client.publish(ORG, LAST, "the-last", "").await.unwrap();
    let mut changes = 0;
    while !reader.take(within(PATIENCE, "the last", events.next()).await.unwrap()) {
        changes += 1;
    }
    assert!(
        changes > 100,
        "expected it to change, found {changes} events"
    );
    assert_eq!(reader.begun, 1, "nothing is lost");
    let fresh = Board::listed(&client, ORG).await;
    assert_eq!(fresh.holds.len(), count);
    assert!(reader.board == fresh, "expected what a list says");
}
