//! A function is as long as one thought. One that fits on a screen may not silently outgrow it: a longer one is a line
//! in `long_functions.txt` with its length and a reason, and may shrink but not grow.

use crate::tree::{Complaints, File, file, files};

/// What fits on a screen.
const SCREEN: usize = 60;

/// Where the longer ones are listed: file, function, lines, reason.
const LIST: &str = "tests/tidy/long_functions.txt";

/// One that is listed.
struct Listed {
    line: usize,
    path: String,
    function: String,
    lines: usize,
}

#[test]
fn long_functions_do_not_grow_and_new_ones_have_a_reason() {
    let mut complaints = Complaints::default();
    let listed = listed(&mut complaints);
    let mut is_met = vec![false; listed.len()];
    for file in files(".rs").into_iter().filter(File::is_shipped) {
        for (line, function, lines) in functions(&file) {
            if lines <= SCREEN {
                continue;
            }
            let known = listed
                .iter()
                .position(|known| known.path == file.path && known.function == function);
            let most = known.map_or(SCREEN, |known| listed[known].lines);
            if lines > most {
                let what = format!("`{function}`: expected at most {most} lines, found {lines}");
                complaints.add(&file.path, line, what);
            }
            if let Some(known) = known {
                is_met[known] = true;
            }
        }
    }
    for (known, _) in listed.iter().zip(is_met).filter(|(_, is_met)| !is_met) {
        let what = format!(
            "expected `{}` to be long still, found it short or gone",
            known.function
        );
        complaints.add(LIST, known.line, what);
    }
    complaints.none(
        "cut the function where its reader has to hold two things; or, if it is one long thought, give it a line in \
         tests/tidy/long_functions.txt: file, function, lines, reason. A line that is not needed is taken out.",
    );
}

fn listed(complaints: &mut Complaints) -> Vec<Listed> {
    let mut listed = Vec::new();
    for (line, text) in file(LIST)
        .lines()
        .filter(|(_, text)| !text.is_empty() && !text.starts_with('#'))
    {
        let mut words = text.split_whitespace();
        let (path, function) = (words.next(), words.next());
        let lines = words.next().and_then(|lines| lines.parse().ok());
        let reason: Vec<&str> = words.collect();
        let (Some(path), Some(function), Some(lines)) = (path, function, lines) else {
            complaints.add(
                LIST,
                line,
                format!("expected file, function, lines, reason, found {text:?}"),
            );
            continue;
        };
        if reason.len() < 3 {
            complaints.add(LIST, line, "expected a reason, found none");
        }
        listed.push(Listed {
            line,
            path: path.to_owned(),
            function: function.to_owned(),
            lines,
        });
    }
    listed
}

/// Where each function begins, its name and its length. The code is formatted: one ends where a brace stands below its
/// beginning.
fn functions(file: &File) -> Vec<(usize, &str, usize)> {
    let lines: Vec<&str> = file.text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().copied().enumerate() {
        let Some(name) = function(line) else {
            continue;
        };
        let rest = &lines[at..];
        let head = rest.iter().find(|line| line.ends_with(['{', '}', ';']));
        if !head.is_some_and(|line| line.ends_with('{')) {
            continue;
        }
        let end = format!("{}}}", &line[..line.len() - line.trim_start().len()]);
        if let Some(last) = rest.iter().position(|line| *line == end) {
            found.push((at + 1, name, last + 1));
        }
    }
    found
}

fn function(line: &str) -> Option<&str> {
    let (before, after) = line.trim_start().split_once("fn ")?;
    let words = ["async", "const", "extern", "pub", "unsafe"];
    let is_declared = before.split_whitespace().all(|word| {
        words.iter().any(|known| word.starts_with(known))
            || word.starts_with('"')
            || word.ends_with(')')
    });
    let name = after.split(['(', '<']).next()?;
    is_declared.then_some(name).filter(|name| !name.is_empty())
}

#[test]
fn functions_are_measured() {
    let text = "impl A {\n    pub(crate) const fn one(&self) -> u8 {\n        1\n    }\n\n    fn declared(&self);\n\n    \
                fn wide<A>(\n        a: A,\n    ) -> A {\n        if b {\n        }\n        a\n    }\n}\n";
    let file = File {
        path: "a.rs".to_owned(),
        text: text.to_owned(),
    };
    assert_eq!(functions(&file), [(2, "one", 3), (8, "wide", 7)]);
}
