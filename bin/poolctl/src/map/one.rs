//! One task instead of many items: its arguments are the fields of its one item.

use std::os::unix::ffi::OsStringExt;

use super::args::MapArgs;
use super::items::Source;
use super::plan::{Plan, Purpose};
use super::target::{ServedForm, TargetSpec};
use super::{applies, drive, served, target, target_failure, verbose};
use crate::config;
use crate::end::End;
use crate::failure::Failure;

/// Runs the one task that a map with these flags would run for each item.
pub(crate) fn run_one(mut args: MapArgs) -> Result<End, Failure> {
    if args.target.pool.is_some() {
        return served::run_one(args);
    }
    let named = &args.target;
    let is_bare =
        named.shell.is_none() && named.lines.is_none() && named.worker.is_none() && args.words.is_empty();
    let (target, words) = if is_bare && !args.command.is_empty() {
        // Nothing in it stands for an item, so `{}` and `:::` are words like any other.
        let words = args.command.drain(..).map(OsStringExt::into_vec).collect();
        (TargetSpec::Command { words }, Vec::new())
    } else {
        target::choose(&args).map_err(|error| target_failure(error, "apply"))?
    };
    let words: Vec<Vec<u8>> = words.into_iter().map(OsStringExt::into_vec).collect();
    let purpose = match &target {
        TargetSpec::Command { .. } if words.is_empty() => Purpose::Command,
        _ => Purpose::Task,
    };
    if matches!(target, TargetSpec::Python { .. }) && words.len() != 1 {
        args.target.starmap = true;
    }
    if words.is_empty() {
        args.items.raw = false;
    }
    let sources = sources(&target, words);
    applies::check(&args, &target, &sources).map_err(Failure::usage)?;
    let settings = config::load_settings()?;
    verbose::start(args.terminal.verbose, args.terminal.log_format.unwrap_or(settings.log_format))?;
    drive::drive(Plan::new(&args, &settings, target, sources, purpose)?)
}

/// A list of one for each argument, so that their only combination is the item; without arguments, what says so.
pub(super) fn sources(target: &TargetSpec, words: Vec<Vec<u8>>) -> Vec<Source> {
    if words.is_empty() {
        let nothing: &[u8] = match target {
            TargetSpec::Command { .. } | TargetSpec::Lines { .. } => b"",
            TargetSpec::Served { form: ServedForm::Line | ServedForm::Bytes, .. } => b"",
            TargetSpec::Python { .. } => b"[]",
            TargetSpec::Worker { .. } | TargetSpec::Native { .. } | TargetSpec::Served { .. } => b"null",
        };
        return vec![Source::Words(vec![nothing.to_vec()])];
    }
    words.into_iter().map(|word| Source::Words(vec![word])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_argument_is_a_list_of_its_own_and_no_argument_is_said() {
        let native = TargetSpec::Native { function: "add".to_owned() };
        let python = TargetSpec::Python { module: b"m".to_vec(), function: "f".to_owned() };
        let words = |words: &[&str]| words.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
        let list = |word: &str| Source::Words(words(&[word]));

        assert_eq!(sources(&native, words(&["2", "3"])), [list("2"), list("3")]);
        assert_eq!(sources(&native, Vec::new()), [list("null")]);
        assert_eq!(sources(&python, Vec::new()), [list("[]")]);
    }
}
