//! Tells the process that made something from the copies that were forked from it, without a system call.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

/// What stands in the page in the process that made it; a copy finds zeroes.
const HERE: u32 = 0x600D_600D;

/// A page of memory that is zeroes in a forked copy of the process (`MADV_WIPEONFORK`, madvise(2)).
#[derive(Debug)]
pub struct ForkMark {
    /// `None` where the kernel does not do that: then the pid is asked for each time.
    page: Option<NonNull<AtomicU32>>,
    pid: u32,
}

// SAFETY: the page is private to the process and reached as an atomic alone.
unsafe impl Send for ForkMark {}
// SAFETY: as for `Send`.
unsafe impl Sync for ForkMark {}

impl ForkMark {
    /// A mark of this process.
    #[must_use]
    pub fn new() -> Self {
        Self { page: page(), pid: std::process::id() }
    }

    /// Whether this is the process that made the mark, and no forked copy of it.
    #[inline]
    #[must_use]
    pub fn is_here(&self) -> bool {
        match self.page {
            // SAFETY: mapped, and aligned as a page is, until `self` is dropped; a fork keeps it mapped.
            Some(page) => unsafe { page.as_ref() }.load(Ordering::Relaxed) == HERE,
            None => std::process::id() == self.pid,
        }
    }
}

impl Default for ForkMark {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for ForkMark {
    fn drop(&mut self) {
        if let Some(page) = self.page {
            // SAFETY: this is the whole mapping, made by `page`, and `self` was the last to know of it.
            let unmapped = unsafe { munmap(page.as_ptr().cast(), size_of::<AtomicU32>()) };
            debug_assert!(unmapped.is_ok(), "a mapping of our own can be unmapped");
        }
    }
}

fn page() -> Option<NonNull<AtomicU32>> {
    let len = size_of::<AtomicU32>();
    let flags = MapFlags::PRIVATE;
    // SAFETY: a new mapping at a place of the kernel's choice, so no memory of anybody's is replaced.
    let page =
        unsafe { mmap_anonymous(std::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, flags) };
    let page = NonNull::new(page.ok()?.cast::<AtomicU32>())?;
    // SAFETY: the mapping just made, which nobody else knows of; the advice changes what a copy of it holds, not this one.
    if unsafe { madvise(page.as_ptr().cast(), len, Advice::LinuxWipeOnFork) }.is_err() {
        // SAFETY: as above, and it is not used after this.
        let unmapped = unsafe { munmap(page.as_ptr().cast(), len) };
        debug_assert!(unmapped.is_ok(), "a mapping of our own can be unmapped");
        return None;
    }
    // SAFETY: mapped, writable and aligned, as a page is; zeroes are a valid `AtomicU32`.
    unsafe { page.as_ref() }.store(HERE, Ordering::Relaxed);
    Some(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_that_made_it_is_told_from_a_copy() {
        let mark = ForkMark::new();
        assert!(mark.page.is_some(), "Linux 4.14 or later");
        assert!(mark.is_here());

        // SAFETY: the child calls nothing but async-signal-safe functions: a load, and `_exit`.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let status = i32::from(mark.is_here());
            // SAFETY: ends the copy at once, without its destructors.
            unsafe { libc::_exit(status) };
        }
        let mut status = 0;
        // SAFETY: `status` is a valid place to write to.
        let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };

        assert_eq!((waited, libc::WEXITSTATUS(status)), (child, 0));
        assert!(mark.is_here());
    }
}
