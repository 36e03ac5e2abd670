//! The claim: what a worker has started and finished, in a sealed memfd that outlives it.
//!
//! ```text
//! byte  0  u64 claimed      the item being worked on; u64::MAX before the first
//! byte  8  u64 started_ns   when it was begun, CLOCK_MONOTONIC
//! byte 16  u64 published    how many bytes were ever put into the ring
//! byte 24  reserved
//! byte 64  ring             frames (ok, err, log); one may wrap round the end
//! ```
//!
//! # Protocol
//! 1. The worker stores `started_ns`, then `claimed`, then calls the function.
//! 2. It writes the reply into the ring, then stores `published`, and only then claims the next item.
//! 3. The supervisor reads the three words, then the ring's bytes up to `published`, and says with a release frame
//!    how many bytes it has consumed in all. The worker waits for it when the ring is full.
//!
//! # If a side dies
//! What a worker killed inside step 2 has not published is never looked at. The item claimed and not answered was
//! started; items behind it were not. `started_ns` is written before `claimed`, so a worker killed in between shows
//! the former item with too late a start: the supervisor clamps start times.
//!
//! The supervisor reads by `pread` and maps nothing, so nothing a worker does to the memfd can fault it.

use std::ops::Range;

/// The three words at the start of the memfd, as read at one moment. Anything a worker wrote is possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The item being worked on, or the last one worked on.
    pub claimed: Option<u64>,
    /// When it was begun, in nanoseconds of `CLOCK_MONOTONIC`.
    pub started_ns: u64,
    /// How many bytes were ever put into the ring.
    pub published: u64,
}

impl Claim {
    /// How many bytes of the memfd it takes to know the three words.
    pub const BYTES: usize = 24;

    /// `claimed` before the first item.
    pub const NONE: u64 = u64::MAX;

    /// Reads the three words.
    #[must_use]
    pub fn parse(bytes: &[u8; Self::BYTES]) -> Self {
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(word)
        };
        let claimed = Some(word(0)).filter(|claimed| *claimed != Self::NONE);
        Self { claimed, started_ns: word(8), published: word(16) }
    }

    /// The words as they are before the first item.
    #[must_use]
    pub fn initial() -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&Self::NONE.to_le_bytes());
        bytes
    }
}

/// Where the ring lies in the memfd, and how its bytes are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ring {
    bytes: u64,
}

/// How a worker broke the rules of the ring; it must be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// It says it has published less than before.
    #[error("worker took back published bytes: {published} after {consumed}")]
    WentBack {
        /// What it says now.
        published: u64,
        /// What was there before.
        consumed: u64,
    },
    /// It has published over bytes that were not released.
    #[error("worker published {pending} bytes into a ring of {ring}")]
    Overrun {
        /// How many bytes would be unread.
        pending: u64,
        /// How many the ring has.
        ring: u64,
    },
}

impl Ring {
    /// Where the ring begins in the memfd.
    pub const OFFSET: u64 = 64;

    /// How large it is unless somebody says otherwise.
    pub const DEFAULT_BYTES: u64 = 1 << 20;

    /// A ring of `bytes` bytes; `None` unless that is a power of two from 4 KiB to 1 GiB.
    #[must_use]
    pub fn new(bytes: u64) -> Option<Self> {
        ((1 << 12)..=(1 << 30)).contains(&bytes).then_some(bytes).filter(|bytes| bytes.is_power_of_two())?;
        Some(Self { bytes })
    }

    /// How many bytes the ring has.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.bytes
    }

    /// How large the memfd must be.
    #[must_use]
    pub fn memfd_bytes(self) -> u64 {
        Self::OFFSET + self.bytes
    }

    /// The longest frame that goes through the ring; a longer one goes over fd 4.
    #[must_use]
    pub fn max_frame_bytes(self) -> u64 {
        self.bytes / 4
    }

    /// How many published bytes are still to be read.
    ///
    /// # Errors
    /// [`ClaimError`] if that cannot be.
    pub fn pending(self, consumed: u64, published: u64) -> Result<u64, ClaimError> {
        let pending = published.checked_sub(consumed).ok_or(ClaimError::WentBack { published, consumed })?;
        if pending > self.bytes {
            return Err(ClaimError::Overrun { pending, ring: self.bytes });
        }
        Ok(pending)
    }

    /// The places in the memfd of the `len` bytes from the `position`th on; the second is empty unless they wrap.
    ///
    /// - `len`: at most [`Ring::bytes`]; more is cut to that.
    #[must_use]
    pub fn places(self, position: u64, len: u64) -> [Range<u64>; 2] {
        let len = len.min(self.bytes);
        let start = position % self.bytes;
        let until_end = len.min(self.bytes - start);
        let first = Self::OFFSET + start;
        [first..first + until_end, Self::OFFSET..Self::OFFSET + (len - until_end)]
    }
}

impl Default for Ring {
    fn default() -> Self {
        Self { bytes: Self::DEFAULT_BYTES }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_claim_names_no_item() {
        let claim = Claim::parse(&Claim::initial());

        assert_eq!(claim, Claim { claimed: None, started_ns: 0, published: 0 });
    }

    #[test]
    fn bytes_that_wrap_lie_in_two_places() {
        let ring = Ring::new(4096).expect("a power of two");

        assert_eq!(ring.places(4090, 10), [64 + 4090..64 + 4096, 64..68]);
        assert_eq!(ring.places(4096, 10), [64..74, 64..64]);
        assert_eq!(ring.places(u64::MAX, 2), [64 + 4095..64 + 4096, 64..65]);
    }

    #[test]
    fn sizes_that_are_no_ring_are_refused() {
        let refused = [0, 1, 4095, 5000, 1 << 31, u64::MAX];

        assert!(refused.into_iter().all(|bytes| Ring::new(bytes).is_none()));
    }

    #[test]
    fn a_worker_that_lies_about_published_is_found_out() {
        let ring = Ring::new(4096).expect("a power of two");

        assert_eq!(ring.pending(10, 9), Err(ClaimError::WentBack { published: 9, consumed: 10 }));
        assert_eq!(ring.pending(0, u64::MAX), Err(ClaimError::Overrun { pending: u64::MAX, ring: 4096 }));
        assert_eq!(ring.pending(10, 10 + 4096), Ok(4096));
        assert_eq!(ring.pending(10, 10 + 4097), Err(ClaimError::Overrun { pending: 4097, ring: 4096 }));
    }

    proptest::proptest! {
        #[test]
        fn places_stay_inside_the_memfd(position: u64, len: u64, order in 12_u32..=30) {
            let ring = Ring::new(1 << order).expect("a power of two");

            let [first, second] = ring.places(position, len);

            proptest::prop_assert!(first.end <= ring.memfd_bytes() && second.end <= ring.memfd_bytes());
            proptest::prop_assert_eq!(first.end - first.start + second.end - second.start, len.min(ring.bytes()));
        }
    }
}
