//! The bounds of everything on the wire: frames, fields, lists. What an operator may narrow is in the server's
//! configuration and is told in the hello; what is here is part of the protocol.
//!
//! Each bound says itself what it expects, in error messages and in the document alike.

use std::borrow::Cow;
use std::fmt;

use crate::fault::Fault;

/// Length of the largest frame before the hello: whoever has not been introduced costs little.
pub const FRAME_BEFORE_HELLO: usize = 4 * 1024;

/// Length of the largest frame that a server takes.
pub const FRAME_FROM_CLIENT: usize = 256 * 1024;

/// Length of the largest frame that a client takes. The answer to a resume is the largest there is.
pub const FRAME_FROM_SERVER: usize = 16 * 1024 * 1024;

/// The largest number anywhere: what JavaScript reads exactly.
pub const NUMBER_MAX: u64 = (1 << 53) - 1;

/// A server hears from its client at least this often, or ends the connection; and the reverse.
pub const DEAD_AFTER_MS: u64 = 15_000;

/// Bytes of the secret that lets a session be resumed.
pub const RESUME_KEY_BYTES: usize = 16;

/// Most that the answer to a resume tells of what was missed; the oldest are left out and counted.
pub const MISSED_MAX: usize = 1024;

/// Most viewers of a path that are listed; of those beyond, their number alone is told.
pub const VIEWERS_LISTED_MAX: usize = 100;

/// Most that a notice of a collision names.
pub const COLLISION_BY_MAX: usize = 16;

/// An organisation.
pub const ORG: Text = Text::new(1, 64, Spelling::Identifier);
/// What a lock is on.
pub const PATH: Text = Text::new(1, 512, Spelling::Path);
/// Which paths: see [`Filter`](crate::Filter).
pub const FILTER: Text = Text::new(1, 515, Spelling::Filter);
/// How the paths begin.
pub const PREFIX: Text = Text::new(1, 512, Spelling::Printable);
/// Where a page begins.
pub const CURSOR: Text = Text::new(1, 512, Spelling::Printable);
/// The first segment of paths.
pub const KIND: Text = Text::new(1, 512, Spelling::Segment);
/// On whose behalf.
pub const OWNER: Text = Text::new(1, 1024, Spelling::Printable);
/// How people call an owner.
pub const NAME: Text = Text::new(0, 256, Spelling::Printable);
/// What an asker tells the holders.
pub const NOTE: Text = Text::new(0, 1024, Spelling::Any);
/// Why something is taken from somebody.
pub const REASON: Text = Text::new(1, 1024, Spelling::Any);
/// What program a client is.
pub const CLIENT: Text = Text::new(0, 256, Spelling::Printable);
/// An API key.
pub const KEY: Text = Text::new(1, 2048, Spelling::Printable);

/// What an application calls an event of its own.
pub const EVENT_NAME: Text = Text::new(1, 128, Spelling::Identifier);
/// By which a repeated event is known.
pub const EVENT_ID: Text = Text::new(1, 64, Spelling::Printable);

/// What is opaque to the server and shown to others.
pub const METADATA: Bytes = Bytes { max: 4096 };
/// The same of a viewer: a path may have many, and each change is told to many.
pub const VIEWER_METADATA: Bytes = Bytes { max: 256 };
/// What goes with an event of an application.
pub const PAYLOAD: Bytes = Bytes { max: 65_536 };

/// How long a hold lives without renewal.
pub const TTL_MS: Span = Span::new(1000, 24 * 60 * 60 * 1000);
/// How long to wait.
pub const WAIT_MS: Span = Span::new(0, 24 * 60 * 60 * 1000);
/// How long a session may be resumed.
pub const GRACE_MS: Span = Span::new(0, 60 * 60 * 1000);
/// Owners that may share a lock.
pub const SHARED: Span = Span::new(1, 4096);
/// Holds or viewers in a page.
pub const PAGE: Span = Span::new(1, 256);
/// Sessions or holds of an org.
pub const AMOUNT: Span = Span::new(0, 0xffff_ffff);
/// Waits on one path.
pub const QUEUE: Span = Span::new(0, 1_000_000);
/// Holds of one session: as many as the answer to a resume has room for.
pub const SESSION_HOLDS: Span = Span::new(1, 10_000);
/// Waits of one session: as many as the answer to a resume has room for.
pub const SESSION_WAITS: Span = Span::new(0, 1000);

/// Locks asked for at once.
pub const ITEMS: Count = Count { min: 1, max: 16 };
/// Sessions renewed at once.
pub const SESSIONS: Count = Count { min: 1, max: 1000 };
/// Filters of a subscription.
pub const FILTERS: Count = Count { min: 1, max: 1000 };

/// What bounds a value, and says so when it is displayed.
pub(crate) trait Bound<T: ?Sized>: fmt::Display {
    /// What was found, if it does not keep the bound.
    fn breach(&self, value: &T) -> Option<Cow<'static, str>>;
}

