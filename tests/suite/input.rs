//! Where items come from, and how they are cut.

use poolctl_testkit::{DEADLINE, Process, Sandbox, ran, wait_until};

use crate::peer::numbers;

#[test]
fn an_empty_input_is_no_error_and_no_output() {
    let sandbox = Sandbox::new();

    sandbox.map(["--", "echo"]).input("").run().expect_quiet().expect_stdout("");
    sandbox.map(["-r", "--", "echo"]).input("").run().expect_quiet().expect_stdout("");
    sandbox.map(["--lines", "cat"]).input("").run().expect_quiet().expect_stdout("");
    sandbox.map(["python:math:sqrt"]).input("").run().expect_quiet().expect_stdout("");
}

#[test]
fn the_last_line_needs_no_newline() {
    let sandbox = Sandbox::new();

    sandbox.map(["--", "echo"]).input("a\nb").run().expect_quiet().expect_stdout("a\nb\n");
    sandbox.map(["--lines", "cat"]).input("a\nb").run().expect_quiet().expect_stdout("a\nb\n");
    sandbox.map(["python:math:sqrt"]).input("4\n9").run().expect_quiet().expect_stdout("2.0\n3.0\n");
}

#[test]
fn empty_lines_are_items_of_a_filter() {
    let sandbox = Sandbox::new();

    let ours = sandbox.map(["--lines", "cat"]).input("\na\n\n\nb\n\n").run();

    ours.expect_quiet().expect_stdout("\na\n\n\nb\n\n");
}

#[test]
fn items_end_at_nul_where_asked_for() {
    let sandbox = Sandbox::new();

    let ours = sandbox.map(["-0", "--", "printf", "<%s>"]).input("a\nb\0c d\0e").run();

    ours.expect_quiet().expect_stdout("<a\nb><c d><e>");
}

#[test]
fn items_end_at_a_delimiter_where_asked_for() {
    let sandbox = Sandbox::new();

    let ours = sandbox.map(["-d", ",", "--", "printf", "<%s>"]).input("a,b c,d").run();
    let tab = sandbox.map(["-d", "\\t", "--", "printf", "<%s>"]).input("a\tb c\td").run();

    ours.expect_quiet().expect_stdout("<a><b c><d>");
    tab.expect_quiet().expect_stdout("<a><b c><d>");
}

#[test]
fn items_come_from_a_file() {
    let sandbox = Sandbox::new();
    sandbox.write("list", "a\nb\n");

    let ours = sandbox.map(["-a", "list", "--", "echo"]).input("from stdin\n").run();

    ours.expect_quiet().expect_stdout("a\nb\n");
}

#[test]
fn items_come_from_the_arguments_behind_a_function() {
    let sandbox = Sandbox::new();

    let ours = sandbox.map(["python:math:sqrt", "4", "9", "16"]).input("1\n").run();

    ours.expect_quiet().expect_stdout("2.0\n3.0\n4.0\n");
}

#[test]
fn carriage_returns_and_any_bytes_of_an_item_stay() {
    let sandbox = Sandbox::new();
    let input = b"a\r\n\xff\xfe \t x\n\x01\x7f\n".to_vec();

    let filtered = sandbox.map(["--lines", "cat"]).input(input.clone()).run();
    let printed = sandbox.map(["--", "printf", "%s\\n"]).input(input.clone()).run();

    filtered.expect_quiet().expect_stdout(&input);
    printed.expect_quiet().expect_stdout(&input);
}

#[test]
fn raw_lines_become_strings_of_a_function() {
    let sandbox = Sandbox::new();
    sandbox.write("shout.py", "def shout(text):\n    return text.upper()\n");

    let ours = sandbox.map(["--raw", "python:shout.py:shout"]).input("a \"b\" \\ \u{e4}\n12\n").run();

    ours.expect_quiet().expect_stdout("\"A \\\"B\\\" \\\\ \u{c4}\"\n\"12\"\n");
}

#[test]
fn json_values_may_be_spread_over_lines_where_items_end_at_nul() {
    let sandbox = Sandbox::new();
    sandbox.write("f.py", "def size(value):\n    return len(value)\n");
    let input = "{\"a\": 1,\n \"b\": [1, 2,\n 3]}\n\0[1,2,3]\0\"text\"";

    let ours = sandbox.map(["--null", "python:f.py:size"]).input(input).run();

    ours.expect_quiet().expect_stdout("2\n3\n4\n");
}

