//! A copy of a data directory that may be in use, from which a server can start.
//!
//! Reads files as they are and never asks the server. Must hold: everything that was on disk when the copy began is in it,
//! and it counts as a data directory only when it is complete and has been read back.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::directory::{ABOUT, Contents, Directory};
use super::error::{About as _, JournalError};
use super::recovery::{Progress, recover};
use super::segment::{Segment, Tail, is_unfinished};
use super::storage::{Disk, Storage};

/// A server that runs writes and replaces files while they are read; then they are read anew, so often at most.
const TRIES: u32 = 20;

/// What has been copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// Files.
    pub files: usize,
    /// Bytes of them.
    pub bytes: u64,
    /// What a start from the copy will read.
    pub progress: Progress,
}

/// Copies the data directory at `from` into the folder `to`, which is made, or is empty.
///
/// Costs what is kept once as memory for a file, and a replay of the copy, which is how it is known to be whole.
///
/// # Errors
///
/// There is no data directory, it is damaged, or the copy cannot be written; or the folder has something in it.
pub fn backup(from: &Path, to: &Path) -> Result<Copied, JournalError> {
    let source = Directory::look_at(from)?;
    let target = empty_folder(to)?;
    let mut tries = TRIES;
    loop {
        tries -= 1;
        match copy_once(source.storage().as_ref(), &target) {
            Err(error) if tries > 0 && may_pass(&error) => remove_all(target.as_ref())?,
            done => return done,
        }
    }
}

/// Whether an error may come from what the server did meanwhile.
fn may_pass(error: &JournalError) -> bool {
    match error {
        JournalError::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
        JournalError::Damaged(_) => true,
        JournalError::InUse { .. }
        | JournalError::NoDirectory { .. }
        | JournalError::NotEmpty { .. }
        | JournalError::Newer { .. }
        | JournalError::OtherBehaviour { .. } => false,
    }
}

fn empty_folder(path: &Path) -> Result<Arc<dyn Storage>, JournalError> {
    super::directory::make_folder(path).about("make", &path.display().to_string())?;
    let target = Disk::at(path.to_path_buf());
    let names = target.list().about("list", &path.display().to_string())?;
    if names.is_empty() {
        Ok(Arc::new(target))
    } else {
        Err(JournalError::NotEmpty {
            path: path.to_path_buf(),
        })
    }
}

fn copy_once(from: &dyn Storage, to: &Arc<dyn Storage>) -> Result<Copied, JournalError> {
    let contents = Contents::of(from)?;
    let (mut files, mut written) = (0, 0);
    let mut put = |name: &str, bytes: &[u8]| {
        files += 1;
        written += bytes.len() as u64;
        let made = to.create(name, bytes, bytes.len() as u64);
        made.map(drop).about("write", name)
    };
    // The last one first: by then those before it are complete.
    for name in contents.segments.values().rev() {
        let bytes = from.read(name).about("read", name)?;
        if is_unfinished(name, &bytes) {
            continue;
        }
        let segment = Segment::read(name, &bytes, None)?;
        if let Tail::Damaged(damage) = segment.tail {
            return Err(damage.into());
        }
        put(name, &bytes[..segment.end as usize])?;
    }
    for name in contents.snapshots.values() {
        put(name, &from.read(name).about("read", name)?)?;
    }
    // Only with this it is a data directory.
    put(ABOUT, &from.read(ABOUT).about("read", ABOUT)?)?;
    to.sync_names().about("write", "the copy")?;
    let copy = Directory::on(Arc::clone(to), 1)?;
    let progress = recover(&copy, |_| {})?.progress;
    Ok(Copied {
        files,
        bytes: written,
        progress,
    })
}

fn remove_all(target: &dyn Storage) -> Result<(), JournalError> {
    for name in target.list().about("list", "the copy")? {
        target.remove(&name).about("remove", &name)?;
    }
    Ok(())
}
