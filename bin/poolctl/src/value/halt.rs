//! When failures end a run: `now,fail=1`, `soon,fail=10%`.

use std::str::FromStr;

use poolctl_supervisor::{Halt, HaltAt, HaltHow};

/// When failures end a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HaltRule(pub(crate) Halt);

/// A text that is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no rule to halt by; write now or soon, a comma, and fail=N or fail=N%, as in now,fail=1"
)]
pub(crate) struct NoHaltRule {
    text: String,
}

impl FromStr for HaltRule {
    type Err = NoHaltRule;

    fn from_str(text: &str) -> Result<Self, NoHaltRule> {
        let refusal = || NoHaltRule { text: text.to_owned() };
        let (how, at) = text.split_once(',').ok_or_else(refusal)?;
        let how = match how {
            "now" => HaltHow::Now,
            "soon" => HaltHow::Soon,
            _ => return Err(refusal()),
        };
        let count = at.strip_prefix("fail=").ok_or_else(refusal)?;
        let at = match count.strip_suffix('%') {
            Some(percent) => HaltAt::Percent(percent.parse().map_err(|_| refusal())?),
            None => HaltAt::Failures(count.parse().ok().filter(|count| *count > 0).ok_or_else(refusal)?),
        };
        if matches!(at, HaltAt::Percent(percent) if percent == 0 || percent > 100) {
            return Err(refusal());
        }
        Ok(Self(Halt { how, at }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_and_at_how_many_failures() {
        let rule = |text: &str| text.parse::<HaltRule>().map(|rule| rule.0).ok();
        assert_eq!(rule("now,fail=1"), Some(Halt { how: HaltHow::Now, at: HaltAt::Failures(1) }));
        assert_eq!(rule("soon,fail=10%"), Some(Halt { how: HaltHow::Soon, at: HaltAt::Percent(10) }));
        for text in
            ["", "now", "2", "now,fail=0", "now,fail=0%", "now,fail=101%", "later,fail=1", "now,done=1"]
        {
            assert_eq!(rule(text), None, "{text:?}");
        }
    }
}
