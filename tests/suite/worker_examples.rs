//! The example workers of `examples/workers`, one per language: each is run as a person would.

use std::path::{Path, PathBuf};

use poolctl_testkit::Sandbox;

use crate::peer::{is_installed, numbers};

/// The example for this kind of file.
fn example(extension: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/workers").join(format!("worker.{extension}"))
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

#[test]
fn the_worker_that_uses_all_that_json_lines_offer_runs() {
    let sandbox = Sandbox::new();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/workers/worker_full.py");
    let worker = format!("python3 {}", script.display());

    let primes =
        sandbox.map(["-j2", "--function", "primes", "--worker", &worker]).input("10\n100\n1000\n").run();
    let divisors =
        sandbox.map(["-j2", "--function", "divisors", "--worker", &worker]).input("6\n7\n\"x\"\n").run();

    primes.expect_quiet().expect_stdout("4\n25\n168\n");
    divisors
        .expect_code(1)
        .expect_stdout("[1, 2, 3, 6]\n[1, 7]\n")
        .expect_words(&["a whole number is needed"]);
}
