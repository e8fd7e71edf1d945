//! `docs/protocol.md`, the catalog, the types, the error table and the vectors say the same.
//!
//! People write clients from the document alone, so whatever the code declares has to stand there, in order, with number,
//! name, type and bounds; and nothing else may. Only what a row means is left to whoever writes it.

use std::collections::{BTreeMap, BTreeSet};
use std::{fs, path::Path};

use serde_json::Value;
use tenure_protocol::catalog::{self, PUSHES, REQUESTS};
use tenure_protocol::shape::{Field, Shape, Type};
use tenure_protocol::{Class, ErrorCode, FromClient, FromServer, frame, limits};

/// Bounds that stand once in the document and go by a name in its tables.
const SPELLINGS: &[(&str, limits::Text)] = &[
    ("org", limits::ORG),
    ("path", limits::PATH),
    ("filter", limits::FILTER),
    ("owner", limits::OWNER),
    ("name", limits::NAME),
];

#[test]
fn requests_and_replies_are_those_of_the_catalog() {
    let expected = REQUESTS.iter().map(|entry| {
        let (number, name) = (entry.kind.number().to_string(), entry.kind.name());
        let mut lines = signature("**Request** ", &[&number, "id"], &entry.request);
        lines.extend(rows(&entry.request));
        lines.extend(signature("**Reply** ", &[&number, "id"], &entry.reply));
        lines.extend(rows(&entry.reply));
        (format!("{number} `{name}`"), lines)
    });
    compare(&described_under("Requests and replies"), expected);
}

#[test]
fn pushes_are_those_of_the_catalog() {
    let expected = PUSHES.iter().map(|entry| {
        let (number, name) = (entry.kind.number().to_string(), entry.kind.name());
        let mut lines = signature("**Push** ", &[&number], &entry.push);
        lines.extend(rows(&entry.push));
        (format!("{number} `{name}`"), lines)
    });
    compare(&described_under("Pushes"), expected);
}

#[test]
fn the_error_is_described() {
    let mut lines = signature("**Reply** ", &["0", "id"], &catalog::ERROR);
    lines.extend(rows(&catalog::ERROR));
    let said = described_under("Errors");
    compare(&said[..1], [("0 `error`".to_owned(), lines)]);
}

#[test]
fn types_are_those_of_the_fields() {
    let expected = types()
        .into_iter()
        .filter(|(_, shape)| !matches!(shape, Shape::Code))
        .map(|(name, shape)| {
            let mut lines = match shape {
                Shape::Fields(_) | Shape::Choice { .. } => signature("", &[], &shape),
                Shape::Names(_) | Shape::Code => Vec::new(),
            };
            lines.extend(rows(&shape));
            (name.to_owned(), lines)
        });
    compare(&described_under("Types"), expected);
}

#[test]
fn the_catalog_is_the_catalog() {
    let requests = REQUESTS.iter().map(|entry| {
        let (number, name, role) = (entry.kind.number(), entry.kind.name(), entry.least_role);
        let about = entry.about.trim_end_matches('.');
        format!(
            "{number} | `{name}` | request | {} | `{role}` | {about}",
            entry.since
        )
    });
    let pushes = PUSHES.iter().map(|entry| {
        let (number, name) = (entry.kind.number(), entry.kind.name());
        let about = entry.about.trim_end_matches('.');
        format!("{number} | `{name}` | push | {} |  | {about}", entry.since)
    });
    assert_eq!(
        table("The catalog", 0),
        requests.chain(pushes).collect::<Vec<_>>()
    );
}

