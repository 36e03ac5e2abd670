//! A native worker whose functions misbehave.
//!
//! `fault` gives back the number it is given, and does to one item what the variable `FAULT` says: `HOW ITEM`, with the
//! ways of `happen.rs`, and `HOW ITEM FILE` only where FILE is not there yet, which it then is.

#![forbid(unsafe_code)]

mod happen;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

fn main() {
    poolctl::init();
}

/// The number itself, unless `FAULT` has plans for it.
#[poolctl::task]
fn fault(x: i64) -> Result<i64, String> {
    let script = std::env::var("FAULT").unwrap_or_default();
    let mut words = script.split(' ');
    let (how, on, once) = (words.next().unwrap_or_default(), words.next(), words.next());
    let is_meant = on == Some(&*x.to_string());
    if is_meant && once.is_none_or(|file| File::create_new(file).is_ok()) {
        happen::happen(how)?;
    }
    Ok(x)
}

/// As `fault`, and leaves a letter in the file `ran` first.
#[poolctl::task]
fn counted(x: i64) -> Result<i64, String> {
    note(x).map_err(|error| error.to_string())?;
    fault(x)
}

/// The number itself. Leaves the worker's pid in the directory `finished` once it has finished an item.
#[poolctl::task]
fn marked(x: i64) -> io::Result<i64> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    if COUNT.fetch_add(1, Ordering::Relaxed) == 1 {
        File::create(format!("finished/{}", std::process::id()))?;
    }
    Ok(x)
}

/// The worker's pid.
#[poolctl::task]
fn pid(_x: i64) -> u32 {
    std::process::id()
}

/// Prints on both streams.
#[poolctl::task]
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "so do functions")]
fn print(x: i64) -> i64 {
    println!("printed {x}");
    eprintln!("to stderr {x}");
    x
}

/// A text of so many letters.
#[poolctl::task]
fn letters(count: usize) -> String {
    "y".repeat(count)
}

/// Takes so many MiB of memory and keeps them for good.
#[poolctl::task]
fn hoard(mebibytes: usize) -> u32 {
    std::mem::forget(vec![1_u8; mebibytes << 20]);
    std::process::id()
}

/// The number itself; the first item waits until somebody has opened and closed the fifo `gate`, and items 50000 and
/// 70000 leave a file.
#[poolctl::task]
fn gated(x: i64) -> io::Result<i64> {
    match x {
        1 => drop(fs::read("gate")?),
        50_000 => drop(File::create("far")?),
        70_000 => drop(File::create("too_far")?),
        _ => {}
    }
    Ok(x)
}

/// Leaves a letter in the file `ran`, and fails for good below 0.
#[poolctl::task]
fn note(x: i64) -> io::Result<i64> {
    OpenOptions::new().create(true).append(true).open("ran")?.write_all(b"x")?;
    if x < 0 { Err(io::Error::other("below zero")) } else { Ok(x) }
}

/// Takes nothing.
#[poolctl::task]
fn nothing() -> i64 {
    42
}

/// Takes three values, and gives them back in one text.
#[poolctl::task(name = "text.join")]
fn join(first: &str, second: i64, third: Option<bool>) -> String {
    format!("{first}-{second}-{third:?}")
}

/// A hundred thousand letters; as `gated`, and leaves a letter in the file `ran`.
#[poolctl::task]
fn heavy(x: i64) -> io::Result<String> {
    OpenOptions::new().create(true).append(true).open("ran")?.write_all(b"x")?;
    if x == 1 {
        fs::read("gate")?;
    }
    Ok("y".repeat(100_000))
}

/// The descriptors it has, and where stdin comes from.
#[poolctl::task]
fn held(_x: i64) -> io::Result<(Vec<u32>, String)> {
    let names = fs::read_dir("/proc/self/fd")?.map(|entry| entry.map(|entry| entry.file_name()));
    let names: Vec<_> = names.collect::<io::Result<_>>()?;
    let numbers = names.iter().filter_map(|name| name.to_str()?.parse().ok());
    // The directory that was read is among them, and gone by now.
    let mut numbers: Vec<u32> =
        numbers.filter(|fd| fs::read_link(format!("/proc/self/fd/{fd}")).is_ok()).collect();
    numbers.sort_unstable();
    Ok((numbers, fs::read_link("/proc/self/fd/0")?.display().to_string()))
}

/// What a shell finds that a function starts: its descriptors, and the variables that made this a worker.
#[poolctl::task]
fn heirs(_x: i64) -> io::Result<String> {
    let script = r"ls /proc/self/fd | tr '\n' ' '
        env | grep '^POOLCTL_' | grep -v '^POOLCTL_\(TEST\|PYTHON\|PROGRESS\|RUN_ID\)' || :";
    let output = std::process::Command::new("/bin/sh").args(["-c", script]).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
