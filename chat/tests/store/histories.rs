//! Random histories of one chat, of several people, with everything that can happen to it: whatever happens, an older
//! copy with the changes applied is what a fresh reading shows; counters are what a count says; marks never go back.
//!
//! The model is a list of messages and a table of marks, written down as they are told, and counted by a loop.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use tenure_chat::store::{
    ArchiveRun, Audience, Change, ChatId, Mark, Member, Message, NewChat, Store,
};
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::place::{DAY, Place, all, member, on_both, people, view};

on_both!(changes_and_counters_tell_the_truth);

const PEOPLE: [&str; 4] = ["ann", "bob", "cid", "dan"];

/// Something that somebody does; numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Act {
    Send { by: usize },
    Resend { of: usize },
    Edit { of: usize },
    Delete { of: usize },
    Read { by: usize, up_to: i64 },
    Delivered { by: usize, up_to: i64 },
    Join { who: usize },
    Leave { who: usize },
    Archive { batch: u32 },
    Wait,
    Copy,
}

fn act() -> impl Strategy<Value = Act> {
    let by = 0..PEOPLE.len();
    let of = 0..64_usize;
    prop_oneof![
        6 => by.clone().prop_map(|by| Act::Send { by }),
        1 => of.clone().prop_map(|of| Act::Resend { of }),
        2 => of.clone().prop_map(|of| Act::Edit { of }),
        2 => of.prop_map(|of| Act::Delete { of }),
        3 => (by.clone(), 0..20_i64).prop_map(|(by, up_to)| Act::Read { by, up_to }),
        2 => (by.clone(), 0..20_i64).prop_map(|(by, up_to)| Act::Delivered { by, up_to }),
        1 => by.clone().prop_map(|who| Act::Join { who }),
        1 => by.prop_map(|who| Act::Leave { who }),
        1 => (1..5_u32).prop_map(|batch| Act::Archive { batch }),
        1 => Just(Act::Wait),
        1 => Just(Act::Copy),
    ]
}

/// What somebody knows of a chat, from changes alone.
#[derive(Clone, Debug, Default, PartialEq)]
struct Copy {
    rev: i64,
    messages: BTreeMap<i64, Message>,
    members: BTreeMap<String, Member>,
}

impl Copy {
    async fn catch_up(&mut self, store: &Store, chat: ChatId) {
        loop {
            // Few at a time, so that pages end in the middle of things.
            let changes = store.changes(&member("ann"), chat, self.rev, 3).await;
            let changes = changes.expect("she is always there");
            for change in changes.items {
                assert!(change.rev() > self.rev, "changes rise");
                self.rev = change.rev();
                match change {
                    Change::Message(message) => {
                        self.messages.insert(message.seq, message);
                    }
                    Change::Member(member) => {
                        self.members.insert(member.person.clone(), member);
                    }
                }
            }
            self.rev = changes.next_rev;
            if !changes.has_more {
                return;
            }
        }
    }

    async fn fresh(store: &Store, chat: ChatId) -> Self {
        let ann = member("ann");
        let members = store
            .members(&ann, chat)
            .await
            .expect("she is always there");
        Self {
            rev: view(store, &ann, chat).await.rev,
            messages: all(store, &ann, chat)
                .await
                .into_iter()
                .map(|message| (message.seq, message))
                .collect(),
            members: members
                .into_iter()
                .map(|member| (member.person.clone(), member))
                .collect(),
        }
    }

    /// Counted by a loop.
    fn unread(&self, person: &str, read_seq: i64) -> i64 {
        let is_unread = |message: &&Message| {
            message.seq > read_seq && message.sender != person && message.deleted_at.is_none()
        };
        let count = self.messages.values().filter(is_unread).count();
        i64::try_from(count).expect("few")
    }
}

async fn changes_and_counters_tell_the_truth(place: Arc<Place>) {
    let store = place.open().await;
    let handle = Handle::current();
    let histories = Cell::new(0);
    let config = Config {
        cases: if place.is_sqlite() { 40 } else { 24 },
        max_shrink_iters: 200,
        failure_persistence: None,
        ..Config::default()
    };
    tokio::task::block_in_place(|| {
        let mut runner = TestRunner::new(config);
        let history = (any::<bool>(), prop::collection::vec(act(), 1..60));
        let outcome = runner.run(&history, |(is_open, acts)| {
            histories.set(histories.get() + 1);
            handle.block_on(run(&place, &store, is_open, &acts))
        });
        outcome.unwrap_or_else(|error| panic!("{error}"));
    });
    let counted = store
        .recount("acme", None)
        .await
        .expect("it can be counted");
    assert_eq!((counted.wrong, counted.drift), (0, 0));
}

