//! Standings as text for people: a block for each trial, a row for each system. The columns of all blocks stand below each
//! other, so that the eye can follow one down the page.

use std::fmt;

use super::{Entry, Ratios, Standing, rate};
use crate::columns::Columns;
use crate::load::Course;
use crate::report::{Figures, grouped};

/// Whoever reaches less than this share of a given rate has not kept up with it.
const KEPT_UP: f64 = 0.99;

/// All standings, one below the other.
#[derive(Debug)]
pub struct Table<'a>(pub &'a [Standing]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = Vec::new();
        let mut titles = Vec::new();
        for standing in self.0 {
            titles.push((rows.len(), standing));
            rows.push(head(standing));
            let entries = standing.systems.iter();
            rows.extend(entries.filter_map(|entry| row(standing, entry)));
        }
        let text = Columns(rows).to_string();
        for (number, line) in text.lines().enumerate() {
            if let Some((_, standing)) = titles.iter().find(|(first, _)| *first == number) {
                writeln!(f, "\n{}", title(standing))?;
            }
            writeln!(f, "  {line}")?;
        }
        self.0
            .iter()
            .try_for_each(|standing| write_failures(f, standing))
    }
}

fn write_failures(f: &mut fmt::Formatter<'_>, standing: &Standing) -> fmt::Result {
    let entries = standing.systems.iter();
    for (system, failure) in
        entries.filter_map(|entry| Some((entry.system, entry.failure.as_ref()?)))
    {
        writeln!(f, "\n{}: {system} has failed: {failure}", title(standing))?;
    }
    Ok(())
}

/// What was measured, and whether that says anything.
pub(super) fn title(standing: &Standing) -> String {
    let mut title = format!(
        "{}: {} connections, depth {}, {} paths",
        what(standing.course),
        standing.connections,
        standing.depth,
        grouped(standing.paths.into())
    );
    if let Some(rate) = standing.rate {
        let rate = grouped(rate.into());
        title += &format!(", at {rate} pairs/s (half of what Redis reached)");
    }
    if standing.is_void {
        title += " -- VOID: here the floor is below 5 x Redis, so the machine or the generator is the limit";
    }
    title
}

const fn what(course: Course) -> &'static str {
    match course {
        Course::Pairs => "acquire and release",
        Course::Renew => "renew",
        Course::Mixed => "as in a help desk (10 % acquire, 10 % release, 75 % renew, 5 % refused)",
        Course::HandOff => "contended hand-off",
    }
}

/// What is counted a second.
pub(super) const fn unit(course: Course) -> &'static str {
    match course {
        Course::Pairs => "pairs/s",
        Course::Renew => "renewals/s",
        Course::Mixed => "requests/s",
        Course::HandOff => "hand-offs/s",
    }
}

fn head(standing: &Standing) -> Vec<String> {
    // At a given rate it is not the rate that tells systems apart.
    let (to_redis, to_floor) = match standing.rate {
        Some(_) => ("p99 x redis", "p99 x floor"),
        None => ("x redis", "x floor"),
    };
    let head = [
        "system",
        unit(standing.course),
        "(from - to)",
        to_redis,
        to_floor,
        "p50 us",
        "p99 us",
        "p99.9 us",
        "server ns/op",
        "= user",
        "+ system",
        "x redis",
        "x floor",
        "generator",
    ];
    head.map(String::from).to_vec()
}

/// `None` for a system that has failed.
fn row(standing: &Standing, entry: &Entry) -> Option<Vec<String>> {
    let mut system = entry.system.to_string();
    if entry.depth != standing.depth {
        system += &format!(" (depth {})", entry.depth);
    }
    let median = entry.median.as_ref()?;
    let wanted = standing.rate.map_or(0.0, f64::from);
    if rate(standing.course, median) < KEPT_UP * wanted {
        system += " (behind)";
    }
    let rates = || {
        entry
            .rounds
            .iter()
            .map(|round| rate(standing.course, round))
    };
    let (least, most) = (
        rates().fold(f64::INFINITY, f64::min),
        rates().fold(0.0, f64::max),
    );
    let times = |ratio: Option<f64>| ratio.map_or_else(unknown, |ratio| format!("{ratio:.2}"));
    let nanos = |nanos: Option<f64>| nanos.map_or_else(unknown, grouped);
    let of_trial = |ratios: Option<Ratios>| {
        times(ratios.map(|ratios| match standing.rate {
            Some(_) => ratios.p99,
            None => ratios.rate,
        }))
    };
    let of_server = |ratios: Option<Ratios>| times(ratios.and_then(|ratios| ratios.server));
    Some(vec![
        system,
        grouped(rate(standing.course, median)),
        format!("({} - {})", grouped(least), grouped(most)),
        of_trial(entry.to_redis),
        of_trial(entry.to_floor),
        grouped(median.p50_us),
        grouped(median.p99_us),
        grouped(median.p99_9_us),
        nanos(median.server_ns()),
        nanos(median.server_user_ns),
        nanos(median.server_system_ns),
        of_server(entry.to_redis),
        of_server(entry.to_floor),
        generator_load(median).map_or_else(unknown, |load| format!("{:.0} %", 100.0 * load)),
    ])
}

/// How many cores the generator had enough to do for.
fn generator_load(figures: &Figures) -> Option<f64> {
    Some(figures.generator_ns? * figures.operations_per_second / 1e9)
}

fn unknown() -> String {
    String::from("-")
}
