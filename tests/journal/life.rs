//! A few shards that live random histories over a journal, as the server's shards will, and what they know of it: so that
//! what comes back can be held against what was.
//!
//! Decides nothing about a journal. Must hold, after each recovery: no record that was on disk is missing; the state is
//! exactly the one of the last record that came back; tokens go on above all that were ever given out.

use std::sync::Arc;

use tenure::journal::{
    Appender, Directory, Durability, Full, Intake, JournalError, Mark, Options, Parts, Preparer,
    Recovered, Writer, bytes_max, compact, go_on, no_rest, recover,
};
use tenure_engine::{Engine, LogTime, Token, WallTime};

use crate::chance::Chance;
use crate::faulty::Faulty;
use crate::history::world::{Op, World};
use crate::history::{Owned, Recorded, Step, random};

pub(crate) const SHARDS: u32 = 3;

/// Small, so that many are filled.
const SEGMENT_BYTES: u64 = 16 * 1024;

pub(crate) const FIRST_TOKEN: Token = Token(1000);

/// See the header of this file.
pub(crate) struct Life {
    pub(crate) disk: Faulty,
    directory: Directory,
    intake: Arc<Intake>,
    writer: Writer,
    preparer: Preparer,
    pub(crate) shards: Vec<Lived>,
    at: u64,
    durability: Durability,
    pub(crate) refused: u64,
    /// What is still to be lived, last first.
    ops: Vec<Op>,
    met: Met,
}

/// How often something has happened that a test is about: a test that never meets it shows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Met {
    /// Recoveries that found a torn end.
    pub(crate) torn: u64,
    /// Recoveries of a shard without records that it had appended.
    pub(crate) lost: u64,
    /// Recoveries from more than one segment.
    pub(crate) segments: u64,
    /// Recoveries from snapshots.
    pub(crate) snapshots: u64,
}

impl std::ops::AddAssign for Met {
    fn add_assign(&mut self, other: Self) {
        self.torn += other.torn;
        self.lost += other.lost;
        self.segments += other.segments;
        self.snapshots += other.snapshots;
    }
}

/// What a shard has lived.
pub(crate) struct Lived {
    pub(crate) engine: Engine,
    appender: Option<Appender>,
    world: World,
    /// After how many records which state, which mark, and which time.
    states: Vec<(u64, Mark, u64)>,
    highest_token: u64,
}

/// What all the shards knew when the process ended.
pub(crate) struct Ended {
    pub(crate) shards: Vec<Lived>,
    durable: Mark,
    at: u64,
    durability: Durability,
    pub(crate) met: Met,
}

impl Life {
    /// Begins at the beginning of history.
    pub(crate) fn begin(disk: Faulty, durability: Durability) -> Self {
        let shards = (0..SHARDS).map(|_| Lived {
            engine: Engine::new(Token(1)),
            appender: None,
            world: World::default(),
            states: vec![(Engine::new(Token(1)).digest(), Mark(0), 0)],
            highest_token: 0,
        });
        let ended = Ended {
            shards: shards.collect(),
            durable: Mark(0),
            at: 0,
            durability,
            met: Met::default(),
        };
        ended.must_go_on(disk)
    }

    /// Does something: a batch in some shard, or a step of one of the journal's parts. An error is the writer's.
    pub(crate) fn step(&mut self, chance: &mut Chance) -> std::io::Result<()> {
        match chance.below(20) {
            0..9 => self.batch(chance),
            9..16 => self.writer.write()?,
            16..17 => {
                self.writer.write()?;
                self.writer.sync()?;
            }
            // What these cannot do they try again.
            17..19 => drop(self.preparer.prepare(&mut no_rest)),
            _ => match self.compact() {
                Ok(()) | Err(JournalError::Io { .. }) => {}
                Err(error) => panic!("what is complete is sound: {error}"),
            },
        }
        Ok(())
    }

