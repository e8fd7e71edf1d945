//! The cache against what a companion has: it answers with the truth, or not at all.
//!
//! Knows no companion: histories are made here, and told or read in whatever order.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::chat::MessageId;
use crate::chat::event::MessageEvent;

const CHAT: ChatId = ChatId(Uuid::from_u128(7));

fn message(seq: i64, rev: i64) -> Message {
    Message {
        id: MessageId(Uuid::from_u128(seq.unsigned_abs().into())),
        chat: CHAT,
        seq,
        rev,
        sender: "ada".into(),
        sender_name: "Ada".into(),
        client_msg_id: format!("m-{seq}"),
        body: format!("{seq} as of {rev}"),
        attachments: Vec::new(),
        created_at: std::time::SystemTime::UNIX_EPOCH,
        edited_at: None,
        deleted_at: None,
        unguarded: false,
    }
}

fn about(message: &Message) -> MessageEvent {
    MessageEvent {
        chat: message.chat,
        rev: message.rev,
        message: Some(message.clone()),
    }
}

fn cache() -> Cache {
    Cache::new(1024 * 1024, Duration::from_secs(600))
}

fn live() -> Cache {
    let cache = cache();
    cache.told(&Event::Ready(Recovery::Fresh));
    cache
}

fn filled(cache: &Cache, last: i64) {
    let messages: Vec<_> = (1..=last).map(|seq| message(seq, seq)).collect();
    cache.begin(CHAT).keep(&messages, last);
}

fn bodies(found: Option<Found>) -> Option<Vec<String>> {
    found.map(|found| {
        found
            .messages
            .iter()
            .map(|message| message.body.clone())
            .collect()
    })
}

fn seqs(found: &Found) -> Vec<i64> {
    found.messages.iter().map(|message| message.seq).collect()
}

#[test]
fn what_was_read_is_there_while_events_come_and_no_longer() {
    let cache = cache();
    filled(&cache, 10);
    assert_eq!(
        cache.read(CHAT, Part::Newest, 3),
        None,
        "nothing keeps it true"
    );
    cache.told(&Event::Ready(Recovery::Fresh));
    assert_eq!(
        cache.read(CHAT, Part::Newest, 3),
        None,
        "something may have happened before the feed began"
    );
    filled(&cache, 10);
    let newest = cache.read(CHAT, Part::Newest, 3).unwrap();
    assert_eq!(seqs(&newest), [8, 9, 10]);
    assert_eq!((newest.has_older, newest.has_newer), (true, false));
    assert_eq!(seqs(&cache.read(CHAT, Part::Before(3), 5).unwrap()), [1, 2]);
    assert_eq!(seqs(&cache.read(CHAT, Part::After(8), 5).unwrap()), [9, 10]);
    assert_eq!(
        seqs(&cache.read(CHAT, Part::Around(5), 3).unwrap()),
        [4, 5, 6]
    );
    cache.is_not_live();
    assert_eq!(cache.read(CHAT, Part::Newest, 3), None);
    cache.told(&Event::Ready(Recovery::Exact));
    assert!(cache.read(CHAT, Part::Newest, 3).is_some());
    for loss in [
        Event::Ready(Recovery::Lost),
        Event::Lost { why: "x".into() },
        Event::ParticipantsChanged { chat: CHAT, rev: 1 },
    ] {
        cache.told(&loss);
        assert_eq!(cache.read(CHAT, Part::Newest, 3), None, "{loss:?}");
        filled(&cache, 10);
        assert!(cache.read(CHAT, Part::Newest, 3).is_some());
    }
}

