//! The settings and one table of their names, meanings and defaults.

use std::error::Error;
use std::str::FromStr;
use std::time::Duration;

use crate::value::{Jobs, Size, Span, TimeLimit};

/// Everything that can be set outside the command line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    pub(crate) jobs: Jobs,
    pub(crate) window: u64,
    pub(crate) buffer: Size,
    pub(crate) retries: u32,
    pub(crate) retry_delay: Duration,
    pub(crate) timeout: TimeLimit,
    pub(crate) grace: Duration,
    pub(crate) start_timeout: Duration,
    pub(crate) max_crashes: u32,
    pub(crate) ahead: u32,
    pub(crate) reply_timeout: Duration,
    pub(crate) block: Size,
    pub(crate) python: String,
    pub(crate) progress: ProgressWhen,
    pub(crate) log_format: LogFormat,
}

/// When progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ProgressWhen {
    /// A bar where stderr is a terminal, else one line every 10 s
    Auto,
    /// The same, from the start and for short runs too
    Always,
    /// Nothing
    Never,
    /// One JSON object a second
    Json,
}

/// The form of the program's own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// A value that a setting cannot take.
pub(crate) type BadValue = Box<dyn Error + Send + Sync>;

/// One setting: `[map] name = …` in a file, `POOLCTL_NAME` in the environment, `--name` on the command line.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its name, with hyphens.
    pub(crate) name: &'static str,
    /// What holds where nobody says otherwise.
    pub(crate) default: &'static str,
    /// Whether its default is written as a number in a file, not as a text.
    pub(crate) number: bool,
    /// Reads a value into its place.
    pub(crate) set: fn(&mut Settings, &str) -> Result<(), BadValue>,
}

/// A text that is no whole number of at least `least`.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is no whole number of at least {least}")]
struct NoNumber {
    text: String,
    least: u64,
}

/// A text that is none of the words that may stand here.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is none of {choices}")]
struct NoChoice {
    text: String,
    choices: String,
}

/// Every setting.
pub(crate) const KEYS: [Key; 15] = [
    text("jobs", "100%", |to, text| put(&mut to.jobs, text)),
    number("window", "65536", |to, text| put_number(&mut to.window, text, 1)),
    text("buffer", "16MiB", |to, text| put(&mut to.buffer, text)),
    number("retries", "0", |to, text| put_number(&mut to.retries, text, 0)),
    text("retry-delay", "0s", |to, text| put_span(&mut to.retry_delay, text)),
    text("timeout", "never", |to, text| put(&mut to.timeout, text)),
    text("grace", "2s", |to, text| put_span(&mut to.grace, text)),
    text("start-timeout", "30s", |to, text| put_span(&mut to.start_timeout, text)),
    number("max-crashes", "3", |to, text| put_number(&mut to.max_crashes, text, 1)),
    number("ahead", "1", |to, text| put_number(&mut to.ahead, text, 1)),
    text("reply-timeout", "10s", |to, text| put_span(&mut to.reply_timeout, text)),
    text("block", "1MiB", |to, text| put(&mut to.block, text)),
    text("python", "python3", |to, text| put(&mut to.python, text)),
    text("progress", "auto", |to, text| put_choice(&mut to.progress, text)),
    text("log-format", "text", |to, text| put_choice(&mut to.log_format, text)),
];

impl Key {
    /// Its variable in the environment.
    pub(crate) fn variable(&self) -> String {
        format!("POOLCTL_{}", self.name.replace('-', "_").to_ascii_uppercase())
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            jobs: Jobs::PerCpu(1.0),
            window: 65_536,
            buffer: Size(16 << 20),
            retries: 0,
            retry_delay: Duration::ZERO,
            timeout: TimeLimit(poolctl_supervisor::Timeout::Never),
            grace: Duration::from_secs(2),
            start_timeout: Duration::from_secs(30),
            max_crashes: 3,
            ahead: 1,
            reply_timeout: Duration::from_secs(10),
            block: Size(1 << 20),
            python: "python3".to_owned(),
            progress: ProgressWhen::Auto,
            log_format: LogFormat::Text,
        }
    }
}

type Set = fn(&mut Settings, &str) -> Result<(), BadValue>;

const fn text(name: &'static str, default: &'static str, set: Set) -> Key {
    Key { name, default, number: false, set }
}

const fn number(name: &'static str, default: &'static str, set: Set) -> Key {
    Key { name, default, number: true, set }
}

fn put<T>(place: &mut T, text: &str) -> Result<(), BadValue>
where
    T: FromStr<Err: Into<BadValue>>,
{
    *place = text.parse().map_err(Into::into)?;
    Ok(())
}

fn put_span(place: &mut Duration, text: &str) -> Result<(), BadValue> {
    *place = text.parse::<Span>()?.0;
    Ok(())
}

fn put_number<T: FromStr + PartialOrd + TryFrom<u64>>(
    place: &mut T,
    text: &str,
    least: u64,
) -> Result<(), BadValue> {
    let refusal = || NoNumber { text: text.to_owned(), least };
    let number: u64 = text.parse().ok().filter(|number| *number >= least).ok_or_else(refusal)?;
    *place = T::try_from(number).map_err(|_| refusal())?;
    Ok(())
}

fn put_choice<T: clap::ValueEnum>(place: &mut T, text: &str) -> Result<(), BadValue> {
    *place = T::from_str(text, false).map_err(|_| {
        let names = T::value_variants().iter().filter_map(clap::ValueEnum::to_possible_value);
        let choices: Vec<_> = names.map(|value| value.get_name().to_owned()).collect();
        NoChoice { text: text.to_owned(), choices: choices.join(", ") }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_in_the_table_is_the_default_in_the_code() {
        let mut settings =
            Settings { retries: 9, window: 9, grace: Duration::MAX, ahead: 9, ..Settings::default() };

        for key in &KEYS {
            (key.set)(&mut settings, key.default).unwrap();
        }

        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn a_bad_value_is_refused_with_what_would_be_good() {
        let refusal = |name: &str, text: &str| {
            let key = KEYS.iter().find(|key| key.name == name).unwrap();
            (key.set)(&mut Settings::default(), text).unwrap_err().to_string()
        };

        assert_eq!(refusal("window", "0"), "`0` is no whole number of at least 1");
        assert_eq!(refusal("retries", "5000000000"), "`5000000000` is no whole number of at least 0");
        assert_eq!(refusal("progress", "loud"), "`loud` is none of auto, always, never, json");
        assert!(refusal("grace", "soon").contains("span of time"));
    }
}
