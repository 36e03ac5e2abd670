//! The folder that the benchmark works in: inputs, what each output must be, and the peers' programs.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A folder with everything the runners need; it goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: TempDir,
}

/// Counts of numbers whose squares are added up, and what they are called.
const SUMS: [(&str, u64); 6] = [
    ("3k", 3_000),
    ("4k", 4_000),
    ("50k", 50_000),
    ("1m", 1_000_000),
    ("2m", 2_000_000),
    ("10m", 10_000_000),
];

/// Why it could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScratchError {
    /// A file could not be written.
    #[error("failed to write {name}")]
    Write { name: String, source: io::Error },
    /// The C compiler could not be run.
    #[error("failed to run cc")]
    Compiler { source: io::Error },
    /// The C compiler did not accept a floor.
    #[error("cc failed on {program}.c")]
    Compile { program: &'static str },
}

impl Scratch {
    /// Makes the folder and fills it.
    pub(crate) fn new() -> Result<Self, ScratchError> {
        let failed = |source| ScratchError::Write { name: "the scratch folder".to_owned(), source };
        let scratch = Self { folder: tempfile::tempdir().map_err(failed)? };
        scratch.text("functions.py", include_str!("functions.py"))?;
        scratch.text("pools.py", include_str!("pools.py"))?;
        scratch.text("natives.py", include_str!("natives.py"))?;
        scratch.text("objects.py", include_str!("objects.py"))?;
        scratch.text("empty", "")?;
        for (name, count) in
            [("1", 1), ("100", 100), ("400", 400), ("4k", 4_000), ("5m", 5_000_000), ("10m", 10_000_000)]
        {
            scratch.numbers(name, count, |n| n)?;
        }
        for (name, count) in [("20k", 20_000), ("1m", 1_000_000), ("10m", 10_000_000)] {
            scratch.numbers(name, count, |n| n)?;
            scratch.numbers(&format!("{name}.squares"), count, |n| n * n)?;
        }
        for (name, count) in SUMS {
            scratch.text(&format!("{name}.sum"), &format!("{}\n", sum_of_squares(count)))?;
        }
        for (name, text) in [
            ("swapped", "swapped\n"),
            ("exact", "exact\n"),
            ("two-squares", "1 4\n"),
            ("500-workers", "500\n"),
        ] {
            scratch.text(name, text)?;
        }
        scratch.sh("seq 20000000 | cksum >20m.cksum")?;
        scratch.compile("floor", include_str!("floor.c"))?;
        scratch.compile("trips", include_str!("trips.c"))?;
        Ok(scratch)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The path of a file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str, text: &str) -> Result<(), ScratchError> {
        fs::write(self.file(name), text)
            .map_err(|source| ScratchError::Write { name: name.to_owned(), source })
    }

    /// One number a line: `of(1)` to `of(count)`.
    fn numbers(&self, name: &str, count: u64, of: impl Fn(u64) -> u64) -> Result<(), ScratchError> {
        let write = || {
            let mut file = BufWriter::new(File::create(self.file(name))?);
            (1..=count).try_for_each(|n| writeln!(file, "{}", of(n)))?;
            file.flush()
        };
        write().map_err(|source| ScratchError::Write { name: name.to_owned(), source })
    }

    fn sh(&self, line: &str) -> Result<(), ScratchError> {
        let failed = |source| ScratchError::Write { name: line.to_owned(), source };
        let status =
            Command::new("sh").args(["-c", line]).current_dir(self.path()).status().map_err(failed)?;
        if status.success() { Ok(()) } else { Err(failed(io::ErrorKind::Other.into())) }
    }

    fn compile(&self, program: &'static str, source: &str) -> Result<(), ScratchError> {
        let file = format!("{program}.c");
        self.text(&file, source)?;
        let mut command = Command::new("cc");
        command.args(["-O2", "-Wall", "-Wextra", "-Werror", "-o", program, &file]);
        let status = command.current_dir(self.path()).status();
        let status = status.map_err(|source| ScratchError::Compiler { source })?;
        if status.success() { Ok(()) } else { Err(ScratchError::Compile { program }) }
    }
}

/// The sum of the squares of the numbers from 0 on, which wraps at 2^64.
fn sum_of_squares(count: u64) -> u64 {
    (0..count).fold(0, |sum: u64, n| sum.wrapping_add(n.wrapping_mul(n)))
}

/// Whether the two files hold the same bytes.
pub(crate) fn same_content(a: &Path, b: &Path) -> io::Result<bool> {
    if fs::metadata(a)?.len() != fs::metadata(b)?.len() {
        return Ok(false);
    }
    let (mut a, mut b) = (File::open(a)?, File::open(b)?);
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let count = a.read(&mut left)?;
        if count == 0 {
            return Ok(true);
        }
        b.read_exact(&mut right[..count])?;
        if left[..count] != right[..count] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_differ_by_one_byte_or_by_length() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("written");
            path
        };
        let one = file("one", "abc\n");

        assert!(same_content(&one, &file("same", "abc\n")).expect("read"));
        assert!(!same_content(&one, &file("other", "abd\n")).expect("read"));
        assert!(!same_content(&one, &file("longer", "abc\n\n")).expect("read"));
    }
}
