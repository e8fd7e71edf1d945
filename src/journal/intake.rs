//! Where records wait for the writer: one buffer behind the append lock, and the way in for each shard.
//!
//! [`Appender`] is a shard's pen, used under that shard's mutex: `begin` asks for room before anything is decided, `keep`
//! takes what has changed, `finish` appends one record. The append lock is held for a copy of bytes, never for the disk.
//!
//! Must hold: whoever was given room can append, whatever the disk does meanwhile. So the room that is promised never
//! exceeds what is left of the segment that is being filled, or, if the next one is there, a whole segment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tenure_engine::{Command, LogTime, Token, WallTime};

use super::record::{self, HEAD_MAX, Head};
use super::segment::{BLOCK_HEAD, SECTOR, sectors};

/// Tokens that a shard has kept ahead of those it has given out: whatever a crash loses, none of them comes again.
const TOKENS_AHEAD: u64 = 1 << 22;

/// Tokens that one batch gives out at most. More than 64 commands can: each ends a few hundred holds at most.
const TOKENS_IN_A_BATCH: u64 = 1 << 16;

/// With so much waiting, the writer is woken even where it would wait for its second.
const MUCH: usize = 1 << 20;

/// Room that has grown beyond this is not used again.
const KEPT_BYTES: usize = 2 * MUCH;

/// A sync that takes so long takes longer than what is decided for all whom it serves: it is better that one serves them all
/// than that two take turns. (With 50 connections that ask for one thing at a time, by a quarter where it takes 3 ms.)
const SLOW: Duration = Duration::from_millis(2);

/// A place in the journal: everything that had been appended when it was given. It is reached when that is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mark(pub u64);

/// What needs the disk cannot be taken at the moment. It passes: ask again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The next segment is not there: the disk is full, or slower than what comes.
    #[error("there is no room in the journal")]
    Segment,
    /// The tokens that were kept ahead are used up, and more are not on disk yet.
    #[error("the journal has not kept enough tokens ahead")]
    Tokens,
}

/// When a record counts as safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// When it is on disk; each write is synced at once.
    Always,
    /// At once: what is written is synced this often, and a crash loses no more than that.
    Interval(Duration),
}

/// The buffer. Shared by the appenders and the writer.
#[derive(Debug)]
pub struct Intake {
    filling: Mutex<Filling>,
    work: Condvar,
    synced: Condvar,
    durable: AtomicU64,
    capacity: usize,
    durability: Durability,
}

#[derive(Debug)]
struct Filling {
    /// Of segments that are full already.
    full: Vec<Group>,
    open: Group,
    /// The room of a group that has been written, for one that is to come: fresh memory costs as much as what is put there.
    spare: Vec<u8>,
    /// Bytes of the open group's segment that no group before it has taken.
    left: usize,
    /// Whether the segment after that one is there.
    is_next_ready: bool,
    /// Bytes that have been promised.
    promised: usize,
    /// Number of the next record.
    next: u64,
    /// Number of the first record that the writer has not taken.
    untaken: u64,
    /// The writer is woken when so many records wait.
    wanted: u64,
    is_closing: bool,
}

/// Records for one segment, which become one block.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) segment: u64,
    pub(super) first: u64,
    pub(super) count: u32,
    /// Room for the head of a block, then the records.
    pub(super) bytes: Vec<u8>,
}

impl Group {
    /// An empty one, in room that nobody needs any more.
    fn new(segment: u64, first: u64, mut room: Vec<u8>) -> Self {
        room.clear();
        room.resize(BLOCK_HEAD, 0);
        Self {
            segment,
            first,
            count: 0,
            bytes: room,
        }
    }

    fn room(&self) -> usize {
        if self.count == 0 {
            0
        } else {
            sectors(self.bytes.len())
        }
    }
}

impl Intake {
    /// A buffer for segments of `segment_bytes`, of which the one with the index `segment` is there and empty.
    pub(super) fn new(segment: u64, segment_bytes: u64, next: u64, durability: Durability) -> Self {
        let capacity = segment_bytes as usize - SECTOR;
        Self {
            filling: Mutex::new(Filling {
                full: Vec::new(),
                open: Group::new(segment, next, Vec::new()),
                spare: Vec::new(),
                left: capacity,
                is_next_ready: false,
                promised: 0,
                next,
                untaken: next,
                wanted: 1,
                is_closing: false,
            }),
            work: Condvar::new(),
            synced: Condvar::new(),
            durable: AtomicU64::new(next),
            capacity,
            durability,
        }
    }

    /// What is on disk.
    #[must_use]
    pub fn durable(&self) -> Mark {
        Mark(self.durable.load(Ordering::Acquire))
    }