    pub(crate) fn compact(&self) -> Result<(), JournalError> {
        let storage = self.directory.storage().as_ref();
        compact(storage, SHARDS, self.writer.segment(), &mut no_rest).map(|_| ())
    }

    /// The segment that is written to.
    pub(crate) const fn segment(&self) -> u64 {
        self.writer.segment()
    }

    /// A few commands of one shard, under one stamp.
    fn batch(&mut self, chance: &mut Chance) {
        let shard = &mut self.shards[chance.below(u64::from(SHARDS)) as usize];
        let mut steps = Vec::new();
        for _ in 0..=chance.below(5) {
            if self.ops.is_empty() {
                self.ops = chance.pick(&random::history(300));
                self.ops.reverse();
            }
            let Some(op) = &self.ops.pop() else { continue };
            let due = shard.engine.next_deadline().map(|due| due.0);
            steps.push(shard.world.resolve(op, due));
        }
        self.at = self
            .at
            .max(steps.iter().map(|step| step.at).max().unwrap_or(0));
        if chance.below(8) == 0 {
            let appender = shard
                .appender
                .as_mut()
                .expect("a living shard has a way in");
            if let Ok(mark) = appender.mark_time(LogTime(self.at), WallTime(self.at)) {
                shard.states.push((shard.engine.digest(), mark, self.at));
            }
            return;
        }
        if shard.live(&mut steps, self.at).is_err() {
            self.refused += 1;
        }
    }

    /// Lives one command in one shard, and gives its mark.
    pub(crate) fn live(&mut self, shard: usize, command: Owned) -> Mark {
        let mut steps = [Step {
            at: self.at,
            command,
        }];
        self.shards[shard]
            .live(&mut steps, self.at)
            .expect("there is room")
    }

    /// All that has been appended is on disk.
    pub(crate) fn settle(&mut self) {
        self.writer.write().expect("the disk works");
        self.writer.sync().expect("the disk works");
        self.preparer.prepare(&mut no_rest).expect("the disk works");
    }

    pub(crate) fn write(&mut self) {
        self.writer.write().expect("the disk works");
    }

    /// Ends without a word.
    pub(crate) fn end(self) -> Ended {
        Ended {
            durable: self.intake.durable(),
            shards: self.shards,
            at: self.at,
            durability: self.durability,
            met: self.met,
        }
    }
}

impl Lived {
    fn live(&mut self, steps: &mut [Step], at: u64) -> Result<Mark, Full> {
        let appender = self.appender.as_mut().expect("a living shard has a way in");
        let bytes = steps
            .iter()
            .map(|step| step.lend(|entry| bytes_max(entry.command)));
        appender.begin(bytes.sum(), self.engine.next_token())?;
        let mut wall = WallTime(0);
        for step in steps {
            step.at = at;
            let mut recorded = Recorded::default();
            let outcome = step.lend(|entry| {
                wall = entry.wall;
                let outcome = self.engine.apply(entry, &mut recorded);
                if outcome.changed {
                    appender.keep(entry.command);
                }
                outcome
            });
            self.world.learn(&step.command, &outcome.reply, &recorded);
        }
        let has_kept = appender.has_kept();
        let mark = appender.finish(self.engine.now(), wall, self.engine.next_token());
        self.highest_token = self.highest_token.max(self.engine.next_token().0);
        if has_kept {
            self.states
                .push((self.engine.digest(), mark, self.engine.now().0));
        }
        Ok(mark)
    }
}

impl Ended {
    /// Recovers from a disk, looks whether all is there that must be, and goes on; or ends again.
    pub(crate) fn go_on(mut self, disk: Faulty) -> Result<Life, Box<(Self, JournalError)>> {
        match self.recover(&disk) {
            Ok((directory, parts)) => Ok(self.with(disk, directory, parts)),
            Err(error) => Err(Box::new((self, error))),
        }
    }

    /// As [`Ended::go_on`], over a disk that works.
    pub(crate) fn must_go_on(self, disk: Faulty) -> Life {
        match self.go_on(disk) {
            Ok(life) => life,
            Err(ended) => panic!("a crash is no damage: {}", ended.1),
        }
    }

