//! Filters: what is one, and what each is for.
//! A naive judge that compares segment by segment must always come to the same.

use proptest::prelude::*;
use tenure_protocol::{ErrorCode, Filter, FromClient, FromServer, Push, Scope};

use crate::samples::{self, Message};

#[test]
fn a_filter_is_a_path_or_all_below_one_or_all() {
    let longest = format!("{}/**", "p".repeat(512));
    for (text, scope) in [
        ("doc/quote-123", Scope::Path("doc/quote-123")),
        ("doc", Scope::Path("doc")),
        ("doc/**", Scope::Below("doc")),
        ("ticket/507f/**", Scope::Below("ticket/507f")),
        (&longest, Scope::Below(&longest[..512])),
        ("**", Scope::All),
        ("a**", Scope::Path("a**")),
    ] {
        let filter = Filter::parse(text).expect(text);
        assert_eq!(filter.scope(), scope);
        assert_eq!((filter.as_str(), filter.to_string().as_str()), (text, text));
    }
    assert_eq!(Filter::parse("**"), Ok(Filter::ALL));
}

#[test]
fn what_is_no_filter_is_refused_in_words_that_help() {
    let too_long = "p".repeat(516);
    let long_path = "p".repeat(513);
    for (text, found) in [
        ("", "0 bytes"),
        ("/", "an empty segment"),
        ("/**", "an empty segment"),
        ("doc/", "an empty segment"),
        ("doc//**", "an empty segment"),
        ("*", "a segment that is a wildcard"),
        ("doc/*", "a segment that is a wildcard"),
        ("**/notes", "a segment that is a wildcard"),
        ("**/**", "a segment that is a wildcard"),
        ("doc/*/**", "a segment that is a wildcard"),
        ("doc\n/**", "a control character"),
        (&long_path, "a path of more than 512 bytes"),
        (&too_long, "516 bytes"),
    ] {
        let fault = Filter::parse(text).expect_err(text);
        assert_eq!(fault.code(), ErrorCode::BadValue);
        assert_eq!(fault.found(), found, "{text}");
        assert_eq!(
            fault.expected(),
            "1 to 515 bytes: a path, a path with `/**` after it, or `**`"
        );
    }
}

#[test]
fn a_wrong_filter_fails_its_request_alone() {
    // stream.subscribe [50, 1, "a", ["d", "*"]]
    let error = FromClient::decode(b"\x94\x32\x01\xa1a\x92\xa1d\xa1*").expect_err("no filter");
    assert_eq!((error.id, error.code()), (Some(1), ErrorCode::BadValue));
    assert_eq!(
        error.to_string(),
        "filters: expected 1 to 515 bytes: a path, a path with `/**` after it, or `**`, found a segment \
         that is a wildcard"
    );
}

#[test]
fn below_a_path_is_not_the_path() {
    let below = Filter::parse("ticket/507f/**").expect("it is one");
    for (path, expected) in [
        ("ticket/507f/notes", true),
        ("ticket/507f/notes/3", true),
        ("ticket/507f", false),
        ("ticket/507", false),
        ("ticket/507fx", false),
        ("ticket/507fx/notes", false),
        ("ticket", false),
    ] {
        assert_eq!(below.matches(path), expected, "{path}");
    }
}

/// An acquire of several concerns whoever listens to one of its paths.
#[test]
fn an_event_matches_by_any_of_its_paths() {
    let mut events = 0;
    for sample in samples::all() {
        let Message::FromServer(FromServer::Push(Push::StreamEvent(push))) = sample.message else {
            continue;
        };
        events += 1;
        assert!(!push.event.paths().is_empty(), "{}", sample.name);
        for path in push.event.paths() {
            let filter = Filter::parse(path).expect("a path is a filter");
            assert!(push.event.matches(&filter), "{}", sample.name);
        }
        let other = Filter::parse("another/**").expect("it is one");
        assert!(!push.event.matches(&other), "{}", sample.name);
        assert!(push.event.matches(&Filter::ALL), "{}", sample.name);
    }
    assert!(events > 0, "there are samples of events");
}

/// What the document says, in segments: `**` at the end stands for one or more.
fn naive(filter: &str, path: &str) -> bool {
    let wanted: Vec<_> = filter.split('/').collect();
    let segments: Vec<_> = path.split('/').collect();
    match wanted.split_last() {
        Some((&"**", above)) => segments.len() > above.len() && segments.starts_with(above),
        Some(_) | None => wanted == segments,
    }
}

proptest! {
    /// Few short segments, so that they meet often.
    #[test]
    fn a_filter_judges_as_the_naive_one_does(
        filter in "(\\*\\*|[ab]{1,2}(/[ab]{1,2}){0,3}(/\\*\\*)?)",
        path in "[ab]{1,2}(/[ab]{1,2}){0,4}",
    ) {
        let parsed = Filter::parse(&filter).expect("it is one");
        prop_assert_eq!(parsed.matches(&path), naive(&filter, &path));
    }

    /// What is taken for a filter is sound below its wildcard, and every path is one.
    #[test]
    fn any_text_is_a_filter_or_is_not(text in "[a/*\n]{0,8}") {
        let path = text.strip_suffix("/**").unwrap_or(&text);
        let sound = !path.is_empty()
            && path.split('/').all(|segment| !["", "*", "**"].contains(&segment))
            && !path.contains('\n');
        prop_assert_eq!(Filter::parse(&text).is_ok(), sound || text == "**");
    }
}
