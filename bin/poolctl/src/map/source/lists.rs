//! Items from lists: one list as it is, several combined or paired.

use poolctl_supervisor::Block;

use super::Feed;
use super::error::InputError;

/// About how much is sent at once.
const BLOCK_BYTES: usize = 64 << 10;

/// The members of a product (the last list turns fastest) or of a zip of lists. A member's fields have NUL between
/// them; with one list they are the items themselves.
pub(crate) struct ListFeed {
    lists: Vec<Vec<Vec<u8>>>,
    link: bool,
    next: u64,
    total: u64,
}

impl ListFeed {
    /// One list.
    pub(crate) fn words(words: Vec<Vec<u8>>) -> Self {
        Self { next: 0, total: words.len() as u64, lists: vec![words], link: true }
    }

    /// All combinations of several lists, or with `link` their zip, in which shorter lists begin anew.
    pub(crate) fn combined(lists: Vec<Vec<Vec<u8>>>, link: bool) -> Self {
        let lens = lists.iter().map(|list| list.len() as u64);
        let total = if lists.iter().any(Vec::is_empty) {
            0
        } else if link {
            lens.max().unwrap_or(0)
        } else {
            lens.fold(1, u64::saturating_mul)
        };
        Self { lists, link, next: 0, total }
    }

    fn member(&self, number: u64) -> Vec<u8> {
        let mut fields: Vec<&[u8]> = Vec::with_capacity(self.lists.len());
        let mut rest = number;
        for list in self.lists.iter().rev() {
            let len = list.len() as u64;
            let index = if self.link { number % len } else { rest % len };
            rest /= len;
            fields.push(&list[usize::try_from(index).expect("an index into a list")]);
        }
        fields.reverse();
        fields.join(&0)
    }
}

impl Feed for ListFeed {
    fn next(&mut self) -> Result<Option<Block>, InputError> {
        let mut block = Block::new();
        while self.next < self.total && block.byte_len() < BLOCK_BYTES {
            block.push(&self.member(self.next));
            self.next += 1;
        }
        Ok((!block.is_empty()).then_some(block))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &[&str]) -> Vec<Vec<u8>> {
        items.iter().map(|item| item.as_bytes().to_vec()).collect()
    }

    fn all(mut feed: ListFeed) -> Vec<String> {
        let mut items = Vec::new();
        while let Some(block) = feed.next().unwrap() {
            items.extend(
                (0..block.len()).map(|index| String::from_utf8_lossy(block.item(index)).into_owned()),
            );
        }
        items
    }

    #[test]
    fn several_lists_give_every_combination_with_the_last_turning_fastest() {
        let feed = ListFeed::combined(vec![list(&["a", "b"]), list(&["1", "2", "3"])], false);

        assert_eq!(all(feed), ["a\x001", "a\x002", "a\x003", "b\x001", "b\x002", "b\x003"]);
        assert!(all(ListFeed::combined(vec![list(&["a"]), list(&[])], false)).is_empty());
    }

    #[test]
    fn linked_lists_are_paired_and_shorter_ones_begin_anew() {
        let feed = ListFeed::combined(vec![list(&["a", "b", "c"]), list(&["1", "2"])], true);

        assert_eq!(all(feed), ["a\x001", "b\x002", "c\x001"]);
    }

    #[test]
    fn one_list_is_its_items() {
        assert_eq!(all(ListFeed::words(list(&["a", "", "b"]))), ["a", "", "b"]);
    }
}
