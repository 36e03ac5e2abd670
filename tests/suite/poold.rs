//! The service: `poold` and the commands that talk to it.

mod activation;
mod commands;
mod configuration;
mod ends;
mod pools;
mod reloads;
mod sockets;

use std::path::PathBuf;

use nix::sys::signal::Signal;
use poolctl_testkit::{Running, Sandbox};
use serde_json::Value;

/// Pools of each kind. An item of `gate` waits until its own fifo is released, see [`gates`].
const POOLS: &str = r#"
[pools.sqrt]
target = { kind = "python", module = "math", function = "sqrt" }
workers = 2

[pools.square]
target = { kind = "native", function = "square" }
workers = 1

[pools.lines]
target = { kind = "lines", argv = ["sed", "-u", "s/a/b/"] }
workers = 1

[pools.command]
target = { kind = "command", argv = ["sh", "-c", "echo $1; echo no >&2; test $1 != 3", "sh", "{}"] }
workers = 2

[pools.gate]
target = { kind = "command", argv = ["sh", "-c", "cat gate-$1; echo through $1; test $1 != bad", "sh", "{}"] }
workers = 1
"#;

/// Writes a configuration.
fn configure(sandbox: &Sandbox, text: &str) -> PathBuf {
    sandbox.write("poold.toml", text)
}

/// Makes the fifos `gate-ITEM` that these items of the pool `gate` wait for.
fn gates(sandbox: &Sandbox, items: &[&str]) {
    for item in items {
        sandbox.fifo(&format!("gate-{item}"));
    }
}

/// Lets these items of the pool `gate` go on, one after another.
#[track_caller]
fn release(sandbox: &Sandbox, items: &[&str]) {
    for item in items {
        sandbox.release(&format!("gate-{item}"));
    }
}

/// A service in the foreground that serves these pools.
#[track_caller]
fn serve(sandbox: &Sandbox, text: &str) -> Running {
    configure(sandbox, text);
    serve_with(sandbox, &[])
}

/// A service in the foreground with the configuration that was written, and further arguments.
#[track_caller]
fn serve_with(sandbox: &Sandbox, arguments: &[&str]) -> Running {
    let service = sandbox.poold(["--config", "poold.toml"]).args(arguments).start();
    service.wait_stderr(" serves ");
    service
}

/// Asks a service to end, and waits until it has.
#[track_caller]
fn end(service: Running) {
    service.signal(Signal::SIGTERM);
    service.wait().expect_code(0);
}

/// What `status --json` says.
#[track_caller]
fn status(sandbox: &Sandbox) -> Value {
    let finished = sandbox.poolctl(["status", "--json"]).run().expect_quiet();
    serde_json::from_slice(&finished.stdout).expect("status --json prints JSON")
}

/// A figure of a pool.
#[track_caller]
fn figure(sandbox: &Sandbox, pool: &str, figure: &str) -> u64 {
    let status = status(sandbox);
    let pools = status["pools"].as_array().expect("a list of pools");
    let found = pools.iter().find(|found| found["name"] == pool);
    found.and_then(|found| found[figure].as_u64()).unwrap_or(0)
}
