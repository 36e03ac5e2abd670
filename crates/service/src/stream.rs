//! The two ways between server and client: one socket, or two pipes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use poolctl_supervisor::channel::{Filled, Inbox, Outbox};
use poolctl_sys::pipe;

/// A client's stream. Nothing here blocks.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Where requests come from, if that is not the way on which replies go.
    input: Option<OwnedFd>,
    pub(crate) inbox: Inbox,
    pub(crate) outbox: Outbox,
}

impl Stream {
    /// A stream over one socket, which descriptors can pass.
    pub(crate) fn over_socket(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self { input: None, inbox: Inbox::new(), outbox: Outbox::over_socket(socket)? })
    }

    /// A stream over two descriptors, each for one way.
    pub(crate) fn over_pipes(input: OwnedFd, output: OwnedFd) -> io::Result<Self> {
        pipe::set_nonblocking(&input)?;
        Ok(Self { input: Some(input), inbox: Inbox::new(), outbox: Outbox::over_pipe(output)? })
    }

    /// Whether descriptors can pass.
    pub(crate) fn passes_descriptors(&self) -> bool {
        self.input.is_none()
    }

    /// Where requests come from.
    pub(crate) fn input(&self) -> BorrowedFd<'_> {
        self.input.as_ref().map_or_else(|| self.outbox.as_fd(), AsFd::as_fd)
    }

    /// Where replies go, if that is another descriptor.
    pub(crate) fn output(&self) -> Option<BorrowedFd<'_>> {
        self.input.as_ref().map(|_| self.outbox.as_fd())
    }

    /// Reads once.
    pub(crate) fn read(&mut self) -> io::Result<Filled> {
        match &self.input {
            Some(input) => self.inbox.fill(input.as_fd()),
            None => self.inbox.fill_with_descriptors(self.outbox.as_fd()),
        }
    }
}
