//! Who a participant is, in 30 bits: 16 of its place in the host's table, 14 of which user of that place it is.
//!
//! Never a pid, which the kernel uses again. No token is 0, since generations are counted from 1.

/// The bits of a word that hold a token.
pub(crate) const TOKEN: u32 = (1 << 30) - 1;
/// Generations are from 1 to this.
const LAST_GENERATION: u32 = (1 << 14) - 2;
/// The token of nobody in particular, which no participant ever has.
#[cfg(not(loom))]
pub(crate) const NOBODY: u32 = TOKEN;

/// A participant: one thread of one process life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Token(u32);

impl Token {
    /// The `generation`th user of the entry `index`.
    pub(crate) fn new(index: u16, generation: u32) -> Self {
        debug_assert!((1..=LAST_GENERATION).contains(&generation));
        Self(generation << 16 | u32::from(index))
    }

    /// The token in a word, if there is one. A word says what it likes: an index need not be one of the table.
    pub(crate) fn of(word: u32) -> Option<Self> {
        let bits = word & TOKEN;
        (bits != 0).then_some(Self(bits))
    }

    /// As it stands in a word.
    #[inline]
    pub(crate) fn bits(self) -> u32 {
        self.0
    }
}

#[cfg(not(loom))]
impl Token {
    /// Which entry of the table.
    pub(crate) fn index(self) -> u32 {
        self.0 & 0xffff
    }

    /// Which user of that entry.
    pub(crate) fn generation(self) -> u32 {
        self.0 >> 16
    }
}

/// The generation after one that was read from shared memory, where it may be anything.
#[cfg(not(loom))]
pub(crate) fn next_generation(generation: u32) -> u32 {
    if generation >= LAST_GENERATION { 1 } else { generation + 1 }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn tokens_hold_both_numbers_and_are_never_nobody() {
        let last = Token::new(u16::MAX, LAST_GENERATION);

        assert_eq!((last.index(), last.generation()), (65535, LAST_GENERATION));
        assert_ne!(last.bits(), NOBODY);
        assert_eq!(Token::of(3 << 30), None);
        assert_eq!(Token::of(1 << 30 | last.bits()), Some(last));
    }

    #[test]
    fn generations_go_round_whatever_was_there() {
        assert_eq!(next_generation(0), 1);
        assert_eq!(next_generation(LAST_GENERATION), 1);
        assert_eq!(next_generation(u32::MAX), 1);
    }
}
