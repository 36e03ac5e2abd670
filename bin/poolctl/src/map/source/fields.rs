//! Records cut into fields: comma-separated values, or any separator; the first record may name them.

use memchr::memmem;
use poolctl_supervisor::Block;

use super::error::{InputError, Place};
use super::records::RecordFeed;
use super::{Columns, Feed};
use crate::map::template::FieldNames;

/// A quoted field that grows beyond this was most likely never closed.
const LONGEST_RECORD: usize = 64 << 20;

/// Yields records as fields with NUL between them.
pub(crate) struct FieldFeed {
    records: RecordFeed,
    columns: Columns,
    header: Option<FieldNames>,
    /// A record whose quote is still open, and the number of its first line.
    open: Vec<u8>,
    opened: u64,
    lines: u64,
    /// What was wrong behind the records given out last.
    failed: Option<InputError>,
}

impl FieldFeed {
    /// Cuts `records`; with `header` the first of them goes there.
    pub(crate) fn new(records: RecordFeed, columns: Columns, header: Option<FieldNames>) -> Self {
        Self { records, columns, header, open: Vec::new(), opened: 0, lines: 0, failed: None }
    }

    fn place(&self, line: u64) -> Place {
        self.records.origin().place(line)
    }

    /// The record that `line` completes, if it does.
    fn complete(&mut self, line: &[u8]) -> Result<Option<Vec<u8>>, InputError> {
        self.lines += 1;
        if self.columns != Columns::Csv {
            return Ok(Some(line.to_vec()));
        }
        if self.open.is_empty() {
            self.opened = self.lines;
        } else {
            self.open.push(b'\n');
        }
        self.open.extend_from_slice(line);
        if self.open.len() > LONGEST_RECORD {
            return Err(InputError::OpenQuote { place: self.place(self.opened) });
        }
        let closed = memchr::memchr_iter(b'"', &self.open).count().is_multiple_of(2);
        Ok(closed.then(|| std::mem::take(&mut self.open)))
    }

    fn add(&mut self, line: &[u8], block: &mut Block) -> Result<(), InputError> {
        match self.complete(line)? {
            Some(record) => self.take(&record, block),
            None => Ok(()),
        }
    }

    fn take(&mut self, record: &[u8], block: &mut Block) -> Result<(), InputError> {
        let fields = match &self.columns {
            Columns::Csv => csv_fields(record.strip_suffix(b"\r").unwrap_or(record)),
            Columns::Separated(separator) => split(record, separator),
        };
        let line = if self.columns == Columns::Csv { self.opened } else { self.lines };
        if fields.iter().any(|field| field.contains(&0)) {
            return Err(InputError::Nul { place: self.place(line) });
        }
        if let Some(header) = &self.header {
            match header.get() {
                None => {
                    header.set(fields).expect("only this feed sets the names");
                    return Ok(());
                }
                Some(names) if fields.len() > names.len() => {
                    let (found, expected) = (fields.len(), names.len());
                    return Err(InputError::FieldCount { place: self.place(line), found, expected });
                }
                Some(_) => {}
            }
        }
        block.push(&fields.join(&0));
        Ok(())
    }
}

impl Feed for FieldFeed {
    fn next(&mut self) -> Result<Option<Block>, InputError> {
        loop {
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            let Some(lines) = self.records.next()? else {
                return match self.open.is_empty() {
                    true => Ok(None),
                    false => Err(InputError::OpenQuote { place: self.place(self.opened) }),
                };
            };
            let mut block = Block::new();
            self.failed = (0..lines.len()).find_map(|index| self.add(lines.item(index), &mut block).err());
            if !block.is_empty() {
                return Ok(Some(block));
            }
        }
    }
}

fn split(record: &[u8], separator: &[u8]) -> Vec<Vec<u8>> {
    let mut fields = Vec::new();
    let mut from = 0;
    for at in memmem::find_iter(record, separator) {
        fields.push(record[from..at].to_vec());
        from = at + separator.len();
    }
    fields.push(record[from..].to_vec());
    fields
}

/// The fields of a record in which every quote is closed.
fn csv_fields(record: &[u8]) -> Vec<Vec<u8>> {
    let mut fields = vec![Vec::new()];
    let mut quoted = false;
    let mut bytes = record.iter().peekable();
    while let Some(byte) = bytes.next() {
        let field = fields.last_mut().expect("there is always one");
        match (byte, quoted) {
            (b'"', true) if bytes.peek() == Some(&&b'"') => {
                field.push(b'"');
                bytes.next();
            }
            (b'"', _) => quoted = !quoted,
            (b',', false) => fields.push(Vec::new()),
            (plain, _) => field.push(*plain),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::source::Origin;

    fn feed(text: &str, columns: Columns, header: Option<FieldNames>) -> FieldFeed {
        let input = Box::new(std::io::Cursor::new(text.as_bytes().to_vec()));
        let records = RecordFeed::new(input, Origin::Lines("x.csv".to_owned()), b"\n".to_vec());
        FieldFeed::new(records, columns, header)
    }

    fn all(mut feed: FieldFeed) -> Result<Vec<String>, InputError> {
        let mut items = Vec::new();
        while let Some(block) = feed.next()? {
            items.extend(
                (0..block.len()).map(|index| String::from_utf8_lossy(block.item(index)).into_owned()),
            );
        }
        Ok(items)
    }

    #[test]
    fn comma_separated_values_may_hold_commas_quotes_and_line_breaks_in_quotes() {
        let items = all(feed("a,\"b,c\",\"d \"\"e\"\"\"\r\n\"x\ny\",,z\n", Columns::Csv, None)).unwrap();

        assert_eq!(items, ["a\0b,c\0d \"e\"", "x\ny\0\0z"]);
    }

    #[test]
    fn the_first_line_can_name_the_fields() {
        let names = FieldNames::default();
        let items =
            all(feed("n\tm\n1\t2\n3\n", Columns::Separated(b"\t".to_vec()), Some(names.clone()))).unwrap();

        assert_eq!(items, ["1\x002", "3"]);
        assert_eq!(names.get().unwrap(), &[b"n".to_vec(), b"m".to_vec()]);
    }

    #[test]
    fn what_cannot_be_cut_is_refused_with_its_line() {
        let refusal = |text, header| all(feed(text, Columns::Csv, header)).unwrap_err().to_string();

        assert_eq!(refusal("a\n\"b\nc\n", None), "x.csv, line 2: the quote that begins here does not end");
        let names = Some(FieldNames::default());
        assert_eq!(refusal("a\n1\n1,2\n", names), "x.csv, line 3: 2 fields, but the header names 1");
        assert_eq!(
            refusal("a\0b\n", None),
            "x.csv, line 1: the item holds a NUL byte, which no argument can"
        );
    }
}
