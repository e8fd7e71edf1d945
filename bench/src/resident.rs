//! The memory of a process that is really in use, as its system accounts for it. Read from `/proc`; where there is none,
//! nothing is known.

use std::fs;

/// Bytes of memory that a process has resident, if it lives and the system tells. What it has set aside and never touched
/// is not in it; what it keeps for later is.
#[must_use]
pub fn resident_bytes(pid: u32) -> Option<u64> {
    parse(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn parse(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes = line.trim().strip_suffix("kB")?;
    Some(kibibytes.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resident_part_is_found() {
        let status = "Name:\ttenure\nVmPeak:\t  999 kB\nVmRSS:\t   1234 kB\nRssAnon:\t 1 kB\n";
        assert_eq!(parse(status), Some(1234 * 1024));
        assert_eq!(parse("Name:\ta zombie\n"), None);
    }
}
