//! Spans of time: `500ms`, `2s`, `1.5m`, `1h30m`, and a bare number for seconds.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A span of time as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

/// A text that is no span of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no span of time; write a number and a unit, as in 500ms, 2s, 1.5m, 1h30m")]
pub(crate) struct NoSpan {
    text: String,
}

const UNITS: [(&str, f64); 7] =
    [("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86400.0)];

impl FromStr for Span {
    type Err = NoSpan;

    fn from_str(text: &str) -> Result<Self, NoSpan> {
        let refusal = || NoSpan { text: text.to_owned() };
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(refusal());
        }
        let mut seconds = 0.0;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
            let number: f64 = rest[..digits].parse().map_err(|_| refusal())?;
            rest = &rest[digits..];
            let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
            let unit = match (&rest[..letters], seconds == 0.0 && letters == rest.len()) {
                ("", true) => 1.0,
                (name, _) => UNITS.iter().find(|unit| unit.0 == name).ok_or_else(refusal)?.1,
            };
            rest = &rest[letters..];
            seconds += number * unit;
        }
        Duration::try_from_secs_f64(seconds).map(Span).map_err(|_| refusal())
    }
}

impl fmt::Display for Span {
    /// The largest unit that leaves a number of at least 1: `12 ms`, `3.4 s`, `2 h 05 min`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        if seconds >= 3600 {
            write!(f, "{} h {:02} min", seconds / 3600, seconds / 60 % 60)
        } else if seconds >= 60 {
            write!(f, "{} min {:02} s", seconds / 60, seconds % 60)
        } else if seconds >= 10 {
            write!(f, "{:.0} s", self.0.as_secs_f64())
        } else if seconds >= 1 {
            write!(f, "{:.1} s", self.0.as_secs_f64())
        } else if self.0.as_millis() >= 1 {
            write!(f, "{} ms", self.0.as_millis())
        } else {
            write!(f, "{} µs", self.0.as_micros())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(text: &str) -> Option<u128> {
        text.parse::<Span>().ok().map(|span| span.0.as_millis())
    }

    #[test]
    fn a_number_with_its_units_is_a_span_and_a_bare_one_is_seconds() {
        assert_eq!(millis("500ms"), Some(500));
        assert_eq!(millis("2s"), Some(2000));
        assert_eq!(millis("1.5m"), Some(90_000));
        assert_eq!(millis("1h30m"), Some(5_400_000));
        assert_eq!(millis("3"), Some(3000));
        assert_eq!(millis("0"), Some(0));
        assert_eq!(millis("0.25"), Some(250));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "s", "2 s", "2x", "-1", "1m30", "1..5s", "1e3", "1e400d", "٣s"] {
            assert_eq!(millis(text), None, "{text:?}");
        }
    }

    #[test]
    fn it_is_shown_in_the_unit_that_fits() {
        let shown = |millis| Span(Duration::from_millis(millis)).to_string();
        assert_eq!(shown(12), "12 ms");
        assert_eq!(shown(3400), "3.4 s");
        assert_eq!(shown(61_000), "1 min 01 s");
        assert_eq!(shown(7_500_000), "2 h 05 min");
        assert_eq!(Span(Duration::from_micros(15)).to_string(), "15 µs");
    }
}
