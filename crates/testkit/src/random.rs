//! Random numbers that can be had again: one printed seed decides them all.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// The seed of this run: `POOLCTL_TEST_SEED` if it is set, else drawn anew. Printed, so that a failure says it.
///
/// # Panics
/// If `POOLCTL_TEST_SEED` is no number.
#[must_use]
#[expect(clippy::print_stderr, reason = "a seed that is not printed cannot be used again")]
pub fn seed() -> u64 {
    let seed = match std::env::var("POOLCTL_TEST_SEED") {
        Ok(text) => text.parse().expect("POOLCTL_TEST_SEED must be a number"),
        Err(_) => RandomState::new().build_hasher().finish(),
    };
    eprintln!("seed: POOLCTL_TEST_SEED={seed}");
    seed
}

/// A small generator (xorshift64*); good enough to choose victims and moments.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The generator of `seed`; equal seeds give equal numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `end`.
    ///
    /// # Panics
    /// If `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        assert!(end > 0, "there is no number below 0");
        self.next_u64() % end
    }

    /// One of `choices`, or none if there are none.
    ///
    /// # Panics
    /// Never: a length fits 64 bits.
    pub fn choose<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(choices.len()).expect("a length fits 64 bits");
        if count == 0 {
            return None;
        }
        let index = usize::try_from(self.below(count)).expect("below the length");
        choices.get(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_numbers() {
        let (mut one, mut two) = (Random::new(7), Random::new(7));

        let numbers: Vec<u64> = (0..100).map(|_| one.next_u64()).collect();

        assert!(numbers.iter().all(|number| *number == two.next_u64()));
        assert!(numbers.iter().any(|number| number % 2 == 0) && numbers.iter().any(|number| number % 2 == 1));
    }

    #[test]
    fn nothing_is_chosen_from_nothing() {
        let mut random = Random::new(1);

        assert_eq!(random.choose::<u8>(&[]), None);
        assert_eq!(random.choose(&[5]), Some(&5));
    }
}
