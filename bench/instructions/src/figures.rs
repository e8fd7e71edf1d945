//! The figures: how they come from counts, and how they are written and read. Whether they are good is said in
//! [`comparison`](crate::comparison).

use std::fmt;
use std::fs;

use anyhow::{Context as _, Result};

use crate::cases;

/// Where the committed figures are.
pub(crate) const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/figures.txt");

const HEADER: &str = "\
# Instructions per operation, as `cargo run --release -p tenure-instructions` counts them on x86-64 Linux. It writes this
# file itself under UPDATE_INSTRUCTIONS=1; the commit says what made the difference. Another compiler may make one, too.
";

/// Instructions per operation, by case, in the order of the cases.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Figures(Vec<(String, u64)>);

impl Figures {
    /// From what was counted for each of [`cases::ALL`].
    pub(crate) fn of(counts: &[u64]) -> Self {
        let each = cases::ALL.iter().zip(counts).map(|(case, count)| {
            let operations = case.operations_counted() as u64;
            (case.name.to_owned(), (count + operations / 2) / operations)
        });
        Self(each.collect())
    }

    /// Those that are committed.
    pub(crate) fn read() -> Result<Self> {
        let text = fs::read_to_string(FILE).with_context(|| format!("cannot read {FILE}"))?;
        Self::parse(&text)
    }

    pub(crate) fn write(&self) -> Result<()> {
        fs::write(FILE, format!("{HEADER}{self}")).with_context(|| format!("cannot write {FILE}"))
    }

    /// Each with its case.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(case, figure)| (case.as_str(), *figure))
    }

    pub(crate) fn of_case(&self, case: &str) -> Option<u64> {
        let mut figures = self.iter();
        figures.find_map(|(name, figure)| (name == case).then_some(figure))
    }

    /// From lines of a figure, two spaces or more, and a case; what begins with `#` is for people.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let figures = lines.map(|line| {
            let (figure, case) = line
                .trim()
                .split_once("  ")
                .with_context(|| format!("{FILE}: expected a figure and a case, found {line:?}"))?;
            let figure = figure
                .parse()
                .with_context(|| format!("{FILE}: expected a figure, found {figure:?}"))?;
            Ok((case.to_owned(), figure))
        });
        Ok(Self(figures.collect::<Result<_>>()?))
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut figures = self.iter();
        figures.try_for_each(|(case, figure)| writeln!(f, "{figure:8}  {case}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let some = Figures::of(&[12_345_678; cases::ALL.len()]);
        assert_eq!(Figures::parse(&format!("{HEADER}{some}")).unwrap(), some);
    }

    #[test]
    fn every_case_has_a_figure_and_every_figure_a_case() {
        let committed = Figures::read().unwrap();
        let names: Vec<_> = committed.iter().map(|(case, _)| case).collect();
        assert_eq!(names, cases::ALL.map(|case| case.name));
    }
}