#[test]
fn broken_json_names_line_and_column_and_the_items_before_it_finish() {
    let sandbox = Sandbox::new();
    let input = "1\n4\n9\n16\n25\n36\n{\"a\": }\n64\n81\n100\n";

    let ours = sandbox.map(["python:math:sqrt"]).input(input).run();

    let ours = ours.expect_code(65).expect_words(&["line 7", "column"]);
    ours.expect_stdout("1.0\n2.0\n3.0\n4.0\n5.0\n6.0\n");
}

#[test]
fn an_input_that_is_missing_or_a_directory_is_named() {
    let sandbox = Sandbox::new();

    let missing = sandbox.map(["-a", "nowhere", "--", "echo"]).run();
    let directory = sandbox.map(["-a", "/usr", "--", "echo"]).run();

    missing.expect_code(65).expect_words(&["nowhere", "No such file"]);
    directory.expect_code(65).expect_words(&["/usr", "directory"]);
}

#[test]
fn an_input_that_fails_in_the_middle_is_an_error_after_the_results_so_far() {
    let sandbox = Sandbox::new();
    sandbox.write("list", "a\nb\n");

    // Reading one's own memory at address 0 fails with an I/O error.
    let ours = sandbox.map(["-a", "/proc/self/mem", "--", "echo"]).run();

    ours.expect_code(65).expect_words(&["/proc/self/mem", "Input/output error"]).expect_stdout("");
}

#[test]
fn a_run_whose_input_pauses_sleeps() {
    for target in [vec!["--lines", "cat"], vec!["square"], vec!["--", "echo"]] {
        let sandbox = Sandbox::new();
        let mut run = sandbox.map(&target).open_input().start();
        run.write("1\n");
        run.wait_stdout("the first result", |bytes| bytes == b"1\n");

        // One that looks again and again runs between any two looks, or at least is ready to.
        let (mut quiet, mut before) = (0, None);
        wait_until(DEADLINE, "poolctl sleeps for 20 looks on end", || {
            let sleeps = Process::look(run.pid()).is_some_and(|process| process.state == 'S');
            let now = ran(run.pid());
            quiet = if sleeps && now == before { quiet + 1 } else { 0 };
            before = now;
            quiet == 20
        });

        run.close_input();
        run.wait().expect_quiet();
    }
}

#[test]
fn stdin_that_is_closed_is_no_crash() {
    let sandbox = Sandbox::new();

    let ours = sandbox.map(["--", "echo", ":::", "a"]).after_shell("exec 0<&-").run();

    ours.expect_quiet().expect_stdout("a\n");
}

#[test]
fn an_item_of_one_hundred_megabytes_passes_where_no_argument_limits_it() {
    let sandbox = Sandbox::new();
    let item = vec![b'x'; 100_000_000];
    let mut input = vec![b'"'];
    input.extend(&item);
    input.extend(b"\"\n");
    sandbox.write("f.py", "def size(text):\n    return len(text)\n");

    let function = sandbox.map(["python:f.py:size"]).input(input).run();
    let command = sandbox.map(["--stdin", "--shell", "tr -d '\\n' | wc -c"]).input(item).run();

    function.expect_quiet().expect_stdout("100000000\n");
    command.expect_quiet().expect_stdout("100000000\n");
}

#[test]
fn an_item_too_long_for_an_argument_says_so_and_names_the_way_out() {
    let sandbox = Sandbox::new();
    let mut input = vec![b'x'; 200_000];
    input.extend(b"\nshort\n");

    let ours = sandbox.map(["--", "printf", "%s\\n"]).input(input).run();

    ours.expect_code(1).expect_words(&["too long for an argument", "--stdin"]).expect_stdout("short\n");
}

#[test]
fn a_hundred_thousand_tiny_items_all_arrive() {
    let sandbox = Sandbox::new();

    let ours = sandbox.map(["--lines", "cat", "--ahead", "64", "-j", "4"]).input(numbers(1, 100_000)).run();

    ours.expect_quiet().expect_stdout(numbers(1, 100_000));
}
