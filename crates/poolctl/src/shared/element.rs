//! The numbers that an array can hold, and the cells they lie in.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};

use poolctl_shm::Cell;

/// A number that an [`Array`](super::Array) can hold: each is read and written whole, whoever else writes it.
pub trait Element: sealed::Element {}

pub(super) mod sealed {
    /// An integer or float, and the cell it lies in.
    pub trait Element: Copy + Send + Sync + 'static {
        /// The cell.
        type Cell: super::Cell;
        /// What lies in it.
        fn load(cell: &Self::Cell) -> Self;
        /// Puts it there.
        fn store(self, cell: &Self::Cell);
        /// Changes it in one step, and answers what it was before.
        fn update(cell: &Self::Cell, change: impl FnMut(Self) -> Self) -> Self;
    }
}

macro_rules! elements {
    ($($element:ty: $cell:ty, $from:expr, $into:expr;)+) => {
        $(
            impl Element for $element {}
            impl sealed::Element for $element {
                type Cell = $cell;
                #[inline]
                fn load(cell: &Self::Cell) -> Self {
                    $from(cell.load(Relaxed))
                }
                #[inline]
                fn store(self, cell: &Self::Cell) {
                    cell.store($into(self), Relaxed);
                }
                #[inline]
                fn update(cell: &Self::Cell, mut change: impl FnMut(Self) -> Self) -> Self {
                    let mut before = cell.load(Acquire);
                    loop {
                        let value = $from(before);
                        match cell.compare_exchange_weak(before, $into(change(value)), AcqRel, Acquire) {
                            Ok(_) => return value,
                            Err(now) => before = now,
                        }
                    }
                }
            }
        )+
    };
}

elements! {
    u8: AtomicU8, u8::from, u8::from;
    i8: AtomicU8, u8::cast_signed, i8::cast_unsigned;
    u16: AtomicU16, u16::from, u16::from;
    i16: AtomicU16, u16::cast_signed, i16::cast_unsigned;
    u32: AtomicU32, u32::from, u32::from;
    i32: AtomicU32, u32::cast_signed, i32::cast_unsigned;
    u64: AtomicU64, u64::from, u64::from;
    i64: AtomicU64, u64::cast_signed, i64::cast_unsigned;
    f32: AtomicU32, f32::from_bits, f32::to_bits;
    f64: AtomicU64, f64::from_bits, f64::to_bits;
}
