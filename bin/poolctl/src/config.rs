//! Settings: their names, defaults and where each value comes from.
//!
//! Nearest first: the command line, `POOLCTL_*` in the environment, `./poolctl.toml`,
//! `$XDG_CONFIG_HOME/poolctl/config.toml`, `/etc/poolctl/config.toml`, the defaults (published as
//! `config/poolctl.toml`). Every place is read by the same parser, so a value that is good in one is good in all.

mod file;
mod key;
mod load;
mod show;

pub(crate) use key::{LogFormat, ProgressWhen, Settings};
pub(crate) use load::load_settings;
pub(crate) use show::{ShowArgs, show};