#[test]
fn error_codes_are_those_of_the_table() {
    let expected = ErrorCode::ALL.iter().map(|code| {
        let (class, sentence) = (code.class().name(), code.sentence().trim_end_matches('.'));
        format!(
            "{} | `{}` | `{class}` | {sentence}",
            code.number(),
            code.name()
        )
    });
    assert_eq!(table("Code", 1), expected.collect::<Vec<_>>());

    let classes = table("Code", 0);
    for (class, hundred) in classes.iter().zip(1..) {
        let expected = format!(
            "`{}` | {hundred}00 to {hundred}99 |",
            Class::of(hundred * 100).name()
        );
        assert!(class.starts_with(&expected), "{class}");
        let goodbye = class.split(" | ").last().expect("a last cell");
        let reconnects = !goodbye.starts_with("Do not connect");
        assert_eq!(reconnects, Class::of(hundred * 100).reconnects(), "{class}");
    }
    assert_eq!(classes.len(), 5);
}

#[test]
fn error_codes_are_sorted_and_in_their_class() {
    let numbers: Vec<_> = ErrorCode::ALL.iter().map(|code| code.number()).collect();
    assert!(
        numbers.is_sorted_by(|earlier, later| earlier < later),
        "{numbers:?}"
    );
    assert!(numbers.iter().all(|number| (100..600).contains(number)));
}

#[test]
fn bounds_that_hold_everywhere_are_told() {
    let spellings = SPELLINGS
        .iter()
        .map(|(name, text)| format!("{name} | {text} |"));
    let said = table("Spellings", 0);
    assert_eq!(said.len(), SPELLINGS.len());
    for (said, expected) in said.iter().zip(spellings) {
        assert!(
            said.starts_with(&expected),
            "{said} should begin with {expected}"
        );
    }

    let frames = table("Frames", 0);
    assert_eq!(frames.len(), 3);
    let largest = [
        limits::FRAME_BEFORE_HELLO,
        limits::FRAME_FROM_CLIENT,
        limits::FRAME_FROM_SERVER,
    ];
    for (said, bytes) in frames.iter().zip(largest) {
        assert!(
            said.contains(&format!("| {bytes} bytes")),
            "{said} should say {bytes}"
        );
    }

    let text = text();
    for number in [
        limits::NUMBER_MAX,
        limits::DEAD_AFTER_MS,
        limits::MISSED_MAX as u64,
        limits::VIEWERS_LISTED_MAX as u64,
        limits::COLLISION_BY_MAX as u64,
    ] {
        assert!(
            text.contains(&number.to_string()),
            "{number} should be said somewhere"
        );
    }
}

#[test]
fn the_conversation_is_made_of_frames() {
    let text = text();
    let sections = sections(&text);
    let section = sections
        .iter()
        .find(|section| section.heading.starts_with("A conversation"));
    let fenced = &section.expect("there is a conversation").fenced;
    let blocks: Vec<_> = fenced
        .split(|line| *line == "```")
        .map(bytes_of_a_block)
        .filter(|block| !block.is_empty())
        .collect();
    assert_eq!(blocks.len(), 6);

    for (number, block) in blocks.iter().enumerate() {
        let mut frames = frame::Frames::new(block, limits::FRAME_FROM_SERVER);
        let payload = frames.next().expect("a frame").expect("a sound one");
        assert_eq!(frames.consumed(), block.len(), "one frame a block");
        let mut again = bytes::BytesMut::new();
        if number % 2 == 0 {
            let FromClient { id, request } = FromClient::decode(payload).expect("a request");
            request.encode(id, &mut again);
        } else {
            let FromServer::Reply { id, reply } = FromServer::decode(payload).expect("an answer")
            else {
                panic!("expected a reply in block {number}");
            };
            reply.encode(id, &mut again);
        }
        assert_eq!(again, block, "it is written as our side writes it");
    }
    let golden: Vec<_> = vectors()
        .iter()
        .map(|vector| from_hex(&vector["hex"]))
        .collect();
    assert!(
        blocks.iter().all(|block| golden.contains(block)),
        "each is a golden vector"
    );
}

