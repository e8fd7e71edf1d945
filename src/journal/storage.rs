//! What the journal asks of a disk, and no more: whole files that are made, appended to, cut, renamed and removed in one
//! folder. [`Disk`] is the real one; tests have another, which loses what was not synced.
//!
//! Must hold: nothing counts as kept before the sync that covers it. The bytes of a file are covered by its own sync, its
//! name by [`Storage::sync_names`].

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// What a file is made of is brought to disk in pieces of at most this size, so that the sync of another file never waits for
/// more.
const PIECE: usize = 1024 * 1024;

/// Pieces in which whoever takes rests brings a file to disk. (Made in large ones without a rest, a segment had 1 of 100 syncs
/// of another file take 8 ms, where each takes 0.1 ms; in these with rests of 2 ms, 0.7 ms.)
pub(super) const SMALL_PIECE: usize = 128 * 1024;

static ZEROS: [u8; PIECE] = [0; PIECE];

/// Leaves disk and processor to others for a moment. Gives how many bytes the next piece of the work may have.
pub type Rest<'r> = &'r mut dyn FnMut() -> usize;

/// For whoever nobody waits beside, or who is in a hurry.
#[must_use]
pub const fn no_rest() -> usize {
    PIECE
}

/// A folder of files. Names are plain: no separator, no dots alone.
pub trait Storage: Debug + Send + Sync {
    /// The names of all files.
    ///
    /// # Errors
    ///
    /// The folder cannot be read.
    fn list(&self) -> io::Result<Vec<String>>;

    /// All bytes of a file.
    ///
    /// # Errors
    ///
    /// There is none of this name, or it cannot be read.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;

    /// Makes a file that begins with `head` and is filled with zeros up to `bytes`, so that the room is there. It replaces
    /// one of the same name. Its bytes are on disk when this returns, its name is not; what is appended comes after
    /// `head`. Whoever works beside others takes a `rest` between two pieces of it.
    ///
    /// # Errors
    ///
    /// The disk is full, or fails. What has been made of the file is removed as far as that is possible.
    fn create(
        &self,
        name: &str,
        head: &[u8],
        bytes: u64,
        rest: Rest<'_>,
    ) -> io::Result<Box<dyn Append>>;

    /// Cuts a file off at a length. What is left of it is on disk when this returns.
    ///
    /// # Errors
    ///
    /// The disk fails.
    fn cut(&self, name: &str, bytes: u64) -> io::Result<()>;

    /// Renames a file, over another if there is one.
    ///
    /// # Errors
    ///
    /// The disk fails.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    ///
    /// The disk fails.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Brings to disk which names there are.
    ///
    /// # Errors
    ///
    /// The disk fails.
    fn sync_names(&self) -> io::Result<()>;
}

/// A file that is written from its head on.
pub trait Append: Debug + Send {
    /// Writes after what was written before.
    ///
    /// # Errors
    ///
    /// The disk fails; how much has been written is not known.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Brings to disk what has been written.
    ///
    /// # Errors
    ///
    /// The disk fails. What was written since the last sync may be lost even if another one succeeds, so nobody tries.
    fn sync(&mut self) -> io::Result<()>;
}

/// A folder of the file system.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// The folder at a path, which has to be there.
    #[must_use]
    pub const fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Storage for Disk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            // A name that is no text is none of ours.
            if let Some(name) = entry
                .file_name()
                .to_str()
                .filter(|_| entry.path().is_file())
            {
                names.push(String::from(name));
            }
        }
        Ok(names)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.folder.join(name))
    }

    fn create(
        &self,
        name: &str,
        head: &[u8],
        bytes: u64,
        rest: Rest<'_>,
    ) -> io::Result<Box<dyn Append>> {
        let path = self.folder.join(name);
        let file =
            private(OpenOptions::new().write(true).create(true).truncate(true)).open(&path)?;
        let mut written = Written(file);
        match written.fill(head, bytes, rest) {
            Ok(()) => Ok(Box::new(written)),
            Err(error) => {
                let _ = fs::remove_file(&path);
                Err(error)
            }
        }
    }

    fn cut(&self, name: &str, bytes: u64) -> io::Result<()> {
        let file = OpenOptions::new()
            .write(true)
            .open(self.folder.join(name))?;
        file.set_len(bytes)?;
        file.sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.folder.join(from), self.folder.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.folder.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        sync_folder(&self.folder)
    }
}

/// A file whose next byte goes where the last one ended.
#[derive(Debug)]
struct Written(File);

impl Written {
    /// Zeros are written, not left out: a file with holes has no room of its own, and blocks that are there already make
    /// the syncs to come shorter.
    fn fill(&mut self, head: &[u8], bytes: u64, rest: Rest<'_>) -> io::Result<()> {
        let mut piece = SMALL_PIECE;
        let mut left = head;
        while !left.is_empty() {
            let (now, later) = left.split_at(piece.clamp(1, PIECE).min(left.len()));
            self.0.write_all(now)?;
            self.0.sync_data()?;
            piece = rest();
            left = later;
        }
        let mut left = bytes.saturating_sub(head.len() as u64);
        while left > 0 {
            let zeros = left.min(piece.clamp(1, PIECE) as u64);
            self.0.write_all(&ZEROS[..zeros as usize])?;
            self.0.sync_data()?;
            piece = rest();
            left -= zeros;
        }
        self.0.sync_all()?;
        self.0.seek(SeekFrom::Start(head.len() as u64))?;
        Ok(())
    }
}

impl Append for Written {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// What is kept is for the server's own eyes: it holds the secrets by which sessions are resumed.
#[cfg(unix)]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.mode(0o600)
}

#[cfg(not(unix))]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Elsewhere a folder cannot be opened, and the file system keeps its names in order by itself.
#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}
