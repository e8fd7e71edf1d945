//! Tells a person who watches how far it is. One who cannot see it misses nothing.

use std::io::{IsTerminal as _, Write as _, stderr};

/// Shows a line in place of the one before.
pub(super) fn show(line: &str) {
    if stderr().is_terminal() {
        drop(write!(stderr(), "\r\x1b[K{line}"));
    }
}

/// Leaves the place clean for what is told at the end.
pub(super) fn clear() {
    show("");
}
