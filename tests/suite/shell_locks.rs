//! `poolctl lock`, `semaphore` and `locks`: what unrelated shells hold, wait for, and leave when they die.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use nix::sys::signal::Signal;
use poolctl_testkit::{
    DEADLINE, Finished, Invocation, Running, Sandbox, children, descriptors, poolctl_binary, wait_until,
};

/// `poolctl lock NAME -- sh -c SCRIPT`; the script knows the binary as `$P`.
fn lock(sandbox: &Sandbox, name: &str, script: &str) -> Invocation {
    sandbox.poolctl(["lock", name, "--", "sh", "-c", script]).env("P", poolctl_binary())
}

/// The same, running, after its command has said `up`.
#[track_caller]
fn holding(sandbox: &Sandbox, name: &str, script: &str) -> Running {
    let running = lock(sandbox, name, &format!("echo up; {script}")).start();
    running.wait_stdout("the word of a started command", |bytes| bytes.starts_with(b"up\n"));
    running
}

fn listed(sandbox: &Sandbox) -> String {
    sandbox.poolctl(["locks"]).run().expect_quiet().text()
}

#[track_caller]
fn wait_for_waiters(sandbox: &Sandbox, count: usize) {
    wait_until(DEADLINE, &format!("{count} wait"), || listed(sandbox).matches("  waits ").count() == count);
}

#[track_caller]
fn expect_free(sandbox: &Sandbox, name: &str) {
    sandbox.poolctl(["lock", "--timeout", "0", name, "--", "true"]).run().expect_quiet();
    assert_eq!(listed(sandbox), "");
}

fn runtime(sandbox: &Sandbox) -> PathBuf {
    sandbox.work().parent().expect("the sandbox is above").join("run")
}

#[test]
fn twenty_shells_count_together_and_lose_nothing() {
    let sandbox = Sandbox::new();
    sandbox.write("counter", "0\n");
    let script = r#"for i in 1 2 3 4 5; do
        "$P" lock counter -- sh -c 'read n < counter; echo $((n + 1)) > counter' || exit
    done"#;

    let shells: Vec<Running> =
        (0..20).map(|_| sandbox.peer("sh").args(["-c", script]).env("P", poolctl_binary()).start()).collect();

    shells.into_iter().for_each(|shell| drop(shell.wait().expect_quiet()));
    assert_eq!(sandbox.read("counter"), b"100\n");
}

#[test]
fn the_end_is_that_of_the_command() {
    let sandbox = Sandbox::new();

    lock(&sandbox, "a", "exit 7").run().expect_code(7);
    lock(&sandbox, "a", "kill -SEGV $$").run().expect_code(128 + 11);
    lock(&sandbox, "a", "cat").input("through").run().expect_quiet().expect_stdout("through");
    sandbox.poolctl(["lock", "a", "--", "no-such-program"]).run().expect_code(127);
    sandbox.write("plain", "");
    sandbox.poolctl(["lock", "a", "--", "./plain"]).run().expect_code(126);
    sandbox.poolctl(["lock", "a"]).run().expect_code(2);

    expect_free(&sandbox, "a");
}

#[test]
fn a_timeout_ends_with_124_and_leaves_the_lock_alone() {
    let sandbox = Sandbox::new();
    sandbox.fifo("gate");
    let holder = holding(&sandbox, "a", "cat gate");

    for timeout in ["0", "200ms"] {
        let late = sandbox.poolctl(["lock", "a", "--timeout", timeout, "--", "touch", "ran"]).run();
        late.expect_code(124).expect_words(&["lock `a`", "poolctl locks"]);
        let files = fs::read_dir(runtime(&sandbox).join("poolctl/locks")).expect("it was made");
        let names: Vec<_> = files.map(|file| file.expect("it can be read").file_name()).collect();
        assert_eq!(names, ["lock:a"], "who gave up has left nothing");
    }
    sandbox.poolctl(["lock", "other", "--timeout", "0", "--", "true"]).run().expect_quiet();

    assert!(!sandbox.path("ran").exists());
    sandbox.release("gate");
    holder.wait().expect_quiet();
    expect_free(&sandbox, "a");
}

