//! The exit code of each way a run can end (docs/exit-codes.md).

use nix::sys::signal::Signal;
use poolctl_testkit::Sandbox;

#[test]
fn usage_is_two() {
    let sandbox = Sandbox::new();

    for arguments in [
        vec!["--no-such-flag"],
        vec!["-j", "many", "--", "echo"],
        vec![],
        vec!["--timeout", "soon", "--", "echo"],
    ] {
        sandbox.map(arguments).run().expect_code(2);
    }
    sandbox.poolctl(["no-such-command"]).run().expect_code(2);
}

#[test]
fn bad_configuration_is_seventy_eight_and_names_the_place() {
    let sandbox = Sandbox::new();
    sandbox.write("poolctl.toml", "[map]\njobs = 2\nretires = 3\n");

    let ours = sandbox.map(["--", "echo", ":::", "a"]).run();

    ours.expect_code(78).expect_words(&["poolctl.toml", "3", "retires", "retries"]);
}

#[test]
fn a_signal_has_its_own_code() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let sandbox = Sandbox::new();
        let running = sandbox.map(["--", "echo"]).open_input().start();
        poolctl_testkit::wait_until(poolctl_testkit::DEADLINE, "it has caught its signals", || {
            poolctl_testkit::children(running.pid()).iter().any(|child| child.command.contains("--keeper"))
        });

        running.signal(signal);

        // The input stays open: the run ends for the signal alone.
        running.wait_ended().expect_code(code);
    }
}

#[test]
fn a_named_version_and_help_are_zero() {
    let sandbox = Sandbox::new();

    sandbox.poolctl(["--version"]).run().expect_quiet();
    let help = sandbox.map(["--help"]).run().expect_quiet().text();
    let examples = help.find("Examples").expect("help has examples");
    let options = help.find("Options").or_else(|| help.find("--jobs")).expect("help has options");

    assert!(examples < options, "examples come first");
}

#[test]
fn the_table_is_published() {
    let table = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/exit-codes.md");
    let text = std::fs::read_to_string(table).expect("docs/exit-codes.md is there");

    for code in
        ["0", "1", "2", "3", "65", "69", "70", "74", "75", "78", "124", "126", "127", "130", "141", "143"]
    {
        assert!(
            text.lines().any(|line| line.starts_with(&format!("| {code} |"))),
            "{code} is not in the table"
        );
    }
}
