//! What the compiler is told to overlook, it is told why. Clippy says so too, where the workspace's lints reach; this
//! also sees the crates outside of the workspace and what is compiled only now and then.

use crate::tree::{Complaints, files};

#[test]
fn every_allow_and_expect_has_a_reason() {
    let mut complaints = Complaints::default();
    for file in files(".rs") {
        for (line, text) in file.lines() {
            let begins = ["#[allow(", "#![allow(", "#[expect(", "#![expect("];
            if !begins
                .iter()
                .any(|begin| text.trim_start().starts_with(begin))
            {
                continue;
            }
            let attribute: Vec<&str> = file.text.lines().skip(line - 1).take(8).collect();
            let attribute = attribute.join("\n");
            let end = attribute.find(")]").unwrap_or(attribute.len());
            if !attribute[..end].contains("reason = \"") {
                complaints.add(
                    &file.path,
                    line,
                    format!("expected a reason, found {}", text.trim()),
                );
            }
        }
    }
    complaints.none("add `reason = \"...\"`: what makes the exception right, as a sentence.");
}
