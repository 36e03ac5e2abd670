//! What the processes and threads of the tests run.

use std::fs;
use std::path::Path;
use std::process::Command;

use ipc_channel::IpcError;
use poolctl::ipc::{Address, IpcSender};
use poolctl::{Connection, PipeError, Process, Receiver, Sender, current_process};
use poolctl_worker::{StateError, current, set_state, with_state};
use serde::{Deserialize, Serialize};

#[poolctl::task]
pub(crate) fn nothing() {}

#[poolctl::task]
pub(crate) fn square(x: i64) -> i64 {
    x * x
}

#[poolctl::task]
pub(crate) fn product(x: i64, y: i64) -> i64 {
    x * y
}

/// An error for odd numbers, the half of others.
#[poolctl::task]
pub(crate) fn half(x: i64) -> Result<i64, String> {
    if x % 2 == 0 { Ok(x / 2) } else { Err(format!("{x} is odd")) }
}

#[poolctl::task]
pub(crate) fn panics(message: String) {
    panic!("{message}");
}

#[poolctl::task]
pub(crate) fn fails(message: String) -> Result<(), String> {
    Err(message)
}

#[poolctl::task]
pub(crate) fn exits(code: i32) {
    leave(code);
}

#[expect(clippy::exit, clippy::disallowed_methods, reason = "that is what it is for")]
fn leave(code: i32) {
    std::process::exit(code);
}

#[poolctl::task]
pub(crate) fn write(path: String, text: String) {
    put(&path, &text);
}

#[poolctl::task]
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "that is what it is for")]
pub(crate) fn print(text: String) {
    println!("out {text}");
    eprintln!("err {text}");
}

/// Leaves its name and pid in a file.
#[poolctl::task]
pub(crate) fn tell_who(path: String) {
    put(&path, &format!("{} {}", current_process().name(), std::process::id()));
}

#[poolctl::task]
pub(crate) fn name_of_process() -> String {
    current_process().name().to_owned()
}

/// Begins to count the calls of [`call`] in this worker.
#[poolctl::task]
pub(crate) fn begin_counting(from: u32) {
    set_state(Counter(from));
}

/// Counts one call.
#[poolctl::task]
pub(crate) fn call() -> Result<u32, StateError> {
    with_state(|counter: &mut Counter| {
        counter.0 += 1;
        counter.0
    })
}

/// How many calls of [`call`] a worker had.
#[poolctl::task]
pub(crate) fn calls() -> Result<u32, StateError> {
    with_state(|counter: &mut Counter| counter.0)
}

struct Counter(u32);

/// Which item this is, and in which slot it runs.
#[poolctl::task]
pub(crate) fn whereabouts(_item: u32) -> Option<(u64, u32)> {
    current().map(|current| (current.item.0, current.slot.0))
}

/// Leaves a variable in a file.
#[poolctl::task]
pub(crate) fn tell_variable(path: String, name: String) {
    put(&path, &std::env::var(name).unwrap_or_else(|_| "unset".to_owned()));
}

/// Leaves the number of bytes, and their sum, in a file.
#[poolctl::task]
pub(crate) fn sum_up(path: String, text: String, numbers: Vec<u64>) {
    put(&path, &format!("{} {} {}", text.len(), numbers.len(), numbers.iter().sum::<u64>()));
}

/// Leaves its pid beside a fifo, and goes on when that is opened.
#[poolctl::task]
pub(crate) fn hold(fifo: String) {
    wait_at(&fifo);
}

/// Leaves a file when it is through, behind a [`hold`].
#[poolctl::task]
pub(crate) fn hold_and_write(fifo: String, path: String) {
    wait_at(&fifo);
    put(&path, "done");
}

/// Starts a child that sleeps, in its own group and in another, and then holds.
#[poolctl::task]
pub(crate) fn hold_with_children(fifo: String) {
    let mut sleeper = Command::new("sh");
    sleeper.args(["-c", "sleep 1000 & setsid sleep 1000 & wait"]);
    #[expect(clippy::disallowed_methods, reason = "a child as any program would start it")]
    let child = sleeper.spawn();
    drop(child);
    wait_at(&fifo);
}

/// Starts a process of its own, which tells who it is.
#[poolctl::task]
pub(crate) fn nest(path: String) -> Result<(), String> {
    let process = Process::new(tell_who, path);
    process.start().map_err(|error| error.to_string())?;
    let exit = process.join().map_err(|error| error.to_string())?;
    if exit.is_success() { Ok(()) } else { Err(exit.to_string()) }
}

fn wait_at(fifo: &str) {
    put(&format!("{fifo}.pid"), &std::process::id().to_string());
    drop(fs::File::open(fifo));
}

/// Answers each number with its square, as text, until the other end is gone.
#[poolctl::task]
pub(crate) fn answer_squares(line: Connection<String, i64>) -> Result<(), PipeError> {
    line.iter().try_for_each(|number| number.and_then(|number| line.send((number * number).to_string())))
}

/// Gives each text back.
#[poolctl::task]
pub(crate) fn echo(line: Connection<Vec<u8>, Vec<u8>>) -> Result<(), PipeError> {
    line.iter().try_for_each(|bytes| line.send(bytes?))
}

/// Sends the numbers below `end`, and ends.
#[poolctl::task]
pub(crate) fn count(to: Sender<u64>, end: u64) -> Result<(), PipeError> {
    (0..end).try_for_each(|number| to.send(number))
}

/// Sends each its number.
#[poolctl::task]
pub(crate) fn send_each(to: Vec<Sender<u32>>) -> Result<(), PipeError> {
    (0..).zip(to).try_for_each(|(number, to)| to.send(number))
}

/// Sends buffers of one number each, for ever.
#[poolctl::task]
pub(crate) fn flood(to: Sender<Vec<u64>>, length: usize) -> Result<(), PipeError> {
    (0_u64..).try_for_each(|number| to.send(vec![number; length]))
}

/// Receives a sender, and sends its pid over that.
#[poolctl::task]
pub(crate) fn introduce(from: Receiver<Sender<u32>>) -> Result<(), PipeError> {
    from.recv()?.send(std::process::id())
}

/// Connects, sends a sender for the way back and gives each text back in capitals.
#[poolctl::task]
pub(crate) fn shout(to: Address) -> Result<(), IpcError> {
    let (sender, receiver) = ipc_channel::ipc::channel::<String>()?;
    let line = to.connect::<Hello>()?;
    line.send(Hello::Sender(sender))?;
    while let Ok(text) = receiver.recv() {
        line.send(Hello::Text(text.to_uppercase()))?;
    }
    Ok(())
}

/// What [`shout`] says.
#[derive(Serialize, Deserialize)]
pub(crate) enum Hello {
    Sender(IpcSender<String>),
    Text(String),
}

/// Connects and says nothing, or a number, before it holds.
#[poolctl::task]
pub(crate) fn mutter(to: Address, words: Option<u8>, fifo: String) -> Result<(), IpcError> {
    let line = to.connect::<u8>()?;
    words.map_or(Ok(()), |words| line.send(words))?;
    wait_at(&fifo);
    Ok(())
}

/// Leaves a file with these contents, at once.
pub(crate) fn put(path: &str, text: &str) {
    let new = format!("{path}.new");
    fs::write(&new, text).expect("a test's own directory");
    fs::rename(&new, Path::new(path)).expect("a test's own directory");
}
