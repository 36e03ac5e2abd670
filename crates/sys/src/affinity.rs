//! Which processors a thread may run on.

use std::io;

use rustix::io::Errno;
use rustix::thread::{CpuSet, sched_setaffinity};

/// Keeps this thread, and those it starts from now on, to these processors.
///
/// # Errors
/// None of them exists or may be used here, or one has a number that no machine knows (`EINVAL`).
pub fn set(processors: &[usize]) -> io::Result<()> {
    let mut mask = CpuSet::new();
    for processor in processors {
        if *processor >= CpuSet::MAX_CPU {
            return Err(Errno::INVAL.into());
        }
        mask.set(*processor);
    }
    Ok(sched_setaffinity(None, &mask)?)
}

#[cfg(test)]
mod tests {
    use rustix::thread::sched_getaffinity;

    use super::*;

    #[test]
    fn a_thread_keeps_to_its_processors() {
        let before = sched_getaffinity(None).unwrap();
        let allowed = (0..CpuSet::MAX_CPU).find(|number| before.is_set(*number)).unwrap();

        // On a thread of its own, since the runner goes on with this one.
        let mask = std::thread::spawn(move || {
            set(&[allowed]).unwrap();
            sched_getaffinity(None).unwrap()
        });

        let mask = mask.join().unwrap();
        assert_eq!((mask.count(), mask.is_set(allowed)), (1, true));
    }

    #[test]
    fn processors_that_there_are_not_are_refused() {
        assert_eq!(set(&[]).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        assert_eq!(set(&[usize::MAX]).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }
}
