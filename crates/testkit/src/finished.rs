//! What a program that ended has left: status, output, errors; and the assertions tests make of them.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// How many bytes of an output a failure message shows.
const SHOWN: usize = 4_000;

/// A program that ended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The command line, for messages.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// All it wrote on stdout, where that was captured.
    pub stdout: Vec<u8>,
    /// All it wrote on stderr.
    pub stderr: Vec<u8>,
}

impl Finished {
    /// Its exit code, or none if a signal killed it.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The signal that killed it, if one did.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// Asserts that it ended with `code`.
    ///
    /// # Panics
    /// If it did not; the message has all it wrote.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code(), Some(code), "{self}");
        self
    }

    /// Asserts that it ended with 0 and wrote nothing on stderr.
    ///
    /// # Panics
    /// If it did not; the message has all it wrote.
    #[track_caller]
    pub fn expect_quiet(self) -> Self {
        assert!(self.code() == Some(0) && self.stderr.is_empty(), "expected success and silence:\n{self}");
        self
    }

    /// Asserts that stderr has each of `words`, in any order and any case.
    ///
    /// # Panics
    /// If one is missing; the message has all it wrote.
    #[track_caller]
    pub fn expect_words(self, words: &[&str]) -> Self {
        let text = self.errors().to_lowercase();
        for word in words {
            assert!(text.contains(&word.to_lowercase()), "stderr lacks {word:?}:\n{self}");
        }
        self
    }

    /// Asserts that stderr has none of `words`.
    ///
    /// # Panics
    /// If one is there; the message has all it wrote.
    #[track_caller]
    pub fn expect_no_words(self, words: &[&str]) -> Self {
        let text = self.errors().to_lowercase();
        for word in words {
            assert!(!text.contains(&word.to_lowercase()), "stderr has {word:?}:\n{self}");
        }
        self
    }

    /// Asserts that stdout is exactly `text`.
    ///
    /// # Panics
    /// If it is not; the message has both from the first difference on.
    #[track_caller]
    pub fn expect_stdout(self, text: impl AsRef<[u8]>) -> Self {
        let wanted = text.as_ref();
        if self.stdout != wanted {
            let same = self.stdout.iter().zip(wanted).take_while(|(a, b)| a == b).count();
            let from = same.saturating_sub(60);
            panic!(
                "stdout is not what was expected from byte {same} on (lengths {} and {})\nexpected: …{}\n     got: …{}\n{self}",
                wanted.len(),
                self.stdout.len(),
                shown(&wanted[from..(same + 200).min(wanted.len())]),
                shown(&self.stdout[from..(same + 200).min(self.stdout.len())]),
            );
        }
        self
    }

    /// Stdout as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Stderr as text.
    #[must_use]
    pub fn errors(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// The lines of stdout.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.text().lines().map(str::to_owned).collect()
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "command: {}", self.command)?;
        writeln!(f, "ended: {}", self.status)?;
        writeln!(f, "stdout ({} bytes):\n{}", self.stdout.len(), shown(&self.stdout))?;
        writeln!(f, "stderr ({} bytes):\n{}", self.stderr.len(), shown(&self.stderr))
    }
}

/// Head and tail of an output, as text.
pub(crate) fn shown(bytes: &[u8]) -> String {
    if bytes.len() <= 2 * SHOWN {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let (head, tail) = (&bytes[..SHOWN], &bytes[bytes.len() - SHOWN..]);
    format!("{}\n[…]\n{}", String::from_utf8_lossy(head), String::from_utf8_lossy(tail))
}
