//! Items as they come from an input: many in one piece of memory.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::constant::Constant;
use crate::parcels::Parcel;

/// Items in input order, in one allocation.
///
/// Every item is followed by exactly one LF, whatever it holds itself, so that neighbouring one-line items can be
/// handed to a line filter or into a batch as one slice. A block holds at most 4 GiB.
#[derive(Debug, Clone, Default)]
pub struct Block {
    /// The items, each with its LF.
    pub bytes: Vec<u8>,
    /// For each item the offset in `bytes` behind its LF; ascending.
    pub ends: Vec<u32>,
    /// Which function of a native worker runs on them; none: the target's only one.
    pub function: Option<Arc<str>>,
    /// What they are to that function.
    pub shape: Shape,
    /// What a worker needs to have for them.
    pub constant: Option<Arc<Constant>>,
    /// The descriptors that go with an item, by its index; ascending.
    pub attachments: Vec<(u32, Vec<Attachment>)>,
}

/// What the items of a block are to the function of a native worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// Its arguments.
    #[default]
    Values,
    /// Pieces of a slice: start and length in elements, two little-endian u64. The first attachment is the slice that is
    /// read, the second the one that is written.
    Slices,
}

/// Whatever has a descriptor. What else it has stays as long as the item may still be sent.
pub trait Descriptor: AsFd + fmt::Debug + Send + Sync {}

impl<T: AsFd + fmt::Debug + Send + Sync> Descriptor for T {}

/// A descriptor that goes to a native worker together with an item.
#[derive(Debug, Clone)]
pub enum Attachment {
    /// Any file.
    File(Arc<dyn Descriptor>),
    /// A parcel, to be read.
    Reader(Arc<Parcel>),
    /// A parcel, to be written too.
    Writer(Arc<Parcel>),
}

impl Attachment {
    /// A descriptor that can do no more than is meant, where it has to be opened for that. It is open only while it is
    /// sent: an item that waits holds one descriptor for its parcel, not two.
    pub(crate) fn narrowed(&self) -> Option<OwnedFd> {
        match self {
            // With no descriptor left the one that is there has to do: narrowing guards against mistakes alone.
            Attachment::Reader(parcel) => parcel.reader().ok(),
            Attachment::File(_) | Attachment::Writer(_) => None,
        }
    }
}

impl AsFd for Attachment {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Attachment::File(file) => file.as_fd(),
            Attachment::Reader(parcel) | Attachment::Writer(parcel) => parcel.writer(),
        }
    }
}

impl Block {
    /// A block without items.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one item.
    ///
    /// # Panics
    /// If the block would grow over 4 GiB.
    pub fn push(&mut self, item: &[u8]) {
        self.bytes.extend_from_slice(item);
        self.bytes.push(b'\n');
        self.ends.push(u32::try_from(self.bytes.len()).expect("a block holds at most 4 GiB"));
    }

    /// How many items there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The bytes of all items with their LFs.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// What it takes of the memory that is there for items in flight: their bytes, and those of their parcels.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.byte_len() + self.parcel_bytes()
    }

    /// The bytes that lie in parcels for its items to be read.
    pub(crate) fn parcel_bytes(&self) -> usize {
        self.parcels().map(|parcel| usize::try_from(parcel.bytes()).unwrap_or(usize::MAX)).sum()
    }

    /// The parcels for its items to be read.
    pub(crate) fn parcels(&self) -> impl Iterator<Item = &Parcel> {
        let attachments = self.attachments.iter().flat_map(|(_, attachments)| attachments);
        attachments.filter_map(|attachment| match attachment {
            Attachment::Reader(parcel) => Some(&**parcel),
            Attachment::File(_) | Attachment::Writer(_) => None,
        })
    }

    /// Item `index` without its LF.
    ///
    /// # Panics
    /// If there is no such item.
    #[must_use]
    pub fn item(&self, index: usize) -> &[u8] {
        &self.bytes[self.start(index) as usize..self.ends[index] as usize - 1]
    }

    /// A block of `count` of its items from `from` on, with all that belongs to them.
    ///
    /// # Panics
    /// If there are not so many.
    #[must_use]
    pub fn copy_of(&self, from: usize, count: usize) -> Self {
        let start = self.start(from);
        let within = |at: u32| (from..from + count).contains(&(at as usize));
        let index = |at: u32| at - u32::try_from(from).expect("fewer items than bytes");
        let attachments = self.attachments.iter().filter(|(at, _)| within(*at));
        Self {
            bytes: self.slice(from, from + count).to_vec(),
            ends: self.ends[from..from + count].iter().map(|end| end - start).collect(),
            function: self.function.clone(),
            shape: self.shape,
            constant: self.constant.clone(),
            attachments: attachments.map(|(at, with)| (index(*at), with.clone())).collect(),
        }
    }

    /// Puts the items of `other`, which run the same function, behind those here.
    ///
    /// # Panics
    /// If the block would grow over 4 GiB.
    pub(crate) fn append(&mut self, other: &Block) {
        let (items, bytes) = (self.ends.len(), self.bytes.len());
        self.bytes.extend_from_slice(&other.bytes);
        let end = |end: &u32| u32::try_from(bytes + *end as usize).expect("a block holds at most 4 GiB");
        self.ends.extend(other.ends.iter().map(end));
        let index = |index: &u32| u32::try_from(items).expect("fewer items than bytes") + index;
        self.attachments.extend(other.attachments.iter().map(|(at, with)| (index(at), with.clone())));
    }

    /// Lets all items go and keeps the memory, and what runs on them.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.attachments.clear();
    }

    /// Whether items of `other` could stand in this block.
    pub(crate) fn is_like(&self, other: &Block) -> bool {
        let is_same = match (&self.constant, &other.constant) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        self.function == other.function && self.shape == other.shape && is_same
    }

    /// The descriptors that go with item `index`.
    pub(crate) fn attachments(&self, index: usize) -> &[Attachment] {
        let found = self.attachments.binary_search_by_key(&index, |(at, _)| *at as usize);
        found.map_or(&[], |at| &self.attachments[at].1)
    }

    /// How many items from `index` on have no descriptors; none: no further item has any.
    pub(crate) fn next_attachment(&self, index: usize) -> Option<u32> {
        let next = self.attachments.partition_point(|(at, _)| (*at as usize) < index);
        let (at, _) = self.attachments.get(next)?;
        Some(at - u32::try_from(index).unwrap_or_default())
    }

    /// Items `from..to`, each with its LF.
    pub(crate) fn slice(&self, from: usize, to: usize) -> &[u8] {
        &self.bytes[self.start(from) as usize..self.start(to) as usize]
    }

    /// Where item `index` begins.
    pub(crate) fn start(&self, index: usize) -> u32 {
        if index == 0 { 0 } else { self.ends[index - 1] }
    }
}
