//! `cargo xtask bench`: poolctl beside its peers, on one machine, in the same minutes.
//!
//! Every round runs every runner of a case once, one after another, so that a slow minute of the machine hits all of
//! them. Each output is compared with what it must be. The tables go to `docs/performance.md`, between marks.

mod cases;
mod figures;
mod machine;
pub(crate) mod measure;
mod native_cases;
mod object_cases;
mod python_cases;
mod report;
mod scratch;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use crate::{python, root, tools};
use cases::{Case, Runner, Taken};
use figures::Figures;
use scratch::{Scratch, ScratchError};

/// The programs that measure pools of tasks and shared objects, among the examples.
const PROGRAMS: [&str; 2] = ["native_rates", "object_rates"];

/// The Python packages that are measured beside ours.
const PEERS: &str = "python/bench/requirements.txt";

/// The status by which a runner says that what it measures is not installed.
const NOT_INSTALLED: i32 = 77;

/// Where the tables are shown.
const SHOWN_IN: &str = "docs/performance.md";

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// The options cannot be understood.
    #[error("unknown option {option}; there are --rounds N, --only NAME and --dry")]
    Option { option: String },
    /// No case has the name asked for.
    #[error("no case is named {name}")]
    NoSuchCase { name: String },
    /// The scratch folder could not be made.
    #[error("failed to prepare the inputs")]
    Scratch {
        #[from]
        source: ScratchError,
    },
    /// A program could not be run.
    #[error("failed to run {program}")]
    Run { program: String, source: io::Error },
    /// A runner ended with an error.
    #[error("it failed: {line}")]
    Failed { line: &'static str },
    /// A runner printed something else than it must.
    #[error("its output is not {output}: {line}")]
    WrongOutput { line: &'static str, output: &'static str },
    /// A figure was to be written into a file and is not there.
    #[error("no figure was reported: {line}")]
    NoReport { line: &'static str },
    /// The document could not be read or written.
    #[error("failed to renew {path}")]
    Document { path: PathBuf, source: io::Error },
}

/// What the command line asks for.
#[derive(Debug)]
struct Options {
    rounds: usize,
    only: Option<String>,
    write: bool,
}

impl Options {
    fn parse(words: &[&str]) -> Result<Self, BenchError> {
        let mut options = Self { rounds: 5, only: None, write: true };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--dry" => options.write = false,
                "--only" => {
                    options.write = false;
                    options.only = words.next().map(|name| (*name).to_owned());
                }
                "--rounds" => {
                    let rounds = words.next().and_then(|number| number.parse().ok());
                    options.rounds =
                        rounds.ok_or_else(|| BenchError::Option { option: (*word).to_owned() })?;
                }
                other => return Err(BenchError::Option { option: other.to_owned() }),
            }
        }
        Ok(options)
    }
}

/// Builds, measures, prints and writes.
pub(crate) fn run(words: &[&str]) -> Result<ExitCode, BenchError> {
    let options = Options::parse(words)?;
    let chosen: Vec<&Case> = match &options.only {
        None => cases().collect(),
        Some(name) => cases().filter(|case| case.name.starts_with(name.as_str())).collect(),
    };
    if let (true, Some(name)) = (chosen.is_empty(), options.only) {
        return Err(BenchError::NoSuchCase { name });
    }
    let top = root::folder();
    tools::install_missing();
    build(&top)?;
    let scratch = Scratch::new()?;
    let bench =
        Bench { scratch: &scratch, path: search_path(&top), python: interpreter(&top, &chosen), top: &top };
    let mut sections =
        format!("`cargo xtask bench --rounds {}` on {}\n\n", options.rounds, machine::line(&top));
    for case in chosen {
        let section = report::section(case, &bench.case(case, options.rounds)?);
        println!("{section}");
        sections.push_str(&section);
    }
    if options.write {
        renew(&top.join(SHOWN_IN), &sections)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// All cases, in the order of the document.
fn cases() -> impl Iterator<Item = &'static Case> {
    let rust = cases::CASES.into_iter().chain(native_cases::CASES).chain(object_cases::CASES);
    rust.chain(python_cases::CASES)
}

/// The Python that has the peers, where a case needs them; without them they are told as not installed.
fn interpreter(top: &Path, chosen: &[&Case]) -> PathBuf {
    let own = PathBuf::from("python3");
    let needed = chosen.iter().flat_map(|case| case.runners).any(|runner| runner.line.contains("$python"));
    if !needed {
        return own;
    }
    python::environment(top, "python-bench", PEERS).unwrap_or_else(|error| {
        println!("no Python with the peers: {error}");
        own
    })
}

fn build(top: &Path) -> Result<(), BenchError> {
    for what in [
        &["--bin", "poolctl", "--bin", "poold", "--bin", "pool-worker"][..],
        &["--package", "xtask", "--example", PROGRAMS[0], "--example", PROGRAMS[1]],
    ] {
        let mut command = Command::new("cargo");
        command.args(["build", "--release", "--locked"]).args(what).current_dir(top);
        let status =
            command.status().map_err(|source| BenchError::Run { program: "cargo".to_owned(), source })?;
        if !status.success() {
            return Err(BenchError::Failed { line: "cargo build --release" });
        }
    }
    Ok(())
}

/// PATH with the release build first.
fn search_path(top: &Path) -> OsString {
    let folder = root::release_binary(top).parent().map(Path::to_path_buf).unwrap_or_default();
    let rest = std::env::var_os("PATH").unwrap_or_default();
    let ours = [folder.join("examples"), folder];
    let folders = ours.into_iter().chain(std::env::split_paths(&rest));
    std::env::join_paths(folders).unwrap_or(rest.clone())
}

/// Puts the sections between the marks of the document.
fn renew(path: &Path, sections: &str) -> Result<(), BenchError> {
    let failed = |source| BenchError::Document { path: path.to_path_buf(), source };
    let text = fs::read_to_string(path).map_err(failed)?;
    let renewed = crate::tidy::between_marks(&text, "figures", sections);
    let renewed = renewed.ok_or_else(|| failed(io::Error::from(io::ErrorKind::InvalidData)))?;
    fs::write(path, renewed).map_err(failed)
}

/// Where runners run.
struct Bench<'a> {
    scratch: &'a Scratch,
    path: OsString,
    python: PathBuf,
    top: &'a Path,
}