#[test]
fn events_change_what_is_there() {
    let cache = live();
    filled(&cache, 3);
    cache.told(&Event::MessageUpdated(about(&message(2, 4))));
    cache.told(&Event::MessageCreated(about(&message(4, 5))));
    let expected = ["2 as of 4", "3 as of 3", "4 as of 5"].map(str::to_owned);
    assert_eq!(
        bodies(cache.read(CHAT, Part::Newest, 3)),
        Some(expected.into())
    );
    // A copy that is older is not taken for a newer one.
    cache.told(&Event::MessageUpdated(about(&message(2, 2))));
    assert_eq!(
        cache.read(CHAT, Part::After(1), 1).unwrap().messages[0].rev,
        4
    );
    // One that was not told in between is not left out.
    cache.told(&Event::MessageCreated(about(&message(6, 7))));
    assert_eq!(cache.read(CHAT, Part::Newest, 3), None);
    // One that was too large to be told makes everything uncertain.
    filled(&cache, 6);
    let truncated = MessageEvent {
        message: None,
        ..about(&message(3, 9))
    };
    cache.told(&Event::MessageUpdated(truncated));
    assert_eq!(cache.read(CHAT, Part::Newest, 1), None);
}

#[test]
fn what_changes_while_it_is_read_is_not_kept_from_the_reading() {
    let cache = live();
    let reading = cache.begin(CHAT);
    cache.told(&Event::MessageDeleted(about(&message(1, 3))));
    reading.keep(&[message(1, 1), message(2, 2)], 2);
    assert_eq!(cache.read(CHAT, Part::Newest, 2), None);
    drop(reading);
    let (one, other) = (cache.begin(CHAT), cache.begin(CHAT));
    drop(one);
    cache.told(&Event::MessageDeleted(about(&message(1, 3))));
    other.keep(&[message(1, 1), message(2, 2)], 2);
    drop(other);
    assert_eq!(cache.read(CHAT, Part::Newest, 2), None);
    // Nor what was read before the chain broke.
    let reading = cache.begin(CHAT);
    cache.told(&Event::Ready(Recovery::Lost));
    reading.keep(&[message(1, 3), message(2, 2)], 2);
    assert_eq!(cache.read(CHAT, Part::Newest, 2), None);
    drop(reading);
    assert!(cache.chain.lock().reading.is_empty());
    // One that came meanwhile is the last, although the reading knows of none.
    let cache = live();
    let reading = cache.begin(CHAT);
    cache.told(&Event::MessageCreated(about(&message(1, 1))));
    reading.keep(&[], 0);
    drop(reading);
    assert_eq!(seqs(&cache.read(CHAT, Part::Newest, 2).unwrap()), [1]);
}

#[test]
fn while_the_companion_is_away_there_is_what_there_once_was() {
    let cache = live();
    filled(&cache, 10);
    cache.told(&Event::Ready(Recovery::Lost));
    cache.is_not_live();
    let old = cache.read_old(CHAT, Part::Newest, 4).unwrap();
    assert_eq!(seqs(&old), [7, 8, 9, 10]);
    cache.messages.invalidate(&(CHAT, 8));
    assert_eq!(
        seqs(&cache.read_old(CHAT, Part::Newest, 4).unwrap()),
        [9, 10]
    );
    let before = cache.read_old(CHAT, Part::After(5), 4).unwrap();
    assert_eq!(seqs(&before), [6, 7]);
    assert!(before.has_newer);
    assert_eq!(cache.read_old(CHAT, Part::After(7), 4), None);
    assert_eq!(cache.read_old(ChatId(Uuid::nil()), Part::Newest, 4), None);
}

#[test]
fn it_is_bounded_by_bytes_and_the_least_used_goes_first() {
    let room = 20;
    let bytes = u64::try_from(message(1, 1).weight() * room).unwrap();
    let cache = Cache::new(bytes, Duration::from_secs(600));
    cache.told(&Event::Ready(Recovery::Fresh));
    filled(&cache, 10);
    cache.messages.run_pending_tasks();
    // The first is used, the others are not.
    for seq in 11..=60 {
        cache.told(&Event::MessageCreated(about(&message(seq, seq))));
        cache.messages.run_pending_tasks();
        assert!(cache.read(CHAT, Part::After(0), 1).is_some(), "{seq}");
        assert!(cache.messages.weighted_size() <= bytes);
    }
    assert_eq!(cache.read(CHAT, Part::After(4), 1), None);
    assert!(cache.read(CHAT, Part::Newest, 10).is_some());
}

