//! Telling the kernel how memory of this process is about to be used.

use std::mem::MaybeUninit;

use rustix::mm::{Advice, madvise};

/// Less than this is not worth a system call.
const WORTH_BYTES: usize = 4 << 20;

/// `room` is going to be filled, for the first time as far as the caller knows: the kernel may give it in huge pages,
/// where it does so on request. A first touch costs a microsecond or two, whatever the size of the page.
///
/// Advice only: nothing is different if it is not taken.
pub fn fill_soon<T>(room: &mut [MaybeUninit<T>]) {
    let bytes = size_of_val(room);
    if bytes < WORTH_BYTES {
        return;
    }
    let page = crate::mapping::page_size();
    let before = room.as_ptr().cast::<u8>().align_offset(page);
    let whole = bytes.saturating_sub(before) / page * page;
    if whole == 0 {
        return;
    }
    let start = room.as_mut_ptr().cast::<u8>().wrapping_add(before);
    // SAFETY: the pages lie wholly inside `room`, which nobody else refers to while it is borrowed; that they may be
    // huge changes neither what is in them nor that they are mapped.
    let advised = unsafe { madvise(start.cast(), whole, Advice::LinuxHugepage) };
    // A kernel without huge pages says so.
    advised.unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_changes_nothing_in_what_is_there() {
        let mut numbers: Vec<u64> = (0..2_000_000).collect();
        numbers.reserve(2_000_000);

        fill_soon(numbers.spare_capacity_mut());
        numbers.extend(2_000_000..4_000_000);
        fill_soon(&mut [MaybeUninit::<u8>::uninit(); 10]);

        assert!(numbers.into_iter().eq(0..4_000_000));
    }
}