    /// Whether what was decided up to a mark may be told.
    #[must_use]
    pub fn is_safe(&self, mark: Mark) -> bool {
        match self.durability {
            Durability::Always => self.durable() >= mark,
            Durability::Interval(_) => true,
        }
    }

    /// Blocks until a mark is on disk. Not for a task.
    pub fn wait_for(&self, mark: Mark) {
        let mut filling = self.filling.lock();
        while self.durable() < mark {
            self.synced.wait(&mut filling);
        }
    }

    fn promise(&self, bytes: usize) -> Result<usize, Full> {
        let bytes = sectors(BLOCK_HEAD + 4 + bytes);
        let mut filling = self.filling.lock();
        let here = filling.left - filling.open.room();
        let next = if filling.is_next_ready {
            self.capacity
        } else {
            0
        };
        if filling.promised + bytes > here.max(next) {
            return Err(Full::Segment);
        }
        filling.promised += bytes;
        Ok(bytes)
    }

    fn give_back(&self, promised: usize) {
        self.filling.lock().promised -= promised;
    }

    /// Appends the record that room was promised for.
    fn append(&self, promised: usize, record: &[u8]) -> Mark {
        assert!(
            sectors(BLOCK_HEAD + 4 + record.len()) <= promised,
            "a record keeps to its bound"
        );
        let mut filling = self.filling.lock();
        filling.promised -= promised;
        filling.append(record, self.capacity);
        let mark = Mark(filling.next);
        let is_enough = filling.count() == filling.wanted;
        let is_pressing = filling.is_pressing();
        drop(filling);
        match self.durability {
            Durability::Always if is_enough || is_pressing => self.work.notify_one(),
            Durability::Interval(_) if is_pressing => self.work.notify_one(),
            Durability::Always | Durability::Interval(_) => false,
        };
        mark
    }

    /// What waits to be written, in order.
    pub(super) fn take(&self) -> Vec<Group> {
        self.filling.lock().take()
    }

    /// Takes the room back of a group that has been written.
    pub(super) fn reuse(&self, room: Vec<u8>) {
        if room.capacity() <= KEPT_BYTES {
            self.filling.lock().spare = room;
        }
    }

    /// Waits until there is work; or, with patience, until that is over, unless there is much or the journal is closed.
    /// Then gives what there is, and whether it is closed.
    pub(super) fn wait(&self, patience: Option<Duration>) -> (Vec<Group>, bool) {
        let mut filling = self.filling.lock();
        match patience {
            Some(patience) => {
                self.work
                    .wait_while_for(&mut filling, |filling| !filling.is_pressing(), patience);
            }
            None => self
                .work
                .wait_while(&mut filling, |filling| filling.is_idle()),
        }
        (filling.take(), filling.is_closing)
    }

    /// After a sync of `served` records that has taken so long: if that was long, waits until nearly all have come again, since
    /// whoever was served mostly asks again at once; but only half as long as another sync would take. Whoever is alone, or
    /// nearly, waits for nobody.
    pub(super) fn gather(&self, served: u64, sync: Duration) {
        if sync < SLOW {
            return;
        }
        let mut filling = self.filling.lock();
        let expected = served + filling.count();
        let wanted = expected - expected / 8;
        if wanted > 1 {
            filling.wanted = wanted;
            let is_missing =
                |filling: &mut Filling| filling.count() < wanted && !filling.is_pressing();
            self.work.wait_while_for(&mut filling, is_missing, sync / 2);
            filling.wanted = 1;
        }
    }

    /// All below the mark is on disk.
    pub(super) fn reached(&self, mark: Mark) {
        self.durable.store(mark.0, Ordering::Release);
        // Whoever looked just before must be waiting by now.
        drop(self.filling.lock());
        self.synced.notify_all();
    }

    /// The segment after the one that the writer writes to is there.
    pub(super) fn next_is_ready(&self) {
        self.filling.lock().is_next_ready = true;
    }

    /// Bytes of the segment that is being filled which have been taken.
    pub(super) fn taken(&self) -> usize {
        self.capacity - self.filling.lock().left
    }

    pub(super) fn close(&self) {
        self.filling.lock().is_closing = true;
        self.work.notify_all();
    }

    /// Whether nothing waits to be written.
    pub(super) fn is_empty(&self) -> bool {
        let filling = self.filling.lock();
        filling.full.is_empty() && filling.open.count == 0
    }

    pub(super) const fn durability(&self) -> Durability {
        self.durability
    }
}

impl Filling {
    fn is_idle(&self) -> bool {
        self.full.is_empty() && self.open.count == 0 && !self.is_closing
    }

    /// How many records wait to be written.
    const fn count(&self) -> u64 {
        self.next - self.untaken
    }

