//! Searching: all messages that say all of the words, in the chats one may see and in no other; whatever is typed is
//! words. Both databases find the same, as sets.

use std::collections::BTreeSet;
use std::sync::Arc;

use tenure_chat::store::{Actor, ChatId, Error, Found, PageRequest, SearchRequest, Store};

use crate::place::{Place, actor, all, member, on_both, open_chat, private};

on_both!(
    words_are_found_where_they_are,
    whatever_is_typed_is_words,
    pages_are_complete,
    what_is_edited_or_deleted_is_found_as_it_is,
    a_snippet_shows_the_words,
    the_index_reaches_the_newest_message,
);

fn ask(text: &str, chat: Option<ChatId>, limit: u32) -> SearchRequest {
    SearchRequest {
        text: text.to_owned(),
        chat,
        page: PageRequest {
            cursor: None,
            limit,
        },
    }
}

async fn found(store: &Store, who: &Actor, text: &str, chat: Option<ChatId>) -> BTreeSet<String> {
    let found = store.search(who, ask(text, chat, 100)).await;
    let found: Found = found.unwrap_or_else(|error| panic!("{text:?}: {error}"));
    assert_eq!(found.next, None);
    found
        .items
        .into_iter()
        .map(|hit| hit.message.body)
        .collect()
}

async fn say(place: &Place, store: &Store, who: &Actor, chat: ChatId, bodies: &[&str]) {
    for body in bodies {
        store
            .send(who, chat, place.message(body))
            .await
            .expect("it can be sent");
    }
}

fn set(bodies: &[&str]) -> BTreeSet<String> {
    bodies.iter().map(|body| (*body).to_owned()).collect()
}

async fn words_are_found_where_they_are(place: Arc<Place>) {
    let store = place.open().await;
    let (ann, bob, cid) = (member("ann"), member("bob"), member("cid"));
    let with_bob = private(&store, &["bob"]).await;
    let with_cid = private(&store, &["cid"]).await;
    let open = open_chat(&store).await;
    say(
        &place,
        &store,
        &ann,
        with_bob,
        &["The Quote is ready", "no quotes here", "ready, steady"],
    )
    .await;
    say(&place, &store, &cid, with_cid, &["my quote: READY!"]).await;
    say(
        &place,
        &store,
        &bob,
        open,
        &["quote/ready in public", "Größe 東京 naïve"],
    )
    .await;
    let all_ready = found(&store, &ann, "quote ready", None).await;
    assert_eq!(
        all_ready,
        set(&[
            "The Quote is ready",
            "my quote: READY!",
            "quote/ready in public"
        ])
    );
    let of_bob = found(&store, &bob, "READY quote", None).await;
    assert_eq!(
        of_bob,
        set(&["The Quote is ready", "quote/ready in public"])
    );
    let in_chat = found(&store, &ann, "ready", Some(with_bob)).await;
    assert_eq!(in_chat, set(&["The Quote is ready", "ready, steady"]));
    let whole_words = found(&store, &ann, "quot", None).await;
    assert_eq!(whole_words, set(&[]));
    for text in ["größe", "GRÖSSE naïve 京", "東京", "京"] {
        let expected = if text.contains("SS") {
            set(&[])
        } else {
            set(&["Größe 東京 naïve"])
        };
        assert_eq!(found(&store, &cid, text, None).await, expected, "{text}");
    }
    let rival = actor("rival", "ann", tenure_chat::store::Role::Admin);
    assert_eq!(found(&store, &rival, "quote", None).await, set(&[]));
    let admin = actor("acme", "root", tenure_chat::store::Role::Admin);
    assert_eq!(found(&store, &admin, "quote ready", None).await, all_ready);
}

async fn whatever_is_typed_is_words(place: Arc<Place>) {
    let store = place.open().await;
    let chat = private(&store, &[]).await;
    let ann = member("ann");
    let odd = "it's \"a\" OR b AND (c) NEAR/2 d* -e ^f {g}: words:h scope:i & | ! <-> \\ j";
    say(&place, &store, &ann, chat, &[odd, "plain text"]).await;
    for text in [
        "a OR b",
        "\"a\"",
        "(c",
        "NEAR(c d)",
        "d*",
        "-e",
        "^f",
        "{g}",
        "words:h",
        "scope : i",
        "b & c",
        "!e",
        "a <-> b",
        "'",
        "it's",
        "\\",
        "j \\",
        "NOT plain",
        "* plain",
        "plain' OR '1'='1",
        "';--",
    ] {
        let words: Vec<_> = text
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .collect();
        if words.is_empty() {
            let refused = store.search(&ann, ask(text, None, 10)).await;
            assert!(
                matches!(refused, Err(Error::Invalid { field: "q", .. })),
                "{text:?}"
            );
            continue;
        }
        // Naively: every word is somewhere among the words of the message.
        let says_all = |body: &&str| {
            let body = body.to_lowercase();
            let said: Vec<_> = body.split(|c: char| !c.is_alphanumeric()).collect();
            words
                .iter()
                .all(|word| said.contains(&word.to_lowercase().as_str()))
        };
        let expected = [odd, "plain text"]
            .iter()
            .copied()
            .filter(says_all)
            .map(str::to_owned)
            .collect();
        assert_eq!(found(&store, &ann, text, None).await, expected, "{text:?}");
    }
    let long = vec!["word"; 17]
        .iter()
        .enumerate()
        .map(|(at, word)| format!("{word}{at} "))
        .collect::<String>();
    let refused = store.search(&ann, ask(&long, None, 10)).await;
    assert!(matches!(refused, Err(Error::Invalid { field: "q", .. })));
}

