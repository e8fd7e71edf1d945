//! How many files the process may have open: each connection is one, and systems allow few unless they are asked.
//!
//! Rule: it is the service that has as many connections as it may, and says so to whoever comes; where the system had too
//! few files, whoever comes would wait for an answer that nobody can give.

use tenure_chat::config::Config;

/// Asks the system for as many files as the settings need, and takes fewer connections where it allows fewer.
pub(super) fn fit(config: &mut Config) {
    let others = config.files_beside_connections();
    let Some(allowed) = allow(config.connections_max as u64 + others) else {
        return;
    };
    let fits = usize::try_from(allowed.saturating_sub(others)).unwrap_or(usize::MAX);
    if fits < config.connections_max {
        let connections = fits.max(1);
        tracing::warn!(
            allowed,
            wanted = config.connections_max,
            connections,
            "the system allows fewer open files than connections: fewer are taken; raise `ulimit -n`, or lower \
             --connections-max"
        );
        config.connections_max = connections;
    }
}

/// How many files may be open, once the system was asked for so many; `None` where it does not say.
#[cfg(unix)]
fn allow(wanted: u64) -> Option<u64> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let asked = wanted.min(hard);
    if soft >= asked {
        return Some(soft);
    }
    match setrlimit(Resource::RLIMIT_NOFILE, asked, hard) {
        Ok(()) => Some(asked),
        Err(_) => Some(soft),
    }
}

#[cfg(not(unix))]
const fn allow(_: u64) -> Option<u64> {
    None
}
