//! Results of many items in one piece of memory.

use poolctl_protocol::{Record, record_start, take_sized};
use poolctl_types::ItemRange;

/// Results of items that stand next to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Results<'a> {
    /// The results, one after another.
    pub bytes: &'a [u8],
    /// How one is told from the next.
    pub form: Form,
}

/// How results that stand one after another are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Each is ended by LF.
    Lines,
    /// Each is a record, see [`poolctl_protocol::Record`]; for values in binary.
    Records,
    /// Each is preceded by its length, a u32; for bytes of any kind.
    Sized,
}

impl<'a> Results<'a> {
    /// The first `count` results, and the others.
    #[must_use]
    pub fn split(self, count: u64) -> (Self, Self) {
        let (first, rest) = self.bytes.split_at(self.form.start(self.bytes, count));
        (Self { bytes: first, ..self }, Self { bytes: rest, ..self })
    }

    /// Those that belong to `wanted`, out of one for each of `told`.
    pub(crate) fn of(self, told: ItemRange, wanted: ItemRange) -> Self {
        if told == wanted {
            return self;
        }
        let (_, rest) = self.split(wanted.first.0 - told.first.0);
        rest.split(u64::from(wanted.count)).0
    }

    /// The one result there is, without what tells it from the next.
    #[must_use]
    pub fn only(self) -> &'a [u8] {
        match self.form {
            Form::Lines => self.bytes.strip_suffix(b"\n").unwrap_or(self.bytes),
            Form::Records => Record::parse(self.bytes).map_or(self.bytes, |record| record.payload),
            Form::Sized => take_sized(&mut { self.bytes }).unwrap_or(self.bytes),
        }
    }
}

impl Form {
    /// Where the result begins that has `before` results before it.
    fn start(self, results: &[u8], before: u64) -> usize {
        match self {
            Form::Lines => line_start(results, before),
            Form::Records => record_start(results, before),
            Form::Sized => sized_start(results, before),
        }
    }
}

/// Where the bytes begin that have `before` others before them, each with its length.
fn sized_start(results: &[u8], before: u64) -> usize {
    let mut rest = results;
    for _ in 0..before {
        if take_sized(&mut rest).is_none() {
            break;
        }
    }
    results.len() - rest.len()
}

/// Where the line begins that has `before` lines before it.
fn line_start(lines: &[u8], before: u64) -> usize {
    match before.checked_sub(1) {
        None => 0,
        Some(nth) => memchr::memchr_iter(b'\n', lines)
            .nth(usize::try_from(nth).unwrap_or(usize::MAX))
            .map_or(lines.len(), |at| at + 1),
    }
}

#[cfg(test)]
mod tests {
    use poolctl_protocol::{RecordKind, push_record, push_sized};

    use poolctl_types::Item;

    use super::*;

    #[test]
    fn the_results_of_some_items_are_cut_out_of_the_results_of_all() {
        let told = ItemRange::new(Item(10), 4);
        let mut records = Vec::new();
        for result in [&b"a"[..], b"bb", b"c", b"d"] {
            push_record(RecordKind::Ok, None, result, &mut records);
        }
        let lines = Results { bytes: b"a\nbb\nc\nd\n", form: Form::Lines };
        let records = Results { bytes: &records, form: Form::Records };
        let mut sized = Vec::new();
        [&b"a"[..], b"bb", b"c", b"d"].iter().for_each(|result| push_sized(&mut sized, result));
        let sized = Results { bytes: &sized, form: Form::Sized };

        assert_eq!(lines.of(told, told), lines);
        assert_eq!(lines.of(told, ItemRange::new(Item(11), 2)).bytes, b"bb\nc\n");
        for results in [lines, records, sized] {
            assert_eq!(results.of(told, ItemRange::one(Item(11))).only(), b"bb");
            assert_eq!(results.of(told, ItemRange::one(Item(13))).only(), b"d");
            assert_eq!(results.split(3).1.only(), b"d");
        }
    }
}
