//! What is told of runs: figures of each and their medians, as a table for people and as JSON for machines.
//!
//! An operation is one request that has succeeded: an acquire, a renewal or a release; a pair is an acquire and its release.
//! What the server spent on refusals is part of what its successes cost.

use std::fmt::{self, Write as _};
use std::time::Duration;

use serde::Serialize;

use crate::load::Measured;

/// Several rounds of one load.
#[derive(Debug, Clone, Serialize)]
pub struct Case {
    /// How many connections.
    pub connections: u32,
    /// Requests in flight on each.
    pub depth: u32,
    /// Of each figure by itself, over the rounds.
    pub median: Figures,
    /// In the order in which they were run.
    pub rounds: Vec<Figures>,
}

/// The figures of one round.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Figures {
    /// Requests answered with yes, a second.
    pub operations_per_second: f64,
    /// Locks acquired and released again, a second.
    pub pairs_per_second: f64,
    /// Half of the requests were answered within so many microseconds.
    pub p50_us: f64,
    /// 99 of 100.
    pub p99_us: f64,
    /// 999 of 1000.
    pub p99_9_us: f64,
    /// The server's processor time for an operation, in nanoseconds: in its own code.
    pub server_user_ns: Option<f64>,
    /// The same in the kernel.
    pub server_system_ns: Option<f64>,
    /// The generator's processor time for an operation, in nanoseconds, without what it looked in vain for.
    pub generator_ns: Option<f64>,
    /// Refused acquires for each operation.
    pub conflicts_per_operation: f64,
    /// Releases and renewals of what was held no more.
    pub lost: f64,
    /// Requests that were due and could not be sent.
    pub overdue: f64,
    /// Where slots stood in line.
    pub waits: Option<Waits>,
}

/// How long it took to be granted a lock in line, and whether each was served in its turn.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Waits {
    /// Half of the waits took at most so many microseconds.
    pub p50_us: f64,
    /// 99 of 100.
    pub p99_us: f64,
    /// The longest.
    pub max_us: f64,
    /// All together, for each.
    pub mean_us: f64,
    /// 99 of 100 were at most so many places from their turn.
    pub places_off_p99: f64,
    /// The one that was furthest.
    pub places_off_max: f64,
}

impl Waits {
    fn of(measured: &Measured) -> Option<Self> {
        let (waits, places_off) = (&measured.waits, &measured.places_off);
        let percentile = |share| waits.value_at_quantile(share) as f64 / 1e3;
        (!waits.is_empty()).then(|| Self {
            p50_us: percentile(0.5),
            p99_us: percentile(0.99),
            max_us: percentile(1.0),
            mean_us: waits.mean() / 1e3,
            places_off_p99: places_off.value_at_quantile(0.99) as f64,
            places_off_max: places_off.max() as f64,
        })
    }

    fn median(rounds: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| middle(rounds.iter().map(figure).collect());
        Self {
            p50_us: of(|round| round.p50_us),
            p99_us: of(|round| round.p99_us),
            max_us: of(|round| round.max_us),
            mean_us: of(|round| round.mean_us),
            places_off_p99: of(|round| round.places_off_p99),
            places_off_max: of(|round| round.places_off_max),
        }
    }
}

impl Figures {
    /// The figures of a run.
    #[must_use]
    pub fn of(measured: &Measured) -> Self {
        let operations = measured.operations() as f64;
        let each = |spent: Duration| spent.as_nanos() as f64 / operations.max(1.0);
        let percentile = |share| measured.latency.value_at_quantile(share) as f64 / 1e3;
        Self {
            operations_per_second: operations / measured.elapsed.as_secs_f64(),
            pairs_per_second: measured.released as f64 / measured.elapsed.as_secs_f64(),
            p50_us: percentile(0.5),
            p99_us: percentile(0.99),
            p99_9_us: percentile(0.999),
            server_user_ns: measured.server.map(|spent| each(spent.user)),
            server_system_ns: measured.server.map(|spent| each(spent.system)),
            generator_ns: measured.generator.map(each),
            conflicts_per_operation: measured.conflicts as f64 / operations.max(1.0),
            lost: measured.lost as f64,
            overdue: measured.overdue as f64,
            waits: Waits::of(measured),
        }
    }

    /// Of each figure by itself.
    #[must_use]
    pub fn median(rounds: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| middle(rounds.iter().map(figure).collect());
        let known = |figure: fn(&Self) -> Option<f64>| {
            rounds.iter().map(figure).collect::<Option<_>>().map(middle)
        };
        let waits: Option<Vec<Waits>> = rounds.iter().map(|round| round.waits).collect();
        Self {
            operations_per_second: of(|round| round.operations_per_second),
            pairs_per_second: of(|round| round.pairs_per_second),
            p50_us: of(|round| round.p50_us),
            p99_us: of(|round| round.p99_us),
            p99_9_us: of(|round| round.p99_9_us),
            server_user_ns: known(|round| round.server_user_ns),
            server_system_ns: known(|round| round.server_system_ns),
            generator_ns: known(|round| round.generator_ns),
            conflicts_per_operation: of(|round| round.conflicts_per_operation),
            lost: of(|round| round.lost),
            overdue: of(|round| round.overdue),
            waits: waits.map(|waits| Waits::median(&waits)),
        }
    }

