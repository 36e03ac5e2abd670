//! Files that live in memory and have no name, so that nothing can be left behind.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    FallocateFlags, MemfdFlags, Mode, OFlags, SealFlags, fallocate, fcntl_add_seals, fcntl_get_seals, fstat,
    ftruncate, memfd_create, open,
};

use crate::limits;

/// From so many bytes on it is looked whether there is so much memory.
const LARGE_BYTES: u64 = 16 << 20;

/// A file holding `contents`, read from its start, that nobody can change any more.
///
/// `name` is seen in `/proc/PID/fd` alone.
///
/// # Errors
/// No descriptors or memory left, or `contents` is over `RLIMIT_FSIZE`.
pub fn with_contents(name: &str, contents: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    file.write_all(contents)?;
    file.rewind()?;
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(file.into())
}

/// `size` zero bytes that anybody may write but nobody can truncate or extend. The memory is taken at once, so
/// that a lack of it is an error here and not a SIGBUS later.
///
/// # Errors
/// No descriptors or memory left, or `size` is over `RLIMIT_FSIZE`.
pub fn sealed(name: &str, size: u64) -> io::Result<OwnedFd> {
    let memfd = fixed(name, size)?;
    fcntl_add_seals(&memfd, SealFlags::SEAL)?;
    Ok(memfd)
}

/// As [`sealed`], but more can be forbidden later, see [`seal_future_write`].
///
/// # Errors
/// As [`sealed`].
pub fn fixed(name: &str, size: u64) -> io::Result<OwnedFd> {
    let memfd = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    if size > 0 {
        refuse_too_much(size)?;
        fallocate(&memfd, FallocateFlags::empty(), 0, size)?;
    }
    fcntl_add_seals(&memfd, SealFlags::SHRINK | SealFlags::GROW)?;
    Ok(memfd)
}

/// As [`sealed`], but memory is taken only where something is written: for tables that are mostly empty.
///
/// # Errors
/// No descriptors left, or `size` is over `RLIMIT_FSIZE`.
pub fn sparse(name: &str, size: u64) -> io::Result<OwnedFd> {
    let memfd = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&memfd, size)?;
    fcntl_add_seals(&memfd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(memfd)
}

/// The kernel gives memory page by page, and would rather kill processes than stop when there is none left. So a size that
/// cannot be had is refused beforehand.
fn refuse_too_much(size: u64) -> io::Result<()> {
    if size < LARGE_BYTES {
        return Ok(());
    }
    // Where nothing is known of it, the kernel has the say.
    match limits::available_memory() {
        Ok(available) if size > available - available / 16 => Err(io::ErrorKind::OutOfMemory.into()),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Forbids for good all writing but through what is mapped already, for every process. To be called on [`fixed`] ones.
///
/// # Errors
/// The file may not be sealed any more (`EPERM`).
pub fn seal_future_write(memfd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(fcntl_add_seals(memfd, SealFlags::FUTURE_WRITE | SealFlags::SEAL)?)
}

/// The size of a memfd that nobody can write, shorten or lengthen any more; none if `file` is no such thing.
///
/// # Errors
/// Nothing can be learnt of it.
pub fn unchangeable(file: BorrowedFd<'_>) -> io::Result<Option<u64>> {
    let wanted = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW;
    // What is no memfd has no seals to ask for.
    if !fcntl_get_seals(file).is_ok_and(|seals| seals.contains(wanted)) {
        return Ok(None);
    }
    Ok(u64::try_from(fstat(file)?.st_size).ok())
}

/// A descriptor of the same file that can only be read and mapped for reading.
///
/// It guards against mistakes: whoever has it and is of the same user can open the file anew for writing. Against that
/// there is [`seal_future_write`].
///
/// # Errors
/// No descriptors left, or there is no `/proc`.
pub fn read_only(memfd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", memfd.as_raw_fd());
    Ok(open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn contents_are_read_from_the_start_and_cannot_be_changed() {
        let mut file = File::from(with_contents("test", b"hello").unwrap());

        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();

        assert_eq!(text, "hello");
        assert!(file.write_all(b"more").is_err());
        assert!(file.set_len(0).is_err());
    }

    #[test]
    fn only_what_nobody_can_change_is_unchangeable() {
        let fixed = with_contents("test", b"hello").unwrap();
        let loose = sealed("test", 5).unwrap();
        let file = tempfile().unwrap();

        let sizes = [&fixed, &loose, &file].map(|file| unchangeable(file.as_fd()).unwrap());

        assert_eq!(sizes, [Some(5), None, None]);
    }

    fn tempfile() -> io::Result<OwnedFd> {
        Ok(File::open("/proc/self/exe")?.into())
    }

    #[test]
    fn more_memory_than_there_is_is_refused_and_not_taken() {
        let error = sealed("test", 1 << 50).unwrap_err();

        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    }

    #[test]
    fn a_sealed_file_has_its_size_for_good_but_can_be_written() {
        let mut file = File::from(sealed("test", 4096).unwrap());

        file.write_all(b"x").unwrap();

        assert_eq!(file.metadata().unwrap().len(), 4096);
        assert!(file.set_len(0).is_err());
        assert!(file.set_len(8192).is_err());
    }

    #[test]
    fn a_read_only_descriptor_sees_later_writes_and_makes_none() {
        let mut file = File::from(sealed("test", 4096).unwrap());
        let mut reader = File::from(read_only(file.as_fd()).unwrap());

        file.write_all(b"x").unwrap();

        let mut byte = [0];
        reader.read_exact(&mut byte).unwrap();
        assert_eq!(byte, *b"x");
        assert!(reader.write_all(b"y").is_err());
    }

    #[test]
    fn a_file_sealed_against_future_writes_takes_none_and_no_more_seals() {
        let mut file = File::from(fixed("test", 4096).unwrap());
        file.write_all(b"x").unwrap();

        seal_future_write(file.as_fd()).unwrap();

        assert!(file.write_all(b"y").is_err());
        assert!(file.set_len(0).is_err());
        assert!(seal_future_write(file.as_fd()).is_err());
    }
}
