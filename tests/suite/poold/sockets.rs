//! Who may serve at a socket, who may connect to it, and where it may lie.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::unistd::Uid;
use poolctl_testkit::{DEADLINE, Finished, Running, Sandbox, poolctl_binary, wait_until};

use super::{POOLS, configure, end, serve, serve_with};
use crate::peer::skipped;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is our own");
}

#[test]
fn the_socket_is_for_its_user_alone() {
    let sandbox = Sandbox::new();
    let service = serve(&sandbox, POOLS);

    let directory = sandbox.run_directory().join("poolctl");

    assert_eq!((mode(&directory), mode(&directory.join("poold.sock"))), (0o700, 0o600));
    assert_eq!(mode(&directory.join("poold.sock.lock")), 0o600);
    end(service);
}

#[test]
fn a_second_one_on_the_same_socket_says_who_runs_and_changes_nothing() {
    let sandbox = Sandbox::new();
    let service = serve(&sandbox, POOLS);

    let second = sandbox.poold(["--config", "poold.toml"]).run();

    let pid = format!("pid {}", service.pid());
    second.expect_code(75).expect_words(&["another poold serves at", &pid, "poolctl status"]);
    sandbox.poolctl(["map", "--pool", "square", "5"]).run().expect_quiet().expect_stdout("25\n");
    end(service);
}

#[test]
fn of_two_started_at_the_same_instant_exactly_one_serves() {
    let sandbox = Sandbox::new();
    configure(&sandbox, "");
    sandbox.fifo("go");
    for round in 0..100 {
        // Both wait until the fifo is opened, which lets both go on.
        let racer = || sandbox.poold(["--config", "poold.toml"]).after_shell("read x < go").start();
        let racers = [racer(), racer()];
        wait_until(DEADLINE, "both wait", || racers.iter().all(waits_for_fifo));
        wait_until(DEADLINE, "one has ended", || {
            // Again, for one that only came to the fifo just now.
            let _ = sandbox.try_release("go");
            racers.iter().any(|racer| !racer.is_running())
        });
        let [first, second] = racers;
        let (loser, winner) = if first.is_running() { (second, first) } else { (first, second) };
        loser.wait().expect_code(75).expect_words(&["another poold serves at"]);
        winner.wait_stderr(" serves ");
        assert!(winner.is_running(), "round {round}");
        end(winner);
    }
}

/// Whether its shell waits, which it does for the fifo alone.
fn waits_for_fifo(racer: &Running) -> bool {
    let command = fs::read_to_string(format!("/proc/{}/comm", racer.pid())).unwrap_or_default();
    let state = poolctl_testkit::Process::look(racer.pid()).map(|process| process.state);
    command.trim() == "sh" && state == Some('S')
}

#[test]
fn a_stale_socket_is_replaced() {
    let sandbox = Sandbox::new();
    let first = serve(&sandbox, POOLS);
    first.kill();
    let socket = sandbox.run_directory().join("poolctl/poold.sock");
    assert!(socket.exists(), "who is killed leaves its socket");

    let second = serve_with(&sandbox, &[]);

    sandbox.poolctl(["map", "--pool", "square", "5"]).run().expect_quiet().expect_stdout("25\n");
    end(second);
    assert!(!socket.exists());
}

#[test]
fn a_live_socket_and_what_is_no_socket_are_left_alone() {
    let sandbox = Sandbox::new();
    configure(&sandbox, POOLS);
    let (live, file) = (sandbox.path("live"), sandbox.write("file", "precious"));
    let listener = UnixListener::bind(&live).expect("a path in our own directory");

    let at_live = sandbox.poold(["--config", "poold.toml", "--socket", "live"]).run();
    let at_file = sandbox.poold(["--config", "poold.toml", "--socket", "file"]).run();

    let pid = format!("pid {}", std::process::id());
    at_live.expect_code(75).expect_words(&["who is no poold listens at", &pid]);
    at_file.expect_code(78).expect_words(&["is no socket", "mv "]);
    assert!(listener.accept().is_ok(), "it asked whether somebody listens");
    assert_eq!(fs::read(file).expect("it is there"), b"precious");
}

#[test]
fn a_path_that_is_too_long_is_told_before_anything_is_made() {
    let sandbox = Sandbox::new();
    configure(&sandbox, POOLS);
    let path = format!("/tmp/{}", "x".repeat(103));

    let refused = sandbox.poold(["--config", "poold.toml", "--socket", &path]).run();

    refused.expect_code(78).expect_words(&["has 108 bytes, and the most is 107", "--socket PATH"]);
    assert!(!Path::new(&format!("{path}.lock")).exists());
}

