//! Native functions: items and results, where their worker is looked for, and what names are answered with.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use poolctl_testkit::Sandbox;

use crate::fault::{self, FAULT_WORKER, Installation, install};
use crate::peer::numbers;

#[test]
fn a_function_of_the_stock_worker_runs_on_every_item_in_order() {
    let sandbox = Sandbox::new();
    let squares: String = (1..=10_000_u64).map(|x| format!("{}\n", x * x)).collect();

    let ours = sandbox.map(["-j2", "square"]).input(numbers(1, 10_000)).run();
    let words = sandbox.map(["square", "3", "-4", ":::"]).run();
    let listed = sandbox.map(["square", "--", "3", "-4"]).run();

    ours.expect_quiet().expect_stdout(squares);
    words.expect_code(2);
    listed.expect_quiet().expect_stdout("9\n16\n");
}

#[test]
fn a_million_items_through_a_trivial_function_are_all_there_in_order() {
    let sandbox = Sandbox::new();
    let count = 1_000_000;

    let ours = fault::map(&sandbox, "fault").arg("-j2").input(numbers(1, count)).run();

    ours.expect_quiet().expect_stdout(numbers(1, count));
}

#[test]
fn every_option_of_input_and_output_means_what_it_means_elsewhere() {
    let sandbox = Sandbox::new();

    let raw = fault::map(&sandbox, "text.join").args(["--csv"]).input("a,1,true\n").run();
    let starmap =
        fault::map(&sandbox, "text.join").arg("--starmap").input("[\"a\", 1, true]\n[\"b\",2,null]\n").run();
    let object =
        fault::map(&sandbox, "text.join").input("{\"second\": 7, \"first\": \"x\", \"third\": null}\n").run();
    let product = sandbox.map(["add", ":::", "1", "2", ":::", "10", "20"]).run();
    let tagged = sandbox.map(["--tag", "square", "2", "3"]).run();
    let unordered = sandbox.map(["--unordered", "-j2", "square"]).input(numbers(1, 1_000)).run();
    let strings = sandbox.map(["--raw", "echo", "a \"b\"", "5"]).run();

    // Columns are strings, and this function wants a number.
    raw.expect_code(1).expect_words(&["text.join", "invalid type"]);
    starmap.expect_quiet().expect_stdout("\"a-1-Some(true)\"\n\"b-2-None\"\n");
    object.expect_quiet().expect_stdout("\"x-7-None\"\n");
    product.expect_quiet().expect_stdout("11\n21\n12\n22\n");
    tagged.expect_quiet().expect_stdout("2\t4\n3\t9\n");
    let mut found: Vec<u64> =
        unordered.expect_quiet().lines().iter().map(|line| line.parse().unwrap()).collect();
    found.sort_unstable();
    assert_eq!(found, (1..=1_000).map(|x| x * x).collect::<Vec<u64>>());
    strings.expect_quiet().expect_stdout("\"a \\\"b\\\"\"\n\"5\"\n");
}

#[test]
fn the_object_of_an_item_has_its_value_its_times_and_what_it_printed() {
    let sandbox = Sandbox::new();

    let ours = fault::map(&sandbox, "print").args(["--json", "5"]).run().expect_quiet();

    let object: serde_json::Value = serde_json::from_str(&ours.text()).expect("a line of JSON");
    assert_eq!(object["value"], 5);
    assert_eq!(
        (&object["status"], &object["index"], &object["attempts"]),
        (&"ok".into(), &0.into(), &1.into())
    );
    assert_eq!((&object["out"], &object["err"]), (&"printed 5\n".into(), &"to stderr 5\n".into()));
    assert!(object["wall_ms"].as_f64().is_some_and(|wall| wall > 0.0), "{object}");
    assert!(object["start"].as_f64().is_some_and(|start| start > 1e9), "{object}");
}

#[test]
fn what_functions_print_goes_to_stderr_and_never_among_the_results() {
    let sandbox = Sandbox::new();

    let ours = fault::map(&sandbox, "print").arg("-j2").input(numbers(1, 50)).run().expect_code(0);

    let ours = ours.expect_stdout(numbers(1, 50));
    for x in 1..=50 {
        for words in [format!("printed {x}\n"), format!("to stderr {x}\n")] {
            assert_eq!(ours.errors().matches(&words).count(), 1, "{words:?} must be there once\n{ours}");
        }
    }
}

