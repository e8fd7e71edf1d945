//! What was found beside what is expected: within the tolerance or not, as a table, and what to do about it. A figure that
//! has become better is a complaint as well: expected is only what is true.

use std::fmt;

use crate::figures::Figures;

/// How far a figure may be from the committed one, either way, in percent.
const TOLERANCE: f64 = 5.0;

/// See the file's header.
#[derive(Debug)]
pub(crate) struct Comparison(Vec<Line>);

/// One case; `None` where the case is not in the file, or the file speaks of a case that there is not.
#[derive(Debug)]
struct Line {
    case: String,
    expected: Option<u64>,
    found: Option<u64>,
}

impl Comparison {
    pub(crate) fn of(expected: &Figures, found: &Figures) -> Self {
        let lines = found.iter().map(|(case, figure)| Line {
            case: case.to_owned(),
            expected: expected.of_case(case),
            found: Some(figure),
        });
        let gone = expected
            .iter()
            .filter(|(case, _)| found.of_case(case).is_none());
        let gone = gone.map(|(case, figure)| Line {
            case: case.to_owned(),
            expected: Some(figure),
            found: None,
        });
        Self(lines.chain(gone).collect())
    }

    pub(crate) fn is_as_expected(&self) -> bool {
        self.0.iter().all(Line::is_as_expected)
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:>8} {:>8} {:>8}  instructions per operation",
            "expected", "found", "change"
        )?;
        for line in &self.0 {
            writeln!(f, "{line}")?;
        }
        if self.is_as_expected() {
            return write!(f, "all within {TOLERANCE} %");
        }
        writeln!(f)?;
        for line in self.0.iter().filter(|line| !line.is_as_expected()) {
            writeln!(f, "{}", line.complaint())?;
        }
        write!(f, "{REMEDY}")
    }
}

const REMEDY: &str = "
What to do: if it is not meant, look where the instructions go (bench/README.md says how). If it is, or if the figure has
become better, let the file tell the truth, and say in the commit what made the difference:

    UPDATE_INSTRUCTIONS=1 cargo run --release -p tenure-instructions";

impl Line {
    fn is_as_expected(&self) -> bool {
        self.change()
            .is_some_and(|percent| percent.abs() <= TOLERANCE)
    }

    fn change(&self) -> Option<f64> {
        let (expected, found) = (self.expected? as f64, self.found? as f64);
        Some((found - expected) / expected * 100.0)
    }

    fn complaint(&self) -> String {
        let case = &self.case;
        match (self.expected, self.found) {
            (Some(expected), Some(found)) => {
                let change = self.change().unwrap_or_default();
                format!(
                    "{case}: expected {expected} within {TOLERANCE} %, found {found}: {change:+.1} %"
                )
            }
            (None, _) => format!("{case}: expected a figure in figures.txt, found none"),
            (Some(_), None) => {
                format!("{case}: expected such a case, found it in figures.txt alone")
            }
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figure = |figure: Option<u64>| {
            figure.map_or_else(|| "-".to_owned(), |figure| figure.to_string())
        };
        let change = self
            .change()
            .map_or_else(|| "-".to_owned(), |change| format!("{change:+.1} %"));
        let mark = if self.is_as_expected() { ' ' } else { '!' };
        write!(
            f,
            "{:>8} {:>8} {change:>8} {mark}{}",
            figure(self.expected),
            figure(self.found),
            self.case
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(expected: &str, found: &str) -> Comparison {
        let figures = |text| Figures::parse(text).unwrap();
        Comparison::of(&figures(expected), &figures(found))
    }

    #[test]
    fn a_twentieth_is_tolerated_both_ways_and_no_more() {
        let passes = |found: &str| compared("1000  a", found).is_as_expected();
        assert!(passes("950  a") && passes("1000  a") && passes("1050  a"));
        assert!(!passes("949  a") && !passes("1051  a"));
    }

    #[test]
    fn a_failure_says_case_expected_found_and_what_to_do() {
        let text = compared("1000  a\n3  c", "1100  a\n2  b").to_string();
        for part in [
            "a: expected 1000 within 5 %, found 1100: +10.0 %",
            "b: expected a figure in figures.txt, found none",
            "c: expected such a case, found it in figures.txt alone",
            "UPDATE_INSTRUCTIONS=1",
        ] {
            assert!(text.contains(part), "{part:?} is missing in:\n{text}");
        }
    }
}
