//! Bytes in shared memory.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::Relaxed;

use poolctl_shm::{SharedCells, SharedError};
use poolctl_sys::transfer;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// From so many bytes on the kernel copies them faster than one by one.
const BULK_BYTES: usize = 1024;

/// A fixed number of bytes that processes share, without a name: nothing is left behind when the last handle goes.
///
/// It is a handle: clones, and what a task gets that is given one, are the same bytes. It travels as an argument of a
/// task of a [`Pool`](crate::Pool), alone or inside of other values. For numbers there is [`Array`](crate::Array).
pub struct SharedMemory {
    cells: SharedCells<AtomicU8>,
}

/// From now on nothing is shared that would bring the shared memory of this process above so many bytes: [`SharedMemory`],
/// arrays, values, lists and queues that it has made and of which it has a handle. No limit by default. What large arguments
/// and results of a pool take is limited by [`shm_limit`](crate::PoolBuilder::shm_limit).
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let memory = poolctl::SharedMemory::new(3 << 20)?;
/// poolctl::set_shm_limit(poolctl::shm_used() + (1 << 20));
/// let error = poolctl::SharedMemory::new(2 << 20).unwrap_err();
/// assert!(error.to_string().contains("2097152 bytes of shared memory are over the limit"));
/// drop(memory);
/// poolctl::SharedMemory::new(2 << 20)?;
/// # Ok(())
/// # }
/// ```
pub fn set_shm_limit(bytes: u64) {
    poolctl_shm::set_limit(bytes);
}

/// How much shared memory is counted against [`set_shm_limit`] at this moment, in bytes.
#[must_use]
pub fn shm_used() -> u64 {
    poolctl_shm::used()
}

impl SharedMemory {
    /// `bytes` bytes of 0.
    ///
    /// # Errors
    /// There is no memory for them, or [`set_shm_limit`] allows no more.
    pub fn new(bytes: usize) -> Result<Self, SharedError> {
        Ok(Self { cells: SharedCells::new(bytes)? })
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cells.cells().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Replaces as many bytes as there are in `from`, from the place `at` on. Another process that reads them meanwhile
    /// may see some replaced and others not.
    ///
    /// # Errors
    /// What the kernel says, which has no reason to refuse.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn write(&self, at: usize, from: &[u8]) -> io::Result<()> {
        let cells = &self.cells.cells()[at..][..from.len()];
        if from.len() >= BULK_BYTES {
            return transfer::write_all_at(self.cells.file().as_fd(), from, at as u64);
        }
        for (cell, byte) in cells.iter().zip(from) {
            cell.store(*byte, Relaxed);
        }
        Ok(())
    }

    /// Copies as many bytes as `into` has room for, from the place `at` on.
    ///
    /// # Errors
    /// What the kernel says, which has no reason to refuse.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn read(&self, at: usize, into: &mut [u8]) -> io::Result<()> {
        let cells = &self.cells.cells()[at..][..into.len()];
        if into.len() >= BULK_BYTES {
            return transfer::read_exactly_at(self.cells.file().as_fd(), into, at as u64);
        }
        for (cell, byte) in cells.iter().zip(into) {
            *byte = cell.load(Relaxed);
        }
        Ok(())
    }

    /// The bytes where they are. Other processes may store into them at any moment.
    #[must_use]
    pub fn bytes(&self) -> &[AtomicU8] {
        self.cells.cells()
    }
}

impl Clone for SharedMemory {
    /// The same bytes, not a copy of them.
    fn clone(&self) -> Self {
        Self { cells: self.cells.clone() }
    }
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMemory").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Serialize for SharedMemory {
    /// As an argument of a task alone; anything else is an error.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        super::serialize(&self.cells, serializer)
    }
}

impl<'de> Deserialize<'de> for SharedMemory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { cells: super::deserialize(deserializer)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_few_and_many_are_found_where_they_were_put() {
        let memory = SharedMemory::new(10_000).expect("there is memory");
        let many: Vec<u8> = (0..250).cycle().take(5000).collect();

        memory.write(3, &many).expect("it has the room");
        memory.write(5, b"few").expect("it has the room");

        let mut back = vec![0; 5000];
        memory.clone().read(3, &mut back).expect("it is there");
        assert_eq!(&back[2..5], b"few");
        assert_eq!(back[5..], many[5..]);
        assert_eq!(memory.bytes()[2].load(Relaxed), 0);
    }
}