    fn recover(&mut self, disk: &Faulty) -> Result<(Directory, Parts), JournalError> {
        let directory = Directory::on(Arc::new(disk.clone()), SHARDS)?;
        let mut recovered = recover(&directory, go_on)?;
        self.check(&recovered);
        let contents = directory.contents()?;
        self.met.torn += u64::from(recovered.torn.is_some());
        self.met.segments += u64::from(contents.segments.len() > 1);
        self.met.snapshots += u64::from(!contents.snapshots.is_empty());
        let at = self.at.max(recovered.log_time.0);
        for (lived, shard) in self.shards.iter_mut().zip(&recovered.shards) {
            let kept = shard.number as usize + 1;
            self.met.lost += u64::from(kept < lived.states.len());
            lived.states.truncate(kept);
            // The record that a run begins with may get to the disk, even if the run does not get anywhere.
            let mut begun = shard.engine.clone();
            begun.raise_tokens(Token(FIRST_TOKEN.0.max(shard.tokens_below)));
            lived
                .states
                .push((begun.digest(), Mark(u64::MAX), recovered.log_time.0));
        }
        // Whatever has come back was on disk.
        let last = self
            .shards
            .iter()
            .map(|lived| lived.states[lived.states.len() - 2].1);
        self.durable = last.max().unwrap_or_default();
        let options = Options {
            durability: self.durability,
            segment_bytes: SEGMENT_BYTES,
        };
        let first = (FIRST_TOKEN, WallTime(at));
        let parts = Parts::assemble(&directory, &mut recovered, first, options)?;
        for (lived, shard) in self.shards.iter_mut().zip(recovered.shards) {
            let next = shard.engine.next_token().0;
            let highest = lived.highest_token;
            assert!(next >= highest, "tokens rise: {next} after {highest}");
            lived.engine = shard.engine;
        }
        Ok((directory, parts))
    }

    fn with(mut self, disk: Faulty, directory: Directory, parts: Parts) -> Life {
        let durable = parts.intake.durable();
        for (lived, appender) in self.shards.iter_mut().zip(parts.appenders) {
            let begun = lived.states.last_mut().expect("a run begins with a record");
            begun.1 = durable;
            lived.appender = Some(appender);
        }
        let mut life = Life {
            disk,
            directory,
            intake: parts.intake,
            writer: parts.writer,
            preparer: parts.preparer,
            shards: self.shards,
            at: self.at,
            durability: self.durability,
            refused: 0,
            ops: Vec::new(),
            met: self.met,
        };
        for shard in 0..SHARDS as usize {
            life.live(shard, Owned::Started);
        }
        life
    }

    fn check(&self, recovered: &Recovered) {
        assert_eq!(recovered.shards.len(), self.shards.len());
        for (lived, shard) in self.shards.iter().zip(&recovered.shards) {
            let number = shard.number as usize;
            assert!(
                number < lived.states.len(),
                "a record has come back that was never appended"
            );
            let missing = lived.states[number + 1..]
                .iter()
                .find(|(_, mark, _)| *mark <= self.durable);
            assert_eq!(
                missing, None,
                "after {number} records, one is missing that was on disk"
            );
            assert_eq!(
                shard.engine.digest(),
                lived.states[number].0,
                "the state after {number} records"
            );
            let (_, _, at) = lived.states[number];
            assert!(recovered.log_time.0 >= at, "log time goes on");
            shard.engine.check();
        }
    }
}

/// A session of this owner's.
pub(crate) fn open(owner: &str) -> Owned {
    Owned::Open {
        org: "acme".to_owned(),
        owner: owner.to_owned(),
        name: owner.to_owned(),
        metadata: b"{}".to_vec(),
        role: tenure_engine::Role::Admin,
        key: 7,
        lost: tenure_engine::Disconnect::ByPolicy,
    }
}
