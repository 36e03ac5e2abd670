//! What may happen in the middle of an item.

use std::io::{self, Write};
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal, raise};

/// Lets it happen: `kill`, `segv`, `term`, `stop`, `abort`, `panic`, `overflow`, `exit:N`, `hang`, `spin`, `deaf`
/// (`hang` with every signal blocked), `wait:MS`, `fail`, `grandchild`, `double-fork`, `flood:MIB`.
pub(crate) fn happen(how: &str) -> Result<(), String> {
    let (name, value) = how.split_once(':').unwrap_or((how, "0"));
    let number: u64 = value.parse().map_err(|_| format!("{how}: no number"))?;
    match name {
        "kill" => send(Signal::SIGKILL),
        "term" => send(Signal::SIGTERM),
        "stop" => send(Signal::SIGSTOP),
        "segv" => {
            // The first goes to the handler of the runtime, which looks for a stack overflow, sees none, and gives up
            // its place.
            send(Signal::SIGSEGV);
            send(Signal::SIGSEGV);
        }
        "abort" => std::process::abort(),
        "panic" => panic!("the function was told to panic"),
        "overflow" => drop(use_up_stack(1)),
        "exit" => leave(i32::try_from(number).expect("an exit code")),
        "hang" => hang(),
        "spin" => loop {
            std::hint::spin_loop();
        },
        "deaf" => {
            SigSet::all().thread_block().expect("signals can be blocked");
            hang();
        }
        "wait" => wait(Duration::from_millis(number)),
        "fail" => return Err("the function was told to fail".to_owned()),
        "grandchild" => start("sleep 1000"),
        "double-fork" => start("setsid sleep 1000 > /dev/null 2>&1 & exit 0"),
        "flood" => flood(number).map_err(|error| error.to_string())?,
        _ => return Err(format!("{how} is unknown")),
    }
    Ok(())
}

fn send(signal: Signal) {
    raise(signal).expect("a process may signal itself");
}

#[expect(clippy::disallowed_methods, clippy::exit, reason = "so does a function that should not")]
fn leave(code: i32) {
    std::process::exit(code);
}

/// Blocks for ever.
fn hang() {
    let (sender, receiver) = channel::<()>();
    // The sender is kept, so nothing ever comes and this never returns.
    receiver.recv().ok();
    drop(sender);
}

fn wait(span: Duration) {
    let (sender, receiver) = channel::<()>();
    receiver.recv_timeout(span).ok();
    drop(sender);
}

/// Recurses until the guard page; the kernel ends it.
fn use_up_stack(depth: u64) -> u8 {
    let page = std::hint::black_box([depth; 512]);
    if depth == u64::MAX { 0 } else { use_up_stack(depth + 1).wrapping_add(page[0].to_le_bytes()[0]) }
}

/// Starts a shell that inherits all it can, leaves it alone, and is killed.
fn start(script: &str) {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    #[expect(clippy::disallowed_methods, reason = "a function leaves children as it likes")]
    let child = command.spawn();
    drop(child.expect("there is a shell"));
    send(Signal::SIGKILL);
}

fn flood(mebibytes: u64) -> io::Result<()> {
    let chunk = format!("{}\n", "x".repeat(1023)).repeat(1024);
    for _ in 0..mebibytes {
        io::stdout().write_all(chunk.as_bytes())?;
        io::stderr().write_all(chunk.as_bytes())?;
    }
    io::stderr().write_all(b"the tail of the flood\n")?;
    io::stdout().flush()
}
