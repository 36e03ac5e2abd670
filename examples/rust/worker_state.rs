//! What a worker keeps from task to task: its own state, set by the initializer; and why a thread-local of the program
//! that owns the pool is not seen there.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::cell::Cell;
use std::error::Error;

use poolctl::{Pool, StateError, ThreadPool, set_state, with_state};

thread_local! {
    static GREETING: Cell<&'static str> = const { Cell::new("(nobody has set it in this thread)") };
}

/// What each worker makes once and uses for all its tasks: a connection, a model, a table.
struct Dictionary {
    words: Vec<String>,
    lookups: u64,
}

/// Runs in each worker before its first task.
#[poolctl::task]
fn open(words: Vec<String>) {
    set_state(Dictionary { words, lookups: 0 });
}

#[poolctl::task]
fn look_up(index: usize) -> Result<String, StateError> {
    with_state(|dictionary: &mut Dictionary| {
        dictionary.lookups += 1;
        dictionary.words[index % dictionary.words.len()].clone()
    })
}

/// Runs in each worker at its end; the pool collects what it returns.
#[poolctl::task]
fn count_lookups() -> Result<u64, StateError> {
    with_state(|dictionary: &mut Dictionary| dictionary.lookups)
}

#[poolctl::task]
fn greeting() -> String {
    GREETING.get().to_owned()
}

fn main() -> Result<(), Box<dyn Error>> {
    poolctl::init();
    GREETING.set("hello from main");
    let words = ["alpha", "beta", "gamma"].map(str::to_owned).to_vec();

    let pool = Pool::builder()
        .workers(2)
        .initializer(open, words.clone())
        .exit_function(count_lookups, ())
        .build()?;
    println!("looked up:  {}", pool.map(look_up, 0..7)?.join(" "));
    println!("in main:    {}", GREETING.get());
    println!("in workers: {}", pool.apply(greeting, ())?);
    pool.join()?;
    let counts = pool.exit_results(count_lookups)?;
    let total = counts.into_iter().try_fold(0, |total, (_worker, count)| count.map(|count| total + count))?;
    println!("lookups:    {total}");

    let threads = ThreadPool::builder().workers(2).initializer(open, words).build()?;
    println!("threads:    {}", threads.map(look_up, 0..7)?.join(" "));
    println!("in threads: {}", threads.apply(greeting, ())?);
    Ok(())
}
