//! Lists of small mixed values in shared memory.
//!
//! # Layout
//! Words of 8 bytes: for each item where it begins, and where the last one ends; then the items. An item is a version and
//! two copies of it, each a word for its kind and length and then its bytes. The copy that counts is that of the version's
//! last bit.
//!
//! # Protocol
//! A writer, under the list's lock, writes the copy that does not count, then stores the next version: that commits it. A
//! reader takes no lock: it reads the version, the copy, and the version again; if that changed, it looks again. Only two
//! writes in the meantime can have touched what it read.
//!
//! # If a process dies
//! Before its store of the version it has changed nothing, after it everything: the next owner of the lock has nothing to
//! mend.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use poolctl_shm::SharedCells;
use poolctl_sync::LockError;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::lock::{Lock, LockGuard};
use super::object::ObjectError;
use super::{Travelled, Travelling};

/// How often a reader looks without the lock.
const LOOKS: usize = 100;
/// Bytes that there are for an item at least: a number.
const LEAST_ROOM: usize = 8;

/// A list of a fixed number of small values of mixed kinds, which processes share.
///
/// - As that of `multiprocessing.shared_memory`: every item can be replaced by one of another kind; texts and bytes have
///   the room of the first one, rounded up to 8 bytes, or of [`ShareableList::with_room`].
/// - It is given to other processes as (part of) an argument; clones, and what a process gets, are the same list.
/// - An item is seen as it was before a change or as it is after it, never half, whoever dies. Reading takes no lock.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use poolctl::{ShareableItem, ShareableList};
///
/// let list = ShareableList::new(["red".into(), 7.into(), 0.5.into(), ShareableItem::None])?;
/// list.set(0, "blue")?;
/// list.update(1, |item| (item.as_int().unwrap_or(0) + 1).into())?;
/// assert_eq!(list.to_vec()?, ["blue".into(), 8.into(), 0.5.into(), ShareableItem::None]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ShareableList {
    cells: SharedCells<AtomicU64>,
    lock: Lock,
    len: usize,
}

