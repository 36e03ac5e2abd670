//! Lazy in and lazy out: items are taken as their outcomes are wanted.

mod feed;
mod ordered;
mod unordered;

pub use self::ordered::Imap;
pub use self::unordered::ImapUnordered;

pub(crate) use self::feed::Feed;
