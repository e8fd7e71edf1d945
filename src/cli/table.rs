//! Aligned columns, a page at a time, so that a list of a million rows is never in memory as a whole.
//!
//! Rule: a column is as wide as its widest cell so far; it may grow from page to page, and never shrinks.

use super::output::Output;

/// Between two columns.
const GAP: &str = "  ";

/// Columns with headings. The last one is not padded.
pub(super) struct Table<const N: usize> {
    headings: Option<[&'static str; N]>,
    widths: [usize; N],
}

impl<const N: usize> Table<N> {
    pub(super) fn new(headings: [&'static str; N]) -> Self {
        Self {
            headings: Some(headings),
            widths: headings.map(width),
        }
    }

    /// Writes rows, after the headings if they are the first.
    pub(super) fn write(
        &mut self,
        output: &mut Output,
        rows: &[[String; N]],
    ) -> anyhow::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        for row in rows {
            for (most, cell) in self.widths.iter_mut().zip(row) {
                *most = width(cell).max(*most);
            }
        }
        if let Some(headings) = self.headings.take() {
            let headings = self.line(&headings.map(String::from));
            let headings = output.paint().heading(&headings);
            output.line(&headings)?;
        }
        for row in rows {
            let line = self.line(row);
            output.line(&line)?;
        }
        output.flush()
    }

    fn line(&self, row: &[String; N]) -> String {
        let mut line = String::new();
        for (cell, most) in row.iter().zip(self.widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', most.saturating_sub(width(cell))));
            line.push_str(GAP);
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// In characters, which is what most terminals make of most texts.
fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["PATH", "OWNER"]);
        table.widths = [6, 5];
        let row = |path: &str, owner: &str| table.line(&[path.to_owned(), owner.to_owned()]);
        assert_eq!(row("doc/1", "Борис"), "doc/1   Борис");
        assert_eq!(row("doc/12", ""), "doc/12");
        assert_eq!(row("doc/123", "a"), "doc/123  a");
    }
}
