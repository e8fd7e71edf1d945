//! Following an org with the client crate, over a link that is cut again and again: state and events come to the truth.
//!
//! The oracle is Zulip's: whatever has happened, what a reader has made of the state that it was told once and of the events
//! since then equals what is read anew.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::print_stdout,
    reason = "a panic in a test is its message; what a reader of holds does not care for; a seed is to be seen"
)]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use support::{Dice, Link, PATIENCE, TestServer, config, millis, seeds, within};
use tenure::config::Config;
use tenure_client::{Attempted, Client, Event, ListedHold, LockGuard, Mode, StateOf, StreamEvent};
use tokio::task::JoinHandle;
use tokio::time::sleep;

const ORG: &str = "acme";
const LAST: &str = "doc/the-last";

/// What each of the people does.
const STEPS: u32 = 400;

/// Who holds what, as somebody knows it: by path and owner.
type Holds = BTreeMap<(String, String), (Mode, u64)>;

/// What a reader makes of what it is told.
#[derive(Default)]
struct Reader {
    holds: Holds,
    is_whole: bool,
    /// How often it has begun anew, and gone on without a loss.
    begun: u32,
    recovered: u32,
}

impl Reader {
    /// Tells whether that was the last there is.
    fn take(&mut self, told: &StreamEvent) -> bool {
        match told {
            StreamEvent::StateBegins(StateOf::Holds) => {
                self.holds.clear();
                self.is_whole = false;
                self.begun += 1;
            }
            StreamEvent::Holds(holds) => self.holds.extend(holds.iter().map(known)),
            StreamEvent::StateWhole(StateOf::Holds) => self.is_whole = true,
            StreamEvent::Recovered { .. } => self.recovered += 1,
            StreamEvent::Lost { why, position } => println!("lost up to {position}: {why}"),
            StreamEvent::Happened(happened) => return self.happened(&happened.event),
            StreamEvent::Ended { why } => panic!("{why}"),
            _ => {}
        }
        false
    }

    fn happened(&mut self, event: &Event) -> bool {
        match event {
            Event::LockGranted {
                path,
                who,
                mode,
                token,
                ..
            }
            | Event::LockConverted {
                path,
                who,
                mode,
                token,
            } => {
                let at = (path.clone(), who.owner.clone());
                self.holds.insert(at, (*mode, *token));
            }
            Event::LockEnded { who, loss, .. } => {
                self.holds.remove(&(loss.path.clone(), who.owner.clone()));
            }
            Event::Published { path, .. } => return path == LAST,
            _ => {}
        }
        false
    }
}

fn known(hold: &ListedHold) -> ((String, String), (Mode, u64)) {
    let at = (hold.path.clone(), hold.holder.owner.clone());
    (at, (hold.mode, hold.token))
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
            if reader.take(&told) {
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
    let mut fresh = Holds::new();
    let mut pages = service.list(ORG).pages();
    while let Some(page) = pages.next_page().await.unwrap() {
        fresh.extend(page.iter().map(known));
    }
    assert!(reader.is_whole && !fresh.is_empty(), "seed {seed}");
    assert_eq!(reader.holds, fresh, "seed {seed}");
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