#[test]
fn vectors_cover_everything() {
    let vectors = vectors();
    let ops = |file: &str| -> BTreeSet<_> {
        let of_the_file = |vector: &&Value| vector["name"].as_str().unwrap().starts_with(file);
        let op = |vector: &Value| vector["json"]["op"].as_str().unwrap().to_owned();
        vectors.iter().filter(of_the_file).map(op).collect()
    };
    let requests: BTreeSet<_> = REQUESTS
        .iter()
        .map(|entry| entry.kind.name().to_owned())
        .collect();
    let pushes: BTreeSet<_> = PUSHES
        .iter()
        .map(|entry| entry.kind.name().to_owned())
        .collect();
    assert_eq!(ops("request "), requests);
    assert_eq!(ops("reply "), requests);
    assert_eq!(ops("push "), pushes);

    let mut used = BTreeSet::new();
    vectors
        .iter()
        .for_each(|vector| texts(&vector["json"], "", &mut used));
    for (name, shape) in types() {
        match shape {
            Shape::Names(names) => {
                for (_, value) in names {
                    assert!(used.iter().any(|(_, text)| text == value), "{name} {value}");
                }
            }
            Shape::Choice { tag, variants } => {
                for variant in variants {
                    let use_ = (tag.to_owned(), variant.name.to_owned());
                    assert!(used.contains(&use_), "{name} {}", variant.name);
                }
            }
            Shape::Code => {
                for code in ErrorCode::ALL {
                    let use_ = ("code".to_owned(), code.name().to_owned());
                    assert!(used.contains(&use_), "{code:?}");
                }
            }
            Shape::Fields(_) => {}
        }
    }
    for entry in REQUESTS {
        let Shape::Choice { tag, variants } = entry.reply else {
            continue;
        };
        for variant in variants {
            let is_such = |vector: &Value| {
                vector["json"]["op"] == entry.kind.name() && vector["json"][tag] == variant.name
            };
            assert!(
                vectors.iter().any(is_such),
                "{} {}",
                entry.kind,
                variant.name
            );
        }
    }
}

#[test]
fn every_row_means_something_and_every_link_leads_somewhere() {
    let text = text();
    let sections = sections(&text);
    let anchors: BTreeSet<_> = sections
        .iter()
        .map(|section| anchor(section.heading))
        .collect();
    for section in &sections {
        for line in &section.body {
            if let Some(cells) = cells(line) {
                let meaning = cells.last().expect("a row has cells");
                assert!(!meaning.is_empty(), "{line}");
            }
            for link in line.split("](#").skip(1) {
                let target = link.split(')').next().expect("a link is closed");
                assert!(anchors.contains(target), "#{target} leads nowhere");
            }
        }
    }
}

// What the code says.

/// The elements of the array, by name.
fn signature(label: &str, before: &[&str], shape: &Shape) -> Vec<String> {
    let mut names: Vec<_> = before.to_vec();
    match shape {
        Shape::Fields(fields) => names.extend(fields.iter().map(|field| field.name)),
        Shape::Choice { tag, .. } => names.extend([tag, "..."]),
        Shape::Names(_) | Shape::Code => {}
    }
    vec![format!("{label}`[{}]`", names.join(", "))]
}

/// The rows of the table, without what they mean.
fn rows(shape: &Shape) -> Vec<String> {
    match shape {
        Shape::Fields([]) | Shape::Code => Vec::new(),
        Shape::Fields(fields) => {
            let header = "field | type | bounds".to_owned();
            [header].into_iter().chain(fields.iter().map(row)).collect()
        }
        Shape::Choice { tag, variants } => {
            let mut rows = vec![format!("`{tag}` | field | type | bounds")];
            for variant in *variants {
                rows.push(format!("{} `{}` |  |  | ", variant.number, variant.name));
                rows.extend(
                    variant
                        .fields
                        .iter()
                        .map(|field| format!(" | {}", row(field))),
                );
            }
            rows
        }
        Shape::Names(names) => {
            let header = "number | name".to_owned();
            let names = names
                .iter()
                .map(|(number, name)| format!("{number} | `{name}`"));
            [header].into_iter().chain(names).collect()
        }
    }
}

