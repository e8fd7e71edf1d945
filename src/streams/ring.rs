//! A bounded log of what has happened in an org, as frames that are ready to be written, for whoever reads along.
//!
//! Entries have numbers that rise: offsets of events, versions of presence. A shard appends under its own mutex;
//! connections read without it, under this ring's own lock, a bounded piece at a time. Knows frames only as bytes.
//!
//! Must hold: what is kept is a suffix of what was appended, within every bound but for the newest entry, which is
//! always kept; a reader gets bytes as they were appended, in order, and none that is not shown yet.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::BytesMut;
use parking_lot::{RwLock, RwLockReadGuard};
use tenure_engine::{LogTime, Millis};

/// Frames lie together in pieces of about this size, so that many are copied in one step, and memory is given back.
const CHUNK_BYTES: usize = 32 * 1024;

/// What no path has in it.
const SEPARATOR: char = '\n';

/// See the file's header.
#[derive(Debug)]
pub(crate) struct Ring {
    log: RwLock<Log>,
    /// Number of the newest entry, for those who have that one and want to know whether they have all.
    top: AtomicU64,
    /// Number of the newest entry that readers may be given.
    shown: AtomicU64,
    bounds: Bounds,
    room: Arc<Room>,
}

/// When readers may be given what is appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Showing {
    /// As soon as it is there.
    AtOnce,
    /// When [`Ring::show`] has been called for it.
    WhenTold,
}

/// What one ring keeps at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) entries_max: usize,
    pub(crate) bytes_max: usize,
    pub(crate) age_max: Millis,
}

/// What all rings occupy together, and may.
#[derive(Debug)]
pub(crate) struct Room {
    used: AtomicUsize,
    bytes_max: usize,
}

/// For whom a reader reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Whoever may see the org.
    Everyone,
    /// Members and higher.
    Insiders,
}

/// One entry, as each audience gets it. No bytes are nothing to be told.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Frames<'f> {
    /// The same for all.
    Same(&'f [u8]),
    /// Insiders are told something else, and never nothing where others are told something.
    Differing {
        everyone: &'f [u8],
        insiders: &'f [u8],
    },
}

/// The entries that are kept.
#[derive(Debug)]
pub(crate) struct Log {
    chunks: VecDeque<Chunk>,
    /// Entries of the first chunk that are gone, though their bytes wait for the rest of it.
    gone: usize,
    count: usize,
    bytes: usize,
    top: u64,
    lost: u64,
}

/// Some consecutive entries.
#[derive(Debug, Default)]
struct Chunk {
    entries: Vec<Entry>,
    /// Frame after frame, and of an entry with two of them everyone's before the insiders'.
    frames: Vec<u8>,
    /// The entries' paths, with [`SEPARATOR`]s between several of one entry.
    paths: String,
}

/// One entry, and where in its chunk its things end; they begin where those of the entry before end.
#[derive(Debug)]
struct Entry {
    number: u64,
    at: LogTime,
    everyone_end: u32,
    /// The same as everyone's, if there is one frame for all.
    insiders_end: u32,
    paths_end: u32,
}

/// The paths that an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paths<'p>(&'p str);

/// How much a reader takes in one go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portion {
    /// More than this only if a single frame is.
    pub(crate) bytes_max: usize,
    /// Entries that are looked at.
    pub(crate) looks_max: usize,
}

/// What a reader has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Copied {
    /// Number of the last entry that was looked at.
    pub(crate) passed: u64,
    pub(crate) frames: u64,
}

impl Room {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicUsize::new(0),
            bytes_max,
        })
    }

    /// Bytes that all rings occupy.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn is_exceeded(&self) -> bool {
        self.used() > self.bytes_max
    }
}

impl Ring {
    /// An empty ring, whose entries will have numbers above `top`.
    pub(crate) fn new(top: u64, bounds: Bounds, room: Arc<Room>, showing: Showing) -> Self {
        let shown = match showing {
            Showing::AtOnce => u64::MAX,
            Showing::WhenTold => top,
        };
        Self {
            shown: AtomicU64::new(shown),
            log: RwLock::new(Log {
                chunks: VecDeque::new(),
                gone: 0,
                count: 0,
                bytes: 0,
                top,
                lost: top,
            }),
            top: AtomicU64::new(top),
            bounds,
            room,
        }
    }

