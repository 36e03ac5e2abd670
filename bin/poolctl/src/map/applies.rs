//! Which flags have a meaning for which target; the others are refused instead of ignored.

use super::args::MapArgs;
use super::items::Source;
use super::target::{ServedForm, TargetSpec};

/// Why flags do not go together with the rest of the command line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FlagError {
    /// It means nothing for this target.
    #[error("{flag} has no meaning for {target}")]
    NoMeaning { flag: &'static str, target: &'static str },
    /// Who opened the pool has decided that.
    #[error("{flag} cannot be said with --pool: it belongs to the pool (poold.toml)")]
    OfThePool { flag: &'static str },
    /// Two flags exclude each other, or one needs something that is not there.
    #[error("{flag} {problem}")]
    Combination { flag: &'static str, problem: &'static str },
}

/// Refuses flags that would be ignored.
pub(crate) fn check(args: &MapArgs, target: &TargetSpec, sources: &[Source]) -> Result<(), FlagError> {
    let (commands, lines, python) = (
        matches!(target, TargetSpec::Command { .. }),
        matches!(target, TargetSpec::Lines { .. }),
        matches!(target, TargetSpec::Python { .. }),
    );
    let served = matches!(target, TargetSpec::Served { .. });
    let json = match target {
        TargetSpec::Served { form, .. } => *form == ServedForm::Json,
        _ => !commands && !lines,
    };
    let (template, named, items) = (&args.template, &args.target, &args.items);
    let rules = [
        (template.max_args.is_some(), "-n", commands),
        (template.max_lines.is_some(), "-L", commands),
        (template.fill, "-X", commands),
        (template.stdin, "--stdin", commands),
        (template.pipe, "--pipe", commands),
        (template.block.is_some(), "--block", commands),
        (template.replace.is_some(), "-I", commands && named.shell.is_none()),
        (template.trace, "-t", commands),
        (template.dry_run, "--dry-run", commands),
        (named.starmap, "--starmap", json && !served),
        (named.python.is_some(), "--python", python),
        (named.ahead.is_some(), "--ahead", lines),
        (named.reply_timeout.is_some(), "--reply-timeout", lines),
        (named.stdbuf, "--stdbuf", lines),
        (named.eot.is_some(), "--eot", lines),
        (items.raw, "--raw", json),
        (items.csv, "--csv", commands || json),
        (items.colsep.is_some(), "--colsep", commands || json),
        (items.header.is_some(), "--header", commands || json),
        (args.pool.max_tasks.is_some(), "--max-tasks", !commands && !served),
        (args.pool.max_rss.is_some(), "--max-rss", !commands && !served),
        (args.pool.start_timeout.is_some(), "--start-timeout", !commands && !served),
    ];
    let of_the_pool = rules_of_the_pool(args).into_iter().find(|(given, _)| *given && served);
    if let Some((_, flag)) = of_the_pool {
        return Err(FlagError::OfThePool { flag });
    }
    if let Some((_, flag, _)) = rules.into_iter().find(|(given, _, applies)| *given && !applies) {
        return Err(FlagError::NoMeaning { flag, target: name(target) });
    }
    check_combinations(args, sources, lines)
}

