//! The README says what happens: every command in it is typed here, and what it prints is compared.
//!
//! A ```` ```console ```` block holds commands behind `$ ` (further lines of one behind `> `) and what they print, stdout
//! and stderr together as a terminal shows them. A line `…` stands for any lines, `…` within a line for any text. A
//! block whose info string has a file name, like ```` ```python words.py ````, is a file that later commands use. A
//! command that fails is followed by `$ echo $?`.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fs, iter};

use poolctl_testkit::{Finished, Sandbox, poolctl_binary};

/// One thing the README has a reader do.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Write a file.
    File { name: String, text: String },
    /// Type a command and see this.
    Command { line: usize, command: String, expected: Vec<String> },
}

/// The steps of a document, in order.
fn steps(document: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = document.lines().enumerate();
    while let Some((_, line)) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let body: Vec<_> = lines.by_ref().take_while(|(_, line)| *line != "```").collect();
        match info.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["console"] => steps.extend(commands(&body)),
            [_, name] => {
                let text = body.iter().flat_map(|(_, line)| [line, "\n"]).collect();
                steps.push(Step::File { name: (*name).to_owned(), text });
            }
            _ => {}
        }
    }
    steps
}

fn commands(body: &[(usize, &str)]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (index, text) in body {
        if let Some(command) = text.strip_prefix("$ ") {
            let command = command.to_owned();
            steps.push(Step::Command { line: index + 1, command, expected: Vec::new() });
            continue;
        }
        let Some(Step::Command { command, expected, .. }) = steps.last_mut() else {
            panic!("README.md:{}: output without a command", index + 1)
        };
        match text.strip_prefix("> ") {
            Some(further) if expected.is_empty() => {
                command.push('\n');
                command.push_str(further);
            }
            _ => expected.push((*text).to_owned()),
        }
    }
    steps
}

/// Whether `printed` is what `expected` says.
fn matches(expected: &[String], printed: &[&str]) -> bool {
    match expected.split_first() {
        None => printed.is_empty(),
        Some((any, rest)) if any.trim() == "…" => {
            (0..=printed.len()).any(|skipped| matches(rest, &printed[skipped..]))
        }
        Some((line, rest)) => printed
            .split_first()
            .is_some_and(|(first, printed)| line_matches(line, first) && matches(rest, printed)),
    }
}

fn line_matches(expected: &str, printed: &str) -> bool {
    let Some((before, after)) = expected.split_once('…') else { return expected == printed };
    let Some(printed) = printed.strip_prefix(before) else { return false };
    let ends = printed.char_indices().map(|(at, _)| at).chain(iter::once(printed.len()));
    ends.into_iter().any(|at| line_matches(after, &printed[at..]))
}

/// A place to type commands in, at the top of a copy of the repository as far as the README needs it.
struct Terminal {
    sandbox: Sandbox,
    last_code: i32,
}

impl Terminal {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        for folder in ["examples", "python"] {
            let link = std::os::unix::fs::symlink(repository().join(folder), sandbox.path(folder));
            link.expect("a link in our own folder");
        }
        Self { sandbox, last_code: 0 }
    }

    fn type_in(&mut self, command: &str) -> Finished {
        let script = format!("exec 2>&1\n(exit {})\n{command}", self.last_code);
        let bash = self.sandbox.peer("bash").args(["-c", &script]);
        let finished = bash.env("PATH", search_path()).run();
        self.last_code = finished.code().expect("bash ends by itself");
        finished
    }
}

/// PATH with the `poolctl` under test first.
fn search_path() -> OsString {
    let rest = std::env::var_os("PATH").unwrap_or_default();
    let ours = poolctl_binary().parent().expect("a program lies in a folder").to_path_buf();
    std::env::join_paths(iter::once(ours).chain(std::env::split_paths(&rest))).expect("no colons in paths")
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("a crate two folders down").to_path_buf()
}

fn readme() -> String {
    fs::read_to_string(repository().join("README.md")).expect("there is a README.md")
}