    fn is_pressing(&self) -> bool {
        self.is_closing || !self.full.is_empty() || self.open.bytes.len() >= MUCH
    }

    fn append(&mut self, record: &[u8], capacity: usize) {
        if sectors(self.open.bytes.len() + 4 + record.len()) > self.left {
            assert!(
                self.is_next_ready,
                "room was promised, so there is a next segment"
            );
            self.is_next_ready = false;
            self.left = capacity;
            let room = std::mem::take(&mut self.spare);
            let next = Group::new(self.open.segment + 1, self.next, room);
            let full = std::mem::replace(&mut self.open, next);
            if full.count > 0 {
                self.full.push(full);
            }
        }
        let length = record.len() as u32;
        self.open.bytes.extend_from_slice(&length.to_le_bytes());
        self.open.bytes.extend_from_slice(record);
        self.open.count += 1;
        self.next += 1;
    }

    fn take(&mut self) -> Vec<Group> {
        self.untaken = self.next;
        let mut taken = std::mem::take(&mut self.full);
        if self.open.count > 0 {
            self.left -= self.open.room();
            let room = std::mem::take(&mut self.spare);
            let next = Group::new(self.open.segment, self.next, room);
            taken.push(std::mem::replace(&mut self.open, next));
        }
        taken
    }
}

/// One shard's way into the journal. Lives under that shard's mutex, and is used under it alone.
#[derive(Debug)]
pub struct Appender {
    intake: Arc<Intake>,
    shard: u32,
    /// Number of the shard's next record.
    number: u64,
    last: Mark,
    promised: usize,
    count: u32,
    commands: Vec<u8>,
    record: Vec<u8>,
    /// Tokens below this one are kept ahead, on disk.
    tokens_below: u64,
    /// Tokens that will be, when the mark is reached.
    tokens_to_come: Option<(Mark, u64)>,
}

impl Appender {
    /// The way in for a shard whose next record has this number. No tokens are kept ahead yet.
    pub(super) fn new(intake: Arc<Intake>, shard: u32, number: u64) -> Self {
        Self {
            last: intake.durable(),
            intake,
            shard,
            number,
            promised: 0,
            count: 0,
            commands: Vec::new(),
            record: Vec::new(),
            tokens_below: 0,
            tokens_to_come: None,
        }
    }

    /// Asks for room for a batch of commands that take at most `bytes` ([`bytes_max`](super::bytes_max) of each, summed up), before
    /// any of them is applied. `next_token` is the engine's.
    ///
    /// # Errors
    ///
    /// There is none at the moment: nothing may be applied, and the answer is to ask again.
    pub fn begin(&mut self, bytes: usize, next_token: Token) -> Result<(), Full> {
        self.look_for_tokens();
        if next_token.0.saturating_add(TOKENS_IN_A_BATCH) > self.tokens_below {
            return Err(Full::Tokens);
        }
        self.promise(bytes)
    }

    fn promise(&mut self, bytes: usize) -> Result<(), Full> {
        assert_eq!(
            self.promised, 0,
            "a batch is finished before the next begins"
        );
        // Beside the commands: the head, and perhaps which tokens are kept ahead.
        self.promised = self.intake.promise(bytes + 2 * HEAD_MAX)?;
        Ok(())
    }

    /// Keeps a command that has changed something.
    pub fn keep(&mut self, command: &Command<'_>) {
        record::encode_command(command, &mut self.commands);
        self.count += 1;
    }

    /// Appends what was kept since [`Appender::begin`], if anything, as one record. `now` is the engine's time by then,
    /// `next_token` its next token. Gives the mark that covers all that the shard has ever kept: nothing that the shard
    /// says may leave before it is reached.
    pub fn finish(&mut self, now: LogTime, wall: WallTime, next_token: Token) -> Mark {
        if self.tokens_to_come.is_none()
            && next_token.0.saturating_add(TOKENS_AHEAD / 2) > self.tokens_below
        {
            self.keep_tokens(next_token.0);
        }
        if self.count > 0 {
            return self.append(now, wall);
        }
        self.intake.give_back(std::mem::take(&mut self.promised));
        self.last
    }

    /// Marks the time, so that little of it is gained by a restart. To be done about every second while anything is held.
    ///
    /// # Errors
    ///
    /// There is no room; the next mark will do.
    pub fn mark_time(&mut self, now: LogTime, wall: WallTime) -> Result<Mark, Full> {
        self.promise(0)?;
        Ok(self.append(now, wall))
    }

    /// The mark that covers all that the shard has kept.
    #[must_use]
    pub const fn last(&self) -> Mark {
        self.last
    }

