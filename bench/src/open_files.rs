//! How many files a process may have open: each connection is one, and systems allow few unless they are asked.

use anyhow::Result;

/// Allows this process, and those that it starts from here on, so many open files.
///
/// # Errors
/// The system does not allow as many; the error says what to do.
#[cfg(unix)]
pub fn allow(files: u64) -> Result<()> {
    use anyhow::{Context as _, ensure};
    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft >= files {
        return Ok(());
    }
    ensure!(
        hard >= files,
        "this needs {files} open files, and the system allows {hard}: allow more with `ulimit -n {files}` as an \
         administrator, or open fewer connections"
    );
    setrlimit(Resource::RLIMIT_NOFILE, files, hard)
        .context("the limit of open files stays as it is")
}

/// Where there is no such limit.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn allow(_: u64) -> Result<()> {
    Ok(())
}
