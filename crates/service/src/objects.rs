//! Segments that clients know by name: zeroed memory that each of them maps.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use poolctl_sys::memfd;

use crate::ledger::ClientId;

/// All segments.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    known: HashMap<String, Object>,
    limit: Option<u64>,
    bytes: u64,
}

#[derive(Debug)]
struct Object {
    memfd: Arc<OwnedFd>,
    bytes: u64,
    users: HashSet<ClientId>,
}

/// A segment that is there.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) memfd: Arc<OwnedFd>,
    pub(crate) bytes: u64,
    pub(crate) created: bool,
}

/// Why there is no such segment.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObjectError {
    /// It is there, with another size.
    #[error("there is such an object of {there} bytes, not {wanted}")]
    Size { there: u64, wanted: u64 },
    /// It is not there, and nothing says how large it should be.
    #[error("there is no such object, and `bytes` does not say how large it should be")]
    Unknown,
    /// It would be too much.
    #[error("{wanted} bytes more would go over the limit of {limit}; {used} are in use")]
    Limit { wanted: u64, used: u64, limit: u64 },
    /// The kernel gives none.
    #[error("no memory for {wanted} bytes: {reason}")]
    Memory { wanted: u64, reason: io::Error },
}

impl Objects {
    pub(crate) fn new(limit: Option<u64>) -> Self {
        Self { limit, ..Self::default() }
    }

    /// The segment of this name, made if there is none.
    pub(crate) fn attach(
        &mut self,
        name: String,
        bytes: Option<u64>,
        client: ClientId,
    ) -> Result<Found, ObjectError> {
        if let Some(object) = self.known.get_mut(&name) {
            if let Some(wanted) = bytes.filter(|wanted| *wanted != object.bytes) {
                return Err(ObjectError::Size { there: object.bytes, wanted });
            }
            object.users.insert(client);
            return Ok(Found { memfd: Arc::clone(&object.memfd), bytes: object.bytes, created: false });
        }
        let wanted = bytes.filter(|bytes| *bytes > 0).ok_or(ObjectError::Unknown)?;
        if let Some(limit) = self.limit.filter(|limit| self.bytes.saturating_add(wanted) > *limit) {
            return Err(ObjectError::Limit { wanted, used: self.bytes, limit });
        }
        let memfd = memfd::sealed("poolctl-object", wanted);
        let memfd = Arc::new(memfd.map_err(|reason| ObjectError::Memory { wanted, reason })?);
        self.bytes += wanted;
        let object = Object { memfd: Arc::clone(&memfd), bytes: wanted, users: HashSet::from([client]) };
        self.known.insert(name, object);
        Ok(Found { memfd, bytes: wanted, created: true })
    }

    /// A client is gone: segments that nobody else asked for go too.
    pub(crate) fn forget(&mut self, client: ClientId) {
        let bytes = &mut self.bytes;
        self.known.retain(|_, object| {
            object.users.remove(&client);
            if object.users.is_empty() {
                *bytes -= object.bytes;
            }
            !object.users.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_made_once_and_goes_with_its_last_user() {
        let (one, two) = (ClientId(1), ClientId(2));
        let mut objects = Objects::new(Some(10_000));
        let name = || "grid".to_owned();

        assert!(matches!(objects.attach(name(), None, one), Err(ObjectError::Unknown)));
        assert!(objects.attach(name(), Some(8_000), one).unwrap().created);
        assert!(!objects.attach(name(), None, two).unwrap().created);
        assert!(matches!(objects.attach(name(), Some(9), two), Err(ObjectError::Size { there: 8_000, .. })));
        let other = || "other".to_owned();
        assert!(matches!(objects.attach(other(), Some(8_000), two), Err(ObjectError::Limit { .. })));
        objects.forget(one);
        objects.forget(two);

        assert!(objects.attach(other(), Some(8_000), two).unwrap().created);
    }
}
