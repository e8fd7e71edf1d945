//! The data directory: whose it is, how many shards it has, which version it has, and where its files are.
//!
//! Knows the names of files, not what is in segments and snapshots. Must hold: one server at a time; the number of shards
//! never changes, since orgs are spread by it.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::error::{About as _, Damage, JournalError};
use super::pinned::{Pinned, WrittenUpTo};
use super::segment::segment_index;
use super::snapshot::{self, snapshot_place};
use super::storage::{Disk, Storage, no_rest};

/// The format of directories; a later one is not touched.
pub(super) const FORMAT: u32 = 1;

pub(super) const ABOUT: &str = "about";
const ABOUT_UNFINISHED: &str = "about.unfinished";
const LOCK: &str = "lock";

/// A data directory in use. The lock is given back when it is dropped, and by the system if the process dies.
#[derive(Debug)]
pub struct Directory {
    storage: Arc<dyn Storage>,
    shards: u32,
    /// Whether another server has it, and how far that has got.
    other: Option<Option<WrittenUpTo>>,
    _lock: Option<File>,
}

/// What is in a directory, by name.
#[derive(Debug, Default)]
pub struct Contents {
    /// The segments, by index.
    pub segments: BTreeMap<u64, String>,
    /// The snapshots, by shard and then by the segment that comes after.
    pub snapshots: BTreeMap<(u32, u64), String>,
    /// What was not finished.
    pub unfinished: Vec<String>,
}

impl Directory {
    /// Takes a data directory for a server. One that is not there is made, with so many shards; one that is there keeps
    /// its own number.
    ///
    /// # Errors
    ///
    /// It is in use, cannot be written to, or is of a later version.
    pub fn open(path: &Path, shards: u32) -> Result<Self, JournalError> {
        make_folder(path).about("make", &path.display().to_string())?;
        let lock = lock(path)?;
        let mut directory = Self::on(Arc::new(Disk::at(path.to_path_buf())), shards)?;
        directory._lock = Some(lock);
        Ok(directory)
    }

    /// A data directory as it is at this moment, though a server may use it. Nothing in it can be changed. Costs an open
    /// file for each of its files, and memory for the segment that a server writes to.
    ///
    /// # Errors
    ///
    /// It is none, cannot be read, or is of a later version.
    pub fn look_at(path: &Path) -> Result<Self, JournalError> {
        let none = |why| JournalError::NoDirectory {
            path: path.to_path_buf(),
            why,
        };
        if !path.is_dir() {
            return Err(none(if path.exists() {
                "it is a file"
            } else {
                "there is no such directory"
            }));
        }
        let is_in_use = is_in_use(path);
        let storage = Pinned::of(path, is_in_use)?;
        let shards = read_about(&storage)?.ok_or_else(|| none("it has no file `about`"))?;
        Ok(Self {
            other: is_in_use.then(|| storage.written_up_to()),
            storage: Arc::new(storage),
            shards,
            _lock: None,
        })
    }

    /// Takes a directory on any storage, which nobody else may use.
    ///
    /// # Errors
    ///
    /// It cannot be read or written, or is of a later version.
    pub fn on(storage: Arc<dyn Storage>, shards: u32) -> Result<Self, JournalError> {
        let shards = match read_about(&*storage)? {
            Some(shards) => shards,
            None => write_about(&*storage, shards.max(1))?,
        };
        Ok(Self {
            storage,
            shards,
            other: None,
            _lock: None,
        })
    }

    /// How many shards it has.
    #[must_use]
    pub const fn shards(&self) -> u32 {
        self.shards
    }

    /// Whether a server had it that goes on, when it was looked at.
    #[must_use]
    pub const fn is_in_use(&self) -> bool {
        self.other.is_some()
    }

    /// How far that server had written its journal, if it had begun to.
    #[must_use]
    pub fn written_up_to(&self) -> Option<&WrittenUpTo> {
        self.other.as_ref()?.as_ref()
    }