#[test]
fn prints_belong_to_the_item_that_made_them_where_items_are_told_one_by_one() {
    let sandbox = Sandbox::new();

    let objects =
        fault::map(&sandbox, "print").args(["-j2", "--json"]).input(numbers(1, 2_000)).run().expect_quiet();
    let tagged =
        fault::map(&sandbox, "print").args(["-j2", "--tag"]).input(numbers(1, 50)).run().expect_code(0);

    for (line, x) in objects.lines().iter().zip(1..) {
        let object: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        assert_eq!(object["out"], format!("printed {x}\n"), "{line}");
        assert_eq!(object["err"], format!("to stderr {x}\n"), "{line}");
    }
    for x in 1..=50 {
        assert!(tagged.errors().contains(&format!("{x}\tprinted {x}\n")), "{tagged}");
    }
}

#[test]
fn an_item_that_does_not_fit_the_function_fails_alone_and_is_not_tried_again() {
    let sandbox = Sandbox::new();

    let ours = sandbox.map(["--retries=3", "square"]).input("1\n\"two\"\n3\n[4]\n5\n").run();

    let ours = ours.expect_code(1).expect_stdout("1\n9\n25\n");
    let ours = ours.expect_words(&["item 1", "\"two\"", "square", "item 3", "2 of 5 items failed"]);
    ours.expect_no_words(&["retrying"]);
}

#[test]
fn input_that_is_no_json_ends_the_run_behind_the_items_before_it() {
    let sandbox = Sandbox::new();

    let ours = sandbox.map(["square"]).input("1\n2\n3\nfour\n5\n").run();

    ours.expect_code(65).expect_stdout("1\n4\n9\n").expect_words(&["line 4", "column", "--raw"]);
}

#[test]
fn the_first_result_appears_before_the_input_ends() {
    let sandbox = Sandbox::new();
    let mut running = sandbox.map(["square"]).open_input().start();

    running.write("4\n");
    running.wait_stdout("the first result", |bytes| bytes == b"16\n");
    running.write("5\n");
    running.wait_stdout("the second result", |bytes| bytes == b"16\n25\n");

    running.wait().expect_quiet();
}

#[test]
fn large_items_and_results_pass_whole() {
    let sandbox = Sandbox::new();
    let text = "z".repeat(3 << 20);

    let large = sandbox.map(["-j2", "--raw", "echo"]).input(format!("{text}\nsmall\n{text}\n")).run();
    let grown = fault::map(&sandbox, "letters").arg("-j2").input("10000000\n3\n70000\n").run();

    large.expect_quiet().expect_stdout(format!("\"{text}\"\n\"small\"\n\"{text}\"\n"));
    let letters = |count: usize| format!("\"{}\"\n", "y".repeat(count));
    grown.expect_quiet().expect_stdout(letters(10_000_000) + &letters(3) + &letters(70_000));
}

#[test]
fn a_function_that_is_not_there_names_a_near_one_and_all_of_them() {
    let sandbox = Sandbox::new();

    let near = sandbox.map(["sqare", "5"]).run();
    let own = fault::map(&sandbox, "maked").input("1\n").run();

    let words = ["sqare", "did you mean `square`?", "factorial", "word_count"];
    near.expect_code(127).expect_words(&words).expect_stdout("");
    own.expect_code(127).expect_words(&["maked", "did you mean `marked`?", "letters"]).expect_stdout("");
}

#[test]
fn a_worker_with_several_functions_is_not_left_to_choose() {
    let sandbox = Sandbox::new();

    let unnamed = sandbox.map(["--worker", FAULT_WORKER]).input("1\n").run();
    let framed =
        sandbox.map(["--framing=frame", "--function=fault", "--worker", FAULT_WORKER]).input("1\n").run();
    let stdio =
        sandbox.map(["--worker-stdio", "--function=fault", "--worker", FAULT_WORKER]).input("1\n").run();

    unnamed.expect_code(127).expect_words(&["--function", "letters", "marked"]).expect_stdout("");
    framed.expect_code(126).expect_words(&["native", "--framing"]).expect_stdout("");
    stdio.expect_code(126).expect_words(&["native worker"]).expect_stdout("");
}

#[test]
fn a_bare_name_that_was_meant_as_a_command_is_answered_with_what_would_work() {
    let sandbox = Sandbox::new();

    for item in ["5", "some.file"] {
        let ours = sandbox.map(["gzip", item]).run();

        assert!([Some(65), Some(127)].contains(&ours.code()), "{ours}");
        ours.expect_words(&["gzip", "poolctl map -- gzip"]).expect_stdout("");
    }
    let path = sandbox.map(["./script.sh", "some.file"]).run();
    path.expect_code(2).expect_words(&["poolctl map -- ./script.sh some.file"]);
    let python = sandbox.map(["json:dumps", "5"]).run();
    python.expect_code(2).expect_words(&["did you mean python:"]);
}