    /// Appends an entry, whose number is above all before, and lets go of what that makes too much. No reader sees the
    /// entry before `tell` has been called. Gives the number of the newest entry that is kept no longer.
    pub(crate) fn append(
        &self,
        number: u64,
        at: LogTime,
        paths: &[&str],
        frames: Frames<'_>,
        tell: impl FnOnce(),
    ) -> u64 {
        let mut log = self.log.write();
        self.room.take(log.push(number, at, paths, frames));
        self.top.store(number, Ordering::SeqCst);
        self.trim(&mut log, at);
        tell();
        log.lost
    }

    /// Readers may be given what there is up to this number.
    pub(crate) fn show(&self, number: u64) {
        self.shown.fetch_max(number, Ordering::Release);
    }

    /// Number of the newest entry that readers may be given; there need not be any so far.
    pub(crate) fn shown(&self) -> u64 {
        self.shown.load(Ordering::Acquire)
    }

    /// Lets go of what is too old. The newest entry stays only if it is young enough.
    pub(crate) fn forget_old(&self, now: LogTime) {
        let mut log = self.log.write();
        while self.is_oldest_too_old(&log, now) {
            self.room.give_back(log.pop());
        }
    }

    /// Number of the newest entry. A reader that takes its mark away and then sees it here has not missed a later one, which
    /// would have marked it after this was set.
    pub(crate) fn top(&self) -> u64 {
        self.top.load(Ordering::SeqCst)
    }

    /// The entries, for as long as this is held: it holds up whoever appends, and so everyone in the shard.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Log> {
        self.log.read()
    }

    fn trim(&self, log: &mut Log, now: LogTime) {
        while log.count > 1
            && (log.count > self.bounds.entries_max
                || log.bytes > self.bounds.bytes_max
                || self.room.is_exceeded()
                || self.is_oldest_too_old(log, now))
        {
            self.room.give_back(log.pop());
        }
    }

    fn is_oldest_too_old(&self, log: &Log, now: LogTime) -> bool {
        log.first()
            .is_some_and(|entry| entry.at + self.bounds.age_max <= now)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.room.give_back(self.log.get_mut().bytes);
    }
}

impl Log {
    /// Number of the newest entry there has been; of the one before the first, if there has been none.
    pub(crate) const fn top(&self) -> u64 {
        self.top
    }

    /// Number of the newest entry that is kept no longer: whoever has not passed it has lost something.
    pub(crate) const fn lost(&self) -> u64 {
        self.lost
    }

    /// Number of the oldest entry that is kept.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.first().map(|entry| entry.number)
    }

    /// Entries that are kept.
    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    /// What they occupy.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends to `out` what is wanted of the entries after `passed`, of which none is lost, and up to `last`. Whoever wants
    /// an entry wants later ones with the same paths, and is not asked again for what follows at once. Costs a look at each
    /// entry up to where it ends, and one copy for each run of wanted ones.
    pub(crate) fn copy(
        &self,
        (passed, last): (u64, u64),
        audience: Audience,
        portion: Portion,
        mut is_wanted: impl FnMut(u64, Paths<'_>) -> bool,
        out: &mut BytesMut,
    ) -> Copied {
        debug_assert!(passed >= self.lost, "{passed} is before {}", self.lost);
        let mut copying = Copying {
            last,
            audience,
            portion,
            looks: 0,
            bytes: 0,
            copied: Copied { passed, frames: 0 },
        };
        let chunk = self.chunks.partition_point(|chunk| chunk.top() <= passed);
        for chunk in self.chunks.range(chunk..) {
            if !copying.copy(chunk, &mut is_wanted, out) {
                break;
            }
        }
        copying.copied
    }

    /// Gives what the entry occupies.
    fn push(&mut self, number: u64, at: LogTime, paths: &[&str], frames: Frames<'_>) -> usize {
        debug_assert!(number > self.top, "{number} is not above {}", self.top);
        let is_full = |chunk: &Chunk| chunk.frames.len() >= CHUNK_BYTES;
        if self.chunks.back().is_none_or(is_full) {
            self.chunks.push_back(Chunk::default());
        }
        let chunk = self.chunks.back_mut().expect("one was added if needed");
        let occupied = chunk.push(number, at, paths, frames);
        self.top = number;
        self.count += 1;
        self.bytes += occupied;
        occupied
    }

    /// Lets go of the oldest. Gives what it has occupied.
    fn pop(&mut self) -> usize {
        let chunk = self.chunks.front().expect("what is kept lies in chunks");
        let occupied = chunk.occupied(self.gone);
        self.lost = chunk.entries[self.gone].number;
        self.gone += 1;
        self.count -= 1;
        self.bytes -= occupied;
        if self.gone == chunk.entries.len() {
            self.chunks.pop_front();
            self.gone = 0;
        }
        occupied
    }

    fn first(&self) -> Option<&Entry> {
        self.chunks.front().map(|chunk| &chunk.entries[self.gone])
    }
}

