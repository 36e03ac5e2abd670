//! What many items need and each worker gets once.

use std::fmt;
use std::sync::Arc;

use crate::block::Descriptor;

/// Bytes that tasks name by a key, and that a worker gets before the first of them: a callable, and what it carries.
///
/// Workers keep it until nobody here does any more.
pub struct Constant {
    key: Arc<str>,
    content: Content,
}

/// Where the bytes are.
#[derive(Debug, Clone)]
pub enum Content {
    /// Here.
    Bytes(Arc<[u8]>),
    /// In a file in memory that nobody can change.
    Memfd(Arc<dyn Descriptor>),
}

impl Constant {
    /// The constant `key`, which no other constant of the pool is called.
    #[must_use]
    pub fn new(key: &str, content: Content) -> Self {
        Self { key: key.into(), content }
    }

    /// What tasks call it.
    #[must_use]
    pub fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// Its bytes.
    #[must_use]
    pub fn content(&self) -> &Content {
        &self.content
    }
}

impl fmt::Debug for Constant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Constant").field(&self.key).finish()
    }
}
