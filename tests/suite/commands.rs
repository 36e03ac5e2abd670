//! One process per item: the output of `xargs`, byte for byte, and what `xargs` cannot do.

use poolctl_testkit::Sandbox;

use crate::peer::{lines, numbers, real_files};

#[test]
fn checksums_of_real_files_are_those_of_xargs_byte_for_byte() {
    let sandbox = Sandbox::new();
    let files = lines(real_files(&sandbox, 3_000));
    let peer = sandbox
        .peer("xargs")
        .args(["-d", "\\n", "-n1", "sha256sum"])
        .input(files.clone())
        .run()
        .expect_quiet();

    let ours = sandbox.map(["--", "sha256sum", "{}"]).input(files).run();

    ours.expect_quiet().expect_stdout(peer.stdout);
}

#[test]
fn results_come_in_the_order_of_the_input_whatever_takes_longer() {
    let sandbox = Sandbox::new();
    let gate = sandbox.fifo("gate");
    // The first item waits until the last has run.
    let script = r#"case $1 in 1) cat gate ;; 40) echo opened > gate ;; esac; echo "item $1""#;

    let ours = sandbox.map(["-j", "2", "--shell", script]).input(numbers(1, 40)).run();

    let expected = (1..=40).map(|n| if n == 1 { "opened\nitem 1\n".into() } else { format!("item {n}\n") });
    ours.expect_quiet().expect_stdout(expected.collect::<String>());
    assert!(gate.exists());
}

#[test]
fn unordered_results_come_as_they_are_ready() {
    let sandbox = Sandbox::new();
    sandbox.fifo("gate");
    let script = r#"if [ "$1" = 1 ]; then cat gate; fi; echo "item $1""#;
    let running = sandbox.map(["-j", "2", "--unordered", "--shell", script]).input(numbers(1, 4)).start();

    let before =
        running.wait_stdout("three items", |bytes| bytes.iter().filter(|byte| **byte == b'\n').count() == 3);
    sandbox.release("gate");

    assert_eq!(String::from_utf8_lossy(&before), "item 2\nitem 3\nitem 4\n");
    running.wait().expect_quiet().expect_stdout("item 2\nitem 3\nitem 4\nitem 1\n");
}

#[test]
fn the_first_result_appears_before_the_input_ends() {
    let sandbox = Sandbox::new();
    let mut running = sandbox.map(["--", "echo"]).open_input().start();

    running.write("one\n");
    running.wait_stdout("the first result", |bytes| bytes == b"one\n");
    running.write("two\n");
    running.wait_stdout("the second result", |bytes| bytes == b"one\ntwo\n");

    running.wait().expect_quiet();
}

#[test]
fn outputs_of_items_are_never_mixed() {
    let sandbox = Sandbox::new();
    let script = r#"for i in 1 2 3 4 5 6 7 8 9; do echo "$1-$i"; done"#;

    let ours = sandbox.map(["-j", "4", "--shell", script]).input(numbers(1, 100)).run();

    let expected = (1..=100).flat_map(|item| (1..=9).map(move |line| format!("{item}-{line}\n")));
    ours.expect_quiet().expect_stdout(expected.collect::<String>());
}

#[test]
fn output_without_a_newline_and_with_any_byte_is_passed_as_it_was() {
    let sandbox = Sandbox::new();
    let bytes: Vec<u8> = (0..=255).collect();
    sandbox.write("all", &bytes);

    let ours = sandbox.map(["--", "cat", ":::", "all", "all"]).run();
    ours.expect_quiet().expect_stdout(bytes.repeat(2));
}

#[test]
fn the_item_of_a_shell_is_an_argument_and_never_part_of_the_text() {
    let sandbox = Sandbox::new();
    let nasty = "$(touch hacked) `touch hacked` ; touch hacked ' \" \\ * ~ $HOME";

    let ours = sandbox.map(["--shell", "printf '%s\\n' \"$1\""]).input(format!("{nasty}\n")).run();

    ours.expect_quiet().expect_stdout(format!("{nasty}\n"));
    assert!(!sandbox.path("hacked").exists());
}

#[test]
fn no_shell_runs_without_being_asked() {
    let sandbox = Sandbox::new();
    let nasty = "a;b|c>d&e$(f)*?[g]{h}~#!";

    let ours = sandbox.map(["--", "printf", "%s\\n"]).input(format!("{nasty}\n")).run();

    ours.expect_quiet().expect_stdout(format!("{nasty}\n"));
}

