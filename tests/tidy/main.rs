//! The tree keeps its own rules: `CONTRIBUTING.md` says them, here they are checked, by reading files and nothing else.
//!
//! Rules are ratchets: they keep small things from growing in silence. An exception is a line in a list here, with its
//! reason, so that a review sees it. Each complaint says what was expected, what was found, and what to do.

mod attributes;
mod dependencies;
mod documents;
mod headers;
mod lengths;
mod names;
mod reach;
mod tree;
mod words;