/// What a [`ShareableList`] can hold. Made [`From`] each of them.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ShareableItem {
    /// Nothing.
    None,
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Str(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// Why an item was not read or not replaced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShareableListError {
    /// There are not so many.
    #[error("no item {index} in a list of {len}")]
    NoItem {
        /// Which was asked for, counted from 0.
        index: usize,
        /// How many there are.
        len: usize,
    },
    /// It does not fit; nothing was changed.
    #[error("{bytes} bytes are more than the {room} that item {index} has room for")]
    TooLong {
        /// Which item.
        index: usize,
        /// How many bytes it would take.
        bytes: usize,
        /// How many it can take.
        room: usize,
    },
    /// A process that does not keep to the rules has written into it.
    #[error("item {index} of the list is damaged")]
    Damaged {
        /// Which item.
        index: usize,
    },
    /// Its lock could not be taken.
    #[error("failed to lock the list")]
    Lock(#[from] LockError),
}

/// Where an item is.
struct Cells<'a> {
    version: &'a AtomicU64,
    copies: [&'a [AtomicU64]; 2],
}

impl ShareableList {
    /// A list of these items.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn new(items: impl IntoIterator<Item = ShareableItem>) -> Result<Self, ObjectError> {
        Self::with_room(items, LEAST_ROOM)
    }

    /// A list of these items, each with room for a text of at least so many bytes.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn with_room(
        items: impl IntoIterator<Item = ShareableItem>,
        bytes: usize,
    ) -> Result<Self, ObjectError> {
        let items: Vec<ShareableItem> = items.into_iter().collect();
        let mut begins = Vec::with_capacity(items.len() + 1);
        let mut end = items.len() + 1;
        for item in &items {
            begins.push(end);
            let room = item.bytes().len().max(bytes).max(LEAST_ROOM).div_ceil(8);
            end = end.saturating_add(room.saturating_add(1).saturating_mul(2)).saturating_add(1);
        }
        begins.push(end);
        let list = Self { cells: SharedCells::new(end)?, lock: Lock::new()?, len: items.len() };
        for (cell, begin) in list.cells.cells().iter().zip(begins) {
            cell.store(begin as u64, Ordering::Relaxed);
        }
        for (index, item) in items.iter().enumerate() {
            list.cells_of(index).into_iter().for_each(|cells| cells.write(item.kind(), &item.bytes()));
        }
        Ok(list)
    }

    /// How many items there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many bytes of text an item has room for.
    ///
    /// # Errors
    /// [`ShareableListError::NoItem`], [`ShareableListError::Damaged`].
    pub fn room(&self, index: usize) -> Result<usize, ShareableListError> {
        Ok(self.item(index)?.room())
    }

    /// A copy of an item.
    ///
    /// # Errors
    /// [`ShareableListError`].
    pub fn get(&self, index: usize) -> Result<ShareableItem, ShareableListError> {
        let item = self.item(index)?;
        let read = match (0..LOOKS).find_map(|_| item.look()) {
            Some(read) => read,
            // It changes all the time.
            None => {
                let _turn = self.turn()?;
                item.look().flatten()
            }
        };
        read.ok_or(ShareableListError::Damaged { index })
    }

    /// Replaces an item.
    ///
    /// # Errors
    /// [`ShareableListError`]; then nothing was changed.
    pub fn set(&self, index: usize, item: impl Into<ShareableItem>) -> Result<(), ShareableListError> {
        let item = item.into();
        self.item(index)?;
        let _turn = self.turn()?;
        self.put(index, &item)
    }

    /// Replaces an item by what `change` makes of it, in one step: nobody else changes the list meanwhile. Answers what it
    /// was before.
    ///
    /// # Errors
    /// [`ShareableListError`]; then nothing was changed.
    pub fn update(
        &self,
        index: usize,
        change: impl FnOnce(&ShareableItem) -> ShareableItem,
    ) -> Result<ShareableItem, ShareableListError> {
        let item = self.item(index)?;
        let _turn = self.turn()?;
        let before = item.look().flatten().ok_or(ShareableListError::Damaged { index })?;
        self.put(index, &change(&before))?;
        Ok(before)
    }

    /// A copy of all items; others may change some while it is made.
    ///
    /// # Errors
    /// [`ShareableListError`].
    pub fn to_vec(&self) -> Result<Vec<ShareableItem>, ShareableListError> {
        (0..self.len).map(|index| self.get(index)).collect()
    }

    /// The first item that is this one.
    ///
    /// # Errors
    /// [`ShareableListError`].
    pub fn index(&self, item: &ShareableItem) -> Result<Option<usize>, ShareableListError> {
        Ok(self.to_vec()?.iter().position(|one| one == item))
    }

    /// How many items are this one.
    ///
    /// # Errors
    /// [`ShareableListError`].
    pub fn count(&self, item: &ShareableItem) -> Result<usize, ShareableListError> {
        Ok(self.to_vec()?.iter().filter(|one| *one == item).count())
    }

    /// Keeps other writers out. What a dead one had not committed was never there.
    fn turn(&self) -> Result<LockGuard<'_>, LockError> {
        let mut turn = self.lock.acquire()?;
        if turn.recovered() {
            turn.make_consistent();
        }
        Ok(turn)
    }

    /// Under the lock.
    fn put(&self, index: usize, item: &ShareableItem) -> Result<(), ShareableListError> {
        let cells = self.item(index)?;
        let (bytes, room) = (item.bytes(), cells.room());
        if bytes.len() > room {
            return Err(ShareableListError::TooLong { index, bytes: bytes.len(), room });
        }
        cells.write(item.kind(), &bytes);
        Ok(())
    }

    fn item(&self, index: usize) -> Result<Cells<'_>, ShareableListError> {
        if index >= self.len {
            return Err(ShareableListError::NoItem { index, len: self.len });
        }
        self.cells_of(index).ok_or(ShareableListError::Damaged { index })
    }

    /// `None` if what the segment says of it cannot be.
    fn cells_of(&self, index: usize) -> Option<Cells<'_>> {
        let cells = self.cells.cells();
        let begins = |index: usize| usize::try_from(cells.get(index)?.load(Ordering::Relaxed)).ok();
        let (begin, end) = (begins(index)?, begins(index + 1)?);
        let (version, copies) = cells.get(begin..end)?.split_first()?;
        let (first, second) = copies.split_at(copies.len() / 2);
        (first.len() > 1 && first.len() == second.len()).then_some(Cells { version, copies: [first, second] })
    }
}

