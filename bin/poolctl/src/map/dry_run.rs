//! `--dry-run`: each argv as JSON, and nothing runs.

use std::io::{self, BufWriter, Write};

use poolctl_supervisor::{ArgumentError, CommandTemplate};
use poolctl_types::{ExitCode, Item, Slot};

use super::plan::{Plan, Run, input_failure};
use crate::failure::Failure;

/// An item that cannot be made into a command.
#[derive(Debug, thiserror::Error)]
#[error("item {item} cannot be made into a command")]
struct NoCommand {
    item: Item,
    source: ArgumentError,
}

/// Prints what would run.
pub(super) fn print(plan: Plan) -> Result<ExitCode, Failure> {
    let Run::Command(template) = &plan.run else {
        unreachable!("--dry-run is refused for other targets");
    };
    let mut input = plan.input.open(plan.steps).map_err(input_failure)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut item = Item(0);
    loop {
        let (block, error) = input.next();
        for index in 0..block.len() {
            let slot =
                Slot(u32::try_from(item.0 % u64::from(plan.engine.slots)).expect("less than the slots"));
            let command = template
                .command(item, block.item(index), slot)
                .map_err(|source| Failure::new(ExitCode::BadInput, NoCommand { item, source }))?;
            if let Err(error) = put(&mut out, &command.argv) {
                return refused(error);
            }
            item = item.plus(1);
        }
        match error {
            Some(error) => {
                drop(out.flush());
                return Err(input_failure(error));
            }
            None if block.is_empty() => break,
            None => {}
        }
    }
    match out.flush() {
        Ok(()) => Ok(ExitCode::Ok),
        Err(error) => refused(error),
    }
}

fn put(to: &mut impl Write, argv: &[Vec<u8>]) -> io::Result<()> {
    let words: Vec<_> = argv.iter().map(|word| String::from_utf8_lossy(word)).collect();
    serde_json::to_writer(&mut *to, &words)?;
    to.write_all(b"\n")
}

fn refused(error: io::Error) -> Result<ExitCode, Failure> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(ExitCode::ReaderGone),
        _ => Err(Failure::new(ExitCode::OutputError, error)),
    }
}
