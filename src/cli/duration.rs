//! Durations as people write and read them: `250ms`, `90s`, `5m`, `1h30m`.

use std::time::Duration;

/// Reads `250ms`, `90s`, `5m`, `1h30m`.
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "for the sub-commands that take a duration")
)]
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| {
        format!("expected a duration such as 250ms, 90s, 5m or 1h30m, found `{text}` ({error})")
    })
}

/// Writes what [`parse`] reads, as exactly as people care: milliseconds below ten seconds, then whole seconds.
pub(super) fn show(duration: Duration) -> String {
    let exact = if duration < Duration::from_secs(10) {
        Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    } else {
        Duration::from_secs(duration.as_secs())
    };
    humantime::format_duration(exact)
        .to_string()
        .replace(' ', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_read() {
        for (text, ms) in [
            ("250ms", 250),
            ("90s", 90_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("1.5s", 1_500),
            ("2d", 172_800_000),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn what_means_nothing_is_refused_with_an_example() {
        for text in ["", "5", "5 parsecs", "-5s", "s"] {
            let error = parse(text).unwrap_err();
            let begin =
                format!("expected a duration such as 250ms, 90s, 5m or 1h30m, found `{text}`");
            assert!(error.starts_with(&begin), "{error}");
        }
    }

    #[test]
    fn what_is_written_is_short_and_can_be_read() {
        for (micros, text) in [
            (0, "0s"),
            (250_999, "250ms"),
            (1_500_000, "1s500ms"),
            (59_999_999, "59s"),
            (300_000_000, "5m"),
            (5_400_000_000, "1h30m"),
            (90_061_000_000, "1day1h1m1s"),
        ] {
            let shown = show(Duration::from_micros(micros));
            assert_eq!(shown, text);
            assert!(parse(&shown).is_ok());
        }
    }
}
