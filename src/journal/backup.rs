//! A copy of a data directory that may be in use, from which a server can start.
//!
//! Reads files as they are at one moment and never asks the server. Must hold: everything that was on disk when the copy
//! began is in it, and it counts as a data directory only when it is complete and has been read back.

use std::path::Path;
use std::sync::Arc;

use super::directory::{ABOUT, Directory};
use super::error::{About as _, JournalError};
use super::recovery::{Progress, go_on, recover};
use super::segment::{Segment, Tail, is_unfinished};
use super::storage::{Disk, Storage, no_rest};

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

/// Copies the data directory at `from`, as it is when this is called, into the folder `to`, which is made, or is empty.
///
/// Costs what is kept once as memory for a file, and a replay of the copy, which is how it is known to be whole.
///
/// # Errors
///
/// There is no data directory, it is damaged, or the copy cannot be written or not be read back: then the folder is left
/// empty. Or the folder has something in it.
pub fn backup(from: &Path, to: &Path) -> Result<Copied, JournalError> {
    let source = Directory::look_at(from)?;
    let target = empty_folder(to)?;
    copy(&source, &target).inspect_err(|_| {
        // All that is in it is ours, and no copy. Whoever tries again finds it empty.
        for name in target.list().unwrap_or_default() {
            let _ = target.remove(&name);
        }
    })
}

fn copy(source: &Directory, target: &Arc<dyn Storage>) -> Result<Copied, JournalError> {
    let (contents, from) = (source.contents()?, source.storage());
    let (mut files, mut written) = (0, 0);
    let mut put = |name: &str, bytes: &[u8]| {
        files += 1;
        written += bytes.len() as u64;
        let made = target.create(name, bytes, bytes.len() as u64, &mut no_rest);
        made.map(drop).about("write", name)
    };
    for name in contents.segments.values() {
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
    target.sync_names().about("write", "the copy")?;
    let copy = Directory::on(Arc::clone(target), 1)?;
    let progress = recover(&copy, go_on)?.progress;
    Ok(Copied {
        files,
        bytes: written,
        progress,
    })
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