async fn pages_are_complete(place: Arc<Place>) {
    let store = place.open().await;
    let ann = member("ann");
    let chats = [
        private(&store, &[]).await,
        private(&store, &[]).await,
        open_chat(&store).await,
    ];
    let mut expected = BTreeSet::new();
    for number in 0..29 {
        place.pass(std::time::Duration::from_millis(number % 2));
        let body = format!("common {number}");
        let sent = store
            .send(&ann, chats[number as usize % 3], place.message(&body))
            .await;
        expected.insert(sent.expect("it can be sent").into_inner().id);
    }
    let mut request = ask("common", None, 4);
    let mut met = Vec::new();
    loop {
        let found = store.search(&ann, request.clone()).await.expect("found");
        assert!(found.items.len() <= 4);
        met.extend(found.items.iter().map(|hit| hit.message.id));
        request.page.cursor = found.next;
        if request.page.cursor.is_none() {
            break;
        }
    }
    assert_eq!(met.len(), 29, "none twice");
    assert_eq!(met.into_iter().collect::<BTreeSet<_>>(), expected);
}

async fn what_is_edited_or_deleted_is_found_as_it_is(place: Arc<Place>) {
    let store = place.open().await;
    let ann = member("ann");
    let chat = private(&store, &[]).await;
    say(&place, &store, &ann, chat, &["red apple", "green apple"]).await;
    let ids: Vec<_> = all(&store, &ann, chat)
        .await
        .iter()
        .map(|message| message.id)
        .collect();
    store
        .edit(&ann, chat, ids[0], "blue pear".to_owned())
        .await
        .expect("her own");
    assert_eq!(found(&store, &ann, "red", None).await, set(&[]));
    assert_eq!(
        found(&store, &ann, "apple", None).await,
        set(&["green apple"])
    );
    assert_eq!(
        found(&store, &ann, "pear blue", None).await,
        set(&["blue pear"])
    );
    store.delete(&ann, chat, ids[1]).await.expect("her own");
    assert_eq!(found(&store, &ann, "apple", None).await, set(&[]));
}

async fn a_snippet_shows_the_words(place: Arc<Place>) {
    let store = place.open().await;
    let ann = member("ann");
    let chat = private(&store, &[]).await;
    let body = format!(
        "{} the Änderung of the quote {}",
        "ü x ".repeat(100),
        "tail ".repeat(200)
    );
    say(&place, &store, &ann, chat, &[&body]).await;
    let found = store
        .search(&ann, ask("quote änderung", None, 9))
        .await
        .expect("found");
    let hit = &found.items[0];
    assert_eq!(hit.message.body, body);
    let characters: Vec<char> = hit.snippet.chars().collect();
    assert!(characters.len() <= 160);
    assert!(body.contains(&hit.snippet));
    let words: Vec<String> = hit
        .matches
        .iter()
        .map(|(from, to)| characters[*from as usize..*to as usize].iter().collect())
        .collect();
    assert_eq!(words, ["Änderung", "quote"]);
}

async fn the_index_reaches_the_newest_message(place: Arc<Place>) {
    let store = place.open().await;
    let ann = member("ann");
    let (one, other) = (private(&store, &["bob"]).await, private(&store, &[]).await);
    let reaches = async |who: &Actor, chat| {
        let found = store
            .search(who, ask("word", chat, 9))
            .await
            .expect("found");
        found.reaches.map(|reach| (reach.chat, reach.seq))
    };
    assert_eq!(reaches(&ann, None).await, None);
    say(&place, &store, &ann, one, &["a", "b"]).await;
    place.pass(std::time::Duration::from_millis(1));
    say(&place, &store, &ann, other, &["c"]).await;
    place.pass(std::time::Duration::from_millis(1));
    private(&store, &["bob"]).await;
    assert_eq!(reaches(&ann, None).await, Some((other, 1)));
    assert_eq!(reaches(&ann, Some(one)).await, Some((one, 2)));
    assert_eq!(reaches(&member("bob"), None).await, Some((one, 2)));
}
