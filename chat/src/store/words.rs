//! Words: what a message can be found by.
//!
//! They are made here, the same for both databases, so neither a tokenizer nor a server's locale decides what is
//! found: runs of letters and digits in lower case, and each Chinese or Japanese character by itself. The databases
//! keep which message has which, and beside them the message's organisation and chat. Nothing of a text is ever read
//! as a query.

use std::collections::BTreeSet;
use std::fmt::Write;

use aws_lc_rs::digest::{SHA256, digest};
use uuid::Uuid;

use super::database::{Transaction, values};
use super::error::Result;
use super::types::ChatId;

/// Characters of a word that count.
const WORD_MAX: usize = 64;

/// A word of a text, and where it stands, in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) from: usize,
    pub(super) to: usize,
}

/// Where a search looks.
#[derive(Clone, Copy)]
pub(super) enum Scope<'a> {
    /// All of an organisation.
    Org(&'a str),
    /// One chat.
    Chat(ChatId),
    /// These chats.
    Chats(&'a [Uuid]),
}

/// The words of a text, in order.
pub(super) fn words(text: &str) -> Vec<Word> {
    let mut found: Vec<Word> = Vec::new();
    let mut is_open = false;
    for (at, character) in text.chars().enumerate() {
        if !character.is_alphanumeric() {
            is_open = false;
            continue;
        }
        let is_alone = stands_alone(character);
        if !is_open || is_alone {
            found.push(Word {
                text: String::new(),
                from: at,
                to: at,
            });
        }
        if let Some(word) = found.last_mut() {
            if at - word.from < WORD_MAX {
                let lower = character.to_lowercase();
                word.text.extend(lower.filter(|c| c.is_alphanumeric()));
            }
            word.to = at + 1;
        }
        is_open = !is_alone;
    }
    found
}

/// Each word of a text once.
pub(super) fn distinct(text: &str) -> BTreeSet<String> {
    words(text).into_iter().map(|word| word.text).collect()
}

/// Scripts that put no space between words.
fn stands_alone(character: char) -> bool {
    matches!(
        character,
        '\u{3040}'..='\u{30ff}'
            | '\u{3400}'..='\u{4dbf}'
            | '\u{4e00}'..='\u{9fff}'
            | '\u{f900}'..='\u{faff}'
            | '\u{20000}'..='\u{3134f}'
    )
}

/// What PostgreSQL keeps of a message: its words, and where it is.
pub(super) fn lexemes(org: &str, chat: ChatId, body: &str) -> Vec<String> {
    let mut lexemes: Vec<String> = distinct(body).into_iter().collect();
    lexemes.push(format!("o/{}", org_key(org)));
    lexemes.push(format!("c/{}", chat.0.simple()));
    lexemes
}

/// What PostgreSQL is asked: every one of these, there or wherever. Each is quoted, and none holds a quote.
pub(super) fn tsquery(words: &BTreeSet<String>, scope: Option<Scope<'_>>) -> String {
    let scope = scope.map(|scope| match scope {
        Scope::Org(org) => format!("'o/{}'", org_key(org)),
        Scope::Chat(chat) => format!("'c/{}'", chat.0.simple()),
        Scope::Chats(chats) => format!("({})", any(chats, " | ", |id| format!("'c/{id}'"))),
    });
    let words = words.iter().map(|word| format!("'{word}'"));
    scope
        .into_iter()
        .chain(words)
        .collect::<Vec<_>>()
        .join(" & ")
}

/// What FTS5 is asked: every one of these.
pub(super) fn match_expression(words: &BTreeSet<String>, scope: Scope<'_>) -> String {
    let scope = match scope {
        Scope::Org(org) => format!("scope : o{}", org_key(org)),
        Scope::Chat(chat) => format!("scope : c{}", chat.0.simple()),
        Scope::Chats(chats) => format!("scope : ({})", any(chats, " OR ", |id| format!("c{id}"))),
    };
    words
        .iter()
        .fold(scope, |query, word| query + " AND words : " + &token(word))
}

/// Any of these, each by its id without dashes.
fn any(chats: &[Uuid], or: &str, named: impl Fn(uuid::fmt::Simple) -> String) -> String {
    let named: Vec<_> = chats.iter().map(|chat| named(chat.simple())).collect();
    named.join(or)
}

/// Puts a message into the index of FTS5.
pub(super) async fn add(
    tx: &mut Transaction,
    key: i64,
    org: &str,
    chat: ChatId,
    body: &str,
) -> Result<()> {
    let tokens: Vec<String> = distinct(body).iter().map(|word| token(word)).collect();
    let scope = format!("o{} c{}", org_key(org), chat.0.simple());
    tx.run(
        "INSERT INTO message_words (rowid, scope, words) VALUES ($1, $2, $3)",
        values![key, scope, tokens.join(" ")],
    )
    .await?;
    Ok(())
}

/// Takes a message out of the index of FTS5.
pub(super) async fn remove(tx: &mut Transaction, key: i64) -> Result<()> {
    let gone = "DELETE FROM message_words WHERE rowid = $1";
    tx.run(gone, values![key]).await?;
    Ok(())
}

/// A word as FTS5 keeps it: letters and digits of ASCII alone, so that its tokenizer has nothing to decide.
fn token(word: &str) -> String {
    if word.is_ascii() {
        return format!("w{word}");
    }
    word.bytes().fold("u".to_owned(), |mut token, byte| {
        // Writing to a string does not fail.
        let _ = write!(token, "{byte:02x}");
        token
    })
}

/// An organisation's name in letters and digits.
fn org_key(org: &str) -> String {
    let hash = digest(&SHA256, org.as_bytes());
    hash.as_ref()
        .iter()
        .take(8)
        .fold(String::new(), |mut key, byte| {
            let _ = write!(key, "{byte:02x}");
            key
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let found: Vec<String> = words(text).into_iter().map(|word| word.text).collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn words_are_runs_of_letters_and_digits() {
        check("", &[]);
        check(" -- !? ", &[]);
        check("Hello, World!", &["hello", "world"]);
        check("re-open #42 (A4_b)", &["re", "open", "42", "a4", "b"]);
        check("Straße ÄÖÜ", &["straße", "äöü"]);
        check("東京 tower", &["東", "京", "tower"]);
        check("İstanbul", &["istanbul"]);
        check(
            "a\"b' OR 1=1 -- NEAR(x)",
            &["a", "b", "or", "1", "1", "near", "x"],
        );
    }

    #[test]
    fn a_word_knows_where_it_stands() {
        let found = words("ä b東c");
        let places: Vec<_> = found.iter().map(|word| (word.from, word.to)).collect();
        assert_eq!(places, [(0, 1), (2, 3), (3, 4), (4, 5)]);
    }

    #[test]
    fn a_long_word_is_known_by_its_beginning() {
        let long = "x".repeat(1_000);
        let found = words(&long);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].text.len(), found[0].to), (WORD_MAX, 1_000));
    }

    #[test]
    fn nothing_in_a_query_needs_quoting() {
        let words = distinct("it's \"quoted\" & | ! <-> : * \\ 日本 ' OR");
        let scope = Scope::Org("a' | 'b\\");
        let tsquery = tsquery(&words, Some(scope));
        assert!(!tsquery.contains(['\\', '"', '|', '!']), "{tsquery}");
        assert_eq!(tsquery.matches('\'').count(), 2 * (words.len() + 1));
        let expression = match_expression(&words, scope);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == ' ' || c == ':';
        assert!(expression.chars().all(is_plain), "{expression}");
    }
}
