//! The pieces of one word of a template.

use std::fmt;

/// One piece of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// These bytes.
    Literal(Vec<u8>),
    /// The item or one of its fields.
    Item(Which, Form),
    /// The number of the item, from 1 (`{#}`).
    Number,
    /// The number of the slot, from 1 (`{%}`).
    Slot,
}

/// Which field of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Which {
    /// Each of them in turn.
    Each,
    /// This one, counted from 1.
    Nth(usize),
    /// The one of this name.
    Named(Vec<u8>),
}

/// What of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// All of it: `{}`.
    Whole,
    /// Without its extension: `{.}`.
    Stem,
    /// Without its directory: `{/}`.
    Base,
    /// Its directory: `{//}`.
    Directory,
    /// Without directory and extension: `{/.}`.
    BaseStem,
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Which::Each => f.write_str("{}"),
            Which::Nth(number) => number.fmt(f),
            Which::Named(name) => f.write_str(&String::from_utf8_lossy(name)),
        }
    }
}

impl Form {
    /// The marks of the forms, longest first.
    const MARKS: [(&'static [u8], Form); 5] = [
        (b"/.", Form::BaseStem),
        (b"//", Form::Directory),
        (b"/", Form::Base),
        (b".", Form::Stem),
        (b"", Form::Whole),
    ];

    /// That part of `path`.
    pub(crate) fn of(self, path: &[u8]) -> &[u8] {
        match self {
            Form::Whole => path,
            Form::Stem => stem(path),
            Form::Base => base(path),
            Form::BaseStem => stem(base(path)),
            Form::Directory => directory(path),
        }
    }
}

fn base(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').map_or(path, |slash| &path[slash + 1..])
}

fn stem(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|byte| matches!(byte, b'.' | b'/')) {
        Some(at) if path[at] == b'.' => &path[..at],
        _ => path,
    }
}

fn directory(path: &[u8]) -> &[u8] {
    let without_slashes =
        |path: &[u8]| path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    let trimmed = &path[..without_slashes(path)];
    match trimmed.iter().rposition(|byte| *byte == b'/') {
        None if trimmed.is_empty() && !path.is_empty() => b"/",
        None => b".",
        Some(slash) => match without_slashes(&trimmed[..slash]) {
            0 => b"/",
            end => &trimmed[..end],
        },
    }
}

/// The pieces of `word`, in which `braces` stands for the item and `{name}` for a field if fields have names.
pub(super) fn parse(word: &[u8], braces: &[u8], named: bool) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut literal = Vec::new();
    let mut rest = word;
    while !rest.is_empty() {
        let (part, taken) = if rest.starts_with(braces) {
            (Some(Part::Item(Which::Each, Form::Whole)), braces.len())
        } else {
            placeholder(rest, named)
        };
        match part {
            Some(part) => {
                if !literal.is_empty() {
                    parts.push(Part::Literal(std::mem::take(&mut literal)));
                }
                parts.push(part);
                rest = &rest[taken..];
            }
            None => {
                literal.push(rest[0]);
                rest = &rest[1..];
            }
        }
    }
    if !literal.is_empty() || parts.is_empty() {
        parts.push(Part::Literal(literal));
    }
    parts
}

/// The placeholder that `text` begins with, if it does, and its length. (`{}` itself is the caller's.)
fn placeholder(text: &[u8], named: bool) -> (Option<Part>, usize) {
    let end = match text.iter().position(|byte| *byte == b'}') {
        Some(end) if text[0] == b'{' && end > 1 => end,
        _ => return (None, 0),
    };
    let inner = &text[1..end];
    let part = match inner {
        b"#" => Some(Part::Number),
        b"%" => Some(Part::Slot),
        _ => Form::MARKS.iter().find_map(|(mark, form)| {
            let name = inner.strip_suffix(*mark)?;
            Some(Part::Item(which(name, named)?, *form))
        }),
    };
    (part, end + 1)
}

fn which(name: &[u8], named: bool) -> Option<Which> {
    if name.is_empty() {
        return Some(Which::Each);
    }
    if name.iter().all(u8::is_ascii_digit) {
        return std::str::from_utf8(name).ok()?.parse().ok().filter(|number| *number > 0).map(Which::Nth);
    }
    let plain = |byte: &u8| !matches!(byte, b'{' | b'/' | b'$' | b'"' | b'\'' | b';');
    (named && name.iter().all(plain)).then(|| Which::Named(name.to_vec()))
}
