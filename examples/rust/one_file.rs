//! Five processes that write lines to one file, each its own lines in one piece.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::HashSet;
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Write};

use poolctl::{Lock, Process};

/// Writes a page of three lines, word by word, while it has the lock.
#[poolctl::task]
fn write_pages(lock: Lock, path: String, count: usize) -> io::Result<()> {
    let mut file = File::options().append(true).open(path)?;
    for page in 1..=count {
        let _guard = lock.acquire().map_err(io::Error::other)?;
        for line in 1..=3 {
            write!(file, "process {}, ", std::process::id())?;
            writeln!(file, "page {page}, line {line}")?;
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    poolctl::init();
    let folder = std::env::temp_dir().join(format!("poolctl-example-{}", std::process::id()));
    fs::create_dir(&folder)?;
    let path = folder.join("pages");
    File::create(&path)?;

    let lock = Lock::new()?;
    let name = path.to_string_lossy().into_owned();
    let writers: Vec<_> =
        (0..5).map(|_| Process::new(write_pages, (lock.clone(), name.clone(), 20))).collect();
    for writer in &writers {
        writer.start()?;
    }
    for writer in &writers {
        writer.join()?;
    }

    let text = fs::read_to_string(&path)?;
    fs::remove_dir_all(&folder)?;
    let lines: Vec<&str> = text.lines().collect();
    let is_whole = |page: &[&str]| {
        let heads: HashSet<_> =
            page.iter().filter_map(|line| line.rsplit_once(',')).map(|(head, _)| head).collect();
        heads.len() == 1 && page.len() == 3
    };
    println!("{} lines", lines.len());
    println!("every page is in one piece: {}", lines.chunks(3).all(is_whole));
    Ok(())
}