/// Does every step of `document`, and tells what went otherwise.
fn differences(document: &str) -> Vec<String> {
    let mut terminal = Terminal::new();
    let mut found = Vec::new();
    let steps = steps(document);
    for (index, step) in steps.iter().enumerate() {
        match step {
            Step::File { name, text } => {
                terminal.sandbox.write(name, text);
            }
            Step::Command { line, command, expected } => {
                let finished = terminal.type_in(command);
                let printed = String::from_utf8_lossy(&finished.stdout);
                if !matches(expected, &printed.lines().collect::<Vec<_>>()) {
                    found.push(format!("README.md:{line}: $ {command}\n{printed}"));
                }
                let asks =
                    |step: &Step| matches!(step, Step::Command { command, .. } if command == "echo $?");
                if terminal.last_code != 0 && !steps.get(index + 1).is_some_and(asks) {
                    found.push(format!("README.md:{line}: $ {command}\nexit code {}", terminal.last_code));
                }
            }
        }
    }
    found
}

#[test]
fn every_command_in_the_readme_prints_what_the_readme_says() {
    let readme = readme();

    let differences = differences(&readme);

    assert!(steps(&readme).len() > 10, "the README has commands");
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}

#[test]
fn the_first_command_of_the_readme_does_what_xargs_does() {
    let readme = readme();
    let built = "cargo run --release --quiet --bin poolctl -- ";
    let first = readme.lines().find(|line| line.contains(built)).expect("a command that builds and runs");
    let mut terminal = Terminal::new();

    let ours = terminal.type_in(&first.replace(built, "poolctl ")).expect_code(0);

    let files = first.split_once(" |").expect("files are piped in").0;
    let theirs = terminal.type_in(&format!("{files} | xargs -d '\\n' -n1 sha256sum"));
    let ours = fs::read(terminal.sandbox.path("sums.txt")).unwrap_or(ours.stdout);
    assert!(!ours.is_empty() && ours == theirs.stdout, "the sums differ");
}

#[test]
fn the_rust_program_in_the_readme_is_an_example_with_the_output_shown() {
    let readme = readme();
    let examples = repository().join("examples/rust");
    let block = |opening: &str| {
        let (_, rest) = readme.split_once(opening).expect("the README has such a block");
        rest.split_once("```").expect("a block is closed").0
    };

    let (program, output) = (block("```rust first_steps.rs\n"), block("```text\n"));

    let example = fs::read_to_string(examples.join("first_steps.rs")).expect("there is the example");
    let expected =
        fs::read_to_string(examples.join("expected/first_steps.txt")).expect("there is its output");
    assert!(example.ends_with(program), "the program differs from {example}");
    assert_eq!(output, expected);
}

#[test]
fn ci_runs_the_test_command_of_the_readme() {
    let ci = fs::read_to_string(repository().join(".ci/run")).expect("there is a .ci/run");

    let readme = readme();

    assert!(ci.lines().any(|line| line == "exec cargo xtask ci"), "{ci}");
    assert!(readme.lines().any(|line| line == "cargo xtask ci"), "the README names the test command");
}

#[test]
fn a_document_is_cut_into_files_and_commands() {
    let document = "```python a.py\nx = 1\n```\ntext\n```console\n$ one\nout\n…\n$ two \\\n>   more\n```\n```sh\nnot run\n```\n";

    let steps = steps(document);

    assert_eq!(
        steps,
        [
            Step::File { name: "a.py".into(), text: "x = 1\n".into() },
            Step::Command { line: 6, command: "one".into(), expected: vec!["out".into(), "…".into()] },
            Step::Command { line: 9, command: "two \\\n  more".into(), expected: vec![] },
        ]
    );
}

#[test]
fn a_document_that_says_something_else_is_found() {
    let document = "```console\n$ printf 'a\\nb\\n'\na\nc\n$ false\n$ (exit 3)\n$ echo $?\n3\n$ echo a; echo b\n…\nb\n```\n";

    let found = differences(document);

    assert_eq!(found, ["README.md:2: $ printf 'a\\nb\\n'\na\nb\n", "README.md:5: $ false\nexit code 1"]);
}

#[test]
fn an_ellipsis_stands_for_lines_or_for_text() {
    let expected = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();

    assert!(matches(&expected("a\n…\nd"), &["a", "b", "c", "d"]));
    assert!(matches(&expected("a\n…"), &["a"]));
    assert!(matches(&expected("took … ms, … left"), &["took 12 ms, 3 left"]));
    assert!(!matches(&expected("a\n…\nd"), &["a", "b"]));
    assert!(!matches(&expected("took … ms"), &["took 12 s"]));
    assert!(!matches(&expected("a"), &["a", "b"]));
}
