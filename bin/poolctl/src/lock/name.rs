//! What locks and semaphores are called, and the files that stand for them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest name, so that what is put before it still fits a file name (255 bytes).
const MAX_BYTES: usize = 200;

/// The name of a lock or a semaphore: any text of 1 to 200 bytes without `/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Name(String);

/// A text that cannot be a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadName {
    #[error("a name cannot be empty")]
    Empty,
    #[error("a name of {bytes} bytes is too long; {MAX_BYTES} are allowed")]
    TooLong { bytes: usize },
    #[error("a name cannot hold `/` or NUL: it is no path")]
    Separator,
}

impl FromStr for Name {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        match text {
            "" => Err(BadName::Empty),
            _ if text.len() > MAX_BYTES => Err(BadName::TooLong { bytes: text.len() }),
            _ if text.contains(['/', '\0']) => Err(BadName::Separator),
            _ => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for Name {
    /// Without bytes that a terminal would obey.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| {
            if c.is_control() { write!(f, "{}", c.escape_debug()) } else { write!(f, "{c}") }
        })
    }
}

/// Which of the two an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Lock,
    Semaphore,
}

/// A lock or a semaphore.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Object {
    pub(crate) kind: Kind,
    pub(crate) name: Name,
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Lock => write!(f, "lock `{}`", self.name),
            Kind::Semaphore => write!(f, "semaphore `{}`", self.name),
        }
    }
}

/// What a file of the directory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A lock.
    Lock(Name),
    /// Where those wait who find no permit of a semaphore.
    Gate(Name),
    /// One permit of a semaphore.
    Permit(Name, u32),
    /// Somebody waits; which process is in its name.
    Wait(String),
}

impl Entry {
    /// The entry of this file name, if it is one of ours.
    pub(crate) fn parse(file_name: &str) -> Option<Self> {
        let (kind, rest) = file_name.split_once(':')?;
        Some(match kind {
            "lock" => Self::Lock(rest.parse().ok()?),
            "gate" => Self::Gate(rest.parse().ok()?),
            "permit" => {
                let (number, name) = rest.split_once(':')?;
                Self::Permit(name.parse().ok()?, number.parse().ok()?)
            }
            "wait" => Self::Wait(rest.to_owned()),
            _ => return None,
        })
    }

    /// The lock or semaphore that it belongs to; none for who waits.
    pub(crate) fn object(&self) -> Option<Object> {
        match self {
            Self::Lock(name) => Some(Object { kind: Kind::Lock, name: name.clone() }),
            Self::Gate(name) | Self::Permit(name, _) => {
                Some(Object { kind: Kind::Semaphore, name: name.clone() })
            }
            Self::Wait(_) => None,
        }
    }
}

impl fmt::Display for Entry {
    /// The file name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lock(name) => write!(f, "lock:{}", name.0),
            Self::Gate(name) => write!(f, "gate:{}", name.0),
            Self::Permit(name, number) => write!(f, "permit:{number}:{}", name.0),
            Self::Wait(process) => write!(f, "wait:{process}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_but_a_path_is_a_name() {
        for text in [".", "..", "a b", "lock:x", "ä\n", &"x".repeat(200)] {
            let name: Name = text.parse().unwrap();
            for entry in [Entry::Lock(name.clone()), Entry::Gate(name.clone()), Entry::Permit(name, u32::MAX)]
            {
                let file = entry.to_string();
                assert!(file.len() < 256 && Entry::parse(&file) == Some(entry), "{file:?}");
            }
        }
        assert_eq!("".parse::<Name>(), Err(BadName::Empty));
        assert_eq!("a/b".parse::<Name>(), Err(BadName::Separator));
        assert_eq!("x".repeat(201).parse::<Name>(), Err(BadName::TooLong { bytes: 201 }));
        assert_eq!(Entry::parse("other"), None);
    }

    #[test]
    fn a_name_is_shown_without_control_characters() {
        assert_eq!("a\x1b[2J".parse::<Name>().unwrap().to_string(), "a\\u{1b}[2J");
    }
}
