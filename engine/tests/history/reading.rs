//! Reads the lines of a script: when, who, what. The counterpart of `writing.rs`.
//!
//! It knows the names of commands and nothing of what they do. A line it cannot read is a mistake
//! of whoever wrote the script, and panics with the line.

use tenure_engine::{
    Attach, Disconnect, Millis, Mode, PolicyLayer, ReleaseScope, Role, SessionId, SessionRef,
    Token, WaitId,
};

use super::owned::{Owned, OwnedItem, OwnedTarget, Scoped};

/// What a line asks for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Asked {
    Command(Owned),
    Status {
        org: String,
        path: String,
    },
    Check {
        org: String,
        path: String,
        token: Token,
    },
    List {
        org: String,
        target: OwnedTarget,
        mode: Option<Mode>,
        held: Millis,
        page: u32,
        after: Option<String>,
    },
    Places {
        org: String,
        path: String,
    },
    Policy {
        org: String,
        kind: Option<String>,
    },
    Counts,
    Due,
}

/// The words of one line, taken from the front.
pub(crate) struct Words<'a> {
    line: &'a str,
    words: Vec<String>,
    at: usize,
    /// Which attachment is current, by session.
    attach_of: &'a dyn Fn(SessionId) -> Attach,
}

/// One line: when, and what is asked for.
pub(crate) fn line(line: &str, attach_of: &dyn Fn(SessionId) -> Attach) -> (Millis, Asked) {
    let mut words = Words {
        line,
        words: split(line),
        at: 0,
        attach_of,
    };
    words.expect("at");
    let at = words.time();
    let asked = words.asked();
    assert!(words.at == words.words.len(), "too many words: {line}");
    (at, asked)
}

/// By blanks; what stands in quotes is one word and keeps its first quote.
fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut quoted = false;
    for part in line.split('"') {
        if quoted {
            words.push(format!("\"{part}"));
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
        quoted = !quoted;
    }
    words
}