impl Cells<'_> {
    fn room(&self) -> usize {
        (self.copies[0].len() - 1) * 8
    }

    fn copy(&self, version: u64) -> &[AtomicU64] {
        self.copies[usize::from(version % 2 == 1)]
    }

    fn write(&self, kind: u64, bytes: &[u8]) {
        let next = self.version.load(Ordering::Relaxed).wrapping_add(1);
        let copy = self.copy(next);
        // Against the fence in `look`: who reads any of what follows sees that the last version was over.
        fence(Ordering::Release);
        copy[0].store(kind | (bytes.len() as u64) << 8, Ordering::Relaxed);
        for (cell, bytes) in copy[1..].iter().zip(bytes.chunks(8)) {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            cell.store(u64::from_le_bytes(word), Ordering::Relaxed);
        }
        // Release: the copy is there before it counts.
        self.version.store(next, Ordering::Release);
    }

    /// The item, unless it changed meanwhile; inside of that `None` if there is none that could be.
    fn look(&self) -> Option<Option<ShareableItem>> {
        let version = self.version.load(Ordering::Acquire);
        let copy = self.copy(version);
        let head = copy[0].load(Ordering::Relaxed);
        let words = copy[1..].iter().map(|cell| cell.load(Ordering::Relaxed));
        let len = usize::try_from(head >> 8).unwrap_or(usize::MAX);
        let mut bytes: Vec<u8> = words.take(len.div_ceil(8)).flat_map(u64::to_le_bytes).collect();
        // Against the fence in `write`.
        fence(Ordering::Acquire);
        if self.version.load(Ordering::Relaxed) != version {
            return None;
        }
        bytes.truncate(len);
        Some((bytes.len() == len).then(|| ShareableItem::from_parts(head & 0xff, bytes)).flatten())
    }
}

impl ShareableItem {
    /// The whole number that it is, if it is one.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        if let Self::Int(number) = self { Some(*number) } else { None }
    }

    /// The number that it is, if it is one.
    #[must_use]
    pub fn as_float(&self) -> Option<f64> {
        if let Self::Float(number) = self { Some(*number) } else { None }
    }

    /// The text that it is, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::Str(text) = self { Some(text) } else { None }
    }

    fn kind(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Bool(_) => 1,
            Self::Int(_) => 2,
            Self::Float(_) => 3,
            Self::Str(_) => 4,
            Self::Bytes(_) => 5,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            Self::Bool(is) => vec![u8::from(*is)],
            Self::Int(number) => number.to_le_bytes().into(),
            Self::Float(number) => number.to_le_bytes().into(),
            Self::Str(text) => text.as_bytes().into(),
            Self::Bytes(bytes) => bytes.clone(),
        }
    }

    fn from_parts(kind: u64, bytes: Vec<u8>) -> Option<Self> {
        Some(match kind {
            0 if bytes.is_empty() => Self::None,
            1 => Self::Bool(<[u8; 1]>::try_from(bytes).ok()? != [0]),
            2 => Self::Int(i64::from_le_bytes(bytes.try_into().ok()?)),
            3 => Self::Float(f64::from_le_bytes(bytes.try_into().ok()?)),
            4 => Self::Str(String::from_utf8(bytes).ok()?),
            5 => Self::Bytes(bytes),
            _ => return None,
        })
    }
}

macro_rules! from {
    ($($from:ty => $kind:ident),*) => {$(
        impl From<$from> for ShareableItem {
            fn from(item: $from) -> Self {
                Self::$kind(item.into())
            }
        }
    )*};
}
from!(bool => Bool, i64 => Int, i32 => Int, u32 => Int, f64 => Float, f32 => Float, String => Str, &str => Str,
    Vec<u8> => Bytes, &[u8] => Bytes);

