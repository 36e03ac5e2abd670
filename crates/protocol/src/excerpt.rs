//! The beginning of something a worker wrote, made safe to print in an error message.

use std::fmt;

/// The first [`Excerpt::MAX_BYTES`] bytes of some bytes, escaped: printable ASCII and whole UTF-8 letters stand for
/// themselves, everything else is written as `\n`, `\t`, `\\` or `\x1b`.
///
/// Its `Display` is one line without control characters, so that a hostile reply cannot steer a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    text: Box<str>,
    left_out: usize,
}

impl Excerpt {
    /// How many bytes are shown at most.
    pub const MAX_BYTES: usize = 200;

    /// Takes the beginning of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let shown = &bytes[..shown_len(bytes)];
        let mut text = String::with_capacity(shown.len());
        for chunk in shown.utf8_chunks() {
            chunk.valid().chars().for_each(|letter| push_letter(&mut text, letter));
            chunk.invalid().iter().for_each(|&byte| push_byte(&mut text, byte));
        }
        Self { text: text.into_boxed_str(), left_out: bytes.len() - shown.len() }
    }

    /// The escaped text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.text)?;
        if self.left_out > 0 {
            write!(f, " and {} bytes more", self.left_out)?;
        }
        Ok(())
    }
}

/// At most [`Excerpt::MAX_BYTES`], and not in the middle of a UTF-8 letter.
fn shown_len(bytes: &[u8]) -> usize {
    if bytes.len() <= Excerpt::MAX_BYTES {
        return bytes.len();
    }
    let is_continuation = |at: &usize| bytes[*at] & 0xC0 == 0x80;
    let boundary = (Excerpt::MAX_BYTES - 3..=Excerpt::MAX_BYTES).rev().find(|at| !is_continuation(at));
    boundary.unwrap_or(Excerpt::MAX_BYTES)
}

fn push_letter(text: &mut String, letter: char) {
    match letter {
        '\\' => text.push_str("\\\\"),
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        ' '..='~' => text.push(letter),
        // `escape_debug` knows which letters are printable and in particular escapes those that reorder text.
        _ if letter.is_ascii() => push_byte(text, letter as u8),
        _ => text.extend(letter.escape_debug()),
    }
}

fn push_byte(text: &mut String, byte: u8) {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    text.push_str("\\x");
    text.push(DIGITS[usize::from(byte >> 4)]);
    text.push(DIGITS[usize::from(byte & 0xF)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_broken_utf8_are_escaped() {
        let bytes = b"a\x1b[31m\n\"\xff\xc3\xa9\\ \0";

        let shown = Excerpt::of(bytes).to_string();

        assert_eq!(shown, "`a\\x1b[31m\\n\"\\xffé\\\\ \\x00`");
    }

    #[test]
    fn a_long_text_is_cut_at_a_letter_and_the_rest_is_counted() {
        let text = "é".repeat(300);

        let excerpt = Excerpt::of(&text.as_bytes()[1..]);

        assert_eq!(excerpt.as_str(), format!("\\xa9{}", "é".repeat(99)));
        assert_eq!(excerpt.left_out, 599 - 199);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_give_one_line_without_control_characters(bytes: Vec<u8>) {
            let shown = Excerpt::of(&bytes).to_string();

            proptest::prop_assert!(!shown.chars().any(char::is_control));
        }
    }
}
