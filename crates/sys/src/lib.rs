//! The only code of poolctl that speaks to the operating system: descriptors, processes, signals, clocks.
//!
//! What: small owners of kernel objects (an epoll, a pidfd, a packet socket …) and the spawning of processes.
//! Why: everything above is `forbid(unsafe_code)`, so every duty the compiler cannot check is met here, beside the
//! call that has it. Border: nothing here knows of pools, workers or items, and nothing here decides anything.
//!
//! Every descriptor made here is close-on-exec; only [`spawn`] gives descriptors to another program, by listing
//! them. Interrupted calls are made again.

pub mod advice;
pub mod affinity;
pub mod ancillary;
pub mod clock;
pub mod cpu;
pub mod file_lock;
pub mod fork_mark;
pub mod futex;
pub mod inherited;
pub mod limits;
pub mod listening;
pub mod mapping;
pub mod memfd;
pub mod named;
pub mod packet;
pub mod pidfd;
pub mod pipe;
pub mod poller;
pub mod process;
pub mod ready;
pub mod rest;
pub mod signals;
pub mod spawn;
pub mod transfer;
mod wait;
pub mod waker;
