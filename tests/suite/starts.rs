//! Workers that cannot start, or start badly: said at once, with the reason and the next step; never a loop.

use poolctl_testkit::Sandbox;

use crate::zoo::{self, BAD_WORKER, crossed, expect_all};

#[test]
fn a_program_that_is_not_there_is_named_at_once() {
    let sandbox = Sandbox::new();

    for target in [
        vec!["--worker", "no-such-program"],
        vec!["--lines", "no-such-program"],
        vec!["--", "no-such-program"],
    ] {
        let finished = sandbox.map(target).input("1\n2\n").run();

        finished.expect_code(127).expect_words(&["no-such-program", "PATH"]).expect_stdout("");
    }
}

#[test]
fn a_program_that_cannot_be_run_is_named_with_the_reason() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("directory")).expect("a directory in our own");
    sandbox.write("text", "no program\n");
    sandbox.write("wrong", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0garbage");
    make_executable(&sandbox, "wrong");

    let cases = [("./directory", "directory"), ("./text", "not executable"), ("./wrong", "xec format")];
    for (program, reason) in cases {
        for target in [vec!["--worker", program], vec!["--lines", program], vec!["--", program]] {
            let finished = sandbox.map(target).input("1\n2\n").run();

            finished.expect_code(126).expect_words(&[program, reason]).expect_stdout("");
        }
    }
}

#[test]
fn a_worker_that_always_ends_at_once_is_given_up_with_what_it_said() {
    for (how, words) in
        [("exit:0", "exit code 0"), ("exit:1", "exit code 1"), ("segv", "SIGSEGV"), ("kill", "SIGKILL")]
    {
        crossed(|sandbox, framing, workers| {
            let finished = zoo::map(sandbox, framing, workers, &format!("at=start how={how}")).run();

            finished.expect_code(126).expect_words(&["5", words]).expect_stdout("");
        });
    }
    let sandbox = Sandbox::new();
    let finished = sandbox.map(["--worker", "sh -c 'echo the last words >&2; exit 3'"]).input("1\n").run();
    finished.expect_code(126).expect_words(&["the last words", "exit code 3"]);
}

#[test]
fn a_worker_that_fails_to_start_once_is_tried_again() {
    crossed(|sandbox, framing, workers| {
        let finished = zoo::map(sandbox, framing, workers, "at=start how=exit:1 once=done").run();

        expect_all(finished);
    });
}

#[test]
fn a_worker_that_never_says_hello_is_killed_at_the_start_deadline() {
    for how in ["hang", "deaf", "wait:3000000"] {
        crossed(|sandbox, framing, workers| {
            let limits = ["--start-timeout=200ms", "--grace=100ms"];
            let finished =
                zoo::map(sandbox, framing, workers, &format!("at=start how={how}")).args(limits).run();

            finished.expect_code(126).expect_words(&["hello", "--start-timeout"]).expect_stdout("");
        });
    }
}

#[test]
fn garbage_instead_of_a_hello_is_shown() {
    for (bytes, words) in [
        ("hello world\n", "hello world"),
        ("{\"id\":1,\"ok\":2}\n", "hello"),
        ("{\"poolctl\":99}\n", "version"),
        ("{\"poolctl\":\"one\"}\n", "one"),
    ] {
        let sandbox = Sandbox::new();
        sandbox.write("bytes", bytes);

        let finished = zoo::map(&sandbox, "jsonl", "1", "at=start how=say-end:bytes").run();

        finished.expect_code(126).expect_words(&[words]).expect_stdout("");
    }
}

#[test]
fn garbage_instead_of_a_frame_is_shown() {
    let hello = |text: &str| {
        let mut bytes = u32::try_from(text.len()).expect("a short text").to_le_bytes().to_vec();
        bytes.extend([0; 12]);
        bytes.extend(text.as_bytes());
        bytes
    };
    for (bytes, words) in [
        (b"print('hello world, I am no frame')\n".to_vec(), "fd 4"),
        ([vec![0xff; 4], vec![0; 60]].concat(), "67108864"),
        (hello("{\"poolctl\":99}"), "version"),
        (hello("no json"), "hello"),
    ] {
        let sandbox = Sandbox::new();
        sandbox.write("bytes", bytes);

        let finished = zoo::map(&sandbox, "frame", "1", "at=start how=say-end:bytes").run();

        finished.expect_code(126).expect_words(&[words]).expect_stdout("");
    }
}

#[test]
fn one_slot_that_is_broken_does_not_take_the_queue_with_it() {
    let sandbox = Sandbox::new();
    let script = format!("if [ \"$POOLCTL_SLOT\" = 0 ]; then exit 1; fi; exec {BAD_WORKER}");
    sandbox.write("worker.sh", script);

    let finished =
        sandbox.map(["-j", "4", "--worker", "sh worker.sh"]).input(crate::peer::numbers(1, 200)).run();

    finished.expect_code(0).expect_stdout(crate::peer::numbers(1, 200));
}

fn make_executable(sandbox: &Sandbox, name: &str) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(sandbox.path(name), mode).expect("a file of our own");
}

#[test]
fn a_module_that_ends_its_interpreter_is_named_with_the_flag_for_slow_ones() {
    let sandbox = Sandbox::new();
    sandbox.write("gone.py", "import os\nos._exit(4)\n");

    let ours = sandbox.map(["python:gone.py:f"]).input("1\n").run();

    ours.expect_code(126)
        .expect_words(&["gone.py", "--start-timeout"])
        .expect_no_words(&["descriptor 4", "--lines"]);
}