#[test]
fn whoever_follows_a_killed_owner_gets_the_lock_and_is_told() {
    let sandbox = Sandbox::new();
    sandbox.fifo("gate");
    let says = r#"echo "died: $POOLCTL_OWNER_DIED""#;
    let owner = holding(&sandbox, "a", "exec cat gate");
    let next = lock(&sandbox, "a", says).start();
    wait_for_waiters(&sandbox, 1);

    owner.kill();

    let next = next.wait().expect_code(0).expect_stdout("died: 1\n");
    assert_eq!(next.errors().lines().count(), 1, "{next}");
    next.expect_words(&["lock `a`", "died while holding it", "cat gate"]);
    lock(&sandbox, "a", says).env("POOLCTL_OWNER_DIED", "1").run().expect_quiet().expect_stdout("died: \n");
    sandbox.expect_nothing_left();
}

#[test]
fn what_a_killed_owner_had_started_is_named() {
    let sandbox = Sandbox::new();
    sandbox.fifo("gate");
    let owner = holding(&sandbox, "a", "cat gate & echo $! > pid; wait");
    wait_until(DEADLINE, "the pid is there", || sandbox.read("pid").ends_with(b"\n"));
    let pid = String::from_utf8_lossy(&sandbox.read("pid")).trim().to_owned();

    owner.kill();

    lock(&sandbox, "a", "true").run().expect_code(0).expect_words(&["still", &pid]);
    sandbox.release("gate");
}

#[test]
fn a_grandchild_in_the_group_keeps_the_lock_until_it_is_gone() {
    let sandbox = Sandbox::new();
    sandbox.fifo("gate");
    let holder = holding(&sandbox, "a", "cat gate & exit 3");
    wait_until(DEADLINE, "the leader is gone", || {
        let below = children(holder.pid());
        below.len() == 1 && below[0].command == "cat gate"
    });

    sandbox.poolctl(["lock", "a", "--timeout", "200ms", "--", "true"]).run().expect_code(124);
    sandbox.release("gate");

    holder.wait().expect_code(3);
    expect_free(&sandbox, "a");
}

#[test]
fn a_daemon_that_leaves_the_group_keeps_nothing() {
    let sandbox = Sandbox::new();
    sandbox.fifo("gate");

    lock(&sandbox, "a", "setsid cat gate < /dev/null > /dev/null 2>&1 & exit 0").run().expect_quiet();

    expect_free(&sandbox, "a");
    sandbox.release("gate");
}

#[test]
fn eight_shells_are_never_three_inside_a_semaphore_of_two() {
    let sandbox = Sandbox::new();
    let script = r#"for i in 1 2 3; do
        "$P" semaphore two -n 2 -- sh -c 'echo in >> log; cat < /etc/passwd > /dev/null; echo out >> log' || exit
    done"#;

    let shells: Vec<Running> =
        (0..8).map(|_| sandbox.peer("sh").args(["-c", script]).env("P", poolctl_binary()).start()).collect();

    shells.into_iter().for_each(|shell| drop(shell.wait().expect_quiet()));
    let (mut inside, mut most) = (0, 0);
    let log = sandbox.read("log");
    for line in String::from_utf8_lossy(&log).lines() {
        inside += if line == "in" { 1 } else { -1 };
        most = most.max(inside);
    }
    assert_eq!(log.len(), 24 * 7);
    assert!(inside == 0 && most <= 2, "{most} were inside at once");
}

#[test]
fn a_semaphore_lets_two_in_and_the_third_when_one_has_gone() {
    let sandbox = Sandbox::new();
    sandbox.fifo("gate1");
    sandbox.fifo("gate2");
    let permit = |script: &str| sandbox.poolctl(["semaphore", "-n", "2", "two", "--", "sh", "-c", script]);
    let started = |script: &str| {
        let running = permit(script).start();
        running.wait_stdout("the first word", |bytes| bytes.starts_with(b"up\n"));
        running
    };
    let first = started("echo up; cat gate1");
    let second = started("echo up; exec cat gate2");

    let late = sandbox.poolctl(["semaphore", "-n", "2", "--timeout", "100ms", "two", "--", "true"]).run();
    late.expect_code(124).expect_words(&["semaphore `two`"]);
    let third = permit("echo third").start();
    let fourth = permit("echo fourth").start();
    wait_for_waiters(&sandbox, 2);
    sandbox.release("gate1");
    third.wait().expect_quiet();
    fourth.wait().expect_quiet();
    first.wait().expect_quiet();

    // A permit whose owner is killed comes back.
    second.kill();
    let told: Vec<Finished> = (0..2).map(|_| permit("true").run().expect_code(0)).collect();
    assert!(told.iter().any(|finished| finished.errors().contains("died while holding it")), "{told:?}");
    assert_eq!(listed(&sandbox), "");
}

