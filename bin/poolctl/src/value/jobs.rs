//! How many workers: `4`, `50%` of the CPUs, `-1` (all CPUs but one), `+1`, `2x`.

use std::str::FromStr;

/// How many workers, possibly relative to the CPUs that may be used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Jobs {
    /// So many.
    Exactly(u32),
    /// The CPUs and so many more (or fewer).
    Cpus(i32),
    /// So many for each CPU.
    PerCpu(f64),
}

/// A text that is no number of workers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoJobs {
    /// It cannot be read.
    #[error("`{text}` is no number of workers; write 4, 50%, -1 (all CPUs but one) or 2x")]
    Unreadable {
        /// The text.
        text: String,
    },
    /// xargs and parallel take 0 for "no limit".
    #[error("0 workers can do nothing; 100% is one worker for each CPU")]
    Zero,
}

impl Jobs {
    /// The number of workers on `cpus` CPUs; at least 1.
    pub(crate) fn on(self, cpus: usize) -> u32 {
        let cpus = u32::try_from(cpus).unwrap_or(u32::MAX);
        match self {
            Jobs::Exactly(count) => count,
            Jobs::Cpus(more) => cpus.saturating_add_signed(more).max(1),
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "clamped to the range of u32"
            )]
            Jobs::PerCpu(each) => (f64::from(cpus) * each).round().clamp(1.0, f64::from(u32::MAX)) as u32,
        }
    }
}

impl FromStr for Jobs {
    type Err = NoJobs;

    fn from_str(text: &str) -> Result<Self, NoJobs> {
        let refusal = || NoJobs::Unreadable { text: text.to_owned() };
        let factor = |number: &str| {
            let factor: f64 = number.parse().map_err(|_| refusal())?;
            if factor == 0.0 { Err(NoJobs::Zero) } else { Ok(factor) }
        };
        let plain = |number: &str| number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        match text.trim() {
            percent if percent.ends_with('%') && plain(&percent[..percent.len() - 1]) => {
                Ok(Jobs::PerCpu(factor(&percent[..percent.len() - 1])? / 100.0))
            }
            times if times.ends_with('x') && plain(&times[..times.len() - 1]) => {
                Ok(Jobs::PerCpu(factor(&times[..times.len() - 1])?))
            }
            signed if signed.starts_with(['-', '+']) => signed.parse().map(Jobs::Cpus).map_err(|_| refusal()),
            count => match count.parse() {
                Ok(0) => Err(NoJobs::Zero),
                Ok(count) => Ok(Jobs::Exactly(count)),
                Err(_) => Err(refusal()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_eight(text: &str) -> Option<u32> {
        text.parse::<Jobs>().ok().map(|jobs| jobs.on(8))
    }

    #[test]
    fn it_may_be_absolute_or_relative_to_the_cpus() {
        assert_eq!(on_eight("3"), Some(3));
        assert_eq!(on_eight("50%"), Some(4));
        assert_eq!(on_eight("1%"), Some(1));
        assert_eq!(on_eight("-1"), Some(7));
        assert_eq!(on_eight("-20"), Some(1));
        assert_eq!(on_eight("+2"), Some(10));
        assert_eq!(on_eight("2x"), Some(16));
    }

    #[test]
    fn zero_and_anything_else_are_refused() {
        for text in ["0", "0%", "0x", "", "%", "x", "many", "1e9x", "-", "--1", "-5%", "3.5"] {
            assert_eq!(on_eight(text), None, "{text:?}");
        }
    }
}
