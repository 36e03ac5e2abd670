//! The example workers of `examples/workers`, one per language: each is run as a person would.

use std::path::{Path, PathBuf};

use poolctl_testkit::Sandbox;

use crate::peer::{is_installed, numbers};

/// The example whose name ends in `extension`.
fn example(extension: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/workers");
    let entries = std::fs::read_dir(&directory).expect("the examples are there");
    let mut found = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    found
        .find(|path| path.extension().is_some_and(|found| found == extension))
        .unwrap_or_else(|| panic!("no .{extension} in {}", directory.display()))
}

/// Runs a worker over numbers and texts twice, alone and with four of them.
fn runs(interpreter: &str, extension: &str, framing: &str) {
    if !is_installed(interpreter) {
        return;
    }
    let sandbox = Sandbox::new();
    let worker = format!("{interpreter} {}", example(extension).display());
    let mut outputs = Vec::new();
    for workers in ["1", "4"] {
        let arguments = ["-j", workers, "--framing", framing, "--worker", &worker];
        let ours = sandbox.map(arguments).input(numbers(1, 200)).run().expect_quiet();
        assert_eq!(ours.lines().len(), 200, "{ours}");
        outputs.push(ours.stdout);
    }
    assert_eq!(outputs[0], outputs[1]);
}

#[test]
fn the_python_worker_runs() {
    runs("python3", "py", "jsonl");
}

#[test]
fn the_node_worker_runs() {
    runs("node", "js", "jsonl");
}

#[test]
fn the_perl_worker_runs() {
    runs("perl", "pl", "jsonl");
}

#[test]
fn the_bash_worker_runs() {
    runs("bash", "sh", "tsv");
}
