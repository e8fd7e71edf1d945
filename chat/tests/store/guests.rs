//! Guests come from outside: whatever is asked, they are told of the chats that they take part in and of no others, also of
//! none that is open to the organisation.
//! Every way to a chat is tried, so that one that is added has to be added here.

use std::sync::Arc;
use std::time::Duration;

use tenure_chat::store::{
    Actor, Audience, Error, Imported, MessageId, NewChat, PageRequest, Role, SearchRequest, Store,
    Thing,
};

use crate::access::every_act;
use crate::place::{Place, actor, member, message, on_both, people};

on_both!(
    guests_see_what_they_take_part_in_and_nothing_else,
    guests_write_where_they_take_part_and_invite_nobody,
    what_is_found_for_a_guest_is_the_same_however_much_there_is,
);

fn guest() -> Actor {
    actor("acme", "gus", Role::Guest)
}

async fn made(store: &Store, audience: Audience, others: &[&str]) -> tenure_chat::store::ChatId {
    let new = NewChat {
        audience,
        participants: people(others),
        ..NewChat::default()
    };
    let made = store.create_chat(&member("ann"), new).await;
    made.expect("a chat can be made").into_inner().id
}

fn page() -> PageRequest {
    PageRequest {
        cursor: None,
        limit: 50,
    }
}

async fn guests_see_what_they_take_part_in_and_nothing_else(place: Arc<Place>) {
    let store = place.open().await;
    let open = made(&store, Audience::Org, &[]).await;
    let open_to_gus = made(&store, Audience::Org, &["gus"]).await;
    let own = made(&store, Audience::Participants, &["gus"]).await;
    let foreign = made(&store, Audience::Participants, &["bob"]).await;
    let gus = guest();
    for chat in [open, open_to_gus, own, foreign] {
        place.pass(Duration::from_secs(1));
        let sent = store
            .send(&member("ann"), chat, place.message("a kiwi"))
            .await;
        assert!(sent.is_ok());
    }
    let theirs = [open_to_gus, own];
    for hidden in [open, foreign] {
        let id = MessageId(uuid::Uuid::nil());
        for (act, error) in every_act(&place, &store, &gus, hidden, id).await {
            let is_none = matches!(error, Some(Error::NotFound(Thing::Chat)));
            assert!(is_none, "{act}: {error:?}");
        }
    }
    let mut seen = store
        .may_see(&gus, &[open, open_to_gus, own, foreign])
        .await
        .expect("it goes well");
    seen.sort_unstable();
    let mut expected = theirs.to_vec();
    expected.sort_unstable();
    assert_eq!(seen, expected);
    let listed = store.chats(&gus, page()).await.expect("it goes well").items;
    let mut listed: Vec<_> = listed.into_iter().map(|chat| chat.id).collect();
    listed.sort_unstable();
    assert_eq!(listed, expected);
    assert_eq!(
        store
            .export_chats(&gus, None, 50)
            .await
            .expect("it goes well"),
        expected
    );
    let looked = SearchRequest {
        text: "kiwi".to_owned(),
        chat: None,
        page: page(),
    };
    let found = store
        .search(&gus, looked.clone())
        .await
        .expect("it goes well");
    let mut met: Vec<_> = found.items.iter().map(|hit| hit.message.chat).collect();
    met.sort_unstable();
    assert_eq!(met, expected);
    assert_eq!(
        found.reaches.expect("it goes well").chat,
        own,
        "foreign is newer"
    );
    // A member of the same name is told of what is open too.
    let as_member = Actor {
        role: Role::Member,
        ..gus
    };
    assert_eq!(
        store
            .search(&as_member, looked)
            .await
            .expect("it goes well")
            .items
            .len(),
        3
    );
    assert_eq!(
        store
            .chats(&as_member, page())
            .await
            .expect("it goes well")
            .items
            .len(),
        3
    );
}

async fn guests_write_where_they_take_part_and_invite_nobody(place: Arc<Place>) {
    let store = place.open().await;
    let own = made(&store, Audience::Participants, &["gus", "bob"]).await;
    let gus = guest();
    let sent = store
        .send(&gus, own, message("g-1", "hello"))
        .await
        .expect("it goes well");
    let id = sent.into_inner().id;
    assert_eq!(
        store
            .edit(&gus, own, id, "hello!".to_owned())
            .await
            .expect("it goes well")
            .body,
        "hello!"
    );
    let is_refused = |error: Error| {
        matches!(
            error,
            Error::Forbidden {
                expected: "a member"
            }
        )
    };
    let new = store.create_chat(&gus, NewChat::default()).await;
    assert!(is_refused(new.expect_err("it is not for guests")));
    let invited = store
        .set_participants(&gus, own, &people(&["eve"]), &[])
        .await;
    assert!(is_refused(invited.expect_err("it is not for guests")));
    let thrown_out = store
        .set_participants(&gus, own, &[], &["bob".to_owned()])
        .await;
    assert!(is_refused(thrown_out.expect_err("it is not for guests")));
    // They may go, and then there is nothing left to see.
    let left = store
        .set_participants(&gus, own, &[], &["gus".to_owned()])
        .await;
    assert!(left.is_ok());
    assert!(
        store
            .may_see(&gus, &[own])
            .await
            .expect("it goes well")
            .is_empty()
    );
}

/// A search goes other ways where many messages say a word, and where the asker sees few of them.
async fn what_is_found_for_a_guest_is_the_same_however_much_there_is(place: Arc<Place>) {
    let store = place.open().await;
    let open = made(&store, Audience::Org, &[]).await;
    let own = made(&store, Audience::Participants, &["gus"]).await;
    let first = store.send(&member("ann"), own, place.message("kiwi")).await;
    let first = first.expect("it goes well").into_inner().id;
    let looked = SearchRequest {
        text: "kiwi".to_owned(),
        chat: None,
        page: page(),
    };
    for _ in 0..4 {
        let more = (0..150).map(|_| Imported {
            sender: people(&["ann"]).remove(0),
            client_msg_id: place.fresh(),
            body: "kiwi".to_owned(),
            attachments: Vec::new(),
            created_at: place.now(),
        });
        let more: Vec<_> = more.collect();
        store
            .import("acme", open, &more)
            .await
            .expect("it goes well");
        let found = store
            .search(&guest(), looked.clone())
            .await
            .expect("it goes well");
        let ids: Vec<_> = found.items.iter().map(|hit| hit.message.id).collect();
        assert_eq!((ids, found.next), (vec![first], None));
    }
}