fn row(field: &Field) -> String {
    let (type_, optional) = if let Type::Optional(inner) = field.type_ {
        (*inner, true)
    } else {
        (field.type_, false)
    };
    let bounds = field.bounds.map(|bounds| {
        let bounds = bounds();
        let spelling = SPELLINGS
            .iter()
            .find(|(_, text)| text.to_string() == bounds);
        spelling.map_or(bounds, |(name, _)| (*name).to_owned())
    });
    let absent = match (field.default, optional) {
        (Some("\"\"" | "b\"\""), _) => Some("absent is empty".to_owned()),
        (Some("ReleaseScope::Session"), _) => Some("absent is `session`".to_owned()),
        (Some("Activity::Viewing"), _) => Some("absent is `viewing`".to_owned()),
        (Some(default), _) => Some(format!("absent is {default}")),
        (None, true) => Some("may be absent".to_owned()),
        (None, false) => None,
    };
    let bounds: Vec<_> = bounds.into_iter().chain(absent).collect();
    format!("`{}` | {type_} | {}", field.name, bounds.join("; "))
}

/// All types that fields have, and the fields of those, by name.
fn types() -> BTreeMap<&'static str, Shape> {
    let mut types = BTreeMap::new();
    collect(&catalog::ERROR, &mut types);
    for entry in REQUESTS {
        collect(&entry.request, &mut types);
        collect(&entry.reply, &mut types);
    }
    for entry in PUSHES {
        collect(&entry.push, &mut types);
    }
    types
}

fn collect(shape: &Shape, types: &mut BTreeMap<&'static str, Shape>) {
    let fields: Vec<&Field> = match shape {
        Shape::Fields(fields) => fields.iter().collect(),
        Shape::Choice { variants, .. } => {
            variants.iter().flat_map(|variant| variant.fields).collect()
        }
        Shape::Names(_) | Shape::Code => Vec::new(),
    };
    for field in fields {
        let mut type_ = field.type_;
        while let Type::Optional(inner) | Type::List(inner) = type_ {
            type_ = inner;
        }
        if let Type::Named(name, shape) = type_
            && types.insert(name, **shape).is_none()
        {
            collect(shape, types);
        }
    }
}

// What the document says.

struct Section<'t> {
    heading: &'t str,
    depth: usize,
    body: Vec<&'t str>,
    /// What stands between fences.
    fenced: Vec<&'t str>,
}

fn text() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/protocol.md");
    fs::read_to_string(path).expect("the document is there")
}

fn sections(text: &str) -> Vec<Section<'_>> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    let mut is_fenced = false;
    for line in text.lines() {
        let is_fence = line.starts_with("```");
        is_fenced ^= is_fence;
        let depth = line.bytes().take_while(|&byte| byte == b'#').count();
        if depth > 0 && !is_fenced {
            let heading = line[depth..].trim();
            sections.push(Section {
                heading,
                depth,
                body: Vec::new(),
                fenced: Vec::new(),
            });
            continue;
        }
        let section = sections.last_mut().expect("it begins with a heading");
        if is_fenced || is_fence {
            section.fenced.push(line);
        } else {
            section.body.push(line);
        }
    }
    sections
}

/// The signatures and the rows, without their meanings, of each section below a heading. A section without any only sorts
/// the others.
fn described_under(heading: &str) -> Vec<(String, Vec<String>)> {
    let text = text();
    let sections = sections(&text);
    let place = sections
        .iter()
        .position(|section| section.heading == heading);
    let place = place.unwrap_or_else(|| panic!("there should be a section {heading}"));
    let depth = sections[place].depth;
    let below = sections[place + 1..]
        .iter()
        .take_while(|section| section.depth > depth);
    let described = below.map(|section| {
        let lines = section.body.iter().filter_map(|line| match cells(line) {
            Some(cells) => Some(cells[..cells.len() - 1].join(" | ")),
            None => line
                .contains("`[")
                .then(|| (*line).to_owned())
                .filter(|line| is_signature(line)),
        });
        (section.heading.to_owned(), lines.collect::<Vec<_>>())
    });
    described.filter(|(_, lines)| !lines.is_empty()).collect()
}

