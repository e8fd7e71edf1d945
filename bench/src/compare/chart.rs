//! Standings as charts: for each course its rates and its costs, as multiples of Redis, one group of bars for each trial.
//!
//! Plain SVG, which needs nothing to be drawn. Rules: every bar has its number beside it, so that nothing is told by colour
//! or length alone; text and axes follow the reader's light or dark.

use std::fmt::{self, Write as _};

use super::{Entry, Standing};
use crate::load::Course;
use crate::peers::Peer;

/// Pixels.
const WIDTH: f64 = 760.0;
const LABELS: f64 = 90.0;
const NUMBERS: f64 = 110.0;
const TOP: f64 = 58.0;
const BAR: f64 = 18.0;
const GAP: f64 = 4.0;
const GROUP_HEAD: f64 = 30.0;
const BOTTOM: f64 = 18.0;

/// What a chart shows of each entry.
#[derive(Debug, Clone, Copy)]
enum Shown {
    Rate,
    Cost,
}

/// One group of bars.
struct Group {
    title: String,
    bars: Vec<(Peer, f64)>,
}

/// The charts of these standings: the name of each file, and what is in it. A trial without Redis is in none.
#[must_use]
pub fn charts(standings: &[Standing]) -> Vec<(String, String)> {
    let mut charts = Vec::new();
    for course in Course::ALL {
        for (shown, name) in [(Shown::Rate, "rate"), (Shown::Cost, "cost")] {
            let of_course = standings
                .iter()
                .filter(|standing| standing.course == course && standing.rate.is_none());
            let groups: Vec<_> = of_course
                .map(|standing| Group::of(standing, shown))
                .filter(|group| !group.bars.is_empty())
                .collect();
            if !groups.is_empty() {
                let chart = Chart {
                    title: shown.title(course),
                    groups,
                };
                charts.push((format!("{course}-{name}.svg"), chart.to_string()));
            }
        }
    }
    charts
}

impl Shown {
    fn title(self, course: Course) -> String {
        let what = match course {
            Course::Pairs => "Acquire and release",
            Course::Renew => "Renew",
            Course::Mixed => "As in a help desk",
            Course::HandOff => "Contended hand-off",
        };
        match self {
            Self::Rate => format!("{what}: how many a second, Redis = 1 (more is better)"),
            Self::Cost => {
                format!("{what}: processor time of the server for each, Redis = 1 (less is better)")
            }
        }
    }

    fn of(self, entry: &Entry) -> Option<f64> {
        let ratios = entry.to_redis?;
        match self {
            Self::Rate => Some(ratios.rate),
            Self::Cost => ratios.server,
        }
    }
}

impl Group {
    fn of(standing: &Standing, shown: Shown) -> Self {
        let (connections, depth) = (standing.connections, standing.depth);
        let requests = if depth == 1 { "request" } else { "requests" };
        let mut title = format!("{connections} connections, {depth} {requests} in flight on each");
        if standing.is_void {
            title += " (void: the floor is below 5 x Redis)";
        }
        let bars = standing.systems.iter();
        let bars = bars.filter_map(|entry| Some((entry.system, shown.of(entry)?)));
        Self {
            title,
            bars: bars.collect(),
        }
    }

    fn height(&self) -> f64 {
        GROUP_HEAD + self.bars.len() as f64 * (BAR + GAP)
    }
}

struct Chart {
    title: String,
    groups: Vec<Group>,
}

impl Chart {
    /// The longest bar that is drawn. What is far beyond the others ends there, and its number says so.
    fn longest(&self) -> f64 {
        let bars = || self.groups.iter().flat_map(|group| &group.bars);
        let of_ours =
            bars().filter(|(peer, _)| matches!(peer, Peer::Tenure | Peer::Guided | Peer::Floor));
        let ours = of_ours.map(|(_, value)| *value).fold(1.0, f64::max);
        let all = bars().map(|(_, value)| *value).fold(1.0, f64::max);
        all.min(1.5 * ours)
    }
}

impl fmt::Display for Chart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let height = TOP + self.groups.iter().map(Group::height).sum::<f64>() + BOTTOM;
        let title = &self.title;
        writeln!(
            f,
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}">"#
        )?;
        f.write_str(STYLE)?;
        writeln!(f, r#"<text x="12" y="30" class="title">{title}</text>"#)?;
        let scale = (WIDTH - LABELS - NUMBERS) / self.longest();
        let mut y = TOP;
        for group in &self.groups {
            write_group(f, group, y, scale)?;
            y += group.height();
        }
        writeln!(f, "</svg>")
    }
}

fn write_group(f: &mut fmt::Formatter<'_>, group: &Group, top: f64, scale: f64) -> fmt::Result {
    let (title, baseline) = (&group.title, top + 16.0);
    writeln!(
        f,
        r#"<text x="12" y="{baseline}" class="group">{title}</text>"#
    )?;
    let first = top + GROUP_HEAD - GAP;
    let room = WIDTH - LABELS - NUMBERS;
    let mut numbers = String::new();
    for (place, (peer, value)) in group.bars.iter().enumerate() {
        let y = first + place as f64 * (BAR + GAP);
        let text_y = y + 13.5;
        let length = (value * scale).min(room).max(1.0);
        let beyond = if value * scale > room {
            "\u{2192} "
        } else {
            ""
        };
        let (label_x, number_x) = (LABELS - 8.0, LABELS + length + 6.0);
        writeln!(
            f,
            r#"<text x="{label_x}" y="{text_y}" class="label">{peer}</text>"#
        )?;
        writeln!(
            f,
            r#"<rect x="{LABELS}" y="{y}" width="{length:.1}" height="{BAR}" rx="2" class="{peer}"/>"#
        )?;
        writeln!(
            numbers,
            r#"<text x="{number_x:.1}" y="{text_y}" class="number">{beyond}{} x</text>"#,
            number(*value)
        )?;
    }
    let (x, last) = (LABELS + scale, top + group.height() - GAP);
    writeln!(
        f,
        r#"<line x1="{x:.1}" y1="{first}" x2="{x:.1}" y2="{last}" class="redis"/>"#
    )?;
    // In front of the line, where that goes through some of them.
    f.write_str(&numbers)
}

/// Two digits that say something.
fn number(value: f64) -> String {
    let mut text = String::new();
    let digits = match value {
        value if value >= 10.0 => 0,
        value if value >= 1.0 => 1,
        _ => 2,
    };
    write!(text, "{value:.digits$}").expect("a string takes every number");
    text
}

/// Ours stands out; who is compared with stays grey.
const STYLE: &str = "\
<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.title { font-size: 15px; font-weight: 600; }
.group { font-weight: 600; }
.label { text-anchor: end; }
.number { paint-order: stroke; stroke: #ffffff; stroke-width: 5px; }
rect { fill: #8c959f; }
.tenure, .guided { fill: #1a7f5a; }
.floor { fill: #9ecfb9; }
.redis { stroke: #57606a; stroke-dasharray: 3 3; }
rect.redis { stroke: none; fill: #c0564b; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .number { stroke: #0d1117; }
  rect { fill: #6e7681; }
  .tenure, .guided { fill: #3fb68b; }
  .floor { fill: #2a6450; }
  .redis { stroke: #9198a1; }
  rect.redis { fill: #d9756b; }
}
</style>
";
