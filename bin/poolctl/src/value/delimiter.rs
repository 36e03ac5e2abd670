//! What ends an item of the input: a character, an escape (`\t`, `\0`, `\x1e`), or a longer text.

use std::str::FromStr;

/// What ends an item; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delimiter(pub(crate) Vec<u8>);

/// A text that is no delimiter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoDelimiter {
    /// It is empty.
    #[error("the delimiter is empty; for NUL write -0 or '\\0'")]
    Empty,
    /// It holds an escape that means nothing.
    #[error("`{text}` holds an unknown escape; known are \\n \\t \\r \\0 \\\\ \\xHH")]
    Escape {
        /// The text.
        text: String,
    },
}

impl FromStr for Delimiter {
    type Err = NoDelimiter;

    fn from_str(text: &str) -> Result<Self, NoDelimiter> {
        let refusal = || NoDelimiter::Escape { text: text.to_owned() };
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'\\' => match rest.next() {
                    Some(b'n') => b'\n',
                    Some(b't') => b'\t',
                    Some(b'r') => b'\r',
                    Some(b'0') => 0,
                    Some(b'\\') => b'\\',
                    Some(b'x') => {
                        let digit = |byte: Option<u8>| {
                            byte.and_then(|byte| char::from(byte).to_digit(16)).ok_or_else(refusal)
                        };
                        let code = digit(rest.next())? * 16 + digit(rest.next())?;
                        u8::try_from(code).expect("two hexadecimal digits")
                    }
                    _ => return Err(refusal()),
                },
                plain => plain,
            });
        }
        if bytes.is_empty() { Err(NoDelimiter::Empty) } else { Ok(Self(bytes)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_stand_for_their_bytes() {
        let bytes = |text: &str| text.parse::<Delimiter>().map(|delimiter| delimiter.0).ok();
        assert_eq!(bytes(","), Some(b",".to_vec()));
        assert_eq!(bytes("\\0"), Some(vec![0]));
        assert_eq!(bytes("\\x1e\\t"), Some(vec![0x1e, 9]));
        assert_eq!(bytes("--\\n"), Some(b"--\n".to_vec()));
        assert_eq!(bytes(""), None);
        assert_eq!(bytes("\\q"), None);
        assert_eq!(bytes("\\x1"), None);
    }
}
