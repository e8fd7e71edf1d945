//! To whom a chat is not shown, there is none: every act says the same to a stranger as about a chat that never was.
//! And who sees it, but has no part in it, changes nothing.

use std::sync::Arc;

use tenure_chat::store::{
    Actor, ChatId, Error, HistoryPage, Mark, MessageId, NewAudit, PageRequest, Role, SearchRequest,
    Store, Thing, UnixMs,
};
use uuid::Uuid;

use crate::place::{Place, actor, member, on_both, open_chat, people, private, talk, view};

on_both!(
    a_stranger_finds_nothing,
    who_was_removed_is_a_stranger,
    an_open_chat_is_open_to_its_organisation,
    an_admin_sees_and_takes_part_to_write,
    only_some_remove_others,
    whoever_joins_has_read_what_was_said_before,
    only_an_admin_reads_the_audit_log,
);

/// What every act says to somebody; `None` where it went well.
pub(crate) async fn every_act(
    place: &Place,
    store: &Store,
    who: &Actor,
    chat: ChatId,
    id: MessageId,
) -> Vec<(&'static str, Option<Error>)> {
    let search = SearchRequest {
        text: "word".to_owned(),
        chat: Some(chat),
        ..SearchRequest::default()
    };
    vec![
        ("chat", store.chat(who, chat).await.err()),
        ("members", store.members(who, chat).await.err()),
        ("message", store.message(who, chat, id).await.err()),
        (
            "history",
            store
                .history(who, chat, HistoryPage::Newest { limit: 9 })
                .await
                .err(),
        ),
        ("changes", store.changes(who, chat, 0, 9).await.err()),
        ("receipts", store.receipts(who, chat).await.err()),
        ("export", store.export(who, chat, 0, 9).await.err()),
        ("search", store.search(who, search).await.err()),
        (
            "send",
            store.send(who, chat, place.message("x")).await.err(),
        ),
        (
            "edit",
            store.edit(who, chat, id, "x".to_owned()).await.err(),
        ),
        ("delete", store.delete(who, chat, id).await.err()),
        ("mark", store.mark(who, chat, Mark::Read(1)).await.err()),
        (
            "add",
            store
                .set_participants(who, chat, &people(&["eve"]), &[])
                .await
                .err(),
        ),
        (
            "remove",
            store
                .set_participants(who, chat, &[], &["ann".to_owned()])
                .await
                .err(),
        ),
        (
            "record_lock",
            store.record_lock(who, chat, 99, "eve").await.err(),
        ),
    ]
}

async fn a_stranger_finds_nothing(place: Arc<Place>) {
    let store = place.open().await;
    let chat = private(&store, &["bob"]).await;
    talk(&place, &store, chat, 3).await;
    let page = HistoryPage::Newest { limit: 1 };
    let history = store
        .history(&member("ann"), chat, page)
        .await
        .expect("her own");
    let id = history.items[0].id;
    let before = view(&store, &member("ann"), chat).await;
    let never = ChatId(Uuid::now_v7());
    let strangers = [
        actor("acme", "eve", Role::Member),
        actor("acme", "eve", Role::Moderator),
        actor("rival", "ann", Role::Admin),
    ];
    for who in &strangers {
        for chat in [chat, never] {
            for (act, said) in every_act(&place, &store, who, chat, id).await {
                assert!(
                    matches!(said, Some(Error::NotFound(Thing::Chat))),
                    "{act} to {who:?}: {said:?}"
                );
            }
        }
        let seen = store
            .may_see(who, &[chat, never])
            .await
            .expect("it can be asked");
        assert_eq!(seen, []);
        let listed = store
            .chats(who, PageRequest::default())
            .await
            .expect("an empty list");
        assert_eq!(listed.items, []);
        let everything = SearchRequest {
            text: "word".to_owned(),
            ..SearchRequest::default()
        };
        let found = store.search(who, everything).await.expect("nothing found");
        assert_eq!((found.items.len(), found.reaches), (0, None));
        assert_eq!(store.export_chats(who, None, 9).await.expect("none"), []);
        assert_eq!(store.unread(who).await.expect("none").messages, 0);
    }
    let heard = store
        .listeners("rival", chat)
        .await
        .expect("it can be asked");
    assert_eq!(heard, None);
    assert_eq!(view(&store, &member("ann"), chat).await, before);
}

async fn who_was_removed_is_a_stranger(place: Arc<Place>) {
    let store = place.open().await;
    let chat = private(&store, &["bob"]).await;
    talk(&place, &store, chat, 3).await;
    let (ann, bob) = (member("ann"), member("bob"));
    let id = store.export(&bob, chat, 0, 1).await.expect("his own")[0].id;
    store
        .mark(&bob, chat, Mark::Read(2))
        .await
        .expect("his own");
    let left = store
        .set_participants(&ann, chat, &[], &["bob".to_owned()])
        .await;
    assert_eq!(left.expect("hers to do").participant_count, 1);
    for (act, said) in every_act(&place, &store, &bob, chat, id).await {
        assert!(matches!(said, Some(Error::NotFound(_))), "{act}: {said:?}");
    }
    talk(&place, &store, chat, 2).await;
    let back = store
        .set_participants(&ann, chat, &people(&["bob"]), &[])
        .await;
    assert_eq!(back.expect("hers to do").participant_count, 2);
    let seen = view(&store, &bob, chat).await;
    assert_eq!((seen.read_seq, seen.unread), (5, 0));
    talk(&place, &store, chat, 1).await;
    assert_eq!(view(&store, &bob, chat).await.unread, 1);
}