    /// The server's processor time for an operation, in nanoseconds.
    #[must_use]
    pub fn server_ns(&self) -> Option<f64> {
        Some(self.server_user_ns? + self.server_system_ns?)
    }
}

impl Case {
    /// A case from its rounds.
    #[must_use]
    pub fn of(connections: u32, depth: u32, rounds: Vec<Figures>) -> Self {
        Self {
            connections,
            depth,
            median: Figures::median(&rounds),
            rounds,
        }
    }
}

/// How many times another's figure one's own is: the median of what it was in each round. Whatever a minute does to a shared
/// machine it does to both of a round, and less to what they are to each other than to either. `None` without rounds of both.
#[must_use]
pub fn ratio(own: &[Figures], other: &[Figures], of: impl Fn(&Figures) -> f64) -> Option<f64> {
    let ratios = own
        .iter()
        .zip(other)
        .map(|(own, other)| of(own) / of(other));
    let ratios: Vec<_> = ratios.collect();
    (!ratios.is_empty()).then(|| middle(ratios))
}

/// The middle one, or the mean of the two in the middle.
fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[half],
        _ => f64::midpoint(values[half - 1], values[half]),
    }
}

/// A table for people: the medians, and between which bounds the rate lay.
pub struct Table<'a>(pub &'a [Case]);

const HEAD: [&str; 10] = [
    "connections",
    "depth",
    "pairs/s",
    "operations/s",
    "(from - to)",
    "p50 us",
    "p99 us",
    "p99.9 us",
    "server ns/op = user + system",
    "generator ns/op",
];

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<_> = self.0.iter().map(row).collect();
        let width = |column: usize| {
            let cells = rows.iter().map(|row| row[column].len());
            cells.fold(HEAD[column].len(), usize::max)
        };
        let widths: Vec<_> = (0..HEAD.len()).map(width).collect();
        let mut line = |cells: &[String]| {
            let mut text = String::new();
            for (cell, width) in cells.iter().zip(&widths) {
                write!(text, "{cell:>width$}  ")?;
            }
            writeln!(f, "{}", text.trim_end())
        };
        line(&HEAD.map(String::from))?;
        rows.iter().try_for_each(|row| line(row))
    }
}

fn row(case: &Case) -> [String; HEAD.len()] {
    let median = &case.median;
    let rates = || case.rounds.iter().map(|round| round.operations_per_second);
    let (least, most) = (
        rates().fold(f64::INFINITY, f64::min),
        rates().fold(0.0, f64::max),
    );
    let unknown = || String::from("-");
    let server = match (median.server_user_ns, median.server_system_ns) {
        (Some(user), Some(system)) => format!(
            "{} = {} + {}",
            grouped(user + system),
            grouped(user),
            grouped(system)
        ),
        _ => unknown(),
    };
    [
        case.connections.to_string(),
        case.depth.to_string(),
        grouped(median.pairs_per_second),
        grouped(median.operations_per_second),
        format!("({} - {})", grouped(least), grouped(most)),
        format!("{:.0}", median.p50_us),
        format!("{:.0}", median.p99_us),
        format!("{:.0}", median.p99_9_us),
        server,
        median.generator_ns.map_or_else(unknown, grouped),
    ]
}

/// A whole number with its thousands apart.
#[must_use]
pub fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let cases = [
            (0.0, "0"),
            (999.4, "999"),
            (1000.0, "1,000"),
            (1234567.0, "1,234,567"),
        ];
        for (number, expected) in cases {
            assert_eq!(grouped(number), expected);
        }
    }

    #[test]
    fn a_median_is_of_each_figure_by_itself() {
        let round = |pairs_per_second, p50_us| Figures {
            pairs_per_second,
            p50_us,
            server_user_ns: Some(p50_us),
            ..Figures::default()
        };
        let case = Case::of(
            1,
            1,
            vec![round(3.0, 10.0), round(1.0, 30.0), round(2.0, 20.0)],
        );
        assert_eq!(case.median, round(2.0, 20.0));
        assert_eq!(middle(vec![1.0, 2.0]), 1.5);
    }

    #[test]
    fn what_is_unknown_stays_so() {
        let known = Figures {
            server_user_ns: Some(1.0),
            ..Figures::default()
        };
        let case = Case::of(50, 16, vec![known, Figures::default()]);
        assert_eq!(case.median.server_user_ns, None);
        let cases = [case];
        let table = Table(&cases).to_string();
        assert_eq!(table.lines().count(), 2, "a head and a row");
    }

    #[test]
    fn a_bad_round_for_both_is_none_for_their_ratio() {
        let rounds = |rates: [f64; 3]| {
            rates.map(|pairs_per_second| Figures {
                pairs_per_second,
                ..Figures::default()
            })
        };
        let (own, other) = (rounds([300.0, 90.0, 310.0]), rounds([100.0, 30.0, 200.0]));
        let rate = |figures: &Figures| figures.pairs_per_second;
        assert_eq!(ratio(&own, &other, rate), Some(3.0));
        assert_eq!(ratio(&own, &[], rate), None);
    }
}
