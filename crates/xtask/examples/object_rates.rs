//! How fast shared objects are: one measurement a run, for `cargo xtask bench`.
//!
//! usage: `object_rates WHAT N`. The figure goes to the file that `$figure` names, what proves the work to stdout.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "what it prints is compared")]

use std::error::Error;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs};

use poolctl::{Array, Event, LockError, Process, Queue, QueueError, Value};

type Done = Result<(), Box<dyn Error>>;

/// How many values an end of the work is told by.
const END: u64 = u64::MAX;
/// How often an array is attached.
const ATTACHES: u32 = 2000;

#[poolctl::task]
fn count_up(counter: Value<u64>, times: u64, go: Event) -> Result<(), LockError> {
    go.wait()?;
    for _ in 0..times {
        *counter.lock()? += 1;
    }
    Ok(())
}

#[poolctl::task]
fn produce(queue: Queue<u64>, from: u64, to: u64, go: Event) -> Result<(), QueueError> {
    go.wait()?;
    (from..to).try_for_each(|number| queue.put(&number))
}

#[poolctl::task]
fn consume(queue: Queue<u64>, sums: Queue<(u64, u64)>, go: Event) -> Result<(), QueueError> {
    go.wait()?;
    let (mut count, mut sum) = (0, 0_u64);
    loop {
        match queue.get()? {
            END => return sums.put(&(count, sum)),
            number => (count, sum) = (count + 1, sum.wrapping_add(number)),
        }
    }
}

fn main() -> Done {
    poolctl::init();
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["attached", name] = arguments[..] {
        return attached(name);
    }
    let [what, times] = arguments[..] else { return Err("usage: object_rates WHAT N".into()) };
    let times: u64 = times.parse()?;
    match what {
        "value" => value(times, 1),
        "value-two" => value(times, 2),
        "queue" => queue(times, 1),
        "queue-two" => queue(times, 2),
        "attach" => attach(usize::try_from(times)?),
        _ => Err("it measures no such thing".into()),
    }
}

/// Increments of a value under its lock, by so many processes at once: how many a second.
fn value(times: u64, processes: u64) -> Done {
    let (counter, go) = (Value::new(0_u64)?, Event::new()?);
    let all: Vec<_> = (0..processes)
        .map(|_| Process::new(count_up, (counter.clone(), times / processes, go.clone())))
        .collect();
    let time = run(&all, &go, || Ok(()))?;
    if counter.load() != times {
        return Err(format!("{} instead of {times}", counter.load()).into());
    }
    println!("exact");
    tell(times as f64 / time.as_secs_f64())
}

/// Numbers from so many processes to as many others: how many a second.
fn queue(times: u64, pairs: u64) -> Done {
    let (queue, sums, go) = (Queue::new()?, Queue::new()?, Event::new()?);
    let share = times / pairs;
    let producers: Vec<_> = (0..pairs)
        .map(|at| Process::new(produce, (queue.clone(), at * share, (at + 1) * share, go.clone())))
        .collect();
    let consumers: Vec<_> =
        (0..pairs).map(|_| Process::new(consume, (queue.clone(), sums.clone(), go.clone()))).collect();
    for consumer in &consumers {
        consumer.start()?;
    }
    let mut got = (0, 0);
    let time = run(&producers, &go, || {
        for _ in &consumers {
            queue.put(&END)?;
        }
        for _ in &consumers {
            let (count, sum) = sums.get()?;
            got = (got.0 + count, sum.wrapping_add(got.1));
        }
        Ok(())
    })?;
    let wanted = (times, (0..times).fold(0, u64::wrapping_add));
    if got != wanted {
        return Err(format!("{got:?} instead of {wanted:?}").into());
    }
    println!("exact");
    tell(times as f64 / time.as_secs_f64())
}

/// An array of so many numbers under a name, for this program again, as no worker of it.
fn attach(numbers: usize) -> Done {
    let array = Array::<f64>::new(numbers)?;
    array.set(numbers - 1, 0.5);
    let published = poolctl::publish(&format!("rates of {}", std::process::id()), &array)?;
    let ended = Command::new(env::current_exe()?).args(["attached", published.name()]).status()?;
    if ended.success() { Ok(()) } else { Err("the other program failed".into()) }
}

/// How often a second an array can be attached by name, its last number read, and left.
fn attached(name: &str) -> Done {
    let begun = Instant::now();
    for _ in 0..ATTACHES {
        let array = poolctl::attach::<Array<f64>>(name)?;
        if array.get(array.len() - 1) != Some(0.5) {
            return Err("another number".into());
        }
    }
    println!("exact");
    tell(f64::from(ATTACHES) / begun.elapsed().as_secs_f64())
}

/// From when all may begin until they have ended, and what follows is done.
fn run(all: &[Process], go: &Event, then: impl FnOnce() -> Done) -> Result<Duration, Box<dyn Error>> {
    for process in all {
        process.start()?;
    }
    let begun = Instant::now();
    go.set();
    for process in all {
        process.join()?;
    }
    then()?;
    Ok(begun.elapsed())
}

fn tell(figure: f64) -> Done {
    match env::var_os("figure") {
        Some(file) => Ok(fs::write(file, figure.to_string())?),
        None => {
            println!("{figure}");
            Ok(())
        }
    }
}