async fn an_open_chat_is_open_to_its_organisation(place: Arc<Place>) {
    let store = place.open().await;
    let chat = open_chat(&store).await;
    talk(&place, &store, chat, 1).await;
    let zoe = member("zoe");
    let id = store.export(&zoe, chat, 0, 1).await.expect("it is open")[0].id;
    for (act, said) in every_act(&place, &store, &zoe, chat, id).await {
        let is_hers = !["edit", "delete", "remove"].contains(&act);
        assert_eq!(said.is_none(), is_hers, "{act}: {said:?}");
        assert!(!matches!(said, Some(Error::NotFound(_))), "{act}");
    }
    let stranger = actor("rival", "zoe", Role::Admin);
    for (act, said) in every_act(&place, &store, &stranger, chat, id).await {
        assert!(matches!(said, Some(Error::NotFound(_))), "{act}: {said:?}");
    }
}

async fn an_admin_sees_and_takes_part_to_write(place: Arc<Place>) {
    let store = place.open().await;
    let chat = private(&store, &["bob"]).await;
    talk(&place, &store, chat, 1).await;
    let root = actor("acme", "root", Role::Admin);
    assert_eq!(view(&store, &root, chat).await.unread, 1);
    for refused in [
        store.send(&root, chat, place.message("x")).await.err(),
        store.mark(&root, chat, Mark::Read(1)).await.err(),
    ] {
        assert!(
            matches!(refused, Some(Error::Forbidden { .. })),
            "{refused:?}"
        );
    }
    store
        .set_participants(&root, chat, &people(&["root"]), &[])
        .await
        .expect("an admin may join");
    store
        .send(&root, chat, place.message("x"))
        .await
        .expect("as a participant");
}

async fn only_some_remove_others(place: Arc<Place>) {
    let store = place.open().await;
    let chat = private(&store, &["bob", "cid", "dan"]).await;
    let remove = |who: Actor, whom: &'static str| {
        let store = store.clone();
        async move {
            let whom = [whom.to_owned()];
            store.set_participants(&who, chat, &[], &whom).await
        }
    };
    let refused = remove(member("bob"), "cid").await;
    assert!(matches!(refused, Err(Error::Forbidden { .. })));
    remove(member("bob"), "bob")
        .await
        .expect("whoever takes part may leave");
    remove(actor("acme", "cid", Role::Moderator), "dan")
        .await
        .expect("a moderator may");
    let left = remove(member("ann"), "cid")
        .await
        .expect("whoever made it may");
    assert_eq!((left.participant_count, left.participants.len()), (1, 1));
    let heard = store
        .listeners("acme", chat)
        .await
        .expect("it can be asked");
    assert_eq!(heard.expect("it is there").people, ["ann"]);
}

async fn whoever_joins_has_read_what_was_said_before(place: Arc<Place>) {
    let store = place.open().await;
    let chat = private(&store, &["bob"]).await;
    talk(&place, &store, chat, 4).await;
    store
        .mark(&member("bob"), chat, Mark::Read(3))
        .await
        .expect("his own");
    store
        .set_participants(&member("bob"), chat, &people(&["cid"]), &[])
        .await
        .expect("whoever takes part may add");
    let receipts = store.receipts(&member("ann"), chat).await.expect("her own");
    assert_eq!((receipts.read_by_all, receipts.participant_count), (3, 3));
    assert_eq!(view(&store, &member("cid"), chat).await.unread, 0);
    assert_eq!(store.recount("acme", None).await.expect("counted").wrong, 0);
}

async fn only_an_admin_reads_the_audit_log(place: Arc<Place>) {
    let store = place.open().await;
    let line = |number: usize| NewAudit {
        act: "lock.force_released".to_owned(),
        chat: None,
        detail: serde_json::json!({ "number": number }),
    };
    let root = actor("acme", "root", Role::Admin);
    for number in 0..5 {
        store
            .audit_add(&root, line(number))
            .await
            .expect("it can be noted");
    }
    place.pass(std::time::Duration::from_secs(60));
    store
        .audit_add(&root, line(5))
        .await
        .expect("it can be noted");
    for who in [member("ann"), actor("acme", "mo", Role::Moderator)] {
        let refused = store.audit(&who, UnixMs(0), PageRequest::default()).await;
        assert!(matches!(refused, Err(Error::Forbidden { .. })));
    }
    let mut page = PageRequest {
        cursor: None,
        limit: 4,
    };
    let mut numbers = Vec::new();
    loop {
        let lines = store
            .audit(&root, UnixMs(0), page.clone())
            .await
            .expect("an admin may");
        numbers.extend(
            lines
                .items
                .iter()
                .map(|line| line.detail["number"].as_i64()),
        );
        page.cursor = lines.next;
        if page.cursor.is_none() {
            break;
        }
    }
    assert_eq!(numbers, [5, 4, 3, 2, 1, 0].map(Some));
    let since = store
        .audit(&root, place.now(), PageRequest::default())
        .await;
    let since = since.expect("an admin may").items;
    assert_eq!(since.len(), 1);
    let rival = actor("rival", "root", Role::Admin);
    let others = store.audit(&rival, UnixMs(0), PageRequest::default()).await;
    assert_eq!(others.expect("an admin may").items, []);
}
