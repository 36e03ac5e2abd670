//! Amounts of memory: `16MiB`, `64k`, `1.5G`, and a bare number for bytes.

use std::str::FromStr;

/// An amount of memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(pub(crate) u64);

/// A text that is no amount of memory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no size; write a number and a unit, as in 512, 64k, 16MiB, 2G")]
pub(crate) struct NoSize {
    text: String,
}

impl Size {
    /// The size where it must fit into memory.
    pub(crate) fn in_memory(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for Size {
    type Err = NoSize;

    /// `k M G T` and `KiB MiB …` are powers of 1024, `kB MB …` powers of 1000.
    fn from_str(text: &str) -> Result<Self, NoSize> {
        let refusal = || NoSize { text: text.to_owned() };
        let trimmed = text.trim();
        let digits = trimmed.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let number: f64 = trimmed[..digits].parse().map_err(|_| refusal())?;
        let unit = trimmed[digits..].to_ascii_lowercase();
        let (letter, base) = match unit.as_str() {
            "" | "b" => ("", 1024_u64),
            name => match name.strip_suffix("ib").map(|letter| (letter, 1024)) {
                Some(binary) => binary,
                None => name.strip_suffix('b').map_or((name, 1024), |letter| (letter, 1000)),
            },
        };
        let power = ["", "k", "m", "g", "t"].iter().position(|known| *known == letter).ok_or_else(refusal)?;
        let power = u32::try_from(power).expect("an index below 5");
        let bytes = number * base.pow(power) as f64;
        if bytes >= u64::MAX as f64 {
            return Err(refusal());
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative, and in range"
        )]
        Ok(Size(bytes as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Option<u64> {
        text.parse::<Size>().ok().map(|size| size.0)
    }

    #[test]
    fn letters_are_powers_of_1024_and_with_a_plain_b_of_1000() {
        assert_eq!(bytes("512"), Some(512));
        assert_eq!(bytes("64k"), Some(64 << 10));
        assert_eq!(bytes("16MiB"), Some(16 << 20));
        assert_eq!(bytes("2G"), Some(2 << 30));
        assert_eq!(bytes("1MB"), Some(1_000_000));
        assert_eq!(bytes("1.5k"), Some(1536));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "k", "1x", "-1", "1kk", "1 k i b", "99999999T", "ib"] {
            assert_eq!(bytes(text), None, "{text:?}");
        }
    }
}
