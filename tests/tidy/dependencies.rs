//! Who may depend on whom, and on what of others. A new edge is a change of the design: it is a line here, where a review
//! sees it, and one in ARCHITECTURE.md.

use crate::tree::{Complaints, File, file};

/// What a crate may depend on of ours, apart from its tests.
struct Edges {
    manifest: &'static str,
    ours: &'static [&'static str],
    /// All that it may depend on of others; `None` where that is free.
    others: Option<&'static [&'static str]>,
}

const EDGES: &[Edges] = &[
    // Pure: no runtime, no clock, no wire.
    Edges {
        manifest: "engine/Cargo.toml",
        ours: &[],
        others: Some(&["compact_str", "hashbrown", "slab"]),
    },
    // Bytes and messages: no runtime, no socket, no lock rule.
    Edges {
        manifest: "protocol/Cargo.toml",
        ours: &[],
        others: Some(&["ascii", "bytes", "rmp", "serde", "thiserror"]),
    },
    // What others depend on: the wire, and neither what decides nor what serves.
    Edges {
        manifest: "client/Cargo.toml",
        ours: &["tenure-protocol"],
        others: None,
    },
    // The server; the client is for its command line.
    Edges {
        manifest: "Cargo.toml",
        ours: &["tenure-client", "tenure-engine", "tenure-protocol"],
        others: None,
    },
    // The companion: Tenure's client like any other, so the client is all that it knows of Tenure.
    Edges {
        manifest: "chat/Cargo.toml",
        ours: &["tenure-client"],
        others: None,
    },
    Edges {
        manifest: "bench/Cargo.toml",
        ours: &[
            "tenure",
            "tenure-client",
            "tenure-engine",
            "tenure-protocol",
        ],
        others: None,
    },
    // Few of others, so that it is built optimised in no time.
    Edges {
        manifest: "bench/instructions/Cargo.toml",
        ours: &["tenure-engine", "tenure-protocol"],
        others: Some(&["anyhow", "bytes"]),
    },
    Edges {
        manifest: "fuzz/Cargo.toml",
        ours: &["tenure-engine", "tenure-protocol"],
        others: None,
    },
];

/// One line of a table of dependencies.
struct Dependency<'a> {
    line: usize,
    name: &'a str,
    value: &'a str,
}

#[test]
fn every_crate_depends_on_what_it_may() {
    let mut complaints = Complaints::default();
    for edges in EDGES {
        let manifest = file(edges.manifest);
        for dependency in dependencies(&manifest, "dependencies") {
            let name = dependency.name;
            let is_ours = name == "tenure" || name.starts_with("tenure-");
            let is_allowed = if is_ours {
                edges.ours.contains(&name)
            } else {
                edges.others.is_none_or(|others| others.contains(&name))
            };
            if !is_allowed {
                let allowed = [edges.ours, edges.others.unwrap_or_default()]
                    .concat()
                    .join(", ");
                let what = format!("expected none but [{allowed}], found {name}");
                complaints.add(edges.manifest, dependency.line, what);
            }
        }
    }
    complaints.none(
        "do without it; or, if the design has changed, add the edge to tests/tidy/dependencies.rs.",
    );
}

#[test]
fn every_member_is_known_here() {
    let root = file("Cargo.toml");
    let mut complaints = Complaints::default();
    let members = root
        .text
        .lines()
        .find(|line| line.starts_with("members = "))
        .unwrap_or_default();
    for member in members.split('"').skip(1).step_by(2) {
        if !EDGES
            .iter()
            .any(|edges| edges.manifest == format!("{member}/Cargo.toml"))
        {
            complaints.add(
                "Cargo.toml",
                0,
                format!("expected a known member, found {member}"),
            );
        }
    }
    complaints.none("say in tests/tidy/dependencies.rs what the new crate may depend on.");
}

#[test]
fn every_version_and_every_lint_stands_in_the_root() {
    let mut complaints = Complaints::default();
    for edges in EDGES
        .iter()
        .filter(|edges| edges.manifest != "fuzz/Cargo.toml")
    {
        let manifest = file(edges.manifest);
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for Dependency { line, name, value } in dependencies(&manifest, table) {
                if !value.contains("workspace = true") {
                    let what = format!("expected `{name}.workspace = true`, found `{name}{value}`");
                    complaints.add(edges.manifest, line, what);
                }
            }
        }
        if !manifest.text.contains("[lints]\nworkspace = true\n") {
            complaints.add(
                edges.manifest,
                0,
                "expected the workspace's lints, found others or none",
            );
        }
    }
    complaints.none("put the version, with its reason, into [workspace.dependencies] of the root.");
}

#[test]
fn the_engine_is_pure() {
    let front = file("engine/src/lib.rs");
    let mut complaints = Complaints::default();
    for attribute in ["#![no_std]", "#![forbid(unsafe_code)]"] {
        if !front.text.lines().any(|line| line == attribute) {
            complaints.add(
                &front.path,
                0,
                format!("expected `{attribute}`, found none"),
            );
        }
    }
    complaints.none(
        "the engine reads no clock, file, socket or thread: without std it cannot even name them.",
    );
}

/// The lines of one table, whichever way they are written.
fn dependencies<'a>(manifest: &'a File, table: &str) -> Vec<Dependency<'a>> {
    let heading = format!("[{table}]");
    let mut is_inside = false;
    let mut found = Vec::new();
    let lines = manifest
        .text
        .lines()
        .enumerate()
        .map(|(index, text)| (index + 1, text));
    for (line, text) in lines {
        if text.starts_with('[') {
            is_inside = text == heading;
        } else if is_inside && text.starts_with(|first: char| first.is_ascii_alphabetic()) {
            let end = text.find([' ', '.', '=']).unwrap_or(text.len());
            found.push(Dependency {
                line,
                name: &text[..end],
                value: &text[end..],
            });
        }
    }
    found
}
