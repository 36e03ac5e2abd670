//! A task on every element of a slice of plain data: pieces of it go through shared memory as they are, with no value
//! encoded on the way.
//!
//! Each piece has two parcels, one to read and one to write, which the next piece takes over when it has ended; so few
//! are needed, they stay in the caches, and the pool keeps them for the next slice.

use std::sync::Arc;

use bytemuck::Pod;
use poolctl_supervisor::host::{Call, Handle, Intent, Need, Settled};
use poolctl_supervisor::{Attachment, Block, Parcel, Parcels, Shape};
use poolctl_worker::Task;

use crate::map::CancelOnDrop;
use crate::outcomes::read_alone;
use crate::task_error::{MapError, TaskError};

/// How long a piece is at most, on its longer side, in bytes.
const PIECE_BYTES: usize = 256 << 10;

/// How many pieces are under way at most.
const WINDOW: usize = 16;

/// A map of a slice under way.
#[derive(Debug)]
pub(crate) struct SliceMap<'a, A, B> {
    handle: &'a Handle,
    parcels: &'a Parcels,
    function: Arc<str>,
    input: &'a [A],
    output: &'a mut [B],
    /// Elements in a piece; the last may have fewer.
    piece: usize,
    /// The parcels of pieces under way, by index.
    under_way: Vec<(u64, Luggage)>,
    /// Those of pieces that have ended.
    free: Vec<Luggage>,
    /// The first element known to have failed.
    failed: Option<MapError>,
}

/// Where a piece is read and written.
#[derive(Debug)]
struct Luggage {
    input: Arc<Parcel>,
    output: Arc<Parcel>,
}

impl<'a, A: Pod, B: Pod> SliceMap<'a, A, B> {
    /// `input` and `output` are equally long.
    pub(crate) fn new<T: Task<Args = A, Output = B>>(
        handle: &'a Handle,
        parcels: &'a Parcels,
        input: &'a [A],
        output: &'a mut [B],
    ) -> Self {
        let piece = (PIECE_BYTES / size_of::<A>().max(size_of::<B>()).max(1)).max(1);
        let function = Arc::clone(T::key());
        let (under_way, free) = (Vec::new(), Vec::new());
        Self { handle, parcels, function, input, output, piece, under_way, free, failed: None }
    }

    /// Runs all pieces.
    ///
    /// # Errors
    /// The first element, in their order, that is known to have failed; told when all pieces have ended.
    pub(crate) fn run(mut self) -> Result<(), MapError> {
        let call = Call::unordered();
        let cancel = CancelOnDrop { handle: self.handle, call: &call };
        let count = self.input.len().div_ceil(self.piece) as u64;
        let mut next = 0;
        loop {
            while next < count && self.under_way.len() < WINDOW {
                match self.hand_in(&call, next) {
                    Ok(()) => next += 1,
                    // Those under way will give theirs back.
                    Err(TaskError::NoRoom { .. }) if !self.under_way.is_empty() => break,
                    Err(source) => return Err(MapError { item: self.first(next) as u64, source }),
                }
            }
            let Some((oldest, _)) = self.under_way.first() else { break };
            let item = self.first(*oldest) as u64;
            let fail = |source| MapError { item, source };
            if !self.handle.wait(&call, Need::Any, None).map_err(|why| fail(why.into()))? {
                return Err(fail(TaskError::PoolBroken));
            }
            while !self.under_way.is_empty()
                && let Some((first, settled)) = call.take_any()
            {
                self.settle(first, settled);
            }
        }
        drop(cancel);
        self.failed.map_or(Ok(()), Err)
    }

    /// The first element of a piece.
    fn first(&self, index: u64) -> usize {
        usize::try_from(index).expect("fewer pieces than elements") * self.piece
    }

    /// The elements of a piece.
    fn elements(&self, index: u64) -> std::ops::Range<usize> {
        let first = self.first(index);
        first..self.input.len().min(first + self.piece)
    }

    fn hand_in(&mut self, call: &Arc<Call>, index: u64) -> Result<(), TaskError> {
        let luggage = match self.free.pop() {
            Some(luggage) => luggage,
            None => Luggage {
                input: self.parcel(self.piece * size_of::<A>())?,
                output: self.parcel(self.piece * size_of::<B>())?,
            },
        };
        let elements = &self.input[self.elements(index)];
        let written = luggage.input.write_at(bytemuck::cast_slice(elements), 0);
        written.map_err(|source| TaskError::NotWritten { source })?;
        let mut block =
            Block { function: Some(Arc::clone(&self.function)), shape: Shape::Slices, ..Block::new() };
        let mut item = [0; 16];
        item[8..].copy_from_slice(&(elements.len() as u64).to_le_bytes());
        block.push(&item);
        let input = Attachment::Reader(Arc::clone(&luggage.input));
        let output = Attachment::Writer(Arc::clone(&luggage.output));
        block.attachments.push((0, vec![input, output]));
        self.handle.submit(call, block, Intent::Wait)?;
        self.under_way.push((index, luggage));
        Ok(())
    }

    fn parcel(&self, bytes: usize) -> Result<Arc<Parcel>, TaskError> {
        let taken = self.parcels.take(bytes as u64);
        taken.map(Arc::new).map_err(|source| TaskError::NoRoom { source })
    }

    /// Takes what became of pieces from `first` on; without one it is any.
    fn settle(&mut self, first: Option<u64>, settled: Settled) {
        let first = first.unwrap_or(self.under_way[0].0);
        let count = u64::from(settled.count());
        let outcome = match settled {
            Settled::Run { .. } => Ok(()),
            alone => read_alone(alone, |_| Ok(())),
        };
        let ended = outcome.err();
        for index in first..first + count {
            let Some(place) = self.under_way.iter().position(|(known, _)| *known == index) else { continue };
            let (_, luggage) = self.under_way.remove(place);
            if ended.is_none() {
                let elements = self.elements(index);
                let results = bytemuck::cast_slice_mut(&mut self.output[elements]);
                if let Err(source) = luggage.output.read_at(results, 0) {
                    self.fail(index, TaskError::LostResult { source });
                }
            }
            self.free.push(luggage);
        }
        if let Some(source) = ended {
            self.fail(first, source);
        }
    }

    /// A piece has failed, at its first element unless the error says at which.
    fn fail(&mut self, index: u64, mut source: TaskError) {
        let mut item = self.first(index) as u64;
        if let TaskError::Failed { message, .. } | TaskError::Panicked { message, .. } = &mut source
            && let Some((element, rest)) =
                message.strip_prefix("element ").and_then(|text| text.split_once(": "))
            && let Ok(element) = element.parse::<u64>()
        {
            item += element;
            *message = rest.to_owned();
        }
        if self.failed.as_ref().is_none_or(|known| item < known.item) {
            self.failed = Some(MapError { item, source });
        }
    }
}
