//! Words of the program itself on stderr, for the person who started it.

use std::io::Write;

/// Writes `text` to stderr in one piece. There is nobody to tell if that fails.
pub(crate) fn say(text: &str) {
    drop(std::io::stderr().lock().write_all(text.as_bytes()));
}
