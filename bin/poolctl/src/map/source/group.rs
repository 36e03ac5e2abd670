//! Several items in one command: `-n`, `-L`, `-X`.

/// How many records make an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grouping {
    /// So many.
    Count(u64),
    /// So many, not counting blank ones, which are left out.
    Lines(u64),
    /// As many as fit into a command line of 128 KiB (as xargs has it).
    Fill,
}

/// What a command line may hold in bytes, with a pointer and a NUL for each argument.
const COMMAND_LINE_BYTES: usize = 128 << 10;

/// Records on their way into one item; NUL stands between them.
#[derive(Debug)]
pub(crate) struct Group {
    grouping: Grouping,
    held: Vec<u8>,
    count: u64,
}

impl Group {
    /// An empty one.
    pub(crate) fn new(grouping: Grouping) -> Self {
        Self { grouping, held: Vec::new(), count: 0 }
    }

    /// Adds a record; returns the group that is complete by that.
    pub(crate) fn add(&mut self, record: &[u8]) -> Option<Vec<u8>> {
        let full = match self.grouping {
            Grouping::Lines(_) if record.iter().all(u8::is_ascii_whitespace) => return None,
            Grouping::Fill if self.bytes_with(record) > COMMAND_LINE_BYTES => self.take(),
            Grouping::Count(_) | Grouping::Lines(_) | Grouping::Fill => None,
        };
        if self.count > 0 {
            self.held.push(0);
        }
        self.held.extend_from_slice(record);
        self.count += 1;
        match self.grouping {
            Grouping::Count(most) | Grouping::Lines(most) if self.count == most => self.take(),
            Grouping::Count(_) | Grouping::Lines(_) | Grouping::Fill => full,
        }
    }

    /// What is held, if anything is.
    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        (std::mem::take(&mut self.count) > 0).then(|| std::mem::take(&mut self.held))
    }

    fn bytes_with(&self, record: &[u8]) -> usize {
        const POINTER: usize = size_of::<usize>();
        let count = usize::try_from(self.count).unwrap_or(usize::MAX).saturating_add(1);
        self.held.len() + record.len() + 2 + count.saturating_mul(POINTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_do_not_count() {
        let mut group = Group::new(Grouping::Lines(2));

        assert_eq!(group.add(b"a"), None);
        assert_eq!(group.add(b" "), None);
        assert_eq!(group.add(b"b"), Some(b"a\0b".to_vec()));
        assert_eq!(group.take(), None);
    }

    #[test]
    fn a_command_line_is_filled_and_not_overfilled() {
        let mut group = Group::new(Grouping::Fill);
        let record = [b'x'; 1015];

        let sizes: Vec<usize> = (0..600).filter_map(|_| group.add(&record)).map(|full| full.len()).collect();

        assert_eq!(sizes, [127 * 1016 + 1015; 4], "128 records with pointer and NUL are 128 KiB");
        assert_eq!(group.take().map(|rest| rest.len()), Some((600 - 4 * 128) * 1016 - 1));
    }

    #[test]
    fn empty_records_make_a_group_too() {
        let mut group = Group::new(Grouping::Count(2));

        assert_eq!(group.add(b""), None);
        assert_eq!(group.add(b""), Some(vec![0]));
    }
}
