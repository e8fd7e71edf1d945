//! What each part of the server may reach for: one file reads clocks, few touch sockets, one holds the engine. So a reader
//! knows where to look, and a test knows what to replace.

use crate::tree::{Complaints, File, files};

/// Words that only some files may say.
struct Reach {
    /// Any of these.
    words: &'static [&'static str],
    /// Where the rule holds: a folder, as the beginning of paths.
    within: &'static str,
    /// Who may, as beginnings of paths, and why.
    allowed: &'static [(&'static str, &'static str)],
    remedy: &'static str,
}

const SERVER: &str = "src/";
const ENGINE: &str = "engine/src/";
const PROTOCOL: &str = "protocol/src/";
const CLIENT: &str = "client/src/";

const TIMERS: &str = "its timers: nothing that it decides enters history";

const RULES: &[Reach] = &[
    Reach {
        words: &["Instant::now", "SystemTime::now", "UNIX_EPOCH", ".elapsed("],
        within: SERVER,
        allowed: &[
            ("src/clock.rs", "the one clock"),
            ("src/connection.rs", TIMERS),
            ("src/connection/outbound.rs", TIMERS),
            ("src/server.rs", TIMERS),
            ("src/streams/woken.rs", TIMERS),
            (
                "src/journal/machinery.rs",
                "how long a sync takes, by which it waits for more",
            ),
            ("src/cli/", "a client of its own, in another process"),
        ],
        remedy: "take the time from src/clock.rs, as a parameter",
    },
    Reach {
        words: &["Instant", "SystemTime", "std::"],
        within: ENGINE,
        allowed: &[],
        remedy: "time, randomness and limits come in with the entries",
    },
    Reach {
        words: &[
            "Instant",
            "SystemTime",
            "std::net",
            "std::fs",
            "std::thread",
            "tokio",
        ],
        within: PROTOCOL,
        allowed: &[],
        remedy: "the protocol turns bytes into messages and back; time and sockets are its caller's",
    },
    Reach {
        words: &[
            "TcpListener",
            "TcpStream",
            "TcpSocket",
            "UdpSocket",
            "UnixListener",
            "UnixStream",
        ],
        within: SERVER,
        allowed: &[
            ("src/server.rs", "takes connections"),
            ("src/connection.rs", "serves one"),
            ("src/outlet.rs", "leads past one that sleeps"),
            ("src/outlet/", "its tests"),
            ("src/admin.rs", "answers over HTTP"),
            ("src/cli/", "a client of its own, in another process"),
        ],
        remedy: "leave it to src/server.rs, src/connection.rs or src/admin.rs",
    },
    Reach {
        words: &[
            "std::fs",
            "fs::",
            "File",
            "OpenOptions",
            "sync_data",
            "sync_all",
        ],
        within: "src/journal/",
        allowed: &[
            ("src/journal/storage.rs", "the one disk"),
            ("src/journal/directory.rs", "the folder, and its lock"),
            (
                "src/journal/pinned.rs",
                "the disk at one moment, for whoever only reads",
            ),
        ],
        remedy: "ask a `Storage`, so that tests can be one",
    },
    Reach {
        words: &["Engine"],
        within: SERVER,
        allowed: &[
            ("src/shards.rs", "holds one in each shard, behind its mutex"),
            ("src/shards/state.rs", "what is done under that mutex"),
            (
                "src/journal/",
                "replays history, when nobody else has the engine",
            ),
        ],
        remedy: "go through `Shards::submit`",
    },
    Reach {
        words: &["rmp", "rmp_serde"],
        within: SERVER,
        allowed: &[(
            "src/journal/record.rs",
            "records are no messages: they change at another pace",
        )],
        remedy: "only protocol/ knows MessagePack: add what is missing there",
    },
    Reach {
        words: &["rmp", "rmp_serde", "tenure_engine"],
        within: CLIENT,
        allowed: &[],
        remedy: "the client knows the messages of protocol/, and no more",
    },
];

#[test]
fn nobody_reaches_for_what_is_not_theirs() {
    let mut complaints = Complaints::default();
    let files = files(".rs");
    for rule in RULES {
        let bound = |file: &&File| {
            file.path.starts_with(rule.within)
                && file.is_shipped()
                && !rule
                    .allowed
                    .iter()
                    .any(|(path, _)| file.path.starts_with(path))
        };
        for file in files.iter().filter(bound) {
            for (line, text) in file.shipped_lines() {
                for word in rule.words.iter().filter(|word| says(text, word)) {
                    let what = format!("expected no `{word}`, found one: {}", rule.remedy);
                    complaints.add(&file.path, line, what);
                }
            }
        }
    }
    complaints.none(
        "as each line says; or, if the file has a good reason, give it a line with that reason in tests/tidy/reach.rs.",
    );
}

#[test]
fn whoever_may_is_there_still() {
    let paths: Vec<String> = files(".rs").into_iter().map(|file| file.path).collect();
    let mut complaints = Complaints::default();
    for (allowed, _) in RULES.iter().flat_map(|rule| rule.allowed) {
        if !paths.iter().any(|path| path.starts_with(allowed)) {
            complaints.add(
                "tests/tidy/reach.rs",
                0,
                format!("expected {allowed}, found nothing"),
            );
        }
    }
    complaints.none("take out what may not any more.");
}

/// As a word of its own: not as a part of a longer name.
fn says(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        let joins_before = word.starts_with(is_part) && before.ends_with(is_part);
        let joins_after = word.ends_with(is_part) && after.starts_with(is_part);
        !joins_before && !joins_after
    })
}

#[test]
fn a_word_is_a_word() {
    assert!(says("let engine: Engine = Engine::new();", "Engine"));
    assert!(!says(
        "use tenure_engine::ResumeKey as EngineKey;",
        "Engine"
    ));
    assert!(says("let began = Instant::now();", "Instant::now"));
    assert!(!says("clock.instant_of(at)", "Instant"));
}
