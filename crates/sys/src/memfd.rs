//! Files that live in memory and have no name, so that nothing can be left behind.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, memfd_create};

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
    let memfd = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    if size > 0 {
        fallocate(&memfd, FallocateFlags::empty(), 0, size)?;
    }
    fcntl_add_seals(&memfd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(memfd)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

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
    fn a_sealed_file_has_its_size_for_good_but_can_be_written() {
        let mut file = File::from(sealed("test", 4096).unwrap());

        file.write_all(b"x").unwrap();

        assert_eq!(file.metadata().unwrap().len(), 4096);
        assert!(file.set_len(0).is_err());
        assert!(file.set_len(8192).is_err());
    }
}
