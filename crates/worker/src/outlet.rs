//! Where a task's result goes: into main bytes that the loop keeps from item to item, or, where it is big, into a
//! parcel that the host grants.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};

use poolctl_protocol::RemoteError;

use crate::failure;
use crate::travel::{Encoder, Way, parcel_base};

/// Who gives segments for big results.
pub trait Grants {
    /// A segment of so many bytes that the host will read from.
    ///
    /// # Errors
    /// There is none; the error is the item's.
    fn grant(&mut self, bytes: u64) -> Result<OwnedFd, RemoteError>;
}

/// What lies in a granted segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// The main bytes, from its beginning.
    pub main: u64,
    /// All.
    pub whole: u64,
}

/// Takes one result at a time.
pub struct Outlet<'a> {
    main: Vec<u8>,
    granted: Option<Granted>,
    grants: &'a mut dyn Grants,
}

impl fmt::Debug for Outlet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { main, granted, grants: _ } = self;
        f.debug_struct("Outlet").field("main", main).field("granted", granted).finish_non_exhaustive()
    }
}

/// What came of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given<'a> {
    /// Its encoded result.
    Bytes(&'a [u8]),
    /// Its result lies in the segment that was granted last.
    Parcel(Granted),
}

impl<'a> Outlet<'a> {
    /// An empty one. `main` is emptied; its memory is used.
    #[inline]
    pub fn new(mut main: Vec<u8>, grants: &'a mut dyn Grants) -> Self {
        main.clear();
        Self { main, granted: None, grants }
    }

    /// Takes the result of an item, in place of what was there.
    ///
    /// # Errors
    /// It cannot be encoded, or there is no room for it.
    #[inline]
    pub fn give<T, W: Way<T>>(&mut self, result: &T, way: W) -> Result<(), RemoteError> {
        self.clear();
        if way.append(result, &mut self.main) {
            return Ok(());
        }
        let mut encoder = Encoder::onto(std::mem::take(&mut self.main));
        way.encode(result, &mut encoder)
            .map_err(|error| failure::lasting("EncodeError", failure::chain(&error)))?;
        if !encoder.is_plain() {
            self.grant(&encoder)?;
        }
        self.main = encoder.into_main();
        Ok(())
    }

    /// Forgets what was given.
    #[inline]
    pub fn clear(&mut self) {
        self.main.clear();
        self.granted = None;
    }

    /// What was given last.
    #[must_use]
    #[inline]
    pub fn given(&self) -> Given<'_> {
        self.granted.map_or(Given::Bytes(&self.main), Given::Parcel)
    }

    /// Moves what was given into a parcel, if it has more bytes than `limit` and is not there yet.
    ///
    /// # Errors
    /// There is no room for it.
    #[inline]
    pub fn limit(&mut self, limit: usize) -> Result<(), RemoteError> {
        if self.main.len() <= limit || self.granted.is_some() {
            return Ok(());
        }
        let encoder = Encoder::onto(std::mem::take(&mut self.main));
        self.grant(&encoder)?;
        self.main = encoder.into_main();
        Ok(())
    }

    /// Where results in JSON are written; to be cleared before.
    #[inline]
    pub fn text(&mut self) -> &mut Vec<u8> {
        &mut self.main
    }

    /// The memory, to be used again.
    #[must_use]
    #[inline]
    pub fn into_main(self) -> Vec<u8> {
        self.main
    }

    #[cold]
    fn grant(&mut self, encoder: &Encoder<'_>) -> Result<(), RemoteError> {
        if !encoder.attachments().is_empty() {
            let msg = "a result cannot carry handles; take them as arguments instead".to_owned();
            return Err(failure::lasting("EncodeError", msg));
        }
        let main = encoder.main().len() as u64;
        let base = parcel_base(main);
        let whole = if encoder.parcel_bytes() > 0 { base + encoder.parcel_bytes() } else { main };
        let segment = self.grants.grant(whole)?;
        poolctl_sys::transfer::write_all_at(segment.as_fd(), encoder.main(), 0)
            .and_then(|()| encoder.write_buffers(segment.as_fd(), base))
            .map_err(|error| failure::passing("ParcelError", failure::chain(&error)))?;
        self.granted = Some(Granted { main, whole });
        Ok(())
    }
}
