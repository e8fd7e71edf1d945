//! A disk in memory that does what disks do at their worst: it loses whatever was not synced, writes some sectors of a
//! write and not others, or half of one, fails on demand, and is full.
//!
//! Knows nothing of journals. Must hold: what was synced is never lost; the same seed does the same.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use tenure::journal::{Append, Rest, SECTOR, Storage};

use crate::chance::Chance;

/// The disk. A clone is the same disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faulty(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    files: Vec<Content>,
    /// What the process sees.
    names: BTreeMap<String, usize>,
    /// What is on disk.
    kept_names: BTreeMap<String, usize>,
    changes: Vec<Change>,
    /// Operations until everything fails.
    left: Option<u64>,
    /// Bytes that fit, beside what is there.
    room: Option<u64>,
}

#[derive(Debug, Default, Clone)]
struct Content {
    now: Vec<u8>,
    kept: Vec<u8>,
    writes: Vec<(usize, Vec<u8>)>,
}

#[derive(Debug, Clone)]
enum Change {
    Link(String, usize),
    Unlink(String),
}

/// An open file of it.
#[derive(Debug)]
struct Open {
    disk: Faulty,
    file: usize,
    at: usize,
}

impl Faulty {
    /// Every operation from the `operations`-th on fails, as if the process were not there any more.
    pub(crate) fn fail_after(&self, operations: u64) {
        self.0.lock().left = Some(operations);
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.0.lock().left == Some(0)
    }

    /// So many bytes more fit; all that is written, if none is said.
    pub(crate) fn has_room(&self, bytes: Option<u64>) {
        self.0.lock().room = bytes;
    }

    /// What is there after the power has gone: what was synced, and of the rest whatever chance has kept.
    pub(crate) fn after_a_crash(&self, chance: &mut Chance) -> Self {
        let inner = self.0.lock();
        let mut names = inner.kept_names.clone();
        // Changes of names come to disk in any order, as far as nobody has synced in between.
        let done = inner.changes.iter().filter(|_| chance.below(2) == 0);
        done.for_each(|change| change.apply(&mut names));
        let files = inner.files.iter().map(|file| file.after_a_crash(chance));
        let files = files.collect();
        Self(Arc::new(Mutex::new(Inner {
            files,
            kept_names: names.clone(),
            names,
            ..Inner::default()
        })))
    }

    /// What is there after the process has gone and nothing else: all that was written, of which the power may still take
    /// what was not synced.
    pub(crate) fn after_a_kill(&self) -> Self {
        let inner = self.0.lock();
        Self(Arc::new(Mutex::new(Inner {
            files: inner.files.clone(),
            names: inner.names.clone(),
            kept_names: inner.kept_names.clone(),
            changes: inner.changes.clone(),
            left: None,
            room: inner.room,
        })))
    }

    /// Another disk with the same files, one of which has other bytes.
    pub(crate) fn with(&self, name: &str, bytes: Vec<u8>) -> Self {
        let other = self.after_a_kill();
        {
            let mut inner = other.0.lock();
            let file = inner.names[name];
            inner.files[file] = Content {
                kept: bytes.clone(),
                now: bytes,
                writes: Vec::new(),
            };
        }
        other
    }

    pub(crate) fn bytes(&self) -> u64 {
        let inner = self.0.lock();
        inner
            .names
            .values()
            .map(|file| inner.files[*file].now.len() as u64)
            .sum()
    }

    fn operate<R>(&self, operate: impl FnOnce(&mut Inner) -> io::Result<R>) -> io::Result<R> {
        let mut inner = self.0.lock();
        match &mut inner.left {
            Some(0) => return Err(io::Error::other("the disk has failed")),
            Some(left) => *left -= 1,
            None => {}
        }
        if inner.left == Some(0) {
            return Err(io::Error::other("the disk fails"));
        }
        operate(&mut inner)
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Link(name, file) => {
                names.retain(|_, linked| linked != file);
                names.insert(name.clone(), *file);
            }
            Self::Unlink(name) => {
                names.remove(name);
            }
        }
    }
}