/// One reader's way through some chunks.
struct Copying {
    last: u64,
    audience: Audience,
    portion: Portion,
    looks: usize,
    bytes: usize,
    copied: Copied,
}

impl Copying {
    /// Tells whether there is room for more.
    fn copy(
        &mut self,
        chunk: &Chunk,
        is_wanted: &mut impl FnMut(u64, Paths<'_>) -> bool,
        out: &mut BytesMut,
    ) -> bool {
        let mut run = 0..0;
        let passed = self.copied.passed;
        let begin = chunk
            .entries
            .partition_point(|entry| entry.number <= passed);
        let mut has_room = true;
        let mut wanted = None;
        for index in begin..chunk.entries.len() {
            let frame = chunk.frame(index, self.audience);
            let number = chunk.entries[index].number;
            has_room = number <= self.last
                && self.looks < self.portion.looks_max
                && (self.bytes == 0 || self.bytes + frame.len() <= self.portion.bytes_max);
            if !has_room {
                break;
            }
            self.looks += 1;
            self.copied.passed = number;
            if frame.is_empty() {
                continue;
            }
            let paths = chunk.paths(index);
            if wanted != Some(paths) {
                if !is_wanted(number, paths) {
                    continue;
                }
                wanted = Some(paths);
            }
            self.copied.frames += 1;
            self.bytes += frame.len();
            if run.end == frame.start {
                run.end = frame.end;
            } else {
                out.extend_from_slice(&chunk.frames[run]);
                run = frame;
            }
        }
        out.extend_from_slice(&chunk.frames[run]);
        has_room
    }
}

impl Chunk {
    /// Number of its last entry.
    fn top(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.number)
    }

    fn push(&mut self, number: u64, at: LogTime, paths: &[&str], frames: Frames<'_>) -> usize {
        let (everyone, insiders) = match frames {
            Frames::Same(frame) => (frame, &[][..]),
            Frames::Differing { everyone, insiders } => (everyone, insiders),
        };
        self.frames.extend_from_slice(everyone);
        let everyone_end = end(self.frames.len());
        self.frames.extend_from_slice(insiders);
        for (index, path) in paths.iter().enumerate() {
            if index > 0 {
                self.paths.push(SEPARATOR);
            }
            self.paths.push_str(path);
        }
        self.entries.push(Entry {
            number,
            at,
            everyone_end,
            insiders_end: end(self.frames.len()),
            paths_end: end(self.paths.len()),
        });
        self.occupied(self.entries.len() - 1)
    }

    /// Where the frame of an entry lies.
    fn frame(&self, index: usize, audience: Audience) -> Range<usize> {
        let entry = &self.entries[index];
        let begin = self.before(index, |entry| entry.insiders_end);
        let everyone = begin..entry.everyone_end as usize;
        let has_two = entry.insiders_end != entry.everyone_end;
        match audience {
            Audience::Insiders if has_two => everyone.end..entry.insiders_end as usize,
            Audience::Insiders | Audience::Everyone => everyone,
        }
    }

    fn paths(&self, index: usize) -> Paths<'_> {
        let begin = self.before(index, |entry| entry.paths_end);
        Paths(&self.paths[begin..self.entries[index].paths_end as usize])
    }

    fn occupied(&self, index: usize) -> usize {
        let entry = &self.entries[index];
        let frames = entry.insiders_end as usize - self.before(index, |entry| entry.insiders_end);
        let paths = entry.paths_end as usize - self.before(index, |entry| entry.paths_end);
        frames + paths + size_of::<Entry>()
    }

    /// Where something of the entry before ends.
    fn before(&self, index: usize, end: impl Fn(&Entry) -> u32) -> usize {
        let before = index
            .checked_sub(1)
            .map_or(0, |before| end(&self.entries[before]));
        before as usize
    }
}

impl<'p> Paths<'p> {
    pub(crate) fn iter(self) -> impl Iterator<Item = &'p str> {
        self.0.split(SEPARATOR)
    }
}

/// A chunk takes one entry beyond its size, and an entry is bounded by the largest frame.
fn end(length: usize) -> u32 {
    u32::try_from(length).expect("a chunk is far smaller than 4 GiB")
}

#[cfg(test)]
mod tests;
