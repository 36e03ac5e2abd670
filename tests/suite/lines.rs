//! Unmodified line filters, kept warm, and the fences around them.

use std::fmt::Write;

use poolctl_testkit::Sandbox;

use crate::peer::{is_installed, numbers};

#[test]
fn lines_come_back_as_the_filter_alone_gives_them() {
    let sandbox = Sandbox::new();
    let input = numbers(1, 20_000);
    let peer = sandbox.peer("sed").args(["s/1/one/g; s/^/> /"]).input(input.clone()).run().expect_quiet();

    for flags in [vec!["-j", "1"], vec!["-j", "3"], vec!["-j", "2", "--ahead", "64"]] {
        let filter = ["--lines", "sed -u 's/1/one/g; s/^/> /'"];
        let ours = sandbox.map(flags).args(filter).input(input.clone()).run();

        ours.expect_quiet().expect_stdout(&peer.stdout);
    }
}

#[test]
fn jq_over_real_json_gives_what_jq_gives() {
    if !is_installed("jq") {
        return;
    }
    let sandbox = Sandbox::new();
    let mut input = String::new();
    for id in 0..20_000 {
        writeln!(input, r#"{{"key":{{"id":{id},"text":"ä\n{id}"}},"other":[1,2,3]}}"#)
            .expect("a string takes any text");
    }
    let peer = sandbox.peer("jq").args(["-c", ".key"]).input(input.clone()).run().expect_quiet();

    let ours = sandbox.map(["--lines", "jq --unbuffered -c .key"]).input(input).run();

    ours.expect_quiet().expect_stdout(peer.stdout);
}

#[test]
fn a_filter_that_buffers_is_told_from_a_slow_one_and_the_flag_is_named() {
    let sandbox = Sandbox::new();
    for (filter, flag) in
        [("sed s/a/b/", "sed -u"), ("grep a", "--line-buffered"), ("jq -c .", "--unbuffered")]
    {
        if !is_installed(filter.split(' ').next().unwrap_or(filter)) {
            continue;
        }
        let arguments = ["--reply-timeout", "300ms", "--grace", "100ms", "--lines", filter];
        let ours = sandbox.map(arguments).input("\"a\"\n").run();

        ours.expect_code(1).expect_words(&["buffering", flag]);
    }
}

#[test]
fn a_filter_that_buffers_is_cured_by_stdbuf() {
    let sandbox = Sandbox::new();

    let ours = sandbox.map(["--stdbuf", "--lines", "tr a b"]).input("a\nba\n").run();

    ours.expect_quiet().expect_stdout("b\nbb\n");
}

#[test]
fn an_answer_of_two_lines_is_an_error_of_its_item_and_never_a_shifted_answer() {
    if !is_installed("bc") {
        return;
    }
    let sandbox = Sandbox::new();
    let input = "1+1\n2^300\n2+2\n3+3\n";

    // The second line may come before the next item is sent, after it, or in between: each must be seen.
    for _ in 0..20 {
        let ours = sandbox.map(["-j1", "--lines", "bc"]).input(input).run();

        ours.expect_code(1).expect_stdout("2\n4\n6\n").expect_words(&["2^300", "--eot"]);
    }
}

#[test]
fn a_line_without_an_answer_is_an_error_of_its_item_and_never_a_shifted_answer() {
    if !is_installed("bc") {
        return;
    }
    let sandbox = Sandbox::new();
    let arguments = ["-j1", "--reply-timeout", "500ms", "--grace", "100ms", "--lines", "bc"];

    let ours = sandbox.map(arguments).input("1+1\n1/0\n2+2\n").run();

    ours.expect_code(1).expect_stdout("2\n4\n").expect_words(&["1/0"]);
}

#[test]
fn output_nobody_asked_for_is_an_error_and_the_rest_is_right() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "chatty.sh",
        "while read -r line; do echo \"$line\"; if [ \"$line\" = 5 ]; then echo more; fi; done\n",
    );

    for _ in 0..20 {
        let ours = sandbox.map(["-j1", "--lines", "sh chatty.sh"]).input(numbers(1, 20)).run();

        ours.expect_code(1).expect_stdout(numbers(1, 4) + &numbers(6, 20));
    }
}

#[test]
fn a_filter_that_dies_takes_only_its_line() {
    let sandbox = Sandbox::new();
    sandbox
        .write("frail.sh", "while read -r line; do [ \"$line\" != 5 ] || kill -9 $$; echo \"$line\"; done\n");

    for flags in [vec!["-j1"], vec!["-j3"], vec!["-j2", "--ahead", "8"]] {
        let ours = sandbox.map(flags).args(["--lines", "sh frail.sh"]).input(numbers(1, 100)).run();

        ours.expect_code(1).expect_stdout(numbers(1, 4) + &numbers(6, 100)).expect_words(&["SIGKILL"]);
    }
}

#[test]
fn a_filter_that_ends_after_some_lines_is_started_again() {
    let sandbox = Sandbox::new();

    let ours = sandbox.map(["-j1", "--lines", "sed -u 5q"]).input(numbers(1, 12)).run();

    // The line that was sent as the filter went may have been begun: it is told, never answered by a neighbour.
    let told = |n: u64| ours.errors().contains(&format!("(\"{n}\")"));
    let expected: String = (1..=12).filter(|n| !told(*n)).map(|n| format!("{n}\n")).collect();
    assert!([Some(0), Some(1)].contains(&ours.code()) && expected.lines().count() >= 10, "{ours}");
    ours.expect_stdout(expected);
}

#[test]
fn an_answer_of_any_number_of_lines_ends_at_the_mark() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "many.sh",
        "while read -r n; do i=0; while [ $i -lt $n ]; do i=$((i+1)); echo \"$n.$i\"; done; echo END; done\n",
    );

    let ours = sandbox.map(["-j2", "--eot", "END", "--lines", "sh many.sh"]).input("2\n0\n3\n1\n").run();

    ours.expect_quiet().expect_stdout("2.1\n2.2\n3.1\n3.2\n3.3\n1.1\n");
}

#[test]
fn a_line_of_ten_megabytes_passes_both_ways() {
    let sandbox = Sandbox::new();
    let mut input = vec![b'x'; 10_000_000];
    input.push(b'\n');

    let ours = sandbox.map(["--lines", "cat"]).input(input.repeat(3)).run();

    ours.expect_quiet().expect_stdout(input.repeat(3));
}

#[test]
fn long_lines_ahead_of_each_other_deadlock_nobody() {
    let sandbox = Sandbox::new();
    let mut line = vec![b'y'; 300_000];
    line.push(b'\n');

    let ours = sandbox.map(["-j2", "--ahead", "64", "--lines", "cat"]).input(line.repeat(200)).run();

    ours.expect_quiet().expect_stdout(line.repeat(200));
}
