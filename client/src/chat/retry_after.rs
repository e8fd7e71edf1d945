//! `Retry-After`, in either of its forms.
//!
//! Rule: a date is by the clock of whoever answers, and so is the `Date` of the answer: the span between the two is what is
//! asked for, whatever the clock here says.

use std::time::{Duration, SystemTime};

use httpdate::parse_http_date;

/// Nobody is waited for longer: what says more is asked again after this.
const MOST: Duration = Duration::from_secs(24 * 3600);

/// How long to wait, by the header and by the `Date` of the answer; `None` if it says nothing that can be read.
pub(super) fn read(text: &str, date: Option<&str>) -> Option<Duration> {
    let text = text.trim();
    let span = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let until = parse_http_date(text).ok()?;
            let answered = date.and_then(|date| parse_http_date(date.trim()).ok());
            let from = answered.unwrap_or_else(SystemTime::now);
            until.duration_since(from).unwrap_or_default()
        }
    };
    Some(span.min(MOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_form_is_understood() {
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        let seconds = |text| read(text, date).map(|span| span.as_secs());
        assert_eq!(seconds("0"), Some(0));
        assert_eq!(seconds(" 120 "), Some(120));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:51:37 GMT"), Some(120));
        // The older ways to write one.
        assert_eq!(seconds("Sunday, 06-Nov-94 08:51:37 GMT"), Some(120));
        assert_eq!(seconds("Sun Nov  6 08:51:37 1994"), Some(120));
        for nothing in ["", "soon", "-1", "1.5", "Sun, 06 Nov 1994", "120 s"] {
            assert_eq!(seconds(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn what_is_past_is_now_and_what_is_far_is_a_day() {
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(
            read("Sun, 06 Nov 1994 08:49:00 GMT", date),
            Some(Duration::ZERO)
        );
        assert_eq!(read("Sat, 06 Nov 2094 08:49:37 GMT", date), Some(MOST));
        assert_eq!(read(&u64::MAX.to_string(), date), Some(MOST));
        // Without a date the clock here has to do.
        assert_eq!(
            read("Sun, 06 Nov 1994 08:49:00 GMT", None),
            Some(Duration::ZERO)
        );
    }
}