impl fmt::Debug for ShareableList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries((0..self.len).map(|index| self.get(index))).finish()
    }
}

impl Serialize for ShareableList {
    /// As an argument of a task or process alone; anything else is an error.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (Travelling(&self.cells), &self.lock, self.len as u64).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ShareableList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (Travelled(cells), lock, len): (_, Lock, u64) = Deserialize::deserialize(deserializer)?;
        let len = usize::try_from(len).map_err(de::Error::custom)?;
        Ok(Self { cells, lock, len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> ShareableList {
        let items = [
            ShareableItem::None,
            true.into(),
            (-3).into(),
            0.25.into(),
            "nine byte".into(),
            b"\0a\0".as_slice().into(),
            "".into(),
        ];
        ShareableList::new(items).expect("there is room")
    }

    #[test]
    fn what_was_put_is_there_whatever_its_kind() {
        let list = list();

        assert_eq!(list.get(0).unwrap(), ShareableItem::None);
        assert_eq!(list.get(1).unwrap(), true.into());
        assert_eq!(list.get(2).unwrap().as_int(), Some(-3));
        assert_eq!(list.get(3).unwrap().as_float(), Some(0.25));
        assert_eq!(list.get(4).unwrap().as_str(), Some("nine byte"));
        assert_eq!(list.get(5).unwrap(), ShareableItem::Bytes(vec![0, b'a', 0]));
        assert_eq!(list.get(6).unwrap().as_str(), Some(""));
        assert_eq!(
            (list.len(), list.index(&"".into()).unwrap(), list.count(&7.into()).unwrap()),
            (7, Some(6), 0)
        );
    }

    #[test]
    fn an_item_becomes_another_kind_if_it_fits() {
        let list = list();

        list.set(0, "8 bytes!").unwrap();
        list.set(4, 1).unwrap();
        let long = list.set(4, "seventeen bytes!!").unwrap_err();

        assert_eq!(list.get(0).unwrap(), "8 bytes!".into());
        assert_eq!(list.get(4).unwrap(), 1.into());
        assert_eq!(long.to_string(), "17 bytes are more than the 16 that item 4 has room for");
        assert_eq!(list.get(7).unwrap_err().to_string(), "no item 7 in a list of 7");
        assert_eq!(ShareableList::with_room(["a".into()], 100).unwrap().room(0).unwrap(), 104);
    }

    #[test]
    fn changes_in_one_step_are_all_there() {
        let list = ShareableList::new([0.into()]).expect("there is room");

        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        list.update(0, |item| (item.as_int().expect("it is one") + 1).into())
                            .expect("it works");
                    }
                });
            }
        });

        assert_eq!(list.get(0).unwrap(), 3000.into());
    }

    #[test]
    fn nobody_sees_half_of_an_item() {
        let list = ShareableList::new(["x".repeat(100).into()]).expect("there is room");

        std::thread::scope(|scope| {
            let writing = scope.spawn(|| {
                for letter in ["a", "b", "cc", "d"].iter().cycle().take(40_000) {
                    list.set(0, letter.repeat(50)).expect("it fits");
                }
            });
            while !writing.is_finished() {
                let item = list.get(0).expect("it is there");
                let text = item.as_str().expect("it is one").as_bytes();
                assert!(text.iter().all(|byte| *byte == text[0]), "{item:?}");
                assert_eq!(
                    text.len(),
                    match text[0] {
                        b'x' | b'c' => 100,
                        _ => 50,
                    }
                );
            }
        });
    }

    #[test]
    fn damage_is_told_and_leads_nowhere() {
        for (at, value) in [(0, u64::MAX), (0, 0), (1, 3), (3, 1 << 63)] {
            let list = ShareableList::new([7.into()]).expect("there is room");
            list.cells.cells()[at].store(value, Ordering::Relaxed);
            list.cells.cells()[2].store(0, Ordering::Relaxed);

            let got = list.get(0);

            assert!(matches!(got, Err(ShareableListError::Damaged { index: 0 })), "{at} {value}: {got:?}");
        }
    }
}
