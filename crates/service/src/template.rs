//! The command for an item: its words with `{}` in them, or the item behind them.

use poolctl_supervisor::{ArgumentError, CommandLine, CommandTemplate, Item, Slot};

/// The kernel takes at most so many bytes per argument, the NUL at its end included.
const MAX_ARGUMENT_BYTES: usize = 128 << 10;

/// Stands for the item.
const MARK: &str = "{}";

/// The words of a command.
#[derive(Debug)]
pub(crate) struct Template {
    words: Vec<String>,
}

impl Template {
    pub(crate) fn new(words: Vec<String>) -> Self {
        Self { words }
    }
}

impl CommandTemplate for Template {
    fn program(&self) -> Option<&[u8]> {
        self.words.first().filter(|word| !word.contains(MARK)).map(String::as_bytes)
    }

    fn command(&self, _: Item, payload: &[u8], _: Slot) -> Result<CommandLine, ArgumentError> {
        if payload.contains(&0) {
            return Err(ArgumentError::Nul);
        }
        let mut argv: Vec<Vec<u8>> = self.words.iter().map(|word| filled(word, payload)).collect();
        if !self.words.iter().any(|word| word.contains(MARK)) {
            argv.push(payload.to_vec());
        }
        match argv.iter().map(Vec::len).max() {
            Some(len) if len >= MAX_ARGUMENT_BYTES => {
                Err(ArgumentError::TooLong { len, most: MAX_ARGUMENT_BYTES - 1 })
            }
            _ => Ok(CommandLine { argv, stdin: None }),
        }
    }
}

/// The word with the item in its places.
fn filled(word: &str, item: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = word.split(MARK).map(str::as_bytes).collect();
    parts.join(item)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(words: &[&str], item: &[u8]) -> Result<Vec<Vec<u8>>, ArgumentError> {
        let template = Template::new(words.iter().map(|word| (*word).to_owned()).collect());
        template.command(Item(0), item, Slot(0)).map(|line| line.argv)
    }

    #[test]
    fn the_item_stands_where_it_is_wanted_or_at_the_end() {
        assert_eq!(argv(&["echo", "a{}b{}"], b"x").unwrap(), [&b"echo"[..], b"axbx"]);
        assert_eq!(argv(&["echo", "-n"], b"x y").unwrap(), [&b"echo"[..], b"-n", b"x y"]);
    }

    #[test]
    fn what_no_argument_can_hold_is_refused() {
        assert_eq!(argv(&["echo"], b"a\0b"), Err(ArgumentError::Nul));
        let long = vec![b'x'; MAX_ARGUMENT_BYTES];
        assert!(matches!(argv(&["echo"], &long), Err(ArgumentError::TooLong { .. })));
    }
}