impl Words<'_> {
    fn peek(&self) -> Option<&str> {
        self.words.get(self.at).map(String::as_str)
    }

    fn next(&mut self) -> String {
        let word = self
            .peek()
            .unwrap_or_else(|| panic!("a word is missing: {}", self.line));
        let word = word.to_owned();
        self.at += 1;
        word
    }

    fn expect(&mut self, word: &str) {
        let next = self.next();
        assert!(
            next == word,
            "{word:?} is missing before {next:?}: {}",
            self.line
        );
    }

    /// Takes the word if it is next.
    fn takes(&mut self, word: &str) -> bool {
        let is_next = self.peek() == Some(word);
        self.at += usize::from(is_next);
        is_next
    }

    fn after<T>(&mut self, word: &str, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.takes(word).then(|| read(self))
    }

    fn number(&mut self) -> u64 {
        let word = self.next();
        word.parse()
            .unwrap_or_else(|_| panic!("{word:?} is no number: {}", self.line))
    }

    fn num32(&mut self) -> u32 {
        u32::try_from(self.number()).expect("a small number")
    }

    /// `0`, `300ms`, `30s`, `5m`, `1h`.
    fn time(&mut self) -> Millis {
        let word = self.next();
        let digits = word
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(word.len());
        let unit = match &word[digits..] {
            "" | "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            other => panic!("{other:?} is no unit: {}", self.line),
        };
        let count: u64 = word[..digits].parse().expect("a time begins with digits");
        Millis(count * unit)
    }

    fn text(&mut self) -> String {
        let word = self.next();
        word.strip_prefix('"').unwrap_or(&word).to_owned()
    }

    /// A number with a letter before it: `w3`, `t7`.
    fn numbered(&mut self, letter: char) -> u64 {
        let word = self.next();
        let number = word
            .strip_prefix(letter)
            .and_then(|number| number.parse().ok());
        number.unwrap_or_else(|| panic!("{word:?} is no {letter}<number>: {}", self.line))
    }

    fn token(&mut self) -> Token {
        Token(self.numbered('t'))
    }

    fn wait_id(&mut self) -> WaitId {
        WaitId(self.numbered('w'))
    }

    /// Whether the next word names a wait.
    fn is_wait(&self) -> bool {
        let number = self.peek().and_then(|word| word.strip_prefix('w'));
        number.is_some_and(|number| number.parse::<u64>().is_ok())
    }

    fn session(word: &str) -> Option<(SessionId, Option<Attach>)> {
        let number = word.strip_prefix('s')?;
        let (session, attach) = number
            .split_once('.')
            .map_or((number, None), |(s, a)| (s, Some(a)));
        let attach = match attach {
            Some(attach) => Some(Attach(attach.parse().ok()?)),
            None => None,
        };
        Some((SessionId(session.parse().ok()?), attach))
    }

    fn mode(&mut self) -> Mode {
        match self.next().as_str() {
            "shared" => Mode::Shared,
            "exclusive" => Mode::Exclusive,
            other => panic!("{other:?} is no mode: {}", self.line),
        }
    }

    fn role(&mut self) -> Role {
        match self.next().as_str() {
            "observer" => Role::Observer,
            "member" => Role::Member,
            "moderator" => Role::Moderator,
            "admin" => Role::Admin,
            other => panic!("{other:?} is no role: {}", self.line),
        }
    }

    fn org(&mut self) -> String {
        self.after("in", Self::next)
            .unwrap_or_else(|| "acme".to_owned())
    }

    /// One arm for each first word: a table of contents.
    fn asked(&mut self) -> Asked {
        let first = self.next();
        if let Some((session, attach)) = Self::session(&first) {
            let attach = attach.unwrap_or_else(|| (self.attach_of)(session));
            return Asked::Command(self.of_session(SessionRef { session, attach }));
        }
        match first.as_str() {
            "started" => Asked::Command(Owned::Started),
            "tick" => Asked::Command(Owned::Tick),
            "configure" => Asked::Command(self.configure()),
            "settle" => {
                let path = self.next();
                Asked::Command(Owned::Settle {
                    org: self.org(),
                    path,
                })
            }
            "open" => Asked::Command(self.open()),
            "resume" => Asked::Command(self.resume()),
            "force" => Asked::Command(self.force()),
            "status" => {
                let path = self.next();
                Asked::Status {
                    org: self.org(),
                    path,
                }
            }
            "check" => {
                let (path, token) = (self.next(), self.token());
                Asked::Check {
                    org: self.org(),
                    path,
                    token,
                }
            }
            "list" => self.list(),
            "places" => {
                let path = self.next();
                Asked::Places {
                    org: self.org(),
                    path,
                }
            }
            "policy" => {
                let kind = self.after("of", Self::next);
                Asked::Policy {
                    org: self.org(),
                    kind,
                }
            }
            "counts" => Asked::Counts,
            "due" => Asked::Due,
            other => panic!("{other:?} is no command: {}", self.line),
        }
    }

    /// One arm for each command of a session: a table of contents.
    fn of_session(&mut self, by: SessionRef) -> Owned {
        match self.next().as_str() {
            "detach" => Owned::Detach(by),
            "renew-session" => Owned::RenewSession(by),
            "close" => Owned::Close(by),
            "acquire" => self.acquire(by),
            "acquire-all" => self.acquire_all(by),
            "renew" => {
                let path = self.next();
                let ttl = self.after("ttl", Self::time);
                Owned::Renew {
                    by,
                    path,
                    ttl,
                    token: self.after("token", Self::token),
                }
            }
            "release" => {
                let path = self.next();
                let owner = self.takes("owner");
                let scope = if owner {
                    ReleaseScope::Owner
                } else {
                    ReleaseScope::Session
                };
                Owned::Release {
                    by,
                    path,
                    scope,
                    token: self.after("token", Self::token),
                }
            }
            "cancel" => Owned::Cancel {
                by,
                wait: self.wait_id(),
            },
            "convert" => {
                let (path, mode) = (self.next(), self.mode());
                let limit = self.after("limit", Self::num32);
                let wait = self.after("wait", Self::time).unwrap_or_default();
                Owned::Convert {
                    by,
                    path,
                    mode,
                    limit,
                    wait,
                }
            }
            "hand-over" => {
                let path = self.next();
                let to = self.is_wait().then(|| self.wait_id());
                Owned::HandOver { by, path, to }
            }
            "decline" => Owned::Decline {
                by,
                path: self.next(),
                to: self.wait_id(),
            },
            other => panic!("{other:?} is no command of a session: {}", self.line),
        }
    }

    fn open(&mut self) -> Owned {
        let owner = self.next();
        let name = self
            .after("as", Self::text)
            .unwrap_or_else(|| owner.clone());
        let role = self.after("role", Self::role).unwrap_or(Role::Member);
        let lost = if self.takes("keep") {
            Disconnect::Keep
        } else if self.takes("release") {
            Disconnect::Release(None)
        } else {
            let grace = self.after("grace", Self::time);
            grace.map_or(Disconnect::ByPolicy, |grace| {
                Disconnect::Release(Some(grace))
            })
        };
        let metadata = self
            .after("metadata", Self::text)
            .unwrap_or_default()
            .into_bytes();
        Owned::Open {
            org: self.org(),
            owner,
            name,
            metadata,
            role,
            key: 1,
            lost,
        }
    }

    fn resume(&mut self) -> Owned {
        let word = self.next();
        let (session, _) = Self::session(&word).unwrap_or_else(|| panic!("who? {}", self.line));
        let role = self.after("role", Self::role).unwrap_or(Role::Admin);
        let key = u128::from(!self.takes("wrong-key"));
        Owned::Resume {
            org: self.org(),
            session,
            key,
            role,
        }
    }

    fn acquire(&mut self, by: SessionRef) -> Owned {
        let (path, mode) = (self.next(), self.mode());
        let (mut limit, mut ttl, mut wait) = (None, None, Millis::ZERO);
        let (mut note, mut seize, mut metadata) = (None, None, Vec::new());
        while self.peek().is_some() {
            match self.next().as_str() {
                "limit" => limit = Some(self.num32()),
                "ttl" => ttl = Some(self.time()),
                "wait" => wait = self.time(),
                "note" => note = Some(self.text()),
                "seize" => seize = Some(self.text()),
                "metadata" => metadata = self.text().into_bytes(),
                other => panic!("{other:?} is no option: {}", self.line),
            }
        }
        Owned::Acquire {
            by,
            path,
            mode,
            limit,
            ttl,
            wait,
            note,
            seize,
            metadata,
        }
    }

    fn acquire_all(&mut self, by: SessionRef) -> Owned {
        let mut items = Vec::new();
        while self
            .peek()
            .is_some_and(|word| !["ttl", "wait"].contains(&word))
        {
            let (path, mode) = (self.next(), self.mode());
            items.push(OwnedItem {
                path,
                mode,
                limit: self.after("limit", Self::num32),
            });
            self.takes("+");
        }
        let ttl = self.after("ttl", Self::time);
        let wait = self.after("wait", Self::time).unwrap_or_default();
        Owned::AcquireAll {
            by,
            items,
            ttl,
            wait,
        }
    }

    fn force(&mut self) -> Owned {
        let target = self.target();
        let after = self.after("after", Self::next);
        let reason = self
            .after("reason", Self::text)
            .unwrap_or_else(|| "cleaning".to_owned());
        Owned::Force {
            org: self.org(),
            target,
            after,
            reason,
        }
    }

    fn target(&mut self) -> OwnedTarget {
        match self.next().as_str() {
            "path" => OwnedTarget::Path(self.next()),
            "prefix" => OwnedTarget::Prefix(self.next()),
            "owner" => OwnedTarget::Owner(self.next()),
            "session" => OwnedTarget::Session(SessionId(self.numbered('s'))),
            "all" => OwnedTarget::All,
            other => panic!("{other:?} is no target: {}", self.line),
        }
    }

    fn list(&mut self) -> Asked {
        let target = self.target();
        let mode = self
            .peek()
            .is_some_and(|word| ["shared", "exclusive"].contains(&word));
        let mode = mode.then(|| self.mode());
        let held = self.after("held", Self::time).unwrap_or_default();
        let page = self.after("page", Self::num32).unwrap_or(256);
        let after = self.after("after", Self::next);
        Asked::List {
            org: self.org(),
            target,
            mode,
            held,
            page,
            after,
        }
    }

    fn configure(&mut self) -> Owned {
        let scope = match self.next().as_str() {
            "server" => Scoped::Server,
            "org" => Scoped::Org(self.next()),
            "kind" => {
                let kind = self.next();
                Scoped::Kind(self.org(), kind)
            }
            other => panic!("{other:?} is no scope: {}", self.line),
        };
        let mut layer = PolicyLayer::default();
        while self.peek().is_some() {
            match self.next().as_str() {
                "ttl_default" => layer.ttl_default = Some(self.time()),
                "ttl_min" => layer.ttl_min = Some(self.time()),
                "ttl_max" => layer.ttl_max = Some(self.time()),
                "queue_max" => layer.queue_max = Some(self.num32()),
                "grace" => layer.grace = Some(self.time()),
                "release_on_disconnect" => {
                    layer.release_on_disconnect = Some(self.next() == "true");
                }
                "sessions_max" => layer.sessions_max = Some(self.num32()),
                "holds_max" => layer.holds_max = Some(self.num32()),
                "session_holds_max" => layer.session_holds_max = Some(self.num32()),
                "session_waits_max" => layer.session_waits_max = Some(self.num32()),
                other => panic!("{other:?} is no limit: {}", self.line),
            }
        }
        Owned::Configure(scope, layer)
    }
}
