//! Channels of `ipc-channel` between a program and its processes, for those who have types with such channels in them.
//!
//! A [`pipe`](crate::pipe()) does more and is an argument like any other; `docs/adr/0004-a-pipe-is-a-socketpair-of-ours.md`
//! says why the two are not one. What is here makes the first contact, and cannot hang: a process that dies before it
//! connects is seen, where `IpcOneShotServer::accept` alone would wait for ever.
//!
//! Know of that crate: its `send` blocks after some 278 unread messages; one sender that several processes share is
//! closed for all when one is killed in a message over 208 KiB; a malformed message aborts the receiver. So: a channel
//! for each pair and direction, and between programs that trust each other.
//!
//! # If a side dies
//! The process: [`AcceptError::Ended`]. The program, between [`listen`] and the contact: an empty directory stays in the
//! temporary directory, the one thing of this library that has a name.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

pub use ipc_channel::ipc::{IpcReceiver, IpcSender};

use ipc_channel::IpcError;
use ipc_channel::ipc::IpcOneShotServer;
use poolctl_supervisor::{Exit, Waker, now};
use poolctl_sys::poller::{Interest, Poller};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::process::{Process, ProcessError};

/// Waits for one process to connect.
pub struct Listener<T> {
    server: IpcOneShotServer<T>,
    address: Address,
}

/// Where a process connects: an argument for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    socket: String,
}

/// Why nobody has connected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The process ended before it had connected and sent something.
    #[error("the process ended before it connected ({exit})")]
    Ended {
        /// How it ended.
        exit: Exit,
    },
    /// The time is over.
    #[error("the process has not connected in time")]
    TimedOut,
    /// The process is not started, or belongs to another.
    #[error("there is no process to wait for")]
    NoProcess(#[source] ProcessError),
    /// It connected, and what it sent is not what was expected, or it closed the channel.
    #[error("failed to receive the first message")]
    First {
        /// Why; none: the bytes made `ipc-channel` panic.
        source: Option<IpcError>,
    },
    /// No thread or descriptors left.
    #[error("failed to prepare for the connection")]
    Prepare(#[source] io::Error),
}

/// Prepares to be connected to. The address is to be given to a process.
///
/// # Errors
/// The temporary directory cannot be written.
pub fn listen<T: DeserializeOwned + Serialize>() -> io::Result<(Listener<T>, Address)> {
    let (server, socket) = IpcOneShotServer::new()?;
    let address = Address { socket };
    Ok((Listener { server, address: address.clone() }, address))
}

impl Address {
    /// Connects to whoever listens there; once only. The first message should follow at once: the other side waits for
    /// it.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn connect<T: Serialize>(&self) -> io::Result<IpcSender<T>> {
        IpcSender::connect(self.socket.clone())
    }
}

impl<T: DeserializeOwned + Serialize + Send + 'static> Listener<T> {
    /// Waits until `process` has connected and sent its first message, which as a rule holds a sender for the way back.
    ///
    /// # Errors
    /// [`AcceptError`].
    pub fn accept_from(self, process: &Process) -> Result<(IpcReceiver<T>, T), AcceptError> {
        self.accept(process, None)
    }

    /// The same, for `limit` at most. After that a process that connected and says nothing keeps one thread here busy
    /// until it says something or ends.
    ///
    /// # Errors
    /// [`AcceptError`].
    pub fn accept_from_timeout(
        self,
        process: &Process,
        limit: Duration,
    ) -> Result<(IpcReceiver<T>, T), AcceptError> {
        self.accept(process, Some(limit))
    }

    fn accept(self, process: &Process, limit: Option<Duration>) -> Result<(IpcReceiver<T>, T), AcceptError> {
        let Self { server, address } = self;
        let sentinel = process.sentinel().ok_or(AcceptError::NoProcess(ProcessError::NotStarted))?;
        // Kept here too: a descriptor that is closed is forgotten by the poller, with its news.
        let waker = Waker::new().map_err(AcceptError::Prepare)?;
        let wake = Wake(waker.clone());
        let mut poller = Poller::new().map_err(AcceptError::Prepare)?;
        poller.add(sentinel, SENTINEL, Interest::Read).map_err(AcceptError::Prepare)?;
        poller.add(waker.as_fd(), CONNECTED, Interest::Read).map_err(AcceptError::Prepare)?;
        let (tell, told) = sync_channel(1);
        let accept = move || {
            let _wake = wake;
            // Nobody listens any more once the time is over.
            tell.send(server.accept()).unwrap_or_default();
        };
        let thread = thread::Builder::new().name("poolctl-accept".to_owned());
        thread.spawn(accept).map_err(AcceptError::Prepare)?;
        let news = wait(&mut poller, limit).map_err(AcceptError::Prepare)?;
        if news != News::Connected {
            // Nobody else will connect: this ends the thread's wait, unless the process has connected before.
            drop(address.connect::<T>());
        }
        let accepted = match news {
            // The one or the other connection is accepted, and neither blocks: their senders are gone.
            News::Connected | News::Ended => told.recv().ok(),
            News::Nothing => told.try_recv().ok(),
        };
        match (accepted, news) {
            (Some(Ok(connected)), _) => Ok(connected),
            (_, News::Nothing) => Err(AcceptError::TimedOut),
            (_, News::Ended) => {
                let exit = process.join().map_err(AcceptError::NoProcess)?;
                Err(AcceptError::Ended { exit })
            }
            (Some(Err(error)), News::Connected) => Err(AcceptError::First { source: Some(error) }),
            (None, News::Connected) => Err(AcceptError::First { source: None }),
        }
    }
}

const SENTINEL: u64 = 0;
const CONNECTED: u64 = 1;

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    /// The thread that accepts has ended.
    Connected,
    /// The process has ended.
    Ended,
    /// Nothing did but the time.
    Nothing,
}

/// Wakes when the thread that has it ends, also by a panic of `ipc-channel`.
struct Wake(Waker);

impl Drop for Wake {
    fn drop(&mut self) {
        self.0.wake();
    }
}

fn wait(poller: &mut Poller, limit: Option<Duration>) -> io::Result<News> {
    let until = limit.map(|limit| now() + limit);
    let mut ready = Vec::new();
    loop {
        let left = until.map(|until| until - now());
        poller.wait(&mut ready, left)?;
        if ready.iter().any(|ready| ready.token == CONNECTED) {
            return Ok(News::Connected);
        }
        if !ready.is_empty() {
            return Ok(News::Ended);
        }
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(News::Nothing);
        }
    }
}

impl<T> fmt::Debug for Listener<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("address", &self.address).finish_non_exhaustive()
    }
}
