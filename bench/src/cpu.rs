//! The processor time of a process, and what a host has taken of its machine's, as the system accounts for them.
//!
//! The first is the steadiest figure on a shared machine: what a server spends on a request does not depend on how often it
//! is interrupted by others. The second says how often that was. Read from `/proc`; where there is none, nothing is known.

use std::fs;
use std::ops::{Add, Sub};
use std::process;
use std::time::Duration;

/// Length of the tick in which Linux tells processor time, on every architecture that servers run on.
const TICK: Duration = Duration::from_millis(10);

/// Processor time of all threads of a process since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuTime {
    /// In the program itself.
    pub user: Duration,
    /// In the kernel on its behalf: system calls, mostly.
    pub system: Duration,
}

impl CpuTime {
    /// Of a process, if it lives and the system tells.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        parse_process(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Of this process.
    #[must_use]
    pub fn own() -> Option<Self> {
        Self::of(process::id())
    }

    /// Of the thread that asks, both together. Unlike the others it is exact.
    #[cfg(unix)]
    #[must_use]
    pub fn of_this_thread() -> Option<Duration> {
        let now = nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID.now();
        now.ok().map(Duration::from)
    }

    /// Of the thread that asks, which this system does not tell.
    #[cfg(not(unix))]
    #[must_use]
    pub const fn of_this_thread() -> Option<Duration> {
        None
    }

    /// Both together.
    #[must_use]
    pub fn total(self) -> Duration {
        self.user + self.system
    }
}

impl Sub for CpuTime {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
        }
    }
}

impl Add for CpuTime {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            user: self.user + other.user,
            system: self.system + other.system,
        }
    }
}

/// What a virtual machine could have had of its cores since it began, and what its host gave to others instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachineTime {
    ticks: u64,
    stolen: u64,
}

impl MachineTime {
    /// So far, if the system tells.
    #[must_use]
    pub fn now() -> Option<Self> {
        parse_machine(&fs::read_to_string("/proc/stat").ok()?)
    }

    /// How many hundredths of all its cores' time were given to others since then, if the system still tells.
    #[must_use]
    pub fn percent_stolen_since(self) -> Option<f64> {
        let now = Self::now()?;
        let ticks = now.ticks.saturating_sub(self.ticks).max(1);
        Some(100.0 * now.stolen.saturating_sub(self.stolen) as f64 / ticks as f64)
    }
}

/// Reads fields 14 and 15 of `/proc/PID/stat`. The second is a name in parentheses that may contain anything.
fn parse_process(stat: &str) -> Option<CpuTime> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    Some(CpuTime {
        user: TICK * ticks()?,
        system: TICK * ticks()?,
    })
}

/// Reads the line of all cores in `/proc/stat`: ticks by what they went to. The eighth sort is stolen, and those behind it are
/// counted among the first two as well.
fn parse_machine(stat: &str) -> Option<MachineTime> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields = fields.split_ascii_whitespace().take(8);
    let ticks: Vec<u64> = fields.map(str::parse).collect::<Result<_, _>>().ok()?;
    Some(MachineTime {
        ticks: ticks.iter().sum(),
        stolen: *ticks.get(7)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_mislead() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 100 0 0 0 123 45 0 0 20 0 4 0 99";
        let expected = CpuTime {
            user: Duration::from_millis(1230),
            system: Duration::from_millis(450),
        };
        assert_eq!(parse_process(stat), Some(expected));
        assert_eq!(parse_process("42 (a) S"), None);
    }

    #[test]
    fn what_was_stolen_is_a_part_of_all() {
        let stat = "cpu  10 20 30 40 50 60 70 80 5 6\ncpu0 1 2 3 4 5 6 7 8 0 0\n";
        let expected = MachineTime {
            ticks: 360,
            stolen: 80,
        };
        assert_eq!(parse_machine(stat), Some(expected));
        assert_eq!(parse_machine("cpu0 1 2 3 4 5 6 7 8 0 0\n"), None);
        assert_eq!(parse_machine("cpu  1 2 3 4 5 6 7\n"), None);
    }
}