/// Looks whether the field keeps the bound.
#[inline]
pub(crate) fn keeps<T, B: Bound<T>>(bound: &B, value: &T, field: &str) -> Result<(), Fault> {
    match bound.breach(value) {
        None => Ok(()),
        Some(found) => Err(breached(bound, found, field)),
    }
}

#[cold]
fn breached(bound: &dyn fmt::Display, found: Cow<'static, str>, field: &str) -> Fault {
    Fault::value(bound.to_string(), found).within(field)
}

impl<T, B: Bound<T>> Bound<Option<T>> for B {
    #[inline]
    fn breach(&self, value: &Option<T>) -> Option<Cow<'static, str>> {
        value.as_ref().and_then(|value| self.breach(value))
    }
}

/// Bounds of a text: its length in bytes, and what it may consist of.
#[derive(Debug, Clone, Copy)]
pub struct Text {
    /// Fewest bytes.
    pub min: usize,
    /// Most bytes.
    pub max: usize,
    /// What it may consist of.
    pub spelling: Spelling,
}

/// What a text may consist of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// Anything in UTF-8.
    Any,
    /// Anything but control characters.
    Printable,
    /// Letters, digits, dot, underscore and hyphen of ASCII.
    Identifier,
    /// Segments with `/` between them, none empty, none `*` or `**`, without control characters.
    Path,
    /// One segment of a path.
    Segment,
    /// A path, a path with `/**` after it, or `**`.
    Filter,
}

impl Text {
    const fn new(min: usize, max: usize, spelling: Spelling) -> Self {
        Self { min, max, spelling }
    }

    /// What is wrong with the text, if anything is. Bounds are constants: in line, only the arm that is meant is left.
    #[inline(always)]
    #[must_use]
    pub fn breach(&self, text: &str) -> Option<Cow<'static, str>> {
        if !(self.min..=self.max).contains(&text.len()) {
            return Some(count(text.len() as u64, " bytes"));
        }
        self.spelling.breach(text).map(Cow::Borrowed)
    }
}

#[cold]
fn count(number: u64, unit: &str) -> Cow<'static, str> {
    Cow::Owned(format!("{number}{unit}"))
}

impl Bound<&str> for Text {
    #[inline(always)]
    fn breach(&self, text: &&str) -> Option<Cow<'static, str>> {
        Self::breach(self, text)
    }
}

impl Bound<crate::Secret<'_>> for Text {
    fn breach(&self, secret: &crate::Secret<'_>) -> Option<Cow<'static, str>> {
        Self::breach(self, secret.0)
    }
}

impl Bound<crate::Filter<'_>> for Text {
    fn breach(&self, filter: &crate::Filter<'_>) -> Option<Cow<'static, str>> {
        Self::breach(self, filter.as_str())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spelling = match self.spelling {
            Spelling::Any => "",
            Spelling::Printable => " without control characters",
            Spelling::Identifier => " of letters, digits, `.`, `_` and `-`",
            Spelling::Path => {
                ": segments with `/` between them, none empty, none `*` or `**`, no control characters"
            }
            Spelling::Segment => " without `/` and control characters, not `*` or `**`",
            Spelling::Filter => ": a path, a path with `/**` after it, or `**`",
        };
        write!(f, "{} to {} bytes{spelling}", self.min, self.max)
    }
}

impl Spelling {
    #[inline(always)]
    fn breach(self, text: &str) -> Option<&'static str> {
        match self {
            Self::Any => None,
            Self::Printable => control(text),
            Self::Identifier => text
                .bytes()
                .any(|byte| !matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
                .then_some("another character"),
            Self::Path if is_plain_path(text.as_bytes()) => None,
            Self::Path => path(text),
            Self::Segment if text.contains('/') => Some("a `/`"),
            Self::Segment => path(text),
            Self::Filter if text == "**" => None,
            Self::Filter => match text.strip_suffix("/**").unwrap_or(text) {
                text if text.len() > PATH.max => Some("a path of more than 512 bytes"),
                text => path(text),
            },
        }
    }
}

fn path(text: &str) -> Option<&'static str> {
    segments(text).or_else(|| control(text))
}

fn control(text: &str) -> Option<&'static str> {
    // In UTF-8 the controls beyond ASCII begin with c2; few texts have any byte that is suspicious. All bytes are looked
    // at, without leaving early, since the compiler then takes many at a time.
    let suspicious = |byte: u8| (byte < 0x20) | (byte == 0x7f) | (byte == 0xc2);
    let any = text.bytes().fold(false, |any, byte| any | suspicious(byte));
    (any && text.chars().any(char::is_control)).then_some("a control character")
}

/// Whether a path is as nearly all are, without anything that has to be looked at twice: every byte is one from `+` to `~`,
/// which leaves out `*`, controls and whatever is beyond ASCII, and no `/` stands at an end or after another. Sixteen bytes
/// are looked at together; if there are fewer at the end, some of those before again.
fn is_plain_path(path: &[u8]) -> bool {
    let ([first, ..], [.., last]) = (path, path) else {
        return false;
    };
    if *first == b'/' || *last == b'/' || !is_plain(*last) {
        return false;
    }
    let Some(end) = path.last_chunk() else {
        let mut pairs = path.windows(2);
        return pairs.all(|pair| is_plain(pair[0]) && pair != b"//");
    };
    let mut rest = path;
    while let Some(few) = rest.first_chunk() {
        if !are_plain(few) {
            return false;
        }
        rest = &rest[TOGETHER..];
    }
    are_plain(end)
}

