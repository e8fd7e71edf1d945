//! Searching: all messages that say all of the words, in the chats one may see and in no other; whatever is typed is
//! words. Both databases find the same, as sets.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::{Just, Strategy as _, any, prop, prop_oneof};
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use tenure_chat::store::{
    Actor, ArchiveRun, ChatId, Error, Found, Imported, NewParticipant, PageRequest, Role,
    SearchRequest, Store, UnixMs,
};
use uuid::Uuid;

use crate::place::{Place, actor, all, member, on_both, open_chat, private};

on_both!(
    words_are_found_where_they_are,
    whatever_is_typed_is_words,
    pages_are_complete,
    what_is_edited_or_deleted_is_found_as_it_is,
    a_snippet_shows_the_words,
    the_index_reaches_the_newest_message,
    hostile_text_is_words_to_both,
    who_sees_little_of_much_finds_all_of_it,
    what_only_old_messages_say_is_found,
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
    let rival = actor("rival", "ann", Role::Admin);
    assert_eq!(found(&store, &rival, "quote", None).await, set(&[]));
    let admin = actor("acme", "root", Role::Admin);
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

/// Naively: the words of a text, each in lower case; characters of Chinese and Japanese by themselves.
fn naive_words(text: &str) -> Vec<String> {
    let mut spaced = String::new();
    for c in text.chars() {
        let is_alone = matches!(u32::from(c), 0x3040..=0x30ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff
            | 0x20000..=0x3134f);
        if is_alone {
            spaced.extend([' ', c, ' ']);
        } else if c.is_alphanumeric() {
            spaced.push(c);
        } else {
            spaced.push(' ');
        }
    }
    let words = spaced.split(' ').filter(|word| !word.is_empty());
    words
        .map(|word| {
            let lower = word.chars().take(64).flat_map(char::to_lowercase);
            lower.filter(|c| c.is_alphanumeric()).collect()
        })
        .collect()
}

async fn hostile_text_is_words_to_both(place: Arc<Place>) {
    let store = place.open().await;
    let ann = member("ann");
    let part = prop_oneof![
        8 => prop::sample::select(vec![
            "a", "B", "or", "AND", "NOT", "NEAR(", "w1", "u61", "o/acme", "c1", "scope", "words", ":", "\"", "'", "''", "\\",
            "\\'", "*", "^", "{", "}", "(", ")", "-", "+", "|", "&", "!", "<->", "<1>", ":*", ":A", "$1", "%", "_", ";", "--",
            "/*", "\t", "\n", "\u{1}", "\u{7f}", "\u{a0}", "\u{200b}", "\u{301}", "İ", "ß", "ſ", "Ω", "東", "の", "한국",
            "é", "e\u{301}", "🙂", "\u{feff}", "\u{202e}", "ǅ", "½", "²", "٣",
        ]).prop_map(str::to_owned),
        1 => any::<char>().prop_filter("no NUL", |c| *c != '\0').prop_map(String::from),
        1 => Just("x".repeat(70)),
    ];
    let text = prop::collection::vec((part, any::<bool>()), 1..8).prop_map(|parts| {
        let spaced = parts
            .iter()
            .map(|(part, gap)| format!("{part}{}", if *gap { " " } else { "" }));
        spaced.collect::<String>()
    });
    let history = (
        prop::collection::vec(text.clone(), 1..8),
        prop::collection::vec(text, 1..5),
    );
    let mut runner = TestRunner::default();
    for _ in 0..60 {
        let (bodies, asked) = history.new_tree(&mut runner).expect("a history").current();
        let chat = private(&store, &[]).await;
        for body in &bodies {
            store
                .send(&ann, chat, place.message(body))
                .await
                .expect("it can be sent");
        }
        // What was said is looked for too, or hardly anything would be found.
        for text in asked.iter().chain(&bodies) {
            let words = naive_words(text);
            let found = store.search(&ann, ask(text, Some(chat), 100)).await;
            if words.is_empty() {
                assert!(
                    matches!(found, Err(Error::Invalid { field: "q", .. })),
                    "{text:?}"
                );
                continue;
            }
            let found = found.unwrap_or_else(|error| panic!("{text:?}: {error}"));
            let mut bodies_found: Vec<_> = found
                .items
                .iter()
                .map(|hit| hit.message.body.clone())
                .collect();
            bodies_found.reverse();
            let says_all = |body: &&String| {
                let said = naive_words(body);
                words.iter().all(|word| said.contains(word))
            };
            let expected: Vec<_> = bodies.iter().filter(says_all).cloned().collect();
            assert_eq!(bodies_found, expected, "{text:?} in {bodies:?}");
            for hit in found.items {
                let characters: Vec<char> = hit.snippet.chars().collect();
                for (from, to) in hit.matches {
                    let marked: String = characters[from as usize..to as usize].iter().collect();
                    assert!(
                        naive_words(&marked).iter().all(|word| words.contains(word)),
                        "{marked:?} for {text:?}"
                    );
                }
            }
        }
    }
}

/// So many messages of one person, of a second each, from here on.
async fn import(
    place: &Place,
    store: &Store,
    chat: ChatId,
    count: usize,
    body: impl Fn(usize) -> String,
) {
    for from in (0..count).step_by(1_000) {
        let messages: Vec<_> = (from..count.min(from + 1_000))
            .map(|number| Imported {
                sender: NewParticipant {
                    person: "ann".to_owned(),
                    name: "Ann".to_owned(),
                },
                client_msg_id: place.fresh(),
                body: body(number),
                attachments: Vec::new(),
                created_at: UnixMs(place.now().0 + i64::try_from(number).expect("a small number")),
            })
            .collect();
        store
            .import("acme", chat, &messages)
            .await
            .expect("it can be imported");
    }
}

/// All pages of a search, in their order.
async fn paged(
    store: &Store,
    who: &Actor,
    text: &str,
    chat: Option<ChatId>,
    limit: u32,
) -> Vec<Uuid> {
    let mut request = ask(text, chat, limit);
    let mut met = Vec::new();
    loop {
        let found = store.search(who, request.clone()).await.expect("found");
        assert!(found.items.len() <= limit as usize);
        met.extend(found.items.iter().map(|hit| hit.message.id.0));
        request.page.cursor = found.next;
        if request.page.cursor.is_none() {
            return met;
        }
    }
}

async fn who_sees_little_of_much_finds_all_of_it(place: Arc<Place>) {
    let store = place.open().await;
    let little = private(&store, &["bob"]).await;
    import(&place, &store, little, 30, |n| format!("common b{n}")).await;
    let mut many = Vec::new();
    for _ in 0..258 {
        let chat = private(&store, &["cid"]).await;
        import(&place, &store, chat, 1, |_| "common c".to_owned()).await;
        many.push(chat);
    }
    let much = private(&store, &[]).await;
    place.pass(std::time::Duration::from_secs(60));
    import(&place, &store, much, 7_000, |n| {
        if n == 5 {
            "common needle".to_owned()
        } else {
            format!("common {n}")
        }
    })
    .await;
    let ids = async |chat| -> BTreeSet<Uuid> {
        all(&store, &member("ann"), chat)
            .await
            .iter()
            .map(|message| message.id.0)
            .collect()
    };
    let of_bob = paged(&store, &member("bob"), "common", None, 7).await;
    assert_eq!(of_bob.len(), 30, "none twice");
    assert_eq!(
        of_bob.into_iter().collect::<BTreeSet<_>>(),
        ids(little).await
    );
    let of_cid = paged(&store, &member("cid"), "common", None, 100).await;
    assert_eq!(of_cid.len(), 258);
    let mut expected = BTreeSet::new();
    for chat in many {
        expected.extend(ids(chat).await);
    }
    assert_eq!(of_cid.into_iter().collect::<BTreeSet<_>>(), expected);
    let none: Vec<Uuid> = Vec::new();
    assert_eq!(
        paged(&store, &member("eve"), "common", None, 10).await,
        none
    );
    let root = actor("acme", "root", Role::Admin);
    for who in [&root, &member("ann")] {
        assert_eq!(paged(&store, who, "needle", None, 10).await.len(), 1);
        assert_eq!(paged(&store, who, "common", None, 100).await.len(), 7_288);
    }
    assert_eq!(
        paged(&store, &member("bob"), "needle", None, 10).await,
        none
    );
    assert_eq!(
        paged(&store, &member("ann"), "common", Some(little), 10)
            .await
            .len(),
        30
    );
}

async fn what_only_old_messages_say_is_found(place: Arc<Place>) {
    let store = place.open().await;
    let ann = member("ann");
    let chat = private(&store, &[]).await;
    import(&place, &store, chat, 40, |n| format!("early {n}")).await;
    place.pass(400 * crate::place::DAY);
    import(&place, &store, chat, 5_500, |n| format!("late {n}")).await;
    let run = ArchiveRun {
        run: Uuid::now_v7(),
        before: place.now().before(crate::place::DAY),
        org: None,
        batch: 30,
    };
    // Half of them lie in the archive, so a page goes over its border.
    assert_eq!(
        store.archive_step(&run, None).await.expect("archived").done,
        30
    );
    let expected: Vec<Uuid> = all(&store, &ann, chat)
        .await
        .iter()
        .take(40)
        .rev()
        .map(|message| message.id.0)
        .collect();
    for scope in [None, Some(chat)] {
        let found = paged(&store, &ann, "EARLY", scope, 9).await;
        assert_eq!(found, expected, "{scope:?}");
    }
    assert_eq!(
        paged(&store, &ann, "early 39", Some(chat), 9).await,
        [expected[0]]
    );
    assert_eq!(
        paged(&store, &ann, "late early", Some(chat), 9).await,
        Vec::<Uuid>::new()
    );
}
