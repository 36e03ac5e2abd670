//! The stack a child stands on between clone and exec.

use std::ffi::c_void;
use std::io;
use std::ptr::NonNull;

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

/// Enough for a dozen frames that hold a few words each, in debug builds too.
const BYTES: usize = 64 * 1024;
/// Below it, unmapped in effect, so that an overflow is a fault and not a corruption.
const GUARD_BYTES: usize = 64 * 1024;

/// Private memory for one child at a time.
#[derive(Debug)]
pub(super) struct Stack {
    base: NonNull<c_void>,
}

impl Stack {
    pub(super) fn new() -> io::Result<Self> {
        let length = GUARD_BYTES + BYTES;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::STACK;
        // SAFETY: a null address without `MAP_FIXED` maps fresh memory, so nothing existing is replaced.
        let base = unsafe { mmap_anonymous(std::ptr::null_mut(), length, access, flags) }?;
        let stack = Self { base: NonNull::new(base).expect("mmap does not map the null page") };
        // SAFETY: the range lies in the mapping made above, which nothing refers to yet.
        unsafe { mprotect(base, GUARD_BYTES, MprotectFlags::empty()) }?;
        Ok(stack)
    }

    /// The address behind the last byte, where a stack that grows down begins; page-aligned.
    pub(super) fn top(&mut self) -> *mut c_void {
        // SAFETY: guard and stack are one mapping of this length, so the result points to the end of it.
        unsafe { self.base.as_ptr().byte_add(GUARD_BYTES + BYTES) }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made in `new`, which `self` alone owns; no child stands on it, because a spawn
        // borrows the stack until the child has left.
        let unmapped = unsafe { munmap(self.base.as_ptr(), GUARD_BYTES + BYTES) };
        debug_assert!(unmapped.is_ok(), "a whole mapping of ours can be unmapped");
    }
}

// SAFETY: the mapping belongs to the process and not to a thread, and `Stack` is its only owner.
unsafe impl Send for Stack {}