async fn run(
    place: &Place,
    store: &Store,
    is_open: bool,
    acts: &[Act],
) -> Result<(), TestCaseError> {
    let new = NewChat {
        audience: if is_open {
            Audience::Org
        } else {
            Audience::Participants
        },
        participants: people(&["bob", "cid"]),
        ..NewChat::default()
    };
    let made = store.create_chat(&member("ann"), new).await;
    let chat = made.expect("it can be made").into_inner().id;
    let mut copies = vec![Copy::default()];
    let mut sent: Vec<Message> = Vec::new();
    for act in acts {
        perform(place, store, chat, act, &mut sent, &mut copies).await?;
    }
    let fresh = Copy::fresh(store, chat).await;
    for mut copy in copies {
        copy.catch_up(store, chat).await;
        prop_assert_eq!(&copy, &fresh);
    }
    prop_assert!(
        fresh
            .messages
            .keys()
            .copied()
            .eq(1..=i64::try_from(sent.len()).expect("few"))
    );
    for person in PEOPLE {
        let Ok(seen) = store.chat(&member(person), chat).await else {
            continue;
        };
        prop_assert_eq!(
            seen.unread,
            fresh.unread(person, seen.read_seq),
            "of {}",
            person
        );
        prop_assert_eq!(seen.message_count, fresh.unread("", 0));
        let known = fresh
            .members
            .get(person)
            .map(|known| (known.read_seq, known.delivered_seq));
        prop_assert_eq!(known.unwrap_or((0, 0)), (seen.read_seq, seen.delivered_seq));
        let taking_part = fresh.members.values().filter(|member| member.participating);
        prop_assert_eq!(
            seen.participant_count,
            i64::try_from(taking_part.count()).expect("few")
        );
    }
    Ok(())
}

async fn perform(
    place: &Place,
    store: &Store,
    chat: ChatId,
    act: &Act,
    sent: &mut Vec<Message>,
    copies: &mut Vec<Copy>,
) -> Result<(), TestCaseError> {
    let ann = member("ann");
    let one = |of: usize| (!sent.is_empty()).then(|| sent[of % sent.len()].clone());
    match *act {
        Act::Send { by } => {
            // Who is not there is refused, which changes nothing.
            if let Ok(stored) = store
                .send(&member(PEOPLE[by]), chat, place.message("hello"))
                .await
            {
                sent.push(stored.into_inner());
            }
        }
        Act::Resend { of } => {
            if let Some(message) = one(of) {
                let again = crate::place::message(&message.client_msg_id, "hello");
                if let Ok(stored) = store.send(&member(&message.sender), chat, again).await {
                    prop_assert!(stored.is_replay());
                    prop_assert_eq!(stored.into_inner().id, message.id);
                }
            }
        }
        Act::Edit { of } => {
            if let Some(message) = one(of) {
                let body = format!("edited at {}", place.fresh());
                // Refused in the archive, and to who has left.
                let _ = store
                    .edit(&member(&message.sender), chat, message.id, body)
                    .await;
            }
        }
        Act::Delete { of } => {
            if let Some(message) = one(of) {
                let _ = store
                    .delete(&member(&message.sender), chat, message.id)
                    .await;
            }
        }
        Act::Read { by, up_to } => mark(store, chat, by, Mark::Read(up_to)).await?,
        Act::Delivered { by, up_to } => mark(store, chat, by, Mark::Delivered(up_to)).await?,
        Act::Join { who } => {
            let joining = people(&[PEOPLE[who]]);
            let joined = store.set_participants(&ann, chat, &joining, &[]).await;
            joined.expect("she may add");
        }
        // She stays, to look.
        Act::Leave { who } if who > 0 => {
            let leaving = [PEOPLE[who].to_owned()];
            let left = store.set_participants(&ann, chat, &[], &leaving).await;
            left.expect("she may remove");
        }
        Act::Leave { .. } => {}
        Act::Archive { batch } => {
            let run = ArchiveRun {
                run: Uuid::now_v7(),
                before: place.now().before(DAY),
                org: None,
                batch,
            };
            store
                .archive_step(&run, Some(chat))
                .await
                .expect("it can be archived");
        }
        Act::Wait => place.pass(DAY),
        Act::Copy => {
            let mut copy = Copy::default();
            copy.catch_up(store, chat).await;
            copies.push(copy);
        }
    }
    Ok(())
}

async fn mark(store: &Store, chat: ChatId, by: usize, mark: Mark) -> Result<(), TestCaseError> {
    let who = member(PEOPLE[by]);
    let Ok(before) = store.chat(&who, chat).await else {
        return Ok(());
    };
    let marked = store.mark(&who, chat, mark).await.expect("one's own");
    prop_assert!(marked.read_seq >= before.read_seq);
    prop_assert!(marked.delivered_seq >= before.delivered_seq);
    prop_assert!(marked.delivered_seq >= marked.read_seq);
    Ok(())
}
