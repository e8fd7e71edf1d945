//! Text in columns: each as wide as its widest cell, the first to the left and the rest to the right. Knows nothing of what
//! stands in them.

use std::fmt::{self, Write as _};

/// Rows of cells. One with fewer cells than others ends early.
#[derive(Debug)]
pub struct Columns(pub Vec<Vec<String>>);

impl Columns {
    /// Rows under their head.
    pub fn under(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Self {
        let head = head.iter().map(ToString::to_string).collect();
        Self([head].into_iter().chain(rows).collect())
    }
}

impl fmt::Display for Columns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.0.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..count).map(width).collect();
        for row in &self.0 {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                if column == 0 {
                    write!(line, "{cell:<width$}")?;
                } else {
                    write!(line, "  {cell:>width$}")?;
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["name", "rate"], ["a", "1"], ["longer", "22,000"]];
        let rows = rows.map(|row| row.map(String::from).to_vec());
        let text = Columns(rows.to_vec()).to_string();
        assert_eq!(text, "name      rate\na            1\nlonger  22,000\n");
    }
}