#[test]
fn stdin_of_a_command_is_empty_unless_asked_for() {
    let sandbox = Sandbox::new();

    let ours = sandbox.map(["-j1", "--shell", "cat; echo $1"]).input("a\nb\n").run();

    ours.expect_quiet().expect_stdout("a\nb\n");
}

#[test]
fn the_item_comes_on_stdin_where_asked_for() {
    let sandbox = Sandbox::new();

    let ours = sandbox.map(["--stdin", "--", "tr", "a-z", "A-Z"]).input("one\ntwo\n").run();

    let text = ours.expect_quiet().text();
    assert_eq!(text.replace('\n', ""), "ONETWO");
}

#[test]
fn many_items_fit_one_command() {
    let sandbox = Sandbox::new();
    let peer = sandbox.peer("xargs").args(["-n", "7", "echo"]).input(numbers(1, 100)).run().expect_quiet();

    let ours = sandbox.map(["-n", "7", "--", "echo"]).input(numbers(1, 100)).run();

    ours.expect_quiet().expect_stdout(peer.stdout);
}

#[test]
fn as_many_items_as_fit_go_into_one_command_with_an_upper_x() {
    let sandbox = Sandbox::new();

    let ours = sandbox.map(["-X", "-j1", "--", "echo"]).input(numbers(1, 50_000)).run().expect_quiet();

    let words: Vec<String> = ours.text().split_whitespace().map(str::to_owned).collect();
    let expected: Vec<String> = (1..=50_000).map(|number| number.to_string()).collect();
    assert!(words == expected, "every item once and in order");
    assert!(ours.lines().len() < 20, "{} commands were started", ours.lines().len());
}

#[test]
fn errors_of_items_go_to_stderr_and_the_output_stays_right() {
    let sandbox = Sandbox::new();
    let script = r#"echo "out $1"; echo "err $1" >&2"#;

    let ours = sandbox.map(["--shell", script]).input("a\nb\n").run().expect_code(0);

    let ours = ours.expect_stdout("out a\nout b\n");
    let mut errors: Vec<String> = ours.errors().lines().map(str::to_owned).collect();
    errors.sort();
    assert_eq!(errors, ["err a", "err b"]);
}

#[test]
fn a_tag_stands_before_each_line_of_both_streams() {
    let sandbox = Sandbox::new();
    let script = r#"echo "out $1"; echo "err $1" >&2"#;

    let ours = sandbox.map(["-j1", "--tag", "--shell", script]).input("a\nb\n").run().expect_code(0);

    let ours = ours.expect_stdout("a\tout a\nb\tout b\n");
    let mut errors: Vec<String> = ours.errors().lines().map(str::to_owned).collect();
    errors.sort();
    assert_eq!(errors, ["a\terr a", "b\terr b"]);
}

#[test]
fn one_file_per_item_is_written_where_asked_for() {
    let sandbox = Sandbox::new();

    let ours = sandbox.map(["--output", "results", "--", "echo"]).input("a\nb\nc\n").run();

    ours.expect_code(0).expect_stdout("");
    let mut contents: Vec<Vec<u8>> = std::fs::read_dir(sandbox.path("results"))
        .expect("the directory was made")
        .map(|entry| std::fs::read(entry.expect("a readable directory").path()).expect("a file per item"))
        .collect();
    contents.sort();
    assert_eq!(contents, [b"a\n", b"b\n", b"c\n"]);
}

#[test]
fn blocks_of_whole_records_go_through_a_command_each_in_order() {
    let sandbox = Sandbox::new();

    let ours = sandbox.map(["--pipe", "--block", "4KiB", "--", "cat"]).input(numbers(1, 20_000)).run();
    let sums = sandbox.map(["--pipe", "-n", "10", "--", "wc", "-l"]).input(numbers(1, 25)).run();

    ours.expect_quiet().expect_stdout(numbers(1, 20_000));
    sums.expect_quiet().expect_stdout("10\n10\n5\n");
}

#[test]
fn a_dry_run_prints_each_argv_as_json_and_starts_nothing() {
    let sandbox = Sandbox::new();

    let ours = sandbox.map(["--dry-run", "--", "touch", "x{}", "a b"]).input("1\n2\n").run();

    let lines = ours.expect_quiet().lines();
    let parsed: Vec<serde_json::Value> =
        lines.iter().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    assert_eq!(parsed.len(), 2);
    assert!(
        lines[0].contains(r#""touch","x1","a b""#) || lines[0].contains(r#""touch", "x1", "a b""#),
        "{lines:?}"
    );
    assert!(!sandbox.path("x1").exists());
}