/// So many bytes the compiler looks at in one go, each beside the one that follows it.
const TOGETHER: usize = 16;

fn are_plain(path: &[u8; TOGETHER + 1]) -> bool {
    let mut are_plain = true;
    for (byte, next) in path.iter().zip(&path[1..]) {
        // Without leaving early.
        are_plain &= is_plain(*byte) & !((*byte == b'/') & (*next == b'/'));
    }
    are_plain
}

const fn is_plain(byte: u8) -> bool {
    matches!(byte, b'+'..=b'~')
}

fn segments(path: &str) -> Option<&'static str> {
    path.as_bytes()
        .split(|&byte| byte == b'/')
        .find_map(|segment| match segment {
            b"" => Some("an empty segment"),
            b"*" | b"**" => Some("a segment that is a wildcard"),
            _ => None,
        })
}

/// Bounds of bytes.
#[derive(Debug, Clone, Copy)]
pub struct Bytes {
    /// Most of them.
    pub max: usize,
}

impl Bound<&[u8]> for Bytes {
    #[inline]
    fn breach(&self, bytes: &&[u8]) -> Option<Cow<'static, str>> {
        (bytes.len() > self.max).then(|| count(bytes.len() as u64, " bytes"))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {} bytes", self.max)
    }
}

/// Bounds of a number.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// Least.
    pub min: u64,
    /// Most.
    pub max: u64,
}

impl Span {
    const fn new(min: u64, max: u64) -> Self {
        Self { min, max }
    }
}

impl Bound<u64> for Span {
    #[inline]
    fn breach(&self, number: &u64) -> Option<Cow<'static, str>> {
        (!(self.min..=self.max).contains(number)).then(|| count(*number, ""))
    }
}

impl Bound<u32> for Span {
    #[inline]
    fn breach(&self, number: &u32) -> Option<Cow<'static, str>> {
        self.breach(&u64::from(*number))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.min, self.max)
    }
}

/// Bounds of a list's length.
#[derive(Debug, Clone, Copy)]
pub struct Count {
    /// Fewest.
    pub min: usize,
    /// Most.
    pub max: usize,
}

impl<T> Bound<Vec<T>> for Count {
    #[inline]
    fn breach(&self, list: &Vec<T>) -> Option<Cow<'static, str>> {
        (!(self.min..=self.max).contains(&list.len())).then(|| count(list.len() as u64, ""))
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {} of them", self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As [`is_plain_path`] says it, byte by byte.
    fn is_plain_by_bytes(path: &str) -> bool {
        let bytes = path.as_bytes();
        bytes.iter().all(|byte| (b'+'..=b'~').contains(byte))
            && bytes
                .split(|byte| *byte == b'/')
                .all(|part| !part.is_empty())
    }

    proptest! {
        /// The quick look sees what it should, wherever it stands; and what it passes, the slow one passes, too.
        #[test]
        fn a_plain_path_has_nothing_to_be_looked_at_twice(
            mut path in "([a-z.]{1,9}/){0,5}[a-z]{0,9}",
            odd in prop_oneof!["", "[+*~ \u{1f}\u{7f}/]", "\\PC", any::<char>().prop_map(String::from)],
            at in 0_usize..40,
        ) {
            path.insert_str(at.min(path.len()), &odd);
            prop_assert_eq!(is_plain_path(path.as_bytes()), is_plain_by_bytes(&path));
            if is_plain_by_bytes(&path) && !path.is_empty() {
                prop_assert_eq!(super::path(&path), None);
            }
        }
    }

    #[test]
    fn an_empty_segment_is_seen_wherever_it_is() {
        for at in 0..39 {
            let mut path = [b'a'; 40];
            path[at..at + 2].fill(b'/');
            assert!(!is_plain_path(&path), "{at}");
            path[at] = b'b';
            assert_eq!(is_plain_path(&path), at < 38, "{at}");
        }
    }

    #[test]
    fn a_path_has_no_empty_segment_no_wildcard_and_no_control_character() {
        for fine in [
            "a",
            "+",
            "~/+",
            "12345678",
            "1234567/9",
            "kind/äöü/€",
            "a b/*c",
            "\u{a0}",
        ] {
            assert_eq!(Spelling::Path.breach(fine), None, "{fine:?}");
        }
        for odd in [
            "",
            "/",
            "/a",
            "a/",
            "1234567/",
            "12345678/",
            "a//b",
            "1234567//9",
            "*",
            "a/**",
            "a/*/b",
            "a\n",
            "\u{7f}",
            "doc/\u{85}",
        ] {
            assert!(Spelling::Path.breach(odd).is_some(), "{odd:?}");
        }
    }
}