fn is_signature(line: &str) -> bool {
    line.starts_with("`[") || line.starts_with("**")
}

/// The rows of a table of a section, header left out.
fn table(heading: &str, number: usize) -> Vec<String> {
    let text = text();
    let sections = sections(&text);
    let section = sections.iter().find(|section| section.heading == heading);
    let body = &section
        .unwrap_or_else(|| panic!("there should be a section {heading}"))
        .body;
    let mut tables: Vec<Vec<String>> = Vec::new();
    let mut inside = false;
    for line in body {
        if line.starts_with('|') && !inside {
            tables.push(Vec::new());
        }
        inside = line.starts_with('|');
        if let Some(cells) = cells(line) {
            tables
                .last_mut()
                .expect("a row is in a table")
                .push(cells.join(" | "));
        }
    }
    tables.swap_remove(number).split_off(1)
}

/// The cells of a row, without links; nothing for what is not a row, or separates the header.
fn cells(line: &str) -> Option<Vec<String>> {
    let row = line.strip_prefix('|')?.strip_suffix('|')?;
    let cells: Vec<_> = row.split('|').map(|cell| unlinked(cell.trim())).collect();
    (!cells.iter().all(|cell| cell == "---")).then_some(cells)
}

/// `[Grant](#grant)` as `Grant`.
fn unlinked(cell: &str) -> String {
    let mut plain = String::new();
    let mut rest = cell;
    while let Some((before, link)) = rest.split_once('[')
        && let Some((label, target)) = link.split_once("](")
        && let Some((_, after)) = target.split_once(')')
    {
        plain.push_str(before);
        plain.push_str(label);
        rest = after;
    }
    plain + rest
}

/// What a link to a heading is called.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    heading
        .to_lowercase()
        .chars()
        .filter(kept)
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[track_caller]
fn compare(
    said: &[(String, Vec<String>)],
    expected: impl IntoIterator<Item = (String, Vec<String>)>,
) {
    let expected: Vec<_> = expected.into_iter().collect();
    for ((said_heading, said), (heading, lines)) in said.iter().zip(&expected) {
        assert_eq!(said_heading, heading, "in this order");
        let (said, lines) = (said.join("\n"), lines.join("\n"));
        assert!(
            said == lines,
            "{heading} should say\n\n{lines}\n\nand says\n\n{said}"
        );
    }
    let headings = |of: &[(String, _)]| of.iter().map(|(heading, _)| heading.clone()).collect();
    let (said, expected): (Vec<_>, Vec<_>) = (headings(said), headings(&expected));
    assert_eq!(said, expected);
}

// What the vectors say.

fn vectors() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let files = ["request", "reply", "error", "push"].into_iter();
    let read = |file| {
        let text = fs::read_to_string(folder.join(format!("{file}.json"))).expect("it is there");
        serde_json::from_str::<Vec<Value>>(&text).expect("it is JSON")
    };
    files.flat_map(read).collect()
}

/// Every text in a value, with the name of the field that it is in.
fn texts(value: &Value, field: &str, used: &mut BTreeSet<(String, String)>) {
    match value {
        Value::String(text) => {
            used.insert((field.to_owned(), text.clone()));
        }
        Value::Array(values) => values.iter().for_each(|value| texts(value, field, used)),
        Value::Object(fields) => {
            fields
                .iter()
                .for_each(|(field, value)| texts(value, field, used));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn from_hex(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().expect("hex digits");
    let byte = |place| u8::from_str_radix(&hex[place..place + 2], 16).expect("two hex digits");
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// The bytes on the left of every line after the opening fence; what they mean comes after two spaces.
fn bytes_of_a_block(block: &[&str]) -> Vec<u8> {
    let lines = block.iter().skip(1);
    let left = lines.map(|line| line.trim_start().split("  ").next().expect("a first part"));
    let digits: String = left
        .flat_map(str::chars)
        .filter(|c| !c.is_whitespace())
        .collect();
    from_hex(&Value::String(digits))
}
