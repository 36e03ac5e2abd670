//! What the service and systemd say to each other, with a test in the place of systemd.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::time::Duration;

use nix::sys::signal::Signal;
use poolctl_testkit::{DEADLINE, Invocation, Running, Sandbox};

use super::{POOLS, configure, end};

/// Passes what is on stdin on as the first socket of a unit.
const PASS: &str = "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=poold";

fn activated(sandbox: &Sandbox, passed: File) -> Invocation {
    configure(sandbox, POOLS);
    sandbox.poold(["--config", "poold.toml"]).after_shell(PASS).input_file(passed)
}

fn notifications(sandbox: &Sandbox) -> UnixDatagram {
    let listener = UnixDatagram::bind(sandbox.path("notify")).expect("a path in our own directory");
    listener.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    listener
}

/// The next notification.
#[track_caller]
fn told(listener: &UnixDatagram, service: &Running) -> String {
    let mut text = [0; 4096];
    match listener.recv(&mut text) {
        Ok(length) => String::from_utf8_lossy(&text[..length]).into_owned(),
        Err(error) => panic!("no notification: {error}; the service runs: {}", service.is_running()),
    }
}

#[test]
fn a_socket_that_was_passed_is_served_and_left_to_its_owner() {
    let sandbox = Sandbox::new();
    let path = sandbox.path("s");
    let listener = UnixListener::bind(&path).expect("a path in our own directory");
    // As behind a socket unit: who connects first waits until the service is up.
    let passed = File::from(OwnedFd::from(listener.try_clone().expect("a descriptor is left")));
    let early = sandbox.poolctl(["map", "--pool", "square", "--socket", "s", "7"]).start();

    let service = activated(&sandbox, passed).start();

    early.wait().expect_quiet().expect_stdout("49\n");
    let status = sandbox.poolctl(["status", "--json", "--socket", "s"]).run().expect_quiet();
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).expect("JSON");
    assert_eq!(status["pid"], service.pid(), "who serves, and not who made the socket");
    sandbox.poolctl(["stop", "--socket", "s"]).run().expect_quiet();
    service.wait().expect_code(0);
    assert!(path.exists(), "it is not the service's to remove");
    // The next one is started when the next client comes.
    let next = sandbox.poolctl(["map", "--pool", "square", "--socket", "s", "8"]).start();
    let again = activated(&sandbox, File::from(OwnedFd::from(listener))).start();
    next.wait().expect_quiet().expect_stdout("64\n");
    end(again);
}

#[test]
fn readiness_reload_and_end_are_told() {
    let sandbox = Sandbox::new();
    configure(&sandbox, POOLS);
    let listener = notifications(&sandbox);
    let service =
        sandbox.poold(["--config", "poold.toml"]).env("NOTIFY_SOCKET", sandbox.path("notify")).start();

    let ready = told(&listener, &service);
    assert!(ready.starts_with("READY=1\n") && ready.contains("STATUS=serves pools command"), "{ready}");
    // What it says is true: a client is served at once.
    sandbox.poolctl(["map", "--pool", "square", "5"]).run().expect_quiet().expect_stdout("25\n");
    service.signal(Signal::SIGHUP);
    let reloading = told(&listener, &service);
    let micros = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").map(str::parse::<u64>);
    assert!(matches!(micros, Some(Ok(micros)) if micros > 0), "{reloading}");
    assert!(told(&listener, &service).starts_with("READY=1\n"));
    service.signal(Signal::SIGTERM);
    assert_eq!(told(&listener, &service), "STOPPING=1");
    service.wait().expect_code(0);
    listener.set_read_timeout(Some(Duration::from_millis(1))).expect("a deadline");
}

#[test]
fn what_is_no_listening_socket_is_refused() {
    let sandbox = Sandbox::new();
    let refused = activated(&sandbox, File::open("/dev/null").expect("it is there")).run();
    let many =
        sandbox.poold(["--config", "poold.toml"]).after_shell("export LISTEN_PID=$$ LISTEN_FDS=-3").run();

    refused.expect_code(78).expect_words(&["descriptor 3 is no listening stream socket", "ListenStream="]);
    many.expect_code(78).expect_words(&["LISTEN_FDS is `-3`"]);
}

#[test]
fn sockets_for_another_process_are_not_taken() {
    let sandbox = Sandbox::new();
    configure(&sandbox, POOLS);
    let service =
        sandbox.poold(["--config", "poold.toml"]).env("LISTEN_PID", "1").env("LISTEN_FDS", "1").start();

    service.wait_stderr("poolctl/poold.sock");

    end(service);
}
