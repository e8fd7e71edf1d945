//! How many files a process may have open: each connection is one, and systems allow few unless they are asked.

use anyhow::{Context as _, Result, ensure};

/// Allows this process, and those that it starts from here on, so many open files.
///
/// # Errors
/// The system does not allow as many; the error says what to do.
pub fn allow(files: u64) -> Result<()> {
    let allowed =
        rlimit::increase_nofile_limit(files).context("the limit of open files stays as it is")?;
    ensure!(
        allowed >= files,
        "this needs {files} open files, and the system allows {allowed}: allow more with `ulimit -n {files}` as an \
         administrator, or open fewer connections"
    );
    Ok(())
}
