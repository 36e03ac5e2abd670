//! JSON values as text: checked, never decoded, so that numbers of any size pass unchanged.

use std::str::Utf8Error;

use serde::de::IgnoredAny;

use crate::excerpt::Excerpt;

/// Why bytes are not one line of JSON.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// Bytes that are no UTF-8.
    #[error("value is not valid UTF-8: {shown}")]
    InvalidUtf8 {
        /// Its beginning.
        shown: Excerpt,
        /// Where.
        source: Utf8Error,
    },
    /// Text that is no JSON value (`NaN` is none).
    #[error("value is not valid JSON: {shown}")]
    InvalidJson {
        /// Its beginning.
        shown: Excerpt,
        /// What and where.
        source: serde_json::Error,
    },
    /// JSON over several lines, which would be several results to who reads them.
    #[error("value is not on one line: {shown}")]
    ManyLines {
        /// Its beginning.
        shown: Excerpt,
    },
}

/// Checks that `bytes` is exactly one JSON value on one line, at any depth of nesting.
///
/// # Errors
/// [`ValueError`]; the first 200 bytes are in it.
pub fn check_value(bytes: &[u8]) -> Result<&str, ValueError> {
    let text = str::from_utf8(bytes)
        .map_err(|source| ValueError::InvalidUtf8 { shown: Excerpt::of(bytes), source })?;
    if is_short_integer(bytes) {
        return Ok(text);
    }
    if memchr::memchr2(b'\n', b'\r', bytes).is_some() {
        return Err(ValueError::ManyLines { shown: Excerpt::of(bytes) });
    }
    // `IgnoredAny` is skipped by a loop, not by recursion: depth costs heap, not stack.
    serde_json::from_str::<IgnoredAny>(text)
        .map_err(|source| ValueError::InvalidJson { shown: Excerpt::of(bytes), source })?;
    Ok(text)
}

/// The commonest results of all, without the machinery. No sign, so that `-` alone needs no thought.
fn is_short_integer(bytes: &[u8]) -> bool {
    let is_canonical = bytes.len() == 1 || bytes.first() != Some(&b'0');
    matches!(bytes.len(), 1..=20) && is_canonical && bytes.iter().all(u8::is_ascii_digit)
}

/// Appends `text` to `out` as a JSON string.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a Vec takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_kind_pass_as_they_are() {
        let values =
            ["0", "10", "18446744073709551616", "-1", "1e400", "null", "\"\\ud800\"", "{\"a\":1,\"a\":2}"];

        for value in values {
            assert_eq!(check_value(value.as_bytes()).expect("valid"), value);
        }
    }

    #[test]
    fn what_is_no_single_line_of_json_is_refused() {
        let refused: [&[u8]; 11] = [
            b"",
            b"NaN",
            b"Infinity",
            b"-",
            b"01",
            b"1 2",
            b"[1,\n2]",
            b"\"\xff\"",
            b"\"\0\"",
            b"\"\xed\xa0\x80\"",
            b"'a'",
        ];

        for bytes in refused {
            check_value(bytes).expect_err(&Excerpt::of(bytes).to_string());
        }
    }

    #[test]
    fn nesting_of_a_hundred_thousand_does_not_overflow_the_stack() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));

        assert!(check_value(deep.as_bytes()).is_ok());
        assert!(check_value(&deep.as_bytes()[1..]).is_err());
    }
}
