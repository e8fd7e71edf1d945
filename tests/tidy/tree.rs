//! The files of the tree, read once for each rule, and how a rule complains.
//!
//! Knows what is written by hand and what is not: nothing below a skipped folder is looked at.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Folders that are made by tools, or hold bytes.
const SKIPPED: &[&str] = &[
    ".git",
    "artifacts",
    "corpus",
    "coverage",
    "mutants.out",
    "node_modules",
    "target",
    "tenure-data",
];

/// One file, its path as seen from the root and with `/` between its parts.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    /// Its lines, numbered as editors do.
    pub(crate) fn lines(
        &self,
    ) -> impl DoubleEndedIterator<Item = (usize, &str)> + ExactSizeIterator {
        let lines: Vec<&str> = self.text.lines().collect();
        lines
            .into_iter()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }

    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// Whether it is compiled into a crate that is shipped, and not a test of its own.
    pub(crate) fn is_shipped(&self) -> bool {
        let (folder, _) = self.path.split_once("src/").unwrap_or(("none", ""));
        ["", "chat/", "client/", "engine/", "protocol/"].contains(&folder)
            && self.name() != "tests.rs"
    }

    /// Its lines before the first inline module of tests, without those that are comments.
    pub(crate) fn shipped_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self
            .lines()
            .take_while(|(_, line)| line.trim() != "#[cfg(test)]");
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file whose name ends so, in the order of their paths.
pub(crate) fn files(ending: &str) -> Vec<File> {
    let mut found = Vec::new();
    collect(&root(), ending, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "there is a file that ends with {ending}");
    found
}

/// One file, which has to be there.
pub(crate) fn file(path: &str) -> File {
    let text = fs::read_to_string(root().join(path));
    let text = text.unwrap_or_else(|error| panic!("{path}: expected a file, found {error}"));
    File {
        path: path.to_owned(),
        text,
    }
}

fn collect(folder: &Path, ending: &str, found: &mut Vec<File>) {
    for entry in fs::read_dir(folder).expect("a folder of the tree can be listed") {
        let entry = entry.expect("a folder of the tree can be listed");
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type().expect("a file has a type").is_dir() {
            if !SKIPPED.contains(&name.as_str()) {
                collect(&entry.path(), ending, found);
            }
        } else if name.ends_with(ending) {
            let path = entry.path();
            let path = path.strip_prefix(root()).expect("it lies below the root");
            let text = fs::read_to_string(entry.path()).expect("a file of the tree is UTF-8");
            found.push(File {
                path: path.to_string_lossy().replace('\\', "/"),
                text,
            });
        }
    }
}

/// What a rule has found.
#[derive(Default)]
pub(crate) struct Complaints(Vec<String>);

impl Complaints {
    /// At a line, or about a whole file when it is 0.
    pub(crate) fn add(&mut self, path: &str, line: usize, what: impl Display) {
        let place = if line == 0 {
            path.to_owned()
        } else {
            format!("{path}:{line}")
        };
        self.0.push(format!("{place}: {what}"));
    }

    /// Fails with all of them, and with what to do about it.
    #[track_caller]
    pub(crate) fn none(self, remedy: &str) {
        let count = self.0.len();
        assert!(
            count == 0,
            "{count} found.\n{}\n\nWhat to do: {remedy}\n",
            self.0.join("\n")
        );
    }
}