impl Content {
    fn after_a_crash(&self, chance: &mut Chance) -> Self {
        let mut kept = self.kept.clone();
        let way = chance.below(7);
        for (at, bytes) in &self.writes {
            let torn = chance.below(bytes.len() as u64 + 1) as usize;
            for (sector, piece) in bytes.chunks(SECTOR).enumerate() {
                let piece = match way {
                    0 => continue,
                    1 => piece,
                    2 | 3 if chance.below(2) == 0 => continue,
                    2 | 3 => piece,
                    _ => &piece[..torn.saturating_sub(sector * SECTOR).min(piece.len())],
                };
                write_at(&mut kept, at + sector * SECTOR, piece);
            }
        }
        Self {
            now: kept.clone(),
            kept,
            writes: Vec::new(),
        }
    }
}

fn write_at(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let end = at + bytes.len();
    content.resize(content.len().max(end), 0);
    content[at..end].copy_from_slice(bytes);
}

fn none_such() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

impl Storage for Faulty {
    fn list(&self) -> io::Result<Vec<String>> {
        self.operate(|inner| Ok(inner.names.keys().cloned().collect()))
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.operate(|inner| {
            let file = inner.names.get(name).ok_or_else(none_such)?;
            Ok(inner.files[*file].now.clone())
        })
    }

    fn create(
        &self,
        name: &str,
        head: &[u8],
        bytes: u64,
        rest: Rest<'_>,
    ) -> io::Result<Box<dyn Append>> {
        let _ = rest();
        let file = self.operate(|inner| {
            if let Some(room) = &mut inner.room {
                *room = room.checked_sub(bytes).ok_or(io::ErrorKind::StorageFull)?;
            }
            let mut now = head.to_vec();
            now.resize(now.len().max(bytes as usize), 0);
            inner.files.push(Content {
                kept: now.clone(),
                now,
                writes: Vec::new(),
            });
            let file = inner.files.len() - 1;
            inner.names.insert(name.to_owned(), file);
            inner.changes.push(Change::Link(name.to_owned(), file));
            Ok(file)
        })?;
        Ok(Box::new(Open {
            disk: self.clone(),
            file,
            at: head.len(),
        }))
    }

    fn cut(&self, name: &str, bytes: u64) -> io::Result<()> {
        self.operate(|inner| {
            let file = *inner.names.get(name).ok_or_else(none_such)?;
            let file = &mut inner.files[file];
            file.now.truncate(bytes as usize);
            file.kept = file.now.clone();
            file.writes.clear();
            Ok(())
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.operate(|inner| {
            let file = inner.names.remove(from).ok_or_else(none_such)?;
            inner.names.insert(to.to_owned(), file);
            inner.changes.push(Change::Link(to.to_owned(), file));
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.operate(|inner| {
            inner.names.remove(name).ok_or_else(none_such)?;
            inner.changes.push(Change::Unlink(name.to_owned()));
            Ok(())
        })
    }

    fn sync_names(&self) -> io::Result<()> {
        self.operate(|inner| {
            inner.kept_names = inner.names.clone();
            inner.changes.clear();
            Ok(())
        })
    }
}

impl Append for Open {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (file, at) = (self.file, self.at);
        self.disk.operate(|inner| {
            let file = &mut inner.files[file];
            assert!(
                at + bytes.len() <= file.now.len(),
                "nothing is written beyond what was prepared"
            );
            write_at(&mut file.now, at, bytes);
            file.writes.push((at, bytes.to_vec()));
            Ok(())
        })?;
        self.at += bytes.len();
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let file = self.file;
        self.disk.operate(|inner| {
            let file = &mut inner.files[file];
            file.kept.clone_from(&file.now);
            file.writes.clear();
            Ok(())
        })
    }
}
