//! Which target the command line names, and which words are left for items.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::args::{FramingName, MapArgs};
use super::items::SEPARATORS;

/// What the command line asks to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TargetSpec {
    /// One process per item, from these words.
    Command { words: Vec<Vec<u8>> },
    /// A warm line filter.
    Lines { argv: Vec<Vec<u8>> },
    /// A warm worker, which says in its hello of what kind it is.
    Worker { argv: Vec<Vec<u8>>, framing: FramingName, function: Option<String> },
    /// A function of the stock worker.
    Native { function: String },
    /// A Python function.
    Python { module: Vec<u8>, function: String },
    /// A pool of a service.
    Served { pool: String, form: ServedForm },
}

/// What the items and results of a service's pool are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServedForm {
    /// JSON.
    Json,
    /// A line each.
    Line,
    /// Bytes, and what a command wrote.
    Bytes,
}

/// Why the command line names no target.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TargetError {
    /// Nothing says what to run.
    #[error("nothing says what to run")]
    Nothing,
    /// Two things say what to run.
    #[error("both `{first}` and a command behind `--` say what to run")]
    Two { first: &'static str },
    /// The value of another tool's flag, where the target belongs.
    #[error("--header takes no value behind a space")]
    HeaderValue,
    /// A word that can name neither a native function nor one in Python.
    #[error("`{name}` is no target: no function has such a name")]
    NoName { name: String, rest: String },
    /// `python:` without a function.
    #[error("`{text}` does not name a module and a function")]
    NoFunction { text: String },
    /// The command behind a flag is empty.
    #[error("{flag} names no command")]
    Empty { flag: &'static str },
    /// The command behind a flag cannot be split into words.
    #[error("{flag}: the quotes in `{text}` do not match")]
    Quotes { flag: &'static str, text: String },
}

impl TargetError {
    /// What the person can do. `verb`: the command of ours that was given.
    pub(crate) fn hint(&self, verb: &str) -> Option<String> {
        match self {
            TargetError::Nothing => Some(format!(
                "a command stands behind `--`: poolctl {verb} -- gzip -k …; other targets: FUNCTION (poolctl functions \
                 lists them), python:MODULE:FUNCTION, --shell, --lines, --worker (poolctl {verb} --help)"
            )),
            TargetError::NoName { name, .. } if name.contains(':') => {
                let function = name.split_once(':').map_or(name.as_str(), |(_, function)| function);
                Some(format!(
                    "a Python function is named python:MODULE:FUNCTION; did you mean python:{function}?"
                ))
            }
            TargetError::NoName { name, rest } => Some(format!(
                "a command stands behind `--`: poolctl {verb} -- {name}{rest}; a worker executable: --worker; \
                 `poolctl functions` lists the native functions"
            )),
            TargetError::HeaderValue => Some("write --header alone, or --header=:".to_owned()),
            TargetError::NoFunction { .. } => {
                let forms =
                    "write python:MODULE:FUNCTION or python:FILE.py:FUNCTION; builtins are in `builtins`";
                Some(forms.to_owned())
            }
            TargetError::Two { .. } | TargetError::Empty { .. } | TargetError::Quotes { .. } => None,
        }
    }
}

/// The target, and the words that stand for items.
pub(crate) fn choose(args: &MapArgs) -> Result<(TargetSpec, Vec<OsString>), TargetError> {
    if args.items.header.is_some() && args.words.first().is_some_and(|word| word == ":") {
        return Err(TargetError::HeaderValue);
    }
    let named = &args.target;
    let flag = match (&named.shell, &named.lines, &named.worker) {
        (Some(_), ..) => Some("--shell"),
        (_, Some(_), _) => Some("--lines"),
        (.., Some(_)) => Some("--worker"),
        _ => None,
    };
    if let Some(flag) = flag {
        let items_follow = args.command.first().is_none_or(|word| SEPARATORS.iter().any(|mark| word == mark));
        if !items_follow {
            return Err(TargetError::Two { first: flag });
        }
        let items = args.words.iter().chain(&args.command).cloned().collect();
        return Ok((behind_flag(args)?, items));
    }
    match args.words.split_first() {
        Some((first, rest)) if !SEPARATORS.iter().any(|mark| first == mark) => {
            let text = first.to_string_lossy().into_owned();
            let target = match python(&text, first)? {
                Some(target) => target,
                None if is_function_name(&text) => TargetSpec::Native { function: text },
                None => {
                    let rest = rest.iter().map(|word| format!(" {}", word.to_string_lossy())).collect();
                    return Err(TargetError::NoName { name: text, rest });
                }
            };
            Ok((target, rest.iter().chain(&args.command).cloned().collect()))
        }
        _ if args.command.is_empty() => Err(TargetError::Nothing),
        _ => {
            let end = args.command.iter().position(|word| SEPARATORS.iter().any(|mark| word == mark));
            let (words, items) = args.command.split_at(end.unwrap_or(args.command.len()));
            if words.is_empty() {
                return Err(TargetError::Nothing);
            }
            let items = args.words.iter().chain(items).cloned().collect();
            Ok((
                TargetSpec::Command { words: words.iter().map(|word| word.clone().into_vec()).collect() },
                items,
            ))
        }
    }
}

fn behind_flag(args: &MapArgs) -> Result<TargetSpec, TargetError> {
    let named = &args.target;
    if let Some(script) = &named.shell {
        // The item is $1, so that nothing in it is ever read as shell text.
        let words = [b"/bin/sh".to_vec(), b"-c".to_vec(), script.clone().into_vec(), b"sh".to_vec()];
        return Ok(TargetSpec::Command { words: words.to_vec() });
    }
    if let Some(command) = &named.lines {
        let mut argv = split("--lines", command)?;
        if named.stdbuf {
            argv.splice(0..0, [b"stdbuf".to_vec(), b"-oL".to_vec()]);
        }
        return Ok(TargetSpec::Lines { argv });
    }
    let command = named.worker.as_ref().expect("one of the three flags was given");
    let (framing, function) = (named.framing, named.function.clone());
    Ok(TargetSpec::Worker { argv: split("--worker", command)?, framing, function })
}

/// Whether a native function may have this name; a path or a sentence is something else.
fn is_function_name(text: &str) -> bool {
    text.chars().all(|letter| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.'))
}

/// `python:MODULE:FUNCTION`, or none if it does not begin like that.
fn python(text: &str, raw: &OsString) -> Result<Option<TargetSpec>, TargetError> {
    let Some(rest) = text.strip_prefix("python:") else { return Ok(None) };
    let refusal = || TargetError::NoFunction { text: text.to_owned() };
    let (module, function) = rest.rsplit_once(':').ok_or_else(refusal)?;
    if module.is_empty() || function.is_empty() || raw.to_str().is_none() {
        return Err(refusal());
    }
    Ok(Some(TargetSpec::Python { module: module.as_bytes().to_vec(), function: function.to_owned() }))
}

/// The words of `command` as a POSIX shell would split them.
pub(crate) fn split(flag: &'static str, command: &OsString) -> Result<Vec<Vec<u8>>, TargetError> {
    let bytes = command.clone().into_vec();
    let words: Option<Vec<Vec<u8>>> = shlex::bytes::split(&bytes);
    match words {
        None => Err(TargetError::Quotes { flag, text: command.to_string_lossy().into_owned() }),
        Some(words) if words.is_empty() => Err(TargetError::Empty { flag }),
        Some(words) => Ok(words),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        map: MapArgs,
    }

    fn chosen(words: &[&str]) -> Result<(TargetSpec, Vec<String>), TargetError> {
        let line = Line::try_parse_from([&["map"], words].concat()).unwrap();
        let (target, items) = choose(&line.map)?;
        Ok((target, items.into_iter().map(|item| item.into_string().unwrap()).collect()))
    }

    fn bytes(words: &[&str]) -> Vec<Vec<u8>> {
        words.iter().map(|word| word.as_bytes().to_vec()).collect()
    }

    #[test]
    fn a_command_stands_behind_two_hyphens_and_its_items_behind_three_colons() {
        let (target, items) = chosen(&["-j2", "--", "gzip", "-k", "{}", ":::", "a", "-b"]).unwrap();

        assert_eq!(target, TargetSpec::Command { words: bytes(&["gzip", "-k", "{}"]) });
        assert_eq!(items, [":::", "a", "-b"]);
    }

    #[test]
    fn a_function_is_followed_by_its_items() {
        let (target, items) = chosen(&["python:a.b:c.d", "5", "--", "-6"]).unwrap();

        assert_eq!(target, TargetSpec::Python { module: b"a.b".to_vec(), function: "c.d".to_owned() });
        assert_eq!(items, ["5", "-6"]);
        let (target, items) = chosen(&["images.resize", "5"]).unwrap();
        assert_eq!(target, TargetSpec::Native { function: "images.resize".to_owned() });
        assert_eq!(items, ["5"]);
        assert!(matches!(chosen(&["python:json"]), Err(TargetError::NoFunction { .. })));
        assert!(matches!(chosen(&["python::f"]), Err(TargetError::NoFunction { .. })));
    }

    #[test]
    fn a_flag_names_the_target_and_every_word_is_an_item() {
        let (target, items) = chosen(&["--lines", "jq -c '.a b'", "--stdbuf", "--", ":::", "x"]).unwrap();

        assert_eq!(target, TargetSpec::Lines { argv: bytes(&["stdbuf", "-oL", "jq", "-c", ".a b"]) });
        assert_eq!(items, [":::", "x"]);
        assert_eq!(
            chosen(&["--worker", "'x"]).unwrap_err().to_string(),
            "--worker: the quotes in `'x` do not match"
        );
        assert_eq!(chosen(&["--lines", " "]), Err(TargetError::Empty { flag: "--lines" }));
        assert_eq!(chosen(&["--lines", "cat", "--", "cat"]), Err(TargetError::Two { first: "--lines" }));
    }

    #[test]
    fn a_word_that_names_no_function_is_answered_with_what_would_work() {
        let error = chosen(&["./gzip", "x"]).unwrap_err();

        assert!(error.hint("map").unwrap().contains("poolctl map -- ./gzip x"));
        assert!(chosen(&["json:dumps"]).unwrap_err().hint("map").unwrap().contains("did you mean python:"));
        assert_eq!(chosen(&[]), Err(TargetError::Nothing));
    }

    #[test]
    fn a_colon_behind_the_header_flag_is_not_taken_for_a_target() {
        for words in [&["--header", ":", "--", "echo", "{a}"][..], &["--header", ":", "--shell", "echo $1"]] {
            let error = chosen(words).unwrap_err();

            assert!(error.hint("map").unwrap().contains("--header=:"), "{error}");
        }
        assert!(chosen(&["--header=:", "--", "echo", "{a}"]).is_ok());
        assert!(chosen(&["--header", "--", "echo", "{a}"]).is_ok());
    }
}
