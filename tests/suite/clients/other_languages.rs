//! Clients in other languages: the one in Node, and the one that docs/protocol.md consists of.

use std::fs;
use std::path::{Path, PathBuf};

use poolctl_testkit::{Sandbox, poolctl_binary, python};

use crate::peer::is_installed;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the repository").to_path_buf()
}

fn document(path: &str) -> String {
    fs::read_to_string(repository().join(path)).expect("there is such a document")
}

/// PATH with the `poolctl` under test first.
fn search_path() -> std::ffi::OsString {
    let ours = poolctl_binary().parent().expect("a program lies in a folder").to_path_buf();
    let rest = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(ours).chain(std::env::split_paths(&rest)))
        .expect("no colons in paths")
}

/// The blocks of a document that begin so, without their fences.
fn blocks<'a>(document: &'a str, opening: &str) -> Vec<&'a str> {
    let begun = document.split(opening).skip(1);
    begun
        .map(|rest| rest.split_once("\n```").expect("a block is closed").0.trim_start_matches('\n'))
        .collect()
}

#[test]
fn the_node_client_passes_its_own_tests() {
    if !is_installed("node") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write("poold.toml", super::POOLS);
    let service = sandbox.poold(["--config", "poold.toml"]).start();
    service.wait_stderr(" serves ");

    let tests = repository().join("clients/node/test/pool.test.js");
    let node = sandbox.peer("node").arg("--test").arg(tests).env("POOLCTL_BIN", poolctl_binary());
    let ran = node.run();

    let ran = ran.expect_code(0);
    assert!(ran.text().contains("# fail 0") || ran.text().contains("fail 0"), "{ran}");
    service.signal(nix::sys::signal::Signal::SIGTERM);
    service.wait().expect_code(0);
}

#[test]
fn the_examples_of_the_node_client_print_what_its_readme_says() {
    if !is_installed("node") {
        return;
    }
    let readme = document("clients/node/README.md");
    let (programs, outputs) = (blocks(&readme, "\n```js"), blocks(&readme, "\n```text"));
    assert!(programs.len() >= 3 && programs.len() == outputs.len(), "each has its output");
    for (program, output) in programs.iter().zip(outputs) {
        let sandbox = Sandbox::new();
        let index = repository().join("clients/node/index.js");
        let program = program.replace("\"poolctl\"", &format!("\"{}\"", index.display()));
        sandbox.write("example.mjs", program);

        let ran = sandbox.peer("node").arg("example.mjs").env("POOLCTL_BIN", poolctl_binary()).run();

        ran.expect_code(0).expect_stdout(format!("{output}\n"));
    }
}

#[test]
fn the_python_client_of_the_document_runs() {
    let protocol = document("docs/protocol.md");
    let program = blocks(&protocol, "\n```python client.py").pop().expect("the document has a client");
    let output = blocks(&protocol, "\n```text client.py").pop().expect("and what it prints");
    assert!(program.lines().count() < 60, "it is short");
    let sandbox = Sandbox::new();
    sandbox.write("client.py", program);

    let ran = sandbox.peer(python()).arg("client.py").env("PATH", search_path()).run();

    ran.expect_quiet().expect_stdout(format!("{output}\n"));
}

#[test]
fn the_worker_of_six_lines_in_the_document_runs() {
    let protocol = document("docs/protocol.md");
    let program = *blocks(&protocol, "\n```python\n").first().expect("the document begins with a worker");
    assert_eq!(program.lines().count(), 6, "the number of lines is told in words");
    let sandbox = Sandbox::new();
    sandbox.write("worker.py", program);

    let worker = format!("{} worker.py", python());
    let ran = sandbox.map(["--worker", &worker, "\"hello\"", "\"world!\""]).run();

    ran.expect_quiet().expect_stdout("5\n6\n");
}
