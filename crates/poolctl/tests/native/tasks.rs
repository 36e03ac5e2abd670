//! What the workers run.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::sync::atomic::Ordering::Relaxed;

use poolctl::{Array, SharedMemory};
use serde::{Deserialize, Serialize};

/// A value with values in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Tree {
    Leaf(u8),
    Branch { name: String, children: Vec<Tree>, note: Option<(char, f32)> },
}

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

#[poolctl::task]
pub(crate) fn join(left: String, right: &str) -> String {
    format!("{left}-{right}")
}

#[poolctl::task]
pub(crate) fn count_leaves(pair: (u32, Tree)) -> (u32, Tree) {
    fn leaves(tree: &Tree) -> u32 {
        match tree {
            Tree::Leaf(_) => 1,
            Tree::Branch { children, .. } => children.iter().map(leaves).sum(),
        }
    }
    (pair.0 + leaves(&pair.1), pair.1)
}

/// The half of even numbers.
#[poolctl::task]
pub(crate) fn half(x: i64) -> Result<i64, String> {
    if x % 2 == 0 { Ok(x / 2) } else { Err(format!("{x} is odd")) }
}

#[poolctl::task]
pub(crate) fn panic_at_seven(x: i64) -> i64 {
    assert_ne!(x, 7, "seven is right out");
    x
}

#[poolctl::task]
pub(crate) fn die_at(x: i64, deadly: i64) -> i64 {
    if x == deadly {
        std::process::abort();
    }
    x
}

/// Says which process it is, and goes on when the fifo is opened.
#[poolctl::task]
pub(crate) fn hold(path: String) -> io::Result<String> {
    if path.is_empty() {
        return Ok(path);
    }
    fs::write(format!("{path}.new"), std::process::id().to_string())?;
    fs::rename(format!("{path}.new"), format!("{path}.pid"))?;
    drop(OpenOptions::new().read(true).open(&path)?);
    Ok(path)
}

/// Fails where the file is not yet there, and makes it.
#[poolctl::task]
pub(crate) fn second_time(path: String) -> Result<String, String> {
    match File::create_new(&path) {
        Ok(_) => Err("the first time".to_owned()),
        Err(_) => Ok("done".to_owned()),
    }
}

#[poolctl::task]
pub(crate) fn reversed(mut numbers: Vec<f64>) -> Vec<f64> {
    numbers.reverse();
    numbers
}

/// As many numbers, from 0 on.
#[poolctl::task]
pub(crate) fn numbers_to(end: u32) -> Vec<f64> {
    (0..end).map(f64::from).collect()
}

#[poolctl::task]
pub(crate) fn repeated(text: &str, times: usize) -> String {
    text.repeat(times)
}

#[poolctl::task]
pub(crate) fn add_one_to_all(numbers: Array<i64>, first: usize, end: usize) -> i64 {
    for place in first..end {
        numbers.set(place, numbers.get(place).unwrap_or_default() + 1);
    }
    numbers.range(first..end).sum()
}

#[poolctl::task]
pub(crate) fn copy_front_to_back(memory: SharedMemory) -> io::Result<u8> {
    let middle = memory.len() / 2;
    let mut front = vec![0; middle];
    memory.read(0, &mut front)?;
    memory.write(middle, &front)?;
    Ok(memory.bytes()[middle].load(Relaxed))
}

/// What a worker keeps from task to task.
struct Counter {
    base: u64,
    calls: u64,
}

#[poolctl::task]
pub(crate) fn begin_at(base: u64) {
    poolctl::set_state(Counter { base, calls: 0 });
}

/// What a worker keeps of large arguments.
struct Tables {
    own: Vec<f64>,
    shared: Array<i64>,
}

#[poolctl::task]
pub(crate) fn keep_tables(own: Vec<f64>, shared: Array<i64>) {
    poolctl::set_state(Tables { own, shared });
}

#[poolctl::task]
pub(crate) fn look_up(place: usize) -> Result<(f64, i64), poolctl::StateError> {
    poolctl::with_state(|tables: &mut Tables| {
        (tables.own[place], tables.shared.get(place).unwrap_or_default())
    })
}

#[poolctl::task]
pub(crate) fn refuse(why: String) -> Result<(), String> {
    Err(why)
}

/// The base plus the calls in this worker so far.
#[poolctl::task]
pub(crate) fn count_call() -> Result<u64, poolctl::StateError> {
    poolctl::with_state(|counter: &mut Counter| {
        counter.calls += 1;
        counter.base + counter.calls
    })
}

#[poolctl::task]
pub(crate) fn say_count(prefix: String) -> Result<String, poolctl::StateError> {
    poolctl::with_state(|counter: &mut Counter| format!("{prefix}{}", counter.calls))
}

#[poolctl::task]
pub(crate) fn pid() -> u32 {
    std::process::id()
}

#[poolctl::task]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Takes this many milliseconds of a processor.
#[poolctl::task]
pub(crate) fn work(millis: u64) {
    let start = std::time::Instant::now();
    while start.elapsed().as_millis() < u128::from(millis) {
        std::hint::spin_loop();
    }
}

/// Two children of a session of their own, which outlive it if nobody ends them.
#[poolctl::task]
#[expect(clippy::disallowed_methods, reason = "that is what it is for")]
pub(crate) fn leave_a_grandchild() -> io::Result<()> {
    let script = "sleep 1000 & sleep 1000";
    std::process::Command::new("setsid").args(["sh", "-c", script]).spawn().map(drop)
}
