//! A message is there once, in its place, or not at all: also when many send at once, and when one sends again.
//! What is refused leaves nothing behind.

use std::collections::HashSet;
use std::sync::Arc;

use tenure_chat::store::{
    Attachment, Audience, Error, NewChat, NewMessage, PageRequest, Role, Stored, UnixMs,
};

use crate::place::{
    Place, actor, all, member, message, on_both, open_chat, people, private, talk, view,
};

on_both!(
    concurrent_sends_give_dense_numbers,
    the_same_send_at_once_is_one_message,
    a_repetition_is_the_original_for_good,
    another_body_under_the_same_name_is_refused,
    a_stale_view_is_shown_what_it_has_missed,
    force_sends_anyway_and_leaves_a_line,
    an_old_token_is_refused,
    no_old_token_passes_a_new_one_at_once,
    a_refused_send_leaves_nothing,
    what_is_out_of_bounds_is_refused,
    attachments_come_with_their_message,
    who_writes_in_an_open_chat_is_counted_from_then_on,
    a_chat_is_made_once_by_its_name,
    an_edit_and_a_deletion_keep_the_place,
    a_mark_goes_up_only,
);

async fn concurrent_sends_give_dense_numbers(place: Arc<Place>) {
    let store = place.open().await;
    let chat = private(&store, &["bob", "cid"]).await;
    let senders = (0..16).map(|sender| {
        let (place, store) = (Arc::clone(&place), store.clone());
        tokio::spawn(async move {
            let who = member(["ann", "bob", "cid"][sender % 3]);
            let mut last = 0;
            for _ in 0..12 {
                let sent = store.send(&who, chat, place.message("hello")).await;
                let sent = sent.expect("it can be sent").into_inner();
                assert!(sent.seq > last, "one sender's own order");
                last = sent.seq;
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.expect("no sender fails");
    }
    let numbers: Vec<i64> = all(&store, &member("bob"), chat)
        .await
        .iter()
        .map(|message| message.seq)
        .collect();
    assert_eq!(numbers, (1..=16 * 12).collect::<Vec<_>>());
    let counted = store
        .recount("acme", None)
        .await
        .expect("it can be counted");
    assert_eq!((counted.wrong, counted.drift), (0, 0));
    assert!(counted.counters >= 5);
}

async fn the_same_send_at_once_is_one_message(place: Arc<Place>) {
    let store = place.open().await;
    let chat = private(&store, &["bob"]).await;
    for round in 0..8 {
        let repeats = (0..8).map(|_| {
            let store = store.clone();
            let again = message(&format!("same-{round}"), "once");
            tokio::spawn(async move { store.send(&member("bob"), chat, again).await })
        });
        let mut new = 0;
        let mut ids = HashSet::new();
        for repeat in repeats.collect::<Vec<_>>() {
            let sent = repeat.await.expect("no panic").expect("it can be sent");
            new += usize::from(!sent.is_replay());
            ids.insert(sent.into_inner().id);
        }
        assert_eq!((new, ids.len()), (1, 1));
    }
    assert_eq!(all(&store, &member("bob"), chat).await.len(), 8);
}

async fn a_repetition_is_the_original_for_good(place: Arc<Place>) {
    let store = place.open().await;
    let chat = private(&store, &["bob"]).await;
    let first = store.send(&member("ann"), chat, message("one", "hi")).await;
    let first = first.expect("it can be sent").into_inner();
    talk(&place, &store, chat, 3).await;
    store
        .record_lock(&member("bob"), chat, 7, "bob")
        .await
        .expect("a token can be noted");
    // Neither an old view nor an old token matters: it was sent.
    let again = NewMessage {
        expected_last_seq: Some(0),
        lock_token: Some(1),
        ..message("one", "hi")
    };
    let again = store.send(&member("ann"), chat, again).await;
    assert_eq!(again.expect("it was sent"), Stored::Replayed(first.clone()));
    // By its name and its sender: another's is another.
    let other = store.send(&member("bob"), chat, message("one", "hi")).await;
    assert!(!other.expect("it can be sent").is_replay());
    // What it has become is what is answered.
    let edited = store
        .edit(&member("ann"), chat, first.id, "ho".to_owned())
        .await
        .expect("one's own");
    let again = store.send(&member("ann"), chat, message("one", "hi")).await;
    assert_eq!(again.expect("it was sent"), Stored::Replayed(edited));
    // Asking only whether it was sent.
    let never = NewMessage {
        lock_token: Some(-1),
        ..message("never", "hi")
    };
    let never = store.send(&member("ann"), chat, never).await;
    assert!(matches!(never, Err(Error::StaleToken { current: 7 })));
}

async fn another_body_under_the_same_name_is_refused(place: Arc<Place>) {
    let store = place.open().await;
    let chat = private(&store, &[]).await;
    let ann = member("ann");
    let sent = store.send(&ann, chat, message("one", "hi")).await;
    sent.expect("it can be sent");
    let other = store.send(&ann, chat, message("one", "ho")).await;
    assert!(matches!(other, Err(Error::Mismatch)), "{other:?}");
    let with_more = NewMessage {
        attachments: vec![attachment("a.png")],
        ..message("one", "hi")
    };
    let other = store.send(&ann, chat, with_more).await;
    assert!(matches!(other, Err(Error::Mismatch)), "{other:?}");
}

async fn a_stale_view_is_shown_what_it_has_missed(place: Arc<Place>) {
    let store = place.open().await;
    let chat = private(&store, &["bob"]).await;
    talk(&place, &store, chat, 5).await;
    let late = NewMessage {
        expected_last_seq: Some(3),
        ..place.message("late")
    };
    match store.send(&member("bob"), chat, late.clone()).await {
        Err(Error::StaleView { last_seq, missed }) => {
            let missed: Vec<i64> = missed.iter().map(|message| message.seq).collect();
            assert_eq!((last_seq, missed), (5, vec![4, 5]));
        }
        other => panic!("expected a stale view, found {other:?}"),
    }
    let in_time = NewMessage {
        expected_last_seq: Some(5),
        ..late
    };
    let sent = store.send(&member("bob"), chat, in_time).await;
    assert_eq!(sent.expect("nothing was missed").into_inner().seq, 6);
}

async fn force_sends_anyway_and_leaves_a_line(place: Arc<Place>) {
    let store = place.open().await;
    let chat = private(&store, &["bob"]).await;
    talk(&place, &store, chat, 2).await;
    let forced = NewMessage {
        expected_last_seq: Some(1),
        force: true,
        ..place.message("all the same")
    };
    let sent = store.send(&member("bob"), chat, forced).await;
    let sent = sent.expect("by force").into_inner();
    let in_time = NewMessage {
        expected_last_seq: Some(3),
        force: true,
        ..place.message("in time")
    };
    store
        .send(&member("bob"), chat, in_time)
        .await
        .expect("nothing was missed");
    let admin = actor("acme", "root", Role::Admin);
    let audit = store
        .audit(&admin, UnixMs(0), PageRequest::default())
        .await
        .expect("an admin may");
    assert_eq!(audit.items.len(), 1, "only what was forced");
    let line = &audit.items[0];
    assert_eq!(
        (line.act.as_str(), line.actor.as_str()),
        ("message.forced", "bob")
    );
    assert_eq!(line.chat, Some(chat));
    assert_eq!(line.detail["message"], sent.id.to_string());
}

async fn an_old_token_is_refused(place: Arc<Place>) {
    let store = place.open().await;
    let chat = private(&store, &["bob"]).await;
    let with = |token| NewMessage {
        lock_token: Some(token),
        ..place.message("fenced")
    };
    store
        .record_lock(&member("ann"), chat, 10, "ann")
        .await
        .expect("noted");
    store
        .record_lock(&member("ann"), chat, 9, "bob")
        .await
        .expect("lower ones change nothing");
    let seen = view(&store, &member("ann"), chat).await;
    assert_eq!(
        (seen.lock_token, seen.lock_owner.as_deref()),
        (10, Some("ann"))
    );
    let old = store.send(&member("bob"), chat, with(9)).await;
    assert!(
        matches!(old, Err(Error::StaleToken { current: 10 })),
        "{old:?}"
    );
    store
        .send(&member("ann"), chat, with(10))
        .await
        .expect("the current one");
    store
        .send(&member("bob"), chat, with(12))
        .await
        .expect("a higher one");
    let seen = view(&store, &member("ann"), chat).await;
    assert_eq!(
        (seen.lock_token, seen.lock_owner.as_deref()),
        (12, Some("bob"))
    );
    let old = store.send(&member("ann"), chat, with(10)).await;
    assert!(
        matches!(old, Err(Error::StaleToken { current: 12 })),
        "{old:?}"
    );
}

/// Whatever the order in which they come, the tokens of what is stored only rise.
async fn no_old_token_passes_a_new_one_at_once(place: Arc<Place>) {
    let store = place.open().await;
    let chat = private(&store, &["bob"]).await;
    let senders = (1..=24).map(|token| {
        let store = store.clone();
        tokio::spawn(async move {
            let new = NewMessage {
                lock_token: Some(token),
                ..message(&format!("t{token}"), &token.to_string())
            };
            store.send(&member("ann"), chat, new).await
        })
    });
    let mut refused = 0;
    for sender in senders.collect::<Vec<_>>() {
        match sender.await.expect("no panic") {
            Ok(_) => {}
            Err(Error::StaleToken { .. }) => refused += 1,
            Err(other) => panic!("expected an old token, found {other}"),
        }
    }
    let tokens: Vec<i64> = all(&store, &member("ann"), chat)
        .await
        .iter()
        .map(|message| message.body.parse().expect("a number"))
        .collect();
    assert!(tokens.is_sorted(), "{tokens:?}");
    assert_eq!(tokens.len() + refused, 24);
}

async fn a_refused_send_leaves_nothing(place: Arc<Place>) {
    let store = place.open().await;
    let chat = private(&store, &["bob"]).await;
    talk(&place, &store, chat, 2).await;
    let before = view(&store, &member("bob"), chat).await;
    let waiting = store.outbox_lag().await.expect("it can be asked").rows;
    for refused in [
        NewMessage {
            expected_last_seq: Some(0),
            ..place.message("late")
        },
        NewMessage {
            lock_token: Some(-1),
            ..place.message("old")
        },
        place.message(""),
    ] {
        let sent = store.send(&member("ann"), chat, refused).await;
        assert!(sent.is_err(), "{sent:?}");
    }
    assert_eq!(view(&store, &member("bob"), chat).await, before);
    let lag = store.outbox_lag().await.expect("it can be asked");
    assert_eq!(lag.rows, waiting);
}

async fn what_is_out_of_bounds_is_refused(place: Arc<Place>) {
    let store = place.open().await;
    let chat = private(&store, &[]).await;
    let hanging = |attachment| NewMessage {
        attachments: vec![attachment],
        ..place.message("x")
    };
    let cases = [
        ("client_msg_id", message("", "x")),
        ("client_msg_id", message(&"x".repeat(65), "x")),
        ("body", place.message("")),
        ("body", place.message(&"x".repeat(16_385))),
        ("body", place.message("a\0b")),
        (
            "lock_token",
            NewMessage {
                lock_token: Some(1 << 53),
                ..place.message("x")
            },
        ),
        (
            "expected_last_seq",
            NewMessage {
                expected_last_seq: Some(-1),
                ..place.message("x")
            },
        ),
        (
            "attachments",
            NewMessage {
                attachments: vec![attachment("a"); 17],
                ..place.message("x")
            },
        ),
        ("attachment name", hanging(attachment(""))),
        (
            "attachment media_type",
            hanging(Attachment {
                media_type: "png".into(),
                ..attachment("a")
            }),
        ),
        (
            "attachment bytes",
            hanging(Attachment {
                bytes: -1,
                ..attachment("a")
            }),
        ),
        (
            "attachment url",
            hanging(Attachment {
                url: "javascript:alert(1)".into(),
                ..attachment("a")
            }),
        ),
    ];
    for (expected, new) in cases {
        match store.send(&member("ann"), chat, new).await {
            Err(Error::Invalid { field, .. }) => assert_eq!(field, expected),
            other => panic!("expected {expected} to be refused, found {other:?}"),
        }
    }
    let longest = message(&"ö".repeat(64), &"x".repeat(16_384));
    store
        .send(&member("ann"), chat, longest)
        .await
        .expect("all that is allowed");
    let crowd: Vec<String> = (0..256).map(|number| format!("p{number}")).collect();
    let crowd: Vec<&str> = crowd.iter().map(String::as_str).collect();
    let new = NewChat {
        participants: people(&crowd),
        ..NewChat::default()
    };
    let made = store.create_chat(&member("ann"), new).await;
    assert!(matches!(
        made,
        Err(Error::Invalid {
            field: "participants",
            ..
        })
    ));
    let added = store
        .set_participants(&member("ann"), chat, &people(&crowd), &[])
        .await;
    assert!(matches!(
        added,
        Err(Error::Invalid {
            field: "participants",
            ..
        })
    ));
    let added = store
        .set_participants(&member("ann"), chat, &people(&crowd[1..]), &[])
        .await;
    assert_eq!(added.expect("as many as may").participant_count, 256);
}

fn attachment(name: &str) -> Attachment {
    Attachment {
        name: name.to_owned(),
        media_type: "image/png".to_owned(),
        bytes: 12_345,
        url: "https://files.example/a.png".to_owned(),
    }
}

async fn attachments_come_with_their_message(place: Arc<Place>) {
    let store = place.open().await;
    let chat = private(&store, &[]).await;
    let hanging = vec![attachment("one \"quoted\".png"), attachment("zwei – ü.png")];
    let new = NewMessage {
        attachments: hanging.clone(),
        ..place.message("")
    };
    let sent = store.send(&member("ann"), chat, new).await;
    let sent = sent.expect("nothing need be said").into_inner();
    let read = store.message(&member("ann"), chat, sent.id).await;
    let read = read.expect("it is there");
    assert_eq!(read, sent);
    assert_eq!(read.attachments, hanging);
    assert_eq!(read.created_at, place.now());
}

async fn who_writes_in_an_open_chat_is_counted_from_then_on(place: Arc<Place>) {
    let store = place.open().await;
    let chat = open_chat(&store).await;
    talk(&place, &store, chat, 3).await;
    let zoe = member("zoe");
    let seen = view(&store, &zoe, chat).await;
    assert_eq!((seen.participating, seen.unread), (false, 3));
    store
        .send(&zoe, chat, place.message("hello"))
        .await
        .expect("it is open");
    talk(&place, &store, chat, 1).await;
    let seen = view(&store, &zoe, chat).await;
    assert_eq!(
        (seen.participating, seen.unread, seen.last_seq),
        (false, 4, 5)
    );
    assert_eq!(view(&store, &member("ann"), chat).await.unread, 1);
    let counted = store
        .recount("acme", None)
        .await
        .expect("it can be counted");
    assert_eq!(counted.wrong, 0);
}

async fn a_chat_is_made_once_by_its_name(place: Arc<Place>) {
    let store = place.open().await;
    let new = |title: &str| NewChat {
        title: Some(title.to_owned()),
        client_chat_id: Some("first".to_owned()),
        audience: Audience::Participants,
        participants: people(&["bob", "bob", "ann"]),
    };
    let made = store.create_chat(&member("ann"), new("one")).await;
    let made = made.expect("it can be made");
    assert!(!made.is_replay());
    let made = made.into_inner();
    assert_eq!((made.participant_count, made.participants.len()), (2, 2));
    let again = store.create_chat(&member("ann"), new("two")).await;
    assert_eq!(again.expect("it was made"), Stored::Replayed(made.clone()));
    let others = store.create_chat(&member("bob"), new("one")).await;
    assert_ne!(others.expect("another's").into_inner().id, made.id);
}

async fn an_edit_and_a_deletion_keep_the_place(place: Arc<Place>) {
    let store = place.open().await;
    let chat = private(&store, &["bob"]).await;
    talk(&place, &store, chat, 3).await;
    let (ann, bob) = (member("ann"), member("bob"));
    let second = all(&store, &ann, chat).await[1].clone();
    let not_his = store.edit(&bob, chat, second.id, "x".to_owned()).await;
    assert!(matches!(not_his, Err(Error::Forbidden { .. })));
    let not_his = store.delete(&bob, chat, second.id).await;
    assert!(matches!(not_his, Err(Error::Forbidden { .. })));
    let edited = store.edit(&ann, chat, second.id, "new".to_owned()).await;
    let edited = edited.expect("her own");
    assert_eq!((edited.seq, edited.body.as_str()), (2, "new"));
    assert!(edited.rev > second.rev && edited.edited_at.is_some());
    let same = store.edit(&ann, chat, second.id, "new".to_owned()).await;
    assert_eq!(same.expect("nothing changes"), edited);
    assert_eq!(view(&store, &bob, chat).await.unread, 3);
    let moderator = actor("acme", "bob", Role::Moderator);
    let deleted = store.delete(&moderator, chat, second.id).await;
    let deleted = deleted.expect("a moderator may");
    assert_eq!((deleted.seq, deleted.body.as_str()), (2, ""));
    assert_eq!(view(&store, &bob, chat).await.unread, 2);
    let again = store.delete(&ann, chat, second.id).await;
    assert_eq!(again.expect("it is gone"), deleted);
    let too_late = store.edit(&ann, chat, second.id, "x".to_owned()).await;
    assert!(matches!(too_late, Err(Error::Final("deleted"))));
    assert_eq!(all(&store, &bob, chat).await[1], deleted);
}

async fn a_mark_goes_up_only(place: Arc<Place>) {
    use tenure_chat::store::Mark::{Delivered, Read};
    let store = place.open().await;
    let chat = private(&store, &["bob"]).await;
    talk(&place, &store, chat, 6).await;
    let bob = member("bob");
    let steps = [
        (Delivered(4), (4, 0, 6, true)),
        (Delivered(2), (4, 0, 6, false)),
        (Read(3), (4, 3, 3, true)),
        (Read(3), (4, 3, 3, false)),
        (Read(1), (4, 3, 3, false)),
        (Read(5), (5, 5, 1, true)),
        (Read(99), (6, 6, 0, true)),
        (Delivered(99), (6, 6, 0, false)),
    ];
    for (mark, expected) in steps {
        let rev = view(&store, &bob, chat).await.rev;
        let marked = store.mark(&bob, chat, mark).await.expect("his own");
        let found = (
            marked.delivered_seq,
            marked.read_seq,
            marked.unread,
            marked.changed,
        );
        assert_eq!(found, expected, "{mark:?}");
        let seen = view(&store, &bob, chat).await;
        assert_eq!(seen.rev - rev, i64::from(marked.changed));
        assert_eq!(seen.unread, marked.unread);
    }
    let receipts = store.receipts(&member("ann"), chat).await.expect("her own");
    assert_eq!((receipts.delivered_to_all, receipts.read_by_all), (6, 6));
    let receipts = store.receipts(&bob, chat).await.expect("his own");
    assert_eq!((receipts.delivered_to_all, receipts.read_by_all), (0, 0));
    let unread = store.unread(&bob).await.expect("his own");
    assert_eq!((unread.chats, unread.messages), (0, 0));
}