    /// Its files.
    #[must_use]
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// What is in it.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn contents(&self) -> Result<Contents, JournalError> {
        Contents::of(&*self.storage)
    }
}

impl Contents {
    pub(super) fn of(storage: &dyn Storage) -> Result<Self, JournalError> {
        let mut contents = Self::default();
        for name in storage.list().about("list", "the data directory")? {
            if let Some(index) = segment_index(&name) {
                contents.segments.insert(index, name);
            } else if let Some(place) = snapshot_place(&name) {
                contents.snapshots.insert(place, name);
            } else if snapshot::is_unfinished(&name) || name == ABOUT_UNFINISHED {
                contents.unfinished.push(name);
            }
        }
        Ok(contents)
    }

    /// The latest snapshot of a shard.
    #[must_use]
    pub fn snapshot_of(&self, shard: u32) -> Option<&str> {
        let mut all = self.snapshots.range((shard, 0)..=(shard, u64::MAX));
        all.next_back().map(|(_, name)| name.as_str())
    }
}

/// The number of shards, or none if the directory is fresh.
fn read_about(storage: &dyn Storage) -> Result<Option<u32>, JournalError> {
    let bytes = match storage.read(ABOUT) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let contents = Contents::of(storage)?;
            let first = contents
                .segments
                .values()
                .chain(contents.snapshots.values())
                .next();
            return match first {
                None => Ok(None),
                Some(_) => {
                    let what =
                        "the file is missing, though there are journals or snapshots beside it";
                    Err(Damage::new(ABOUT, 0, what).into())
                }
            };
        }
        Err(error) => return Err(error).about("read", ABOUT),
    };
    let text = String::from_utf8_lossy(&bytes);
    let value = |key: &str| {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
    };
    let number = |key: &str| value(key).and_then(|value| value.parse::<u32>().ok());
    let (Some(format), Some(shards)) = (number("format"), number("shards")) else {
        let what = "expected lines `format N` and `shards N`, found others";
        return Err(Damage::new(ABOUT, 0, what).into());
    };
    if format > FORMAT {
        return Err(JournalError::Newer {
            file: String::from(ABOUT),
            found: format,
            ours: FORMAT,
            binary: String::from(value("tenure").unwrap_or("of a later version")),
        });
    }
    if shards == 0 {
        return Err(Damage::new(ABOUT, 0, "expected at least one shard, found none").into());
    }
    Ok(Some(shards))
}

fn write_about(storage: &dyn Storage, shards: u32) -> Result<u32, JournalError> {
    let version = env!("CARGO_PKG_VERSION");
    let text = format!("format {FORMAT}\nshards {shards}\ntenure {version}\n");
    let length = text.len() as u64;
    storage
        .create(ABOUT_UNFINISHED, text.as_bytes(), length, &mut no_rest)
        .about("write", ABOUT)?;
    storage
        .rename(ABOUT_UNFINISHED, ABOUT)
        .about("write", ABOUT)?;
    storage.sync_names().about("write", ABOUT)?;
    Ok(shards)
}

/// Only the server's own user may look: secrets of sessions are in it. The folder's own name is brought to disk as well.
pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(path)?;
    let above = fs::canonicalize(path)?;
    let above = above.parent().unwrap_or(&above);
    Disk::at(above.to_path_buf()).sync_names()
}

/// Whether a server has it. Takes the lock for a moment at most; whoever starts just then asks for it again.
fn is_in_use(path: &Path) -> bool {
    let file = File::open(path.join(LOCK));
    file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

fn lock(path: &Path) -> Result<File, JournalError> {
    let name = path.join(LOCK);
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).open(&name);
    let file = file.about("write", &name.display().to_string())?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::InUse {
            path: path.to_path_buf(),
        }),
        Err(TryLockError::Error(error)) => Err(error).about("lock", &name.display().to_string()),
    }
}
