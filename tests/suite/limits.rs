//! Limits of the machine: few descriptors, full disks, no processes; a named error, or it still works.

use poolctl_testkit::{Sandbox, poolctl_binary};

use crate::peer::{numbers, skipped};

#[test]
fn few_descriptors_are_enough_or_the_limit_is_named() {
    let targets: [&[&str]; 4] = [&["--", "echo"], &["--lines", "cat"], &["--shell", "echo $1"], &["echo"]];
    for target in targets {
        for jobs in ["2", "100"] {
            let sandbox = Sandbox::new();

            let prelude = "ulimit -n 64";
            let ours =
                sandbox.map(["-j", jobs]).args(target).input(numbers(1, 200)).after_shell(prelude).run();

            match ours.code() {
                Some(0) => drop(ours.expect_stdout(numbers(1, 200))),
                _ => drop(ours.expect_words(&["ulimit -n"])),
            }
        }
    }
}

#[test]
fn two_workers_run_with_few_descriptors() {
    let sandbox = Sandbox::new();

    let ours =
        sandbox.map(["-j2", "--lines", "cat"]).input(numbers(1, 200)).after_shell("ulimit -n 64").run();

    ours.expect_quiet().expect_stdout(numbers(1, 200));
}

#[test]
fn a_full_disk_while_output_is_spilled_is_an_error_and_never_lost_output() {
    let sandbox = Sandbox::new();
    if !can_mount(&sandbox) {
        return;
    }
    let script = r#"[ $1 != 2 ] || head -c 20000000 /dev/zero | tr '\0' x; echo $1"#;
    let mount = r#"mount -t tmpfs -o size=2m tmpfs "$TMPDIR" && exec "$@""#;

    let ours = sandbox
        .peer("unshare")
        .args(["-m", "sh", "-c", mount, "sh"])
        .arg(poolctl_binary())
        .args(["map", "-j1", "--shell", script])
        .input(numbers(1, 4))
        .run();

    assert!([Some(1), Some(74)].contains(&ours.code()), "{ours}");
    let ours = ours.expect_words(&["No space left", "TMPDIR"]);
    assert!(ours.text().starts_with("1\n"), "what was finished before is delivered\n{ours}");
}

/// Whether we may mount in a namespace of our own.
fn can_mount(sandbox: &Sandbox) -> bool {
    let script = r#"mount -t tmpfs -o size=1m tmpfs "$TMPDIR""#;
    let allowed = sandbox.peer("unshare").args(["-m", "sh", "-c", script]).run().code() == Some(0);
    if !allowed {
        skipped("mounting a small file system is not permitted here");
    }
    allowed
}

#[test]
fn no_more_processes_is_said_or_waited_for() {
    let sandbox = Sandbox::new();
    let user = sandbox.peer("id").arg("-u").run().text();
    if user.trim() != "0" || !crate::peer::is_installed("setpriv") {
        skipped("RLIMIT_NPROC is tried as another user, which only root can become");
        return;
    }
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    let mut directory = sandbox.work();
    // The user must be able to reach its directory.
    while directory != std::env::temp_dir() {
        std::fs::set_permissions(&directory, std::fs::Permissions::clone(&open))
            .expect("a directory of our own");
        directory.pop();
    }
    let binary = sandbox.path("poolctl");
    std::fs::copy(poolctl_binary(), &binary).expect("a copy in our own directory");

    let ours = sandbox
        .peer("setpriv")
        .args(["--reuid=54321", "--regid=54321", "--clear-groups"])
        .arg(&binary)
        .args(["map", "-j20", "--shell", "sleep 0.1; echo $1"])
        .input(numbers(1, 60))
        .after_shell("ulimit -u 12")
        .run();

    match ours.code() {
        Some(0) => drop(ours.expect_stdout(numbers(1, 60))),
        _ => drop(ours.expect_words(&["ulimit -u"])),
    }
}

#[test]
fn a_worker_that_wants_more_memory_than_it_may_have_fails_alone() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "f.py",
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))\n\
         def f(x):\n    return len(bytearray(1 << 30)) if x == 7 else x\n",
    );

    let ours = sandbox.map(["-j2", "python:f.py:f"]).input(numbers(1, 20)).run();

    ours.expect_code(1).expect_words(&["MemoryError"]).expect_stdout(numbers(1, 6) + &numbers(8, 20));
}

#[test]
fn a_hundred_workers_run_at_once() {
    let sandbox = Sandbox::new();

    let ours = sandbox.map(["-j", "100", "--lines", "cat"]).input(numbers(1, 5_000)).run();

    ours.expect_quiet().expect_stdout(numbers(1, 5_000));
}

#[test]
fn more_native_workers_than_descriptors_allow_are_fewer_and_every_item_is_run() {
    let sandbox = Sandbox::new();
    let count = 600;

    let ours = crate::fault::map(&sandbox, "fault")
        .args(["-j60"])
        .env("FAULT", "")
        .input(numbers(1, count))
        .after_shell("ulimit -n 96")
        .run();

    ours.expect_code(0).expect_stdout(numbers(1, count));
    sandbox.expect_nothing_left();
}