#[test]
fn a_cycle_of_two_is_refused_and_named_and_the_other_goes_on() {
    let sandbox = Sandbox::new();
    sandbox.fifo("gate1");
    sandbox.fifo("gate2");
    let first = holding(&sandbox, "a", r#"cat gate1; "$P" lock b -- echo first"#);
    let second = holding(&sandbox, "b", r#"cat gate2; "$P" lock a -- echo second"#);

    sandbox.release("gate1");
    wait_for_waiters(&sandbox, 1);
    sandbox.release("gate2");

    let (first_pid, second_pid) = (first.pid().to_string(), second.pid().to_string());
    let refused = second.wait().expect_code(75).expect_stdout("up\n");
    refused.expect_words(&[
        "never end",
        "lock `a`",
        "lock `b`",
        &first_pid,
        &second_pid,
        "echo first",
        "hint",
    ]);
    first.wait().expect_quiet().expect_stdout("up\nfirst\n");
    expect_free(&sandbox, "a");
}

#[test]
fn a_shell_that_waits_for_itself_is_refused() {
    let sandbox = Sandbox::new();
    let nested = [
        r#""$P" lock a -- "$P" lock a -- echo inside"#,
        r#""$P" lock a -- "$P" lock b -- "$P" lock a -- echo inside"#,
        r#""$P" semaphore s -n 1 -- "$P" semaphore s -n 1 -- echo inside"#,
        r#""$P" semaphore s -n 2 -- "$P" semaphore s -n 2 -- "$P" semaphore s -n 2 -- echo inside"#,
    ];

    for script in nested {
        let refused = sandbox.peer("sh").args(["-c", script]).env("P", poolctl_binary()).run();
        refused.expect_code(75).expect_stdout("").expect_words(&["never end", "is held by pid"]);
    }
    let fine = r#""$P" lock a -- "$P" lock b -- "$P" semaphore a -n 1 -- echo inside"#;
    let fine = sandbox.peer("sh").args(["-c", fine]).env("P", poolctl_binary()).run();
    fine.expect_quiet().expect_stdout("inside\n");
    assert_eq!(listed(&sandbox), "");
}

#[test]
fn locks_shows_holders_waiters_and_dead_owners() {
    let sandbox = Sandbox::new();
    sandbox.fifo("gate");
    let holder = holding(&sandbox, "held", "cat gate");
    let waiter = lock(&sandbox, "held", "echo next").start();
    holding(&sandbox, "left behind", "exec sleep 1000").kill();
    wait_for_waiters(&sandbox, 1);

    let table = listed(&sandbox);
    let json = sandbox.poolctl(["locks", "--json"]).run().expect_quiet();

    for words in ["lock `held`", "lock `left behind`", "echo next", "sleep 1000", "  died "] {
        assert!(table.contains(words), "{table}");
    }
    let rows: Vec<serde_json::Value> =
        json.lines().iter().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    assert_eq!(rows.len(), 2, "{json}");
    assert_eq!((&rows[0]["kind"], &rows[0]["name"]), (&"lock".into(), &"held".into()));
    assert_eq!(rows[0]["holders"][0]["pid"], holder.pid());
    assert_eq!(rows[0]["holders"][0]["died"], false);
    assert_eq!(rows[0]["waiters"][0]["pid"], waiter.pid());
    assert!(rows[0]["waiters"][0]["seconds"].as_f64().is_some_and(|age| age >= 0.0), "{json}");
    assert_eq!((&rows[1]["name"], &rows[1]["holders"][0]["died"]), (&"left behind".into(), &true.into()));
    sandbox.release("gate");
    holder.wait().expect_quiet();
    waiter.wait().expect_quiet().expect_stdout("next\n");
    lock(&sandbox, "left behind", "true").run().expect_code(0).expect_words(&["died"]);
    assert_eq!(listed(&sandbox), "");
}

#[test]
fn names_are_any_text_but_paths() {
    let sandbox = Sandbox::new();
    let (long, too_long) = ("n".repeat(200), "n".repeat(201));

    for bad in ["", "a/b", "/", &too_long] {
        for arguments in [vec!["lock", bad, "--", "true"], vec!["semaphore", bad, "-n", "2", "--", "true"]] {
            sandbox.poolctl(arguments).run().expect_code(2).expect_words(&["name"]);
        }
    }
    for good in [".", "..", "two words", "ä:ö\n", "-", &long] {
        sandbox.poolctl(["lock", good, "--", "true"]).run().expect_quiet();
        sandbox.poolctl(["semaphore", good, "-n", "1", "--", "true"]).run().expect_quiet();
    }
    for count in ["0", "-1", "many", "10001"] {
        sandbox.poolctl(["semaphore", "s", "-n", count, "--", "true"]).run().expect_code(2);
    }
}

#[test]
fn an_unsafe_runtime_directory_is_refused_with_what_mends_it() {
    let sandbox = Sandbox::new();
    let run = runtime(&sandbox);
    let mode = |path: &PathBuf, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let ask = || sandbox.poolctl(["lock", "a", "--", "true"]);
    let link = sandbox.path("link");
    symlink(&run, &link).unwrap();

    ask()
        .env_without("XDG_RUNTIME_DIR")
        .run()
        .expect_code(78)
        .expect_words(&["not set", "export XDG_RUNTIME_DIR="]);
    ask().env("XDG_RUNTIME_DIR", "run").run().expect_code(78).expect_words(&["no absolute path"]);
    ask()
        .env("XDG_RUNTIME_DIR", &link)
        .run()
        .expect_code(78)
        .expect_words(&["symbolic link", "export XDG_RUNTIME_DIR="]);
    let missing = sandbox.path("missing");
    ask().env("XDG_RUNTIME_DIR", &missing).run().expect_code(78).expect_words(&["mkdir -m 700"]);
    let foreign = if nix::unistd::geteuid().is_root() { "/run/foreign" } else { "/" };
    if foreign == "/" {
        ask().env("XDG_RUNTIME_DIR", foreign).run().expect_code(78).expect_words(&["belongs to user 0"]);
    }
    mode(&run, 0o770);
    ask().run().expect_code(78).expect_words(&["mode 770", "chmod 700"]);
    mode(&run, 0o700);
    ask().run().expect_quiet();
    for inner in ["poolctl/locks", "poolctl"] {
        mode(&run.join(inner), 0o750);
        ask().run().expect_code(78).expect_words(&["mode 750", "chmod 700", inner]);
        sandbox.poolctl(["locks"]).run().expect_code(78);
        mode(&run.join(inner), 0o700);
    }
    fs::rename(run.join("poolctl"), sandbox.path("elsewhere")).unwrap();
    symlink(sandbox.path("elsewhere"), run.join("poolctl")).unwrap();
    ask().run().expect_code(78).expect_words(&["symbolic link", "hint: rm "]);
    fs::remove_file(run.join("poolctl")).unwrap();
    ask().run().expect_quiet();
}

#[test]
fn signals_reach_the_command_and_its_status_is_told() {
    for (signal, name) in [(Signal::SIGINT, "INT"), (Signal::SIGTERM, "TERM"), (Signal::SIGHUP, "HUP")] {
        let sandbox = Sandbox::new();
        sandbox.fifo("never");
        let script = format!("trap 'echo {name}; kill -KILL $!; exit 9' {name}; cat never & echo up; wait");
        let holder = lock(&sandbox, "a", &script).start();
        holder.wait_stdout("the word", |bytes| bytes == b"up\n");

        holder.signal(signal);

        holder.wait().expect_code(9).expect_stdout(format!("up\n{name}\n"));
        expect_free(&sandbox, "a");
    }
}

#[test]
fn a_second_signal_kills_what_does_not_listen() {
    let sandbox = Sandbox::new();
    let script = "trap 'echo heard' TERM; echo up; while :; do sleep 1000 & wait; done";
    let holder = lock(&sandbox, "a", script).start();
    holder.wait_stdout("the word", |bytes| bytes == b"up\n");

    holder.signal(Signal::SIGTERM);
    holder.wait_stdout("that it heard", |bytes| bytes.ends_with(b"heard\n"));
    assert!(holder.is_running());
    holder.signal(Signal::SIGTERM);

    holder.wait().expect_code(128 + 9);
    expect_free(&sandbox, "a");
    sandbox.expect_nothing_left();
}

#[test]
fn a_signal_ends_the_waiting_and_leaves_nothing() {
    let sandbox = Sandbox::new();
    sandbox.fifo("gate");
    let holder = holding(&sandbox, "a", "cat gate");
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
        let waiter = lock(&sandbox, "a", "touch ran").start();
        wait_for_waiters(&sandbox, 1);

        waiter.signal(signal);

        waiter.wait().expect_code(code);
        wait_for_waiters(&sandbox, 0);
    }
    let killed = lock(&sandbox, "a", "touch ran").start();
    wait_for_waiters(&sandbox, 1);
    killed.kill();
    wait_for_waiters(&sandbox, 0);

    sandbox.release("gate");
    holder.wait().expect_quiet();
    assert!(!sandbox.path("ran").exists());
    expect_free(&sandbox, "a");
}

#[test]
fn a_stopped_lock_stops_its_command_and_both_go_on() {
    let sandbox = Sandbox::new();
    sandbox.fifo("gate");
    let holder = holding(&sandbox, "a", "exec cat gate");
    let command = children(holder.pid())[0].pid;
    let stopped = |pid| poolctl_testkit::Process::look(pid).is_some_and(|process| process.state == 'T');

    holder.signal(Signal::SIGTSTP);
    wait_until(DEADLINE, "both are stopped", || stopped(holder.pid()) && stopped(command));
    holder.signal(Signal::SIGCONT);
    wait_until(DEADLINE, "both go on", || !stopped(holder.pid()) && !stopped(command));

    sandbox.release("gate");
    holder.wait().expect_quiet();
}

#[test]
fn the_command_has_the_descriptors_of_its_caller_and_not_the_lock() {
    let sandbox = Sandbox::new();
    sandbox.fifo("gate");
    sandbox.write("third", "through three");
    let holder = lock(&sandbox, "a", "cat <&3; exec cat gate").after_shell("exec 3< third").start();
    holder.wait_stdout("the file", |bytes| bytes == b"through three");
    wait_until(DEADLINE, "it waits", || {
        children(holder.pid()).iter().any(|child| child.command == "cat gate")
    });

    let command = children(holder.pid())[0].pid;
    let own = descriptors(holder.pid());
    let theirs = descriptors(command);

    assert!(own.iter().any(|(_, to)| to.to_string_lossy().ends_with("lock:a")), "{own:?}");
    assert!(!theirs.iter().any(|(_, to)| to.to_string_lossy().contains("lock")), "{theirs:?}");
    sandbox.release("gate");
    holder.wait().expect_quiet();
}

#[test]
fn a_caller_that_ignores_its_childrens_deaths_does_not_matter() {
    let sandbox = Sandbox::new();

    lock(&sandbox, "a", "exit 5").after_shell("trap '' CHLD").run().expect_code(5);
}

#[test]
fn another_number_of_permits_is_refused_while_somebody_holds_or_waits() {
    let sandbox = Sandbox::new();
    sandbox.fifo("gate");
    let permit = |count: &str, script: &str| {
        sandbox.poolctl(["semaphore", "net", "-n", count, "--", "sh", "-c", script])
    };
    let holder = permit("1", "echo up; cat gate").start();
    holder.wait_stdout("the word", |bytes| bytes == b"up\n");
    let pid = holder.pid().to_string();
    let words = [
        "semaphore `net` is `-n 1` for pid",
        &pid,
        "cannot be `-n 2`",
        "hint: -n 1 as long",
        "poolctl locks",
    ];

    permit("2", "touch ran").run().expect_code(2).expect_stdout("").expect_words(&words);
    let waiter = permit("1", "echo waited; cat gate").start();
    wait_for_waiters(&sandbox, 1);
    assert!(listed(&sandbox).starts_with("semaphore `net`, -n 1\n"), "{}", listed(&sandbox));
    sandbox.release("gate");
    holder.wait().expect_quiet();
    waiter.wait_stdout("the word", |bytes| bytes == b"waited\n");
    permit("2", "touch ran").run().expect_code(2);
    sandbox.release("gate");
    waiter.wait().expect_quiet();

    permit("2", "true").run().expect_quiet();
    assert!(!sandbox.path("ran").exists());
    assert_eq!(listed(&sandbox), "");
}

#[test]
fn a_dead_owner_is_told_of_also_where_there_are_fewer_permits_now() {
    let sandbox = Sandbox::new();
    sandbox.fifo("gate");
    let permit = |script: &str| {
        let running = sandbox.poolctl(["semaphore", "net", "-n", "2", "--", "sh", "-c", script]).start();
        running.wait_stdout("the word", |bytes| bytes == b"up\n");
        running
    };
    let first = permit("echo up; cat gate");
    let second = permit("echo up; exec sleep 1000");
    sandbox.release("gate");
    first.wait().expect_quiet();
    second.kill();

    let next = ["semaphore", "net", "-n", "1", "--", "sh", "-c", "echo \"died: $POOLCTL_OWNER_DIED\""];
    let told = sandbox.poolctl(next).run().expect_code(0).expect_stdout("died: 1\n");

    told.expect_words(&["died while holding it", "sleep 1000"]);
    sandbox.poolctl(next).run().expect_quiet().expect_stdout("died: \n");
    assert_eq!(listed(&sandbox), "");
}
