//! A command line with places for the item.

use poolctl_supervisor::{ArgumentError, CommandLine, CommandTemplate, Item, Slot};

/// Where the item goes.
const PLACE: &[u8] = b"{}";

/// The kernel's limit for one argument, with its NUL.
const MAX_ARGUMENT_BYTES: usize = 128 << 10;

/// How an item gets into a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passing {
    /// In the place of each `{}`, or as the last argument if there is none.
    Argument,
    /// On stdin.
    Stdin,
}

/// A command line with places for the item.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    pub(crate) argv: Vec<Vec<u8>>,
    pub(crate) passing: Passing,
}

impl CommandTemplate for Template {
    fn program(&self) -> Option<&[u8]> {
        let program = self.argv.first()?;
        (self.passing == Passing::Stdin || find(program).is_none()).then_some(program)
    }

    fn command(&self, _: Item, payload: &[u8], _: Slot) -> Result<CommandLine, ArgumentError> {
        if self.passing == Passing::Stdin {
            return Ok(CommandLine { argv: self.argv.clone(), stdin: Some(payload.to_vec()) });
        }
        if payload.contains(&0) {
            return Err(ArgumentError::Nul);
        }
        let mut argv: Vec<_> = self.argv.iter().map(|argument| filled(argument, payload)).collect();
        if self.argv.iter().all(|argument| find(argument).is_none()) {
            argv.push(payload.to_vec());
        }
        match argv.iter().map(Vec::len).find(|len| *len >= MAX_ARGUMENT_BYTES) {
            Some(len) => Err(ArgumentError::TooLong { len, most: MAX_ARGUMENT_BYTES - 1 }),
            None => Ok(CommandLine { argv, stdin: None }),
        }
    }
}

/// `argument` with the item in each place for it.
fn filled(argument: &[u8], item: &[u8]) -> Vec<u8> {
    let mut filled = Vec::with_capacity(argument.len() + item.len());
    let mut rest = argument;
    while let Some(at) = find(rest) {
        filled.extend_from_slice(&rest[..at]);
        filled.extend_from_slice(item);
        rest = &rest[at + PLACE.len()..];
    }
    filled.extend_from_slice(rest);
    filled
}

fn find(argument: &[u8]) -> Option<usize> {
    argument.windows(PLACE.len()).position(|window| window == PLACE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv_for(argv: &[&str], item: &[u8]) -> Result<Vec<Vec<u8>>, ArgumentError> {
        let argv = argv.iter().map(|argument| argument.as_bytes().to_vec()).collect();
        let template = Template { argv, passing: Passing::Argument };
        template.command(Item(0), item, Slot(0)).map(|line| line.argv)
    }

    #[test]
    fn the_item_takes_each_place_or_the_last() {
        assert_eq!(argv_for(&["cp", "{}", "{}.old{}"], b"a b").unwrap(), [&b"cp"[..], b"a b", b"a b.olda b"]);
        assert_eq!(argv_for(&["echo"], b"{}").unwrap(), [&b"echo"[..], b"{}"]);
    }

    #[test]
    fn what_no_argument_can_hold_is_refused() {
        assert_eq!(argv_for(&["echo"], b"a\0b"), Err(ArgumentError::Nul));
        let long = vec![b'x'; MAX_ARGUMENT_BYTES];
        assert!(matches!(argv_for(&["echo"], &long), Err(ArgumentError::TooLong { .. })));
        assert!(argv_for(&["echo"], &long[1..]).is_ok());
    }
}
