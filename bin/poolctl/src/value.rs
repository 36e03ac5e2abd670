//! Values as people write them, on the command line, in the environment and in configuration files alike.

mod delimiter;
mod duration;
mod halt;
mod jobs;
mod size;
mod time_limit;

pub(crate) use delimiter::Delimiter;
pub(crate) use duration::Span;
pub(crate) use halt::HaltRule;
pub(crate) use jobs::Jobs;
pub(crate) use size::Size;
pub(crate) use time_limit::TimeLimit;
