//! What happens to raw records before they are items: checked, encoded, grouped, left out.

use poolctl_supervisor::Block;

use super::error::{InputError, Origin};
use super::group::{Group, Grouping};
use super::json;
use super::skip::Skip;
use crate::map::template::FieldNames;

/// What the target takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Any bytes.
    Bytes,
    /// Any bytes but a line break.
    Line,
    /// JSON, which the records must be.
    Json,
    /// JSON strings, made from records that are text.
    JsonStrings,
    /// JSON arrays of the fields, which must be JSON.
    JsonFields,
    /// JSON arrays of the fields as strings; objects where the fields have names.
    JsonStringFields,
}

/// What happens to raw records before they are items.
#[derive(Debug)]
pub(crate) struct Steps {
    pub(crate) encoding: Encoding,
    /// Whether empty records are left out. (Blank ones are never JSON.)
    pub(crate) skip_empty: bool,
    /// How many records make an item.
    pub(crate) group: Option<Group>,
    /// What was done before.
    pub(crate) skip: Option<Skip>,
    /// The names of the fields.
    pub(crate) names: Option<FieldNames>,
    /// What the records are called.
    pub(crate) origin: Origin,
    /// How many records came before.
    pub(crate) count: u64,
}

impl Steps {
    /// Steps that only encode.
    pub(crate) fn new(encoding: Encoding) -> Self {
        Self {
            encoding,
            skip_empty: false,
            group: None,
            skip: None,
            names: None,
            origin: Origin::Words,
            count: 0,
        }
    }

    /// The same, putting several records into one item.
    pub(crate) fn grouped(mut self, grouping: Option<Grouping>) -> Self {
        self.group = grouping.map(Group::new);
        self
    }

    /// The items of a block of records, up to the first that cannot be used.
    pub(crate) fn apply(&mut self, block: Block) -> (Block, Option<InputError>) {
        if self.passes(&block) {
            self.count += block.len() as u64;
            return (block, None);
        }
        let mut items = Block::new();
        let mut item = Vec::new();
        for index in 0..block.len() {
            self.count += 1;
            let record = block.item(index);
            if self.leaves_out(record) {
                continue;
            }
            item.clear();
            if let Err(error) = self.encode(record, &mut item) {
                return (items, Some(error));
            }
            match &mut self.group {
                None => push(&mut items, &item, &mut self.skip),
                Some(_) if item.contains(&0) => {
                    return (items, Some(InputError::Nul { place: self.origin.place(self.count) }));
                }
                Some(group) => {
                    if let Some(full) = group.add(&item) {
                        push(&mut items, &full, &mut self.skip);
                    }
                }
            }
        }
        (items, None)
    }

    /// What is left when no record follows.
    pub(crate) fn finish(&mut self, items: &mut Block) {
        if let Some(rest) = self.group.as_mut().and_then(Group::take) {
            push(items, &rest, &mut self.skip);
        }
    }

    /// Whether the records are items just as they lie there.
    fn passes(&self, block: &Block) -> bool {
        let plain = !self.skip_empty && self.group.is_none() && self.skip.is_none();
        plain
            && match self.encoding {
                Encoding::Bytes => true,
                Encoding::Line => memchr::memchr_iter(b'\n', &block.bytes).count() == block.len(),
                Encoding::Json => json::is_clean(block),
                Encoding::JsonStrings | Encoding::JsonFields | Encoding::JsonStringFields => false,
            }
    }

    fn leaves_out(&self, record: &[u8]) -> bool {
        match self.encoding {
            Encoding::Json => record.iter().all(u8::is_ascii_whitespace),
            _ => self.skip_empty && record.iter().all(u8::is_ascii_whitespace),
        }
    }

    fn encode(&self, record: &[u8], item: &mut Vec<u8>) -> Result<(), InputError> {
        let place = || self.origin.place(self.count);
        match self.encoding {
            Encoding::Bytes => item.extend_from_slice(record),
            Encoding::Line if record.contains(&b'\n') => {
                return Err(InputError::LineBreak { place: place() });
            }
            Encoding::Line => item.extend_from_slice(record),
            Encoding::Json => json::put_value(item, record, &place)?,
            Encoding::JsonStrings => json::put_string(item, record, &place)?,
            Encoding::JsonFields => json::put_array(item, record, json::put_value, &place)?,
            Encoding::JsonStringFields => match self.names.as_ref().and_then(|names| names.get()) {
                None => json::put_array(item, record, json::put_string, &place)?,
                Some(names) => json::put_object(item, names, record, &place)?,
            },
        }
        Ok(())
    }
}

