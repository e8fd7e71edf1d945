//! Every file of code opens with a header of two to eight lines: what it owns, what it does not know, which rule must
//! always hold. The root of a crate may say more, since it is the front page; a short file may say less. Drawings of
//! states are welcome and not counted.

use crate::tree::{Complaints, File, files};

/// Shortest and longest header.
const LINES: std::ops::RangeInclusive<usize> = 2..=8;

/// A file with fewer lines of code than this may have a header of one line.
const SHORT_FILE: usize = 30;

/// What was longer or shorter when the rule began, 2026-11-20. Nothing is added; a line goes when its file is put right.
const OWING: &[&str] = &[
    "bench/src/dialect/conversation.rs",
    "bench/src/load/tests.rs",
    "src/cli/serve.rs",
];

#[test]
fn every_file_opens_with_a_header() {
    let mut complaints = Complaints::default();
    for file in files(".rs") {
        let found = header(&file);
        if !fits(&file, found) && !OWING.contains(&file.path.as_str()) {
            let what = format!("expected a header of 2 to 8 lines of `//!`, found {found}");
            complaints.add(&file.path, 0, what);
        }
    }
    complaints.none(
        "say in the header what the file owns, what it does not know, and what must always hold; put the rest of a \
         long one on the type that it is about.",
    );
}

#[test]
fn nothing_owing_has_gone_or_is_right() {
    let files = files(".rs");
    let owes = |owing: &str| {
        let file = files.iter().find(|file| file.path == owing);
        file.is_some_and(|file| !fits(file, header(file)))
    };
    let paid: Vec<_> = OWING.iter().filter(|owing| !owes(owing)).collect();
    assert!(
        paid.is_empty(),
        "take out of the list in tests/tidy/headers.rs: {paid:?}"
    );
}

fn fits(file: &File, lines: usize) -> bool {
    let is_front_page = ["lib.rs", "main.rs"].contains(&file.name());
    let is_code = |line: &str| !line.is_empty() && !line.trim_start().starts_with("//");
    let is_short = file.lines().filter(|(_, line)| is_code(line)).count() < SHORT_FILE;
    LINES.contains(&lines) || (is_front_page && lines > 1) || (is_short && lines == 1)
}

/// Its lines of prose.
fn header(file: &File) -> usize {
    let header = file
        .text
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(str::trim);
    let mut is_drawing = false;
    let is_prose = |line: &str| {
        let is_fence = line.starts_with("```");
        is_drawing ^= is_fence;
        !is_drawing && !is_fence && !line.is_empty()
    };
    header.map(is_prose).filter(|is_prose| *is_prose).count()
}
