//! How long one item may run: a span, a share of the median, or `never`.

use std::str::FromStr;

use poolctl_supervisor::Timeout;

use super::duration::{NoSpan, Span};

/// How long one item may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeLimit(pub(crate) Timeout);

/// A text that is no limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoTimeLimit {
    /// Neither `N%` nor `never` nor a span.
    #[error(transparent)]
    Span(#[from] NoSpan),
    /// A percentage that is no whole number, or zero.
    #[error("`{text}` is no share of the median; write a whole number, as in 300%")]
    Percent {
        /// The text.
        text: String,
    },
}

impl FromStr for TimeLimit {
    type Err = NoTimeLimit;

    fn from_str(text: &str) -> Result<Self, NoTimeLimit> {
        if text == "never" {
            return Ok(Self(Timeout::Never));
        }
        match text.strip_suffix('%') {
            Some(percent) => match percent.parse() {
                Ok(percent) if percent > 0 => Ok(Self(Timeout::MedianPercent(percent))),
                _ => Err(NoTimeLimit::Percent { text: text.to_owned() }),
            },
            None => Ok(Self(Timeout::After(text.parse::<Span>()?.0))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_is_a_span_a_share_of_the_median_or_never() {
        let limit = |text: &str| text.parse::<TimeLimit>().map(|limit| limit.0).ok();
        assert_eq!(limit("2s"), Some(Timeout::After(Duration::from_secs(2))));
        assert_eq!(limit("300%"), Some(Timeout::MedianPercent(300)));
        assert_eq!(limit("never"), Some(Timeout::Never));
        assert_eq!(limit("0%"), None);
        assert_eq!(limit("x%"), None);
        assert_eq!(limit("soon"), None);
    }
}
