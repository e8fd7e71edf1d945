//! What documents say of the tree is so: their links lead somewhere, the tests they name exist, decisions say what
//! would change our mind.

use std::fs;

use crate::tree::{Complaints, File, file, files, root};

/// A page.
const PAGE: usize = 60;

#[test]
fn links_lead_somewhere() {
    let mut complaints = Complaints::default();
    for document in files(".md") {
        for (line, label, target) in links(&document) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            if let Err(found) = follow(&document, label, target) {
                complaints.add(
                    &document.path,
                    line,
                    format!("expected {target} to lead somewhere, found {found}"),
                );
            }
        }
    }
    complaints.none("write the link as it has to be seen from the document's own folder.");
}

#[test]
fn decisions_are_one_page_and_complete() {
    let parts = [
        "## Context",
        "## Decision",
        "## Alternatives",
        "## What would change our mind",
    ];
    let mut complaints = Complaints::default();
    for decision in files(".md").into_iter().filter(is_decision) {
        for part in parts
            .iter()
            .filter(|part| !decision.text.lines().any(|line| line == **part))
        {
            complaints.add(
                &decision.path,
                0,
                format!("expected a part {part:?}, found none"),
            );
        }
        let lines = decision.text.lines().count();
        if lines > PAGE {
            complaints.add(
                &decision.path,
                0,
                format!("expected at most {PAGE} lines, found {lines}"),
            );
        }
    }
    complaints.none("a decision has these four parts, on one page. What is longer belongs into ARCHITECTURE.md.");
}

/// Decisions have a number; the list of them does not.
fn is_decision(file: &File) -> bool {
    file.path.starts_with("docs/adr/") && file.name().starts_with(|c: char| c.is_ascii_digit())
}

/// Where a link leads is there; and if it names a piece of code by `name`, that name stands there.
fn follow(document: &File, label: &str, target: &str) -> Result<(), String> {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let folder = document
        .path
        .rsplit_once('/')
        .map_or("", |(folder, _)| folder);
    let place = if path.is_empty() {
        root().join(&document.path)
    } else {
        root().join(folder).join(path)
    };
    if !place.exists() {
        return Err("nothing there".to_owned());
    }
    if place.is_dir() {
        return Ok(());
    }
    let text = fs::read_to_string(&place).map_err(|error| error.to_string())?;
    if !anchor.is_empty()
        && path.ends_with(".md") | path.is_empty()
        && !headings(&text).any(|found| found == anchor)
    {
        return Err("no such heading".to_owned());
    }
    if let Some(name) = label
        .strip_prefix('`')
        .and_then(|label| label.strip_suffix('`'))
        && path.ends_with(".rs")
        && name.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !text.contains(name)
    {
        return Err(format!("no `{name}` in it"));
    }
    Ok(())
}

/// Line, label and target of each link outside of code.
fn links(document: &File) -> Vec<(usize, &str, &str)> {
    let mut links = Vec::new();
    let mut is_code = false;
    for (index, mut text) in document.text.lines().enumerate() {
        if text.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        while let (false, Some(middle)) = (is_code, text.find("](")) {
            let label = text[..middle]
                .rfind('[')
                .map_or("", |start| &text[start + 1..middle]);
            let rest = &text[middle + 2..];
            let end = rest.find([')', ' ']).unwrap_or(rest.len());
            links.push((index + 1, label, &rest[..end]));
            text = rest;
        }
    }
    links
}

/// The anchors of the headings, as they are shown on the web.
fn headings(text: &str) -> impl Iterator<Item = String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| {
        let words = line.trim_start_matches('#').trim().to_lowercase();
        let kept = words
            .chars()
            .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

#[test]
fn the_tests_of_the_tests_of_documents() {
    let testing = file("docs/testing.md");
    let found = links(&testing);
    assert!(
        found.iter().any(|(_, label, _)| label.starts_with('`')),
        "the bugs found name their tests"
    );
    assert_eq!(
        headings("# Bugs found, and by what").next().as_deref(),
        Some("bugs-found-and-by-what")
    );
}