fn push(items: &mut Block, item: &[u8], skip: &mut Option<Skip>) {
    if !skip.as_mut().is_some_and(|skip| skip.is_done(item)) {
        items.push(item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(records: &[&str]) -> Block {
        let mut block = Block::new();
        for record in records {
            block.push(record.as_bytes());
        }
        block
    }

    fn items(block: &Block) -> Vec<String> {
        (0..block.len()).map(|index| String::from_utf8_lossy(block.item(index)).into_owned()).collect()
    }

    fn encoded(encoding: Encoding, records: &[&str]) -> (Vec<String>, Option<String>) {
        let mut steps = Steps::new(encoding);
        steps.origin = Origin::Lines("stdin".to_owned());
        let (block, error) = steps.apply(block(records));
        (items(&block), error.map(|error| error.to_string()))
    }

    #[test]
    fn items_before_one_that_is_no_json_come_and_the_error_says_where_it_is() {
        let (items, error) = encoded(Encoding::Json, &["1", "", "{\"a\": [2,  3]}", "{\"a\": x}", "5"]);

        assert_eq!(items, ["1", "{\"a\": [2,  3]}"]);
        assert_eq!(error.unwrap(), "stdin, line 4, column 7: not JSON: `{\"a\": x}`");
    }

    #[test]
    fn json_with_line_breaks_becomes_one_line() {
        assert_eq!(encoded(Encoding::Json, &["[1,\r\n 2]"]).0, ["[1,   2]"]);
    }

    #[test]
    fn raw_records_become_strings() {
        let (items, _) = encoded(Encoding::JsonStrings, &["a b", "", "q\"\\\t\u{1}é"]);

        assert_eq!(items, ["\"a b\"", "\"\"", "\"q\\\"\\\\\\t\\u0001é\""]);
    }

    #[test]
    fn fields_become_arrays_and_with_names_objects() {
        assert_eq!(encoded(Encoding::JsonFields, &["1\0[2]"]).0, ["[1,[2]]"]);
        assert_eq!(encoded(Encoding::JsonStringFields, &["1\0x"]).0, ["[\"1\",\"x\"]"]);
        let mut steps = Steps::new(Encoding::JsonStringFields);
        let names = FieldNames::default();
        names.set(vec![b"n".to_vec(), b"m".to_vec()]).unwrap();
        steps.names = Some(names);
        let (block, _) = steps.apply(block(&["1\0x", "2"]));
        assert_eq!(items(&block), ["{\"n\":\"1\",\"m\":\"x\"}", "{\"n\":\"2\"}"]);
    }

    #[test]
    fn a_line_break_in_a_line_is_refused() {
        let (items, error) = encoded(Encoding::Line, &["a", "b\nc"]);

        assert_eq!(items, ["a"]);
        assert!(error.unwrap().starts_with("stdin, line 2: the item holds a line break"));
    }

    #[test]
    fn an_item_that_holds_what_stands_between_the_items_of_a_group_is_refused() {
        let mut steps = Steps::new(Encoding::Bytes).grouped(Some(Grouping::Count(2)));

        let (first, error) = steps.apply(block(&["a", "b", "c\0d"]));

        assert_eq!(items(&first), ["a\0b"]);
        assert!(
            error.unwrap().to_string().starts_with("item 3 on the command line: the item holds a NUL byte")
        );
    }

    #[test]
    fn groups_go_on_over_blocks_and_the_last_may_be_short() {
        let mut steps = Steps::new(Encoding::Bytes).grouped(Some(Grouping::Count(2)));
        let (first, _) = steps.apply(block(&["a", "b", "c"]));
        let (second, _) = steps.apply(block(&["d", "e"]));
        let mut rest = Block::new();
        steps.finish(&mut rest);

        assert_eq!([items(&first), items(&second), items(&rest)], [vec!["a\0b"], vec!["c\0d"], vec!["e"]]);
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_where_text_is_needed() {
        let mut steps = Steps::new(Encoding::Json);
        let mut bad = Block::new();
        bad.push(b"1");
        bad.push(b"\"a\xff\"");

        let (good, error) = steps.apply(bad);

        assert_eq!(items(&good), ["1"]);
        assert!(error.unwrap().to_string().starts_with("item 2 on the command line, column 3: not UTF-8"));
    }
}
