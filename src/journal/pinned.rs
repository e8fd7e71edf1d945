//! A data directory as it is at one moment, though a server may go on in it: its files are held open, so that they can be
//! read after that server has removed them, and the segment that it writes to ends where it had been written to.
//!
//! Knows names and segments, no record. Must hold: what is seen is what a start would have found at that moment, with all
//! that was on disk by then; nothing is changed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::Path;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use super::directory::Contents;
use super::error::{About as _, JournalError};
use super::segment::{Segment, Tail, is_unfinished};
use super::storage::{Append, Disk, Rest, Storage};

/// How often a directory is looked at that changes meanwhile, which takes far less time than lies between two changes.
const LOOKS: u32 = 50;

/// How long a change may take, or a write.
const PAUSE: Duration = Duration::from_millis(20);

/// See the file's header.
#[derive(Debug)]
pub(super) struct Pinned {
    files: BTreeMap<String, Mutex<File>>,
    written: Option<Written>,
}

/// The segment that a server was writing to.
#[derive(Debug)]
struct Written {
    name: String,
    /// As far as its blocks went.
    bytes: Vec<u8>,
    /// Number of the record after them in the whole journal.
    next: u64,
}

/// How far a server that goes on had got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenUpTo {
    /// In which segment.
    pub file: String,
    /// Where its records ended.
    pub offset: u64,
    /// How many records the journal had had by then.
    pub records: u64,
}

impl Pinned {
    /// The files in a folder, of which a server may be making more.
    pub(super) fn of(folder: &Path, is_in_use: bool) -> Result<Self, JournalError> {
        let disk = Disk::at(folder.to_path_buf());
        let mut pinned = hold(&disk).about("look at", &folder.display().to_string())?;
        if is_in_use {
            pinned.see_the_end()?;
        }
        Ok(pinned)
    }

    /// How far the server has got that has the directory, if there is one.
    pub(super) fn written_up_to(&self) -> Option<WrittenUpTo> {
        self.written.as_ref().map(|written| WrittenUpTo {
            file: written.name.clone(),
            offset: written.bytes.len() as u64,
            records: written.next,
        })
    }

    /// Finds the segment that is written to, and leaves out those that are there for later: what may be written to them
    /// while the others are read would have a hole before it.
    fn see_the_end(&mut self) -> Result<(), JournalError> {
        let segments = Contents::of(self)?.segments;
        for name in segments.into_values().rev() {
            let bytes = self.read_settled(&name).about("read", &name)?;
            if !is_unfinished(&name, &bytes) {
                let segment = Segment::read(&name, &bytes, None)?;
                if let Tail::Damaged(_) = segment.tail {
                    // It will be found again, where it can be said.
                    return Ok(());
                }
                if let Some(next) = segment.next_record() {
                    let end = segment.end as usize;
                    let bytes = bytes[..end].to_vec();
                    self.written = Some(Written { name, bytes, next });
                    return Ok(());
                }
            }
            self.files.remove(&name);
        }
        Ok(())
    }

    /// The bytes of a segment that is written to while it is read: a block that came later may be seen, and one before it
    /// not yet. What is still missing when it is looked for again is damage.
    fn read_settled(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut bytes = self.read(name)?;
        for _ in 0..LOOKS {
            let Ok(Segment {
                tail: Tail::Damaged(_),
                end,
                ..
            }) = Segment::read(name, &bytes, None)
            else {
                break;
            };
            thread::sleep(PAUSE);
            let again = self.read(name)?;
            if Segment::read(name, &again, None).is_ok_and(|segment| segment.end > end) {
                bytes.truncate(end as usize);
            } else {
                bytes = again;
            }
        }
        Ok(bytes)
    }
}

/// Holds all files of a folder open that are there at one moment: the same before and after they were opened.
fn hold(disk: &Disk) -> io::Result<Pinned> {
    let mut before = disk.list()?;
    before.sort_unstable();
    for _ in 0..LOOKS {
        let files = before.iter().map(|name| {
            let file = File::open(disk.folder().join(name))?;
            Ok((name.clone(), Mutex::new(file)))
        });
        let files: io::Result<BTreeMap<_, _>> = files.collect();
        let mut after = disk.list()?;
        after.sort_unstable();
        match files {
            Ok(files) if before == after => {
                return Ok(Pinned {
                    files,
                    written: None,
                });
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(_) | Err(_) => {
                before = after;
                thread::sleep(PAUSE);
            }
        }
    }
    let why = "its files change faster than they can be opened";
    Err(io::Error::other(why))
}

impl Storage for Pinned {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        if let Some(written) = self.written.as_ref().filter(|written| written.name == name) {
            return Ok(written.bytes.clone());
        }
        let file = self.files.get(name).ok_or(io::ErrorKind::NotFound)?;
        let mut file = file.lock();
        file.rewind()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn create(&self, _: &str, _: &[u8], _: u64, _: Rest<'_>) -> io::Result<Box<dyn Append>> {
        Err(only_read())
    }

    fn cut(&self, _: &str, _: u64) -> io::Result<()> {
        Err(only_read())
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Err(only_read())
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Err(only_read())
    }

    fn sync_names(&self) -> io::Result<()> {
        Err(only_read())
    }
}

fn only_read() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "a directory that is looked at is not changed",
    )
}
