//! The descriptors over which a program speaks to the server that it has started.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use poolctl_sys::inherited;

/// What a server speaks over.
#[derive(Debug)]
pub struct Ends {
    /// Where requests come from.
    pub input: OwnedFd,
    /// Where replies go; none: over the same socket.
    pub output: Option<OwnedFd>,
}

impl Ends {
    /// Stdin and stdout of this program; what it prints itself from now on is dropped.
    ///
    /// # Errors
    /// One of them is not open.
    pub fn standard() -> io::Result<Self> {
        let (input, output) = inherited::take_standard()?;
        Self::of(input, output)
    }

    /// The descriptors of these numbers, which this program was started with; they may be one.
    ///
    /// # Errors
    /// One of them is 0, 1 or 2, or was not inherited.
    pub fn numbered(input: i32, output: i32) -> io::Result<Self> {
        let taken = inherited::take(input)?;
        if input == output {
            return Ok(Self { input: taken, output: None });
        }
        Self::of(taken, inherited::take(output)?)
    }

    /// Two descriptors of one socket are one.
    fn of(input: OwnedFd, output: OwnedFd) -> io::Result<Self> {
        let (input, output) = (File::from(input), File::from(output));
        let (one, other) = (input.metadata()?, output.metadata()?);
        for kind in [one.file_type(), other.file_type()] {
            if !kind.is_socket() && !kind.is_fifo() {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "it speaks over pipes and sockets only",
                ));
            }
        }
        let is_one = one.file_type().is_socket() && (one.dev(), one.ino()) == (other.dev(), other.ino());
        Ok(Self { input: input.into(), output: (!is_one).then(|| output.into()) })
    }
}