impl Bench<'_> {
    /// All rounds of a case: the figures of each runner, none for one whose program is not installed.
    fn case(&self, case: &Case, rounds: usize) -> Result<Vec<Figures>, BenchError> {
        let rounds = (rounds * case.times).max(1);
        let mut figures = vec![Figures::default(); case.runners.len()];
        for _ in 0..rounds {
            for (runner, figures) in case.runners.iter().zip(&mut figures) {
                if let Some(figure) = self.round(case, runner)? {
                    figures.push(figure);
                }
            }
        }
        Ok(figures)
    }

    /// One run of one runner: its figure, once its output has been compared; none if it is not installed.
    fn round(&self, case: &Case, runner: &Runner) -> Result<Option<f64>, BenchError> {
        if !is_there(runner) {
            return Ok(None);
        }
        let failed = |source| BenchError::Run { program: runner.line.to_owned(), source };
        let (output, report) = (self.scratch.file("output"), self.scratch.file("report"));
        let own = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new("sh");
        command.args(["-c", runner.line]).current_dir(self.scratch.path()).env("PATH", &self.path);
        command.env("memory", format!("{} measure {}", own.display(), report.display()));
        command.env("python", &self.python).env("pools", self.top.join("python/bench"));
        command.env("PYTHONPATH", self.top.join("python/src"));
        command.env("POOLCTL_BINARY", root::release_binary(self.top));
        // As with an installed package, modules are compiled once.
        command
            .env("PYTHONPYCACHEPREFIX", self.scratch.file("pycache"))
            .env_remove("PYTHONDONTWRITEBYTECODE");
        command.env("figure", &report).stdin(Stdio::null()).stdout(File::create(&output).map_err(failed)?);
        let begun = Instant::now();
        let status = command.status().map_err(failed)?;
        let time = begun.elapsed();
        if status.code() == Some(NOT_INSTALLED) {
            return Ok(None);
        }
        if !status.success() {
            return Err(BenchError::Failed { line: runner.line });
        }
        if !scratch::same_content(&output, &self.scratch.file(runner.output)).map_err(failed)? {
            return Err(BenchError::WrongOutput { line: runner.line, output: runner.output });
        }
        let figure = match case.taken {
            Taken::WallTime => Some(figures::of_time(case.unit, time, runner.items)),
            Taken::PeakMemory => measure::read_memory(&report),
            Taken::Told => measure::read_figure(&report),
        };
        figure.map(Some).ok_or(BenchError::NoReport { line: runner.line })
    }
}

/// Whether the program that the runner begins with is installed; poolctl and the floor are.
fn is_there(runner: &Runner) -> bool {
    let program = runner.line.trim_start_matches("exec ").split(' ').next().unwrap_or_default();
    !["parallel", "python3", "strace"].contains(&program) || tools::find(program).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_an_unknown_one_is_an_error() {
        let options = Options::parse(&["--rounds", "3", "--only", "lines"]).expect("good options");

        assert_eq!((options.rounds, options.only.as_deref(), options.write), (3, Some("lines"), false));
        assert!(matches!(Options::parse(&["--fast"]), Err(BenchError::Option { .. })));
        assert!(matches!(Options::parse(&["--rounds", "many"]), Err(BenchError::Option { .. })));
    }

    #[test]
    fn every_case_has_poolctl_first_and_a_name_of_its_own() {
        let mut names: Vec<_> = cases().map(|case| case.name).collect();
        names.sort_unstable();
        names.dedup();

        assert_eq!(names.len(), cases().count());
        assert!(cases().all(|case| case.runners[0].name.contains("poolctl")));
    }
}
