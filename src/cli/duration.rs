//! Durations as people write and read them: `250ms`, `90s`, `5m`, `1h30m`.
//! Knows the bounds of the protocol, so that what the server would refuse is refused where it was typed.

use std::time::Duration;

use tenure_protocol::limits;

/// Reads `250ms`, `90s`, `5m`, `1h30m`.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| {
        format!("expected a duration such as 250ms, 90s, 5m or 1h30m, found `{text}` ({error})")
    })
}

/// Reads how long a hold lives.
pub(super) fn ttl(text: &str) -> Result<Duration, String> {
    within(text, limits::TTL_MS)
}

/// Reads how long to wait.
pub(super) fn wait(text: &str) -> Result<Duration, String> {
    within(text, limits::WAIT_MS)
}

/// Reads how long a session may be resumed.
pub(super) fn grace(text: &str) -> Result<Duration, String> {
    within(text, limits::GRACE_MS)
}

fn within(text: &str, bounds: limits::Span) -> Result<Duration, String> {
    let duration = parse(text)?;
    if (bounds.min..=bounds.max).contains(&ms(duration)) {
        Ok(duration)
    } else {
        let (min, max) = (
            Duration::from_millis(bounds.min),
            Duration::from_millis(bounds.max),
        );
        Err(format!(
            "expected {} to {}, found `{text}`",
            show(min),
            show(max)
        ))
    }
}

/// As the wire counts. What is shorter than a millisecond is none.
pub(super) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
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
    fn what_is_too_short_or_too_long_is_refused_with_the_bounds() {
        assert_eq!(ttl("24h"), Ok(Duration::from_secs(86_400)));
        assert_eq!(
            ttl("999ms").unwrap_err(),
            "expected 1s to 1day, found `999ms`"
        );
        assert!(grace("61m").is_err());
        assert_eq!(wait("0"), Ok(Duration::ZERO));
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
