//! Names tell what is inside. A file called after nothing in particular becomes the place where everything meets, and
//! grows without end.

use crate::tree::{Complaints, files};

/// Names that say nothing, singular or plural.
const EMPTY: &[&str] = &[
    "common",
    "handler",
    "helper",
    "manager",
    "misc",
    "util",
    "utilities",
];

#[test]
fn no_file_or_module_has_an_empty_name() {
    let mut complaints = Complaints::default();
    for file in files(".rs") {
        let parts = file.path.trim_end_matches(".rs").split('/');
        for part in parts.filter(|part| is_empty(part)) {
            complaints.add(
                &file.path,
                0,
                format!("expected a name that tells, found {part:?}"),
            );
        }
        for (line, text) in file.lines() {
            if let Some(module) = module(text).filter(|module| is_empty(module)) {
                complaints.add(
                    &file.path,
                    line,
                    format!("expected a name that tells, found {module:?}"),
                );
            }
        }
    }
    complaints.none(
        "name it after the thing it is about; if there are several things, make several files.",
    );
}

fn is_empty(name: &str) -> bool {
    name.split('_')
        .any(|word| EMPTY.contains(&word.strip_suffix('s').unwrap_or(word)))
}

fn module(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("mod ").filter(|(before, _)| {
        let before = before.trim();
        before.is_empty() || before.starts_with("pub")
    })?;
    rest.split([';', ' ', '{']).next()
}
