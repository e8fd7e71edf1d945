//! Why a journal cannot be used: what an operator reads, with the file and what to do.
//!
//! A full disk is no error of these: it is an answer, [`Full`](super::Full), and passes.

use std::io;
use std::path::PathBuf;

/// Why a data directory, or a file in it, cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The disk does not do what it is asked for.
    #[error("cannot {doing} {file}: {why}{}", remedy(why))]
    Io {
        /// What was to be done, as a verb.
        doing: &'static str,
        /// To which file.
        file: String,
        /// Why not. Said in the text, and so not told as its source again.
        why: io::Error,
    },
    /// Another server has the directory.
    #[error("{} is in use by another server; stop it, or give this one a directory of its own", .path.display())]
    InUse {
        /// Which directory.
        path: PathBuf,
    },
    /// There is no data directory.
    #[error("{} is no data directory: {why}", .path.display())]
    NoDirectory {
        /// Which directory.
        path: PathBuf,
        /// What is missing.
        why: &'static str,
    },
    /// It is not one of the files that a journal has.
    #[error("{} {why}", .path.display())]
    NoFile {
        /// Which file.
        path: PathBuf,
        /// What it is instead, and what to name.
        why: &'static str,
    },
    /// A copy would be mixed with what is there.
    #[error("{} has something in it; choose a folder that is empty, or that is not there", .path.display())]
    NotEmpty {
        /// Which folder.
        path: PathBuf,
    },
    /// A later version wrote it.
    #[error(
        "{file} was written by tenure {binary} in format {found}, and this one reads formats up to {ours}; start tenure \
         {binary} or later"
    )]
    Newer {
        /// Which file.
        file: String,
        /// The format in it.
        found: u32,
        /// The latest that is known here.
        ours: u32,
        /// What wrote it.
        binary: String,
    },
    /// It has to be replayed by other rules than ours.
    #[error(
        "{file} holds a history that tenure {binary} has lived by other rules (behaviour {found}, here {ours}; those of debug \
         builds are above a million); start tenure {binary} and stop it cleanly, then start this one"
    )]
    OtherBehaviour {
        /// Which file.
        file: String,
        /// The behaviour that it was lived by.
        found: u32,
        /// Ours.
        ours: u32,
        /// What wrote it.
        binary: String,
    },
    /// Whoever asked for it does not want it any more.
    #[error("stopped before all of history was replayed; nothing has been changed")]
    Stopped,
    /// What was kept is not what is there.
    #[error(transparent)]
    Damaged(#[from] Damage),
}

/// A place at which a file is not what was written, though it was on disk once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{file} is damaged at byte {offset}: {what}; nothing has been changed. Look with `tenure journal verify DIR` and `tenure \
     journal inspect FILE`, and restore the directory from a backup: a server without what is damaged would break its \
     promises"
)]
pub struct Damage {
    /// Which file.
    pub file: String,
    /// Where in it.
    pub offset: u64,
    /// What was expected and what was found.
    pub what: String,
}

impl Damage {
    pub(super) fn new(file: &str, offset: u64, what: impl Into<String>) -> Self {
        Self {
            file: String::from(file),
            offset,
            what: what.into(),
        }
    }
}

/// Says of an input or output which file it was about.
pub(super) trait About<T> {
    fn about(self, doing: &'static str, file: &str) -> Result<T, JournalError>;
}

impl<T> About<T> for io::Result<T> {
    fn about(self, doing: &'static str, file: &str) -> Result<T, JournalError> {
        self.map_err(|why| JournalError::Io {
            doing,
            file: String::from(file),
            why,
        })
    }
}

/// What to do about it, where it is known.
#[expect(clippy::wildcard_enum_match_arm, reason = "io::ErrorKind is open")]
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; the server has to be able to write there"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; make room on the disk, nothing is lost"
        }
        _ => "",
    }
}