#[test]
fn a_worker_that_is_missing_names_both_places_and_is_never_taken_from_path() {
    let sandbox = Sandbox::new();
    let installation = Installation::new(&sandbox, ".");
    fs::create_dir(sandbox.path("onpath")).expect("a directory in our own");
    install(Path::new(FAULT_WORKER), &sandbox.path("onpath/pool-worker"));
    let path = format!("{}:{}", sandbox.path("onpath").display(), std::env::var("PATH").unwrap_or_default());

    let ours = installation.map(&sandbox, &["fault", "5"]).env("PATH", path).run();

    ours.expect_code(127).expect_words(&["bin/pool-worker", "libexec/poolctl/pool-worker"]).expect_stdout("");
}

#[test]
fn the_worker_is_found_beside_poolctl_and_in_libexec_also_through_a_link() {
    for place in [".", "../libexec/poolctl"] {
        let sandbox = Sandbox::new();
        let installation = Installation::new(&sandbox, place);
        install(Path::new(FAULT_WORKER), &installation.stock);
        std::os::unix::fs::symlink(&installation.poolctl, sandbox.path("link"))
            .expect("a link in our own directory");

        let ours = installation.map(&sandbox, &["fault", "5"]).run();
        let linked = sandbox.peer("./link").args(["map", "fault", "5"]).run();

        ours.expect_quiet().expect_stdout("5\n");
        linked.expect_quiet().expect_stdout("5\n");
    }
}

#[test]
fn a_worker_that_cannot_be_run_is_named_with_the_reason() {
    let sandbox = Sandbox::new();
    let installation = Installation::new(&sandbox, ".");
    let write = |contents: &[u8], mode: u32| {
        fs::write(&installation.stock, contents).expect("a file in our own directory");
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(&installation.stock, mode).expect("a file of our own");
    };
    let run = || installation.map(&sandbox, &["square"]).input("1\n2\n").run();

    write(b"no program\n", 0o644);
    run().expect_code(126).expect_words(&["pool-worker", "not executable"]).expect_stdout("");
    write(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0garbage", 0o755);
    run().expect_code(126).expect_words(&["pool-worker", "xec format"]).expect_stdout("");
    // A program that is no worker ends without a word.
    write(b"#!/bin/sh\nexit 3\n", 0o755);
    run().expect_code(126).expect_words(&["exit code 3"]).expect_stdout("");
}

#[test]
fn a_worker_that_speaks_another_layout_is_told_to_be_built_anew() {
    let sandbox = Sandbox::new();
    let hello = r#"{"poolctl":1,"native":999,"functions":["square"]}"#;
    let script = format!(
        "#!{}\nimport os, struct\nhello = b'''{hello}'''\nos.write(4, struct.pack('<IBBHQ', len(hello), 0, 0, 0, 0) + hello)\nos.read(3, 1)\n",
        poolctl_testkit::python()
    );
    let installation = Installation::new(&sandbox, ".");
    fs::write(&installation.stock, script).expect("a file in our own directory");
    fs::set_permissions(&installation.stock, fs::Permissions::from_mode(0o755)).expect("a file of our own");

    let ours = installation.map(&sandbox, &["square", "1"]).run();

    ours.expect_code(126).expect_words(&["layout 999", "same version"]).expect_stdout("");
}

#[test]
fn a_worker_replaced_on_disk_in_mid_run_serves_the_lives_to_come() {
    let sandbox = Sandbox::new();
    let installation = Installation::of_faults(&sandbox);
    let mut running = installation.map(&sandbox, &["-j1", "--max-tasks=10", "fault"]).open_input().start();
    running.write(numbers(1, 15));
    running.wait_stdout("fifteen results", |bytes| bytes == numbers(1, 15).as_bytes());

    let new = sandbox.path("new-worker");
    fs::copy(FAULT_WORKER, &new).expect("a program can be copied");
    fs::rename(&new, &installation.stock).expect("both lie in our own directory");
    running.write(numbers(16, 60));

    running.wait().expect_quiet().expect_stdout(numbers(1, 60));
}

#[test]
fn a_worker_that_vanishes_in_mid_run_is_named_when_it_is_needed_again() {
    let sandbox = Sandbox::new();
    let installation = Installation::of_faults(&sandbox);
    let mut running = installation.map(&sandbox, &["-j1", "--max-tasks=10", "fault"]).open_input().start();
    running.write(numbers(1, 5));
    running.wait_stdout("five results", |bytes| bytes == numbers(1, 5).as_bytes());

    fs::remove_file(&installation.stock).expect("it was installed");
    running.write(numbers(6, 30));

    running.wait().expect_code(127).expect_words(&["pool-worker"]).expect_stdout(numbers(1, 10));
}
