//! The input: from files, stdin or words to blocks of items, on a thread of its own.
//!
//! A *feed* yields raw records in blocks; *steps* check, encode, group and leave out; the reader thread sends the
//! blocks through a bounded channel and wakes the loop. Nothing is read ahead of what the channel holds.

mod error;
mod fields;
mod group;
mod json;
mod lists;
mod pipe_blocks;
mod records;
mod skip;
mod steps;

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use poolctl_supervisor::{Block, Waker};

use super::items::Source;
use super::template::FieldNames;

pub(crate) use error::InputError;
pub(crate) use error::Origin;
pub(crate) use group::Grouping;
pub(crate) use skip::Skip;
pub(crate) use steps::{Encoding, Steps};

use lists::ListFeed;
use pipe_blocks::PipeFeed;
use records::RecordFeed;

/// How many blocks may lie between the reader thread and the loop.
const BLOCKS_AHEAD: usize = 4;

/// What the reader thread sends.
#[derive(Debug)]
pub(crate) enum Intake {
    /// Further items.
    Items(Block),
    /// No item follows.
    End,
    /// No item follows, because the input cannot be used from here on.
    Failed(InputError),
}

/// Yields raw records.
pub(crate) trait Feed: Send {
    /// The next records; none at the end. Blocks while there are none yet, and returns what is there as soon as
    /// something is.
    fn next(&mut self) -> Result<Option<Block>, InputError>;
}

/// How the input is cut and put together.
#[derive(Debug, Clone)]
pub(crate) struct InputPlan {
    /// The lists of items; at least one.
    pub(crate) sources: Vec<Source>,
    /// What ends a record.
    pub(crate) delimiter: Vec<u8>,
    /// Whether several lists are paired instead of combined.
    pub(crate) link: bool,
    /// How stdin is cut for `--pipe`.
    pub(crate) pipe: Option<PipeCut>,
    /// How a record is cut into fields.
    pub(crate) columns: Option<Columns>,
    /// Whether the first record names the fields, and where the names go.
    pub(crate) header: Option<FieldNames>,
}

/// Where `--pipe` cuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PipeCut {
    /// After about so many bytes.
    Bytes(usize),
    /// After so many records.
    Records(u64),
}

/// How a record is cut into fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Columns {
    /// Comma-separated values (RFC 4180).
    Csv,
    /// Wherever these bytes stand.
    Separated(Vec<u8>),
}

/// The whole way from the input to finished blocks.
pub(crate) struct Input {
    feed: Box<dyn Feed>,
    steps: Steps,
    over: bool,
}

impl InputPlan {
    /// Opens the sources.
    ///
    /// # Errors
    /// A file cannot be opened, or one of several lists cannot be read.
    pub(crate) fn open(&self, mut steps: Steps) -> Result<Input, InputError> {
        let feed: Box<dyn Feed> = match (&self.sources[..], self.pipe) {
            ([source], Some(cut)) => {
                let (file, origin) = open(source)?;
                Box::new(PipeFeed::new(file, origin, self.delimiter.clone(), cut))
            }
            ([Source::Words(words)], None) => Box::new(ListFeed::words(words.clone())),
            ([source], None) => {
                let (file, origin) = open(source)?;
                let origin = if self.delimiter == b"\n" { origin.lines() } else { origin };
                steps.origin = origin.clone();
                let records = RecordFeed::new(Box::new(file), origin, self.delimiter.clone());
                match &self.columns {
                    None => Box::new(records),
                    Some(columns) => {
                        Box::new(fields::FieldFeed::new(records, columns.clone(), self.header.clone()))
                    }
                }
            }
            (several, _) => {
                let lists: Result<Vec<_>, _> = several.iter().map(|source| self.whole(source)).collect();
                Box::new(ListFeed::combined(lists?, self.link))
            }
        };
        Ok(Input { feed, steps, over: false })
    }

    /// Whether items are read from a terminal, so that a person should be told.
    pub(crate) fn reads_terminal(&self) -> bool {
        self.sources.contains(&Source::Stdin) && io::stdin().is_terminal()
    }

    /// All items of a list.
    fn whole(&self, source: &Source) -> Result<Vec<Vec<u8>>, InputError> {
        if let Source::Words(words) = source {
            return Ok(words.clone());
        }
        let (file, origin) = open(source)?;
        let mut feed = RecordFeed::new(Box::new(file), origin, self.delimiter.clone());
        let mut items = Vec::new();
        while let Some(block) = feed.next()? {
            items.extend((0..block.len()).map(|index| block.item(index).to_vec()));
        }
        Ok(items)
    }
}

fn open(source: &Source) -> Result<(File, Origin), InputError> {
    let (name, file) = match source {
        Source::File(path) => {
            let name = path.display().to_string();
            let opened = File::open(path).and_then(|file| match file.metadata()?.is_dir() {
                true => Err(io::ErrorKind::IsADirectory.into()),
                false => Ok(file),
            });
            match opened {
                Ok(file) => (name, file),
                Err(source) => return Err(InputError::Open { path: PathBuf::from(path), source }),
            }
        }
        // Not through `Stdin`, whose buffer would cost a copy and hold back what is there.
        _ => match io::stdin().as_fd().try_clone_to_owned() {
            Ok(fd) => ("stdin".to_owned(), File::from(fd)),
            Err(source) => return Err(InputError::Read { name: "stdin".to_owned(), source }),
        },
    };
    Ok((file, Origin::Records(name)))
}

impl Input {
    /// The next finished items, and the error that ends them. An empty block with no error is the end.
    pub(crate) fn next(&mut self) -> (Block, Option<InputError>) {
        while !self.over {
            match self.feed.next() {
                Ok(Some(block)) => {
                    let (block, error) = self.steps.apply(block);
                    if error.is_some() {
                        return self.finish(block, error);
                    }
                    if !block.is_empty() {
                        return (block, None);
                    }
                }
                Ok(None) => return self.finish(Block::new(), None),
                Err(error) => return self.finish(Block::new(), Some(error)),
            }
        }
        (Block::new(), None)
    }

    fn finish(&mut self, mut block: Block, error: Option<InputError>) -> (Block, Option<InputError>) {
        self.over = true;
        self.steps.finish(&mut block);
        (block, error)
    }

    /// Reads on a thread of its own until the end, an error, or until nobody listens any more.
    ///
    /// # Errors
    /// The thread cannot be made.
    pub(crate) fn start(self, waker: Waker) -> io::Result<Receiver<Intake>> {
        let (sender, receiver) = sync_channel(BLOCKS_AHEAD);
        thread::Builder::new().name("reader".to_owned()).spawn(move || self.read(&sender, &waker))?;
        Ok(receiver)
    }

    fn read(mut self, sender: &SyncSender<Intake>, waker: &Waker) {
        loop {
            let (block, error) = self.next();
            let last = block.is_empty();
            if !last && sender.send(Intake::Items(block)).is_err() {
                return;
            }
            let end = match error {
                Some(error) => Some(Intake::Failed(error)),
                None => last.then_some(Intake::End),
            };
            let over = end.is_some();
            if end.is_some_and(|end| sender.send(end).is_err()) {
                return;
            }
            waker.wake();
            if over {
                return;
            }
        }
    }
}
