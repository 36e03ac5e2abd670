//! Where what is written lands in a regular file, and whether somebody else writes there as well.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::map::log::OutputFile;

/// The end of what was written to a regular file, as the file itself tells it.
#[derive(Debug)]
pub(crate) struct Landing {
    end: u64,
    shared: bool,
}

impl Landing {
    /// Where the next write to `file` will land.
    ///
    /// # Errors
    /// The file cannot be asked.
    pub(crate) fn of(mut file: &File, shared: bool) -> io::Result<Self> {
        let flags = OFlag::from_bits_retain(fcntl(file.as_fd(), FcntlArg::F_GETFL)?);
        let end = if flags.contains(OFlag::O_APPEND) {
            // The position of a file that is appended to means nothing before the first write.
            file.seek(SeekFrom::End(0))?
        } else {
            file.stream_position()?
        };
        Ok(Self { end, shared: shared || file.metadata()?.len() != end })
    }

    /// What the log says of the file before anything is written to it.
    ///
    /// # Errors
    /// The file cannot be asked.
    pub(crate) fn output_file(&self, file: &File) -> io::Result<OutputFile> {
        let found = file.metadata()?;
        Ok(OutputFile { device: found.dev(), inode: found.ino(), offset: self.end, shared: self.shared })
    }

    /// Looks where a write of so many bytes landed.
    pub(super) fn wrote(&mut self, mut file: &File, bytes: u64) {
        let expected = self.end + bytes;
        let found = file.stream_position().and_then(|end| Ok((end, file.metadata()?.len())));
        // An end that cannot be told is one that nothing may be cut at.
        let (end, size) = found.unwrap_or((expected, u64::MAX));
        self.shared |= end != expected || size != end;
        self.end = end;
    }

    /// The end of what was written last.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Whether somebody else wrote to the file as well.
    pub(super) fn is_shared(&self) -> bool {
        self.shared
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;

    use super::*;

    #[test]
    fn what_lands_where_it_was_expected_is_ours_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        for append in [false, true] {
            std::fs::write(&path, "before\n").unwrap();
            let mut file = OpenOptions::new().write(true).append(append).open(&path).unwrap();
            if !append {
                file.seek(SeekFrom::End(0)).unwrap();
            }
            let mut landing = Landing::of(&file, false).unwrap();

            file.write_all(b"ours\n").unwrap();
            landing.wrote(&file, 5);

            assert_eq!((landing.end(), landing.is_shared()), (12, false), "append: {append}");
        }
    }

    #[test]
    fn bytes_of_others_before_or_behind_ours_are_noticed() {
        let directory = tempfile::tempdir().unwrap();
        for behind in [false, true] {
            let path = directory.path().join(if behind { "behind" } else { "before" });
            let mut file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
            let mut other = OpenOptions::new().append(true).open(&path).unwrap();
            let mut landing = Landing::of(&file, false).unwrap();

            if !behind {
                other.write_all(b"theirs\n").unwrap();
            }
            file.write_all(b"ours\n").unwrap();
            if behind {
                other.write_all(b"theirs\n").unwrap();
            }
            landing.wrote(&file, 5);

            assert!(landing.is_shared(), "behind: {behind}");
            assert_eq!(landing.end(), if behind { 5 } else { 12 });
        }
    }

    #[test]
    fn a_file_that_is_written_in_its_middle_is_not_ours_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        std::fs::write(&path, "before\n").unwrap();
        let file = OpenOptions::new().write(true).open(&path).unwrap();

        let landing = Landing::of(&file, false).unwrap();

        assert_eq!((landing.end(), landing.is_shared()), (0, true));
    }
}