    /// Number of the shard's next record, and the tokens that may have been given out by now.
    pub(super) fn place(&self) -> (u64, u64) {
        let to_come = self.tokens_to_come.map_or(0, |(_, below)| below);
        (self.number, self.tokens_below.max(to_come))
    }

    /// Whether there is anything after `begin` that has to be kept.
    #[must_use]
    pub const fn has_kept(&self) -> bool {
        self.count > 0
    }

    /// The first record of a run: tokens are given out from `from` on.
    pub(super) fn start(
        &mut self,
        from: Token,
        now: LogTime,
        wall: WallTime,
    ) -> Result<Mark, Full> {
        self.promise(0)?;
        self.keep_tokens(from.0);
        Ok(self.append(now, wall))
    }

    fn keep_tokens(&mut self, from: u64) {
        let below = from.saturating_add(TOKENS_AHEAD);
        record::encode_tokens(from, below, &mut self.commands);
        self.count += 1;
        // The mark is that of the record which is about to be appended.
        self.tokens_to_come = Some((Mark(u64::MAX), below));
    }

    fn look_for_tokens(&mut self) {
        if let Some((mark, below)) = self.tokens_to_come
            && self.intake.durable() >= mark
        {
            self.tokens_below = below;
            self.tokens_to_come = None;
        }
    }

    fn append(&mut self, now: LogTime, wall: WallTime) -> Mark {
        self.record.clear();
        Head::new(self.shard, self.number, now, wall, self.count).encode(&mut self.record);
        self.record.append(&mut self.commands);
        self.count = 0;
        let promised = std::mem::take(&mut self.promised);
        self.last = self.intake.append(promised, &self.record);
        self.number += 1;
        if let Some((mark @ Mark(u64::MAX), _)) = &mut self.tokens_to_come {
            *mark = self.last;
        }
        self.last
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What may happen to an intake, in any order.
    #[derive(Debug, Clone)]
    enum Act {
        /// An appender asks for room for so many bytes, and later uses so many parts of eight of them.
        Begin(usize, usize),
        /// The oldest of those who have room appends.
        Finish,
        Take,
        NextIsReady,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => (1..3400_usize, 0..=8_usize).prop_map(|(bytes, parts)| Act::Begin(bytes, parts)),
            3 => Just(Act::Finish),
            1 => Just(Act::Take),
            1 => Just(Act::NextIsReady),
        ]
    }

    /// Appends a record of a few bytes.
    fn append(intake: &Intake) {
        let promised = intake.promise(8).unwrap();
        intake.append(promised, &[7; 8]);
    }

    #[test]
    fn a_slow_disk_waits_for_those_whom_it_has_served() {
        const PATIENCE: Duration = Duration::from_secs(60);
        let intake = Intake::new(1, 1 << 20, 0, Durability::Always);
        std::thread::scope(|scope| {
            scope.spawn(|| (0..7).for_each(|_| append(&intake)));
            intake.gather(8, PATIENCE);
        });
        let taken = intake.take();
        assert_eq!(taken.iter().map(|group| group.count).sum::<u32>(), 7);
        // Whoever is alone waits for nobody, and neither does a quick disk; what does not come is not waited for.
        intake.gather(1, PATIENCE);
        intake.gather(8, SLOW / 2);
        append(&intake);
        intake.gather(8, SLOW);
        assert_eq!(intake.take().len(), 1);
        intake.close();
        intake.gather(8, PATIENCE);
    }

    proptest! {
        /// Many promises at once, of which none is broken, and none given when it might be: `append` would panic.
        #[test]
        fn what_was_promised_fits(acts in proptest::collection::vec(act(), 1..300)) {
            let intake = Intake::new(1, 4096, 0, Durability::Always);
            let mut promised = std::collections::VecDeque::new();
            let (mut used, mut segment, mut next) = (0, 1, 0);
            for act in acts {
                match act {
                    Act::Begin(bytes, parts) => {
                        if let Ok(promise) = intake.promise(bytes) {
                            promised.push_back((promise, bytes * parts / 8));
                        }
                    }
                    Act::Finish => match promised.pop_front() {
                        Some((promise, 0)) => intake.give_back(promise),
                        Some((promise, bytes)) => {
                            next += 1;
                            prop_assert_eq!(intake.append(promise, &vec![7; bytes]), Mark(next));
                        }
                        None => {}
                    },
                    Act::Take => {
                        for group in intake.take() {
                            if group.segment > segment {
                                (segment, used) = (group.segment, 0);
                            }
                            used += sectors(group.bytes.len());
                            prop_assert!(used <= 4096 - SECTOR, "a segment holds what is for it");
                        }
                    }
                    Act::NextIsReady => intake.next_is_ready(),
                }
            }
            for (promise, bytes) in promised {
                intake.append(promise, &vec![7; bytes]);
            }
        }
    }
}