#[test]
fn an_unsafe_runtime_directory_is_refused_with_the_command_that_mends_it() {
    let sandbox = Sandbox::new();
    let (shared, link, none) = (sandbox.path("shared"), sandbox.path("link"), sandbox.path("none"));
    fs::create_dir(&shared).expect("a directory of our own");
    set_mode(&shared, 0o770);
    symlink(sandbox.run_directory(), &link).expect("a link of our own");
    let refused = |place: Option<&Path>, words: &[&str]| {
        let start = |invocation: poolctl_testkit::Invocation| match place {
            Some(place) => invocation.env("XDG_RUNTIME_DIR", place),
            None => invocation.env_without("XDG_RUNTIME_DIR"),
        };
        for invocation in [sandbox.poold([""; 0]), sandbox.poolctl(["status"]), sandbox.poolctl(["start"])] {
            start(invocation).run().expect_code(78).expect_words(words);
        }
    };

    refused(Some(&shared), &["others may use", "(mode 770)", "chmod 700"]);
    refused(Some(&link), &["is a symbolic link", "export XDG_RUNTIME_DIR="]);
    refused(Some(&none), &["failed to open the directory", "mkdir -m 700"]);
    refused(None, &["XDG_RUNTIME_DIR is not set", "export XDG_RUNTIME_DIR="]);
    refused(Some(Path::new("run")), &["no absolute path", "export XDG_RUNTIME_DIR="]);
    set_mode(&shared, 0o700);
    fs::create_dir(shared.join("poolctl")).expect("a directory of our own");
    set_mode(&shared.join("poolctl"), 0o755);
    refused(Some(&shared), &["others may use", "(mode 755)", "chmod 700"]);
}

#[test]
fn a_runtime_directory_of_somebody_else_is_refused() {
    if !Uid::effective().is_root() {
        skipped("only root can give a directory away");
        return;
    }
    let sandbox = Sandbox::new();
    let foreign = sandbox.path("foreign");
    fs::create_dir(&foreign).expect("a directory of our own");
    set_mode(&foreign, 0o700);
    chown(&foreign, Some(OTHER), None).expect("root may");

    let refused = sandbox.poold([""; 0]).env("XDG_RUNTIME_DIR", &foreign).run();

    refused.expect_code(78).expect_words(&["belongs to user 65534", "export XDG_RUNTIME_DIR="]);
}

/// A user that is not this one.
const OTHER: u32 = 65534;

/// What `poolctl status` of another user says; none where that cannot be tried.
fn status_as_other(sandbox: &Sandbox, socket: &Path) -> Option<Finished> {
    let other = |arguments: &[&str]| {
        let user = OTHER.to_string();
        let invocation = sandbox.peer("setpriv").args(["--reuid", &user, "--clear-groups"]);
        invocation.arg(poolctl_binary()).args(arguments).run()
    };
    if !Uid::effective().is_root() {
        skipped("only root can become another user");
        return None;
    }
    if other(&["--version"]).code() != Some(0) {
        skipped("another user cannot run the poolctl under test (or there is no setpriv)");
        return None;
    }
    Some(other(&["status", "--socket", &socket.to_string_lossy()]))
}

/// A directory that everybody may enter.
fn open_to_all(sandbox: &Sandbox) {
    for directory in sandbox.work().ancestors().take(2) {
        set_mode(directory, 0o755);
    }
}

#[test]
fn another_user_is_refused_by_the_kernel_and_if_let_through_by_the_service() {
    let sandbox = Sandbox::new();
    open_to_all(&sandbox);
    configure(&sandbox, POOLS);
    let service = serve_with(&sandbox, &["--socket", "s"]);
    let socket = sandbox.path("s");

    let Some(by_mode) = status_as_other(&sandbox, &socket) else { return end(service) };
    set_mode(&socket, 0o666);
    let by_service = status_as_other(&sandbox, &socket).expect("it was tried before");

    by_mode.expect_code(69).expect_words(&["failed to connect", "Permission denied"]);
    by_service.expect_code(2).expect_words(&["user 65534 is not permitted"]);
    end(service);
}

#[test]
fn a_user_on_the_list_is_let_in() {
    let sandbox = Sandbox::new();
    open_to_all(&sandbox);
    configure(&sandbox, &format!("[service]\nallow_users = [{OTHER}]\n{POOLS}"));
    let service = serve_with(&sandbox, &["--socket", "s"]);

    if let Some(status) = status_as_other(&sandbox, &sandbox.path("s")) {
        assert!(status.expect_quiet().text().contains("sqrt"));
    }
    end(service);
}
