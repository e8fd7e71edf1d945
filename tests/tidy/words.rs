//! What text must not hold: notes to oneself without an issue, leftovers of a debugging session, tabs, the home of
//! whoever wrote it.

use crate::tree::{Complaints, files};

/// They need an issue beside them: `TODO(#123)`.
const NOTES: &[&str] = &["TODO", "FIXME", "XXX", "HACK"];

/// Never, with what to write instead.
const NEVER: &[(&str, &str)] = &[
    ("dbg!(", "take it out, or log it"),
    (
        "unimplemented!(",
        "implement it, or refuse it with an answer",
    ),
    ("/home/", "name no place of one machine"),
    ("/root/", "name no place of one machine"),
];

#[test]
fn no_stray_notes_leftovers_or_tabs() {
    let mut complaints = Complaints::default();
    for file in [".rs", ".md", ".toml", "run"].into_iter().flat_map(files) {
        // This file has to name them.
        if file.path == "tests/tidy/words.rs" {
            continue;
        }
        for (line, text) in file.lines() {
            let note = text
                .split(|c: char| !c.is_alphanumeric())
                .find(|word| NOTES.contains(word));
            if let Some(note) = note.filter(|_| !text.contains("(#")) {
                complaints.add(
                    &file.path,
                    line,
                    format!("expected `{note}(#issue)`, found {note} alone"),
                );
            }
            for (word, instead) in NEVER.iter().filter(|(word, _)| text.contains(word)) {
                complaints.add(
                    &file.path,
                    line,
                    format!("expected no `{word}`, found one: {instead}"),
                );
            }
            if text.contains('\t') {
                complaints.add(&file.path, line, "expected spaces, found a tab");
            }
            if text.ends_with([' ', '\r']) {
                complaints.add(
                    &file.path,
                    line,
                    "expected the end of the line, found white space",
                );
            }
        }
        if !file.text.is_empty() && !file.text.ends_with('\n') {
            complaints.add(&file.path, 0, "expected a line feed at the end, found none");
        }
    }
    complaints.none("as each line says; a note to oneself becomes an issue, or is done at once.");
}
