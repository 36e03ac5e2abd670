//! An array of numbers in shared memory.

use std::fmt;
use std::ops::{Bound, RangeBounds};

use poolctl_shm::{SharedCells, SharedError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Element;

/// A fixed number of integers or floats in memory that processes share.
///
/// It is a handle: clones, and what a task gets that is given one, are the same numbers. It travels as an argument of a
/// task of a [`Pool`](crate::Pool), alone or inside of other values, and costs as much for a number as for a gigabyte of them.
///
/// Each number is read and written whole. In which order another process sees several of them is not said, but all that
/// a task wrote is there once its result is, and all that was written before a task was handed in is there for it.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use poolctl::Array;
///
/// let array = Array::from_slice(&[1.5, 2.5, 0.0])?;
/// let same = array.clone();
/// array.set(2, 3.5);
///
/// assert_eq!(same.iter().sum::<f64>(), 7.5);
/// # Ok(())
/// # }
/// ```
pub struct Array<T: Element> {
    cells: SharedCells<T::Cell>,
}

impl<T: Element> Array<T> {
    /// `len` zeroes.
    ///
    /// # Errors
    /// There is no memory for them, or [`set_shm_limit`](crate::set_shm_limit()) allows no more.
    pub fn new(len: usize) -> Result<Self, SharedError> {
        Ok(Self { cells: SharedCells::new(len)? })
    }

    /// A copy of these numbers.
    ///
    /// # Errors
    /// As [`Array::new`].
    pub fn from_slice(numbers: &[T]) -> Result<Self, SharedError> {
        let array = Self::new(numbers.len())?;
        array.copy_from_slice(0, numbers);
        Ok(array)
    }

    /// How many numbers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cells.cells().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A number; none: there are not so many.
    #[must_use]
    #[inline]
    pub fn get(&self, index: usize) -> Option<T> {
        self.cells.cells().get(index).map(T::load)
    }

    /// Replaces a number.
    ///
    /// # Panics
    /// If there are not so many.
    #[inline]
    pub fn set(&self, index: usize, number: T) {
        number.store(&self.cells.cells()[index]);
    }

    /// Changes a number in one step, whoever else does at the same time, and answers what it was before. `change` may be
    /// called more than once.
    ///
    /// # Panics
    /// If there are not so many.
    #[inline]
    pub fn update(&self, index: usize, change: impl FnMut(T) -> T) -> T {
        T::update(&self.cells.cells()[index], change)
    }

    /// Replaces as many numbers as there are in `from`, from the place `at` on.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn copy_from_slice(&self, at: usize, from: &[T]) {
        let cells = &self.cells.cells()[at..][..from.len()];
        for (cell, number) in cells.iter().zip(from) {
            number.store(cell);
        }
    }

    /// Copies as many numbers as `into` has room for, from the place `at` on.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn copy_to_slice(&self, at: usize, into: &mut [T]) {
        let cells = &self.cells.cells()[at..][..into.len()];
        for (cell, number) in cells.iter().zip(into) {
            *number = T::load(cell);
        }
    }

    /// A copy of all numbers.
    #[must_use]
    pub fn to_vec(&self) -> Vec<T> {
        self.iter().collect()
    }

    /// The numbers, each as it is when it is asked for.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = T> + DoubleEndedIterator + '_ {
        self.cells.cells().iter().map(T::load)
    }

    /// Some of the numbers, each as it is when it is asked for.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn range(
        &self,
        places: impl RangeBounds<usize>,
    ) -> impl ExactSizeIterator<Item = T> + DoubleEndedIterator + '_ {
        let places = (own(places.start_bound()), own(places.end_bound()));
        self.cells.cells()[places].iter().map(T::load)
    }
}

fn own(bound: Bound<&usize>) -> Bound<usize> {
    bound.cloned()
}

impl<T: Element> Clone for Array<T> {
    /// The same numbers, not a copy of them.
    fn clone(&self) -> Self {
        Self { cells: self.cells.clone() }
    }
}

impl<T: Element> fmt::Debug for Array<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Array").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl<T: Element> Serialize for Array<T> {
    /// As an argument of a task alone; anything else is an error.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        super::serialize(&self.cells, serializer)
    }
}

impl<'de, T: Element> Deserialize<'de> for Array<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { cells: super::deserialize(deserializer)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_kind_come_back_as_they_were() {
        fn there_and_back<T: Element + PartialEq + fmt::Debug>(numbers: &[T]) {
            assert_eq!(Array::from_slice(numbers).expect("there is memory").to_vec(), numbers);
        }

        there_and_back(&[u8::MAX, 0, 1]);
        there_and_back(&[i8::MIN, -1, 1]);
        there_and_back(&[u16::MAX, 2]);
        there_and_back(&[i16::MIN, -1]);
        there_and_back(&[u32::MAX, 2]);
        there_and_back(&[i32::MIN, -1]);
        there_and_back(&[u64::MAX, 2]);
        there_and_back(&[i64::MIN, -1]);
        there_and_back(&[f32::MIN, -0.0, f32::INFINITY]);
        there_and_back(&[f64::MAX, 1e-300]);
        there_and_back::<u8>(&[]);
    }

    #[test]
    fn parts_are_copied_from_their_place_on() {
        let array = Array::from_slice(&[0, 1, 2, 3, 4, 5]).expect("there is memory");

        array.copy_from_slice(2, &[20, 30]);
        let mut part = [0; 3];
        array.copy_to_slice(3, &mut part);

        assert_eq!(part, [30, 4, 5]);
        assert_eq!(array.range(1..=2).rev().collect::<Vec<_>>(), [20, 1]);
        assert_eq!((array.get(5), array.get(6)), (Some(5), None));
    }

    #[test]
    #[should_panic(expected = "out of bounds")]
    fn a_number_that_is_not_there_cannot_be_set() {
        Array::<u8>::new(3).expect("there is memory").set(3, 1);
    }

    #[test]
    fn a_handle_is_written_for_tasks_alone() {
        let array = Array::<u8>::new(3).expect("there is memory");

        let refused = serde_json::to_string(&array).expect_err("there is no task");

        assert!(refused.to_string().contains("argument of a native task"), "{refused}");
    }
}