/// What a service's configuration says of its pools, and no client of theirs.
fn rules_of_the_pool(args: &MapArgs) -> [(bool, &'static str); 12] {
    let (pool, failure) = (&args.pool, &args.failure);
    [
        (pool.jobs.is_some(), "--jobs"),
        (pool.window.is_some(), "--window"),
        (pool.delay.is_some(), "--delay"),
        (pool.nice.is_some(), "--nice"),
        (pool.memfree.is_some(), "--memfree"),
        (pool.load.is_some(), "--load"),
        (failure.retries.is_some(), "--retries"),
        (failure.retry_delay.is_some(), "--retry-delay"),
        (failure.timeout.is_some(), "--timeout"),
        (failure.halt.is_some(), "--halt"),
        (failure.max_crashes.is_some(), "--max-crashes"),
        (args.target.starmap, "--starmap"),
    ]
}

fn check_combinations(args: &MapArgs, sources: &[Source], lines: bool) -> Result<(), FlagError> {
    let (template, items) = (&args.template, &args.items);
    let columns = items.csv || items.colsep.is_some() || items.header.is_some();
    let grouped = template.max_args.is_some() || template.max_lines.is_some() || template.fill;
    let words = sources.iter().any(|source| matches!(source, Source::Words(_)));
    let rules = [
        (template.max_args.is_some() && template.max_lines.is_some(), "-n", "and -L exclude each other"),
        (template.block.is_some() && !template.pipe, "--block", "needs --pipe"),
        (
            template.pipe && template.max_lines.is_some(),
            "-L",
            "does not go with --pipe; -n cuts after N records",
        ),
        (template.pipe && (words || sources.len() > 1), "--pipe", "reads one file or stdin, no items"),
        (template.pipe && columns, "--pipe", "does not go with fields"),
        (template.stdin && (grouped || columns), "--stdin", "gives one whole item; no groups, no fields"),
        (template.stdin && sources.len() > 1, "--stdin", "takes items from one list"),
        (grouped && !template.pipe && columns, "-n, -L or -X", "does not go with fields"),
        (grouped && sources.len() > 1, "-n, -L or -X", "takes items from one list"),
        (columns && (sources.len() > 1 || words), "--csv, --colsep or --header", "takes one file or stdin"),
        (lines && sources.len() > 1, "--lines", "takes items from one list"),
        (items.link && sources.len() < 2, "--link", "needs several lists (:::)"),
        (items.header.as_deref().is_some_and(|header| header != ":"), "--header", "takes no value, or `:`"),
        (
            args.pool.load.is_some_and(|load| !load.is_finite() || load <= 0.0),
            "--load",
            "needs a number above 0",
        ),
    ];
    match rules.into_iter().find(|(given, ..)| *given) {
        Some((_, flag, problem)) => Err(FlagError::Combination { flag, problem }),
        None => Ok(()),
    }
}

fn name(target: &TargetSpec) -> &'static str {
    match target {
        TargetSpec::Command { .. } => "commands",
        TargetSpec::Lines { .. } => "--lines",
        TargetSpec::Worker { .. } => "--worker",
        TargetSpec::Python { .. } => "Python functions",
        TargetSpec::Native { .. } => "native functions",
        TargetSpec::Served { form: ServedForm::Json, .. } => "pools of a service",
        TargetSpec::Served { .. } => "a pool whose items are no JSON",
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::map::{items, target};

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        map: MapArgs,
    }

    fn refusal(words: &[&str]) -> Option<String> {
        let line = Line::try_parse_from([&["map"], words].concat()).unwrap();
        let (target, words) = target::choose(&line.map).unwrap();
        let sources = items::sources(&words, &line.map.items.arg_file).unwrap();
        check(&line.map, &target, &sources).err().map(|error| error.to_string())
    }

    #[test]
    fn a_flag_that_would_be_ignored_is_refused() {
        assert_eq!(refusal(&["-n2", "python:a:b"]).unwrap(), "-n has no meaning for Python functions");
        assert_eq!(refusal(&["--raw", "--", "x"]).unwrap(), "--raw has no meaning for commands");
        assert_eq!(refusal(&["--eot", "x", "--worker", "y"]).unwrap(), "--eot has no meaning for --worker");
        assert_eq!(refusal(&["--link", "--", "x", ":::", "a"]).unwrap(), "--link needs several lists (:::)");
        assert_eq!(
            refusal(&["--pipe", "--", "x", ":::", "a"]).unwrap(),
            "--pipe reads one file or stdin, no items"
        );
        assert_eq!(refusal(&["--pipe", "-n2", "--", "x"]), None);
        assert_eq!(refusal(&["--raw", "--starmap", "python:a:b"]), None);
    }
}