#[test]
fn what_is_old_goes_although_nothing_has_changed() {
    let cache = Cache::new(1024 * 1024, Duration::from_millis(50));
    cache.told(&Event::Ready(Recovery::Fresh));
    filled(&cache, 10);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(cache.read(CHAT, Part::Newest, 1), None);
    assert_eq!(cache.read_old(CHAT, Part::Newest, 1), None);
}

#[derive(Debug, Clone)]
enum Step {
    Send,
    Edit(usize),
    Tell,
    BeginReading,
    EndReading,
    Read(i64, i64),
    Break,
    Resume,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Send),
        3 => (0..50_usize).prop_map(Step::Edit),
        6 => Just(Step::Tell),
        2 => Just(Step::BeginReading),
        2 => Just(Step::EndReading),
        6 => (0..20_i64, 1..6_i64).prop_map(|(after, limit)| Step::Read(after, limit)),
        1 => Just(Step::Break),
        1 => Just(Step::Resume),
    ]
}

proptest! {
    /// A companion whose events come late, and readings that take their time: whatever comes from memory is no older than the
    /// events that were told.
    #[test]
    fn what_comes_from_memory_is_true_as_of_the_last_event(steps in prop::collection::vec(step(), 1..120)) {
        let cache = live();
        // What the companion has; what it has not told yet; what whoever heard its events knows.
        let mut history: Vec<Message> = Vec::new();
        let mut untold: std::collections::VecDeque<(Message, bool)> = std::collections::VecDeque::new();
        let mut known: Vec<Message> = Vec::new();
        let mut reading: Option<(Reading<'_>, Vec<Message>)> = None;
        let mut rev = 0;
        for step in steps {
            rev += 1;
            match step {
                Step::Send => {
                    let sent = message(history.len() as i64 + 1, rev);
                    history.push(sent.clone());
                    untold.push_back((sent, true));
                }
                Step::Edit(at) if at < history.len() => {
                    history[at] = message(at as i64 + 1, rev);
                    untold.push_back((history[at].clone(), false));
                }
                Step::Tell => {
                    if let Some((told, is_new)) = untold.pop_front() {
                        let event = about(&told);
                        cache.told(&if is_new {
                            Event::MessageCreated(event)
                        } else {
                            Event::MessageUpdated(event)
                        });
                        let at = usize::try_from(told.seq - 1).unwrap();
                        known.truncate(known.len().max(at));
                        if at == known.len() { known.push(told) } else { known[at] = told }
                    }
                }
                Step::BeginReading => reading = Some((cache.begin(CHAT), history.clone())),
                Step::EndReading => {
                    if let Some((reading, read)) = reading.take() {
                        reading.keep(&read, read.len() as i64);
                    }
                }
                Step::Read(after, limit) => {
                    if let Some(found) = cache.read(CHAT, Part::After(after), limit) {
                        prop_assert!(found.last_seq >= known.len() as i64);
                        for message in &found.messages {
                            let at = usize::try_from(message.seq - 1).unwrap();
                            let at_least = known.get(at).map_or(0, |known| known.rev);
                            prop_assert!(message.rev >= at_least, "{message:?} is older than what was told");
                            prop_assert!(message.rev <= history[at].rev);
                        }
                        let (from, to) = range(Part::After(after), limit, found.last_seq);
                        prop_assert_eq!(seqs(&found), (from..=to).collect::<Vec<_>>());
                    }
                }
                // The feed ends, and goes on with something left out.
                Step::Break => {
                    cache.is_not_live();
                    prop_assert!(cache.read(CHAT, Part::Newest, 3).is_none());
                    untold.clear();
                    known.clone_from(&history);
                    cache.told(&Event::Ready(Recovery::Lost));
                }
                Step::Resume => {
                    cache.is_not_live();
                    cache.told(&Event::Ready(Recovery::Exact));
                }
                Step::Edit(_) => {}
            }
        }
    }
}
