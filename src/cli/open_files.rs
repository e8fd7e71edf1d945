//! How many files the server may have open: each connection is one, and systems allow few unless they are asked.
//!
//! Rule: it is the server that has as many connections as it may, and says so to whoever comes; where the system had too
//! few files, whoever comes would wait for an answer that nobody can give.

use tenure::config::Config;

/// What is open beside connections: the journal and its snapshots, listeners, whoever is being turned away.
const OTHERS: u64 = 256;

/// Asks the system for as many files as the settings need, and takes fewer connections where it allows fewer.
pub(super) fn fit(config: &mut Config) {
    let wanted = config.connections_max;
    // A system that does not say how many it allows may allow as many.
    let Ok(allowed) = rlimit::increase_nofile_limit(wanted as u64 + OTHERS) else {
        return;
    };
    let fits = usize::try_from(allowed.saturating_sub(OTHERS)).unwrap_or(usize::MAX);
    if fits < wanted {
        let connections = fits.max(1);
        tracing::warn!(
            allowed,
            wanted,
            connections,
            "the system allows fewer open files than connections: fewer are taken; raise `ulimit -n`, or lower \
             connections_max"
        );
        config.connections_max = connections;
    }
}
