//! How an item is shown to a person.

/// What the bytes of an item are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ItemForm {
    /// Any bytes.
    Bytes,
    /// Several of them, with NUL between.
    Fields,
    /// A block of records.
    Block,
    /// JSON.
    Json,
}

/// The most characters of an item that a message shows.
const MOST: usize = 60;

impl ItemForm {
    /// The item in a message: `"foo.png"`, `"a" "b"`, `{"id":1}`, `4096 bytes`.
    pub(crate) fn shown(self, item: &[u8]) -> String {
        match self {
            ItemForm::Bytes => format!("\"{}\"", clipped(item)),
            ItemForm::Fields => {
                let fields = item.split(|byte| *byte == 0);
                let mut shown: Vec<String> =
                    fields.clone().take(4).map(|field| format!("\"{}\"", clipped(field))).collect();
                if fields.count() > shown.len() {
                    shown.push("…".to_owned());
                }
                shown.join(" ")
            }
            ItemForm::Block => format!("{} bytes", item.len()),
            ItemForm::Json => {
                clip(&String::from_utf8_lossy(&item[..item.len().min(4 * MOST)]), item.len() > 4 * MOST)
            }
        }
    }

    /// The item as a tag before its lines: on one line, fields with spaces between.
    pub(crate) fn tag(self, item: &[u8]) -> Vec<u8> {
        let space = |byte: &u8| match byte {
            b'\n' | b'\r' | b'\t' => b' ',
            0 if self == ItemForm::Fields => b' ',
            other => *other,
        };
        item.iter().map(space).collect()
    }
}

fn clipped(item: &[u8]) -> String {
    let text = String::from_utf8_lossy(&item[..item.len().min(4 * MOST)]);
    let escaped: String = text.chars().flat_map(char::escape_debug).collect();
    clip(&escaped.replace("\\'", "'"), item.len() > 4 * MOST)
}

fn clip(text: &str, longer: bool) -> String {
    let mut shown: String = text.chars().take(MOST).collect();
    if longer || text.chars().count() > MOST {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_shown_short_and_without_control_characters() {
        assert_eq!(ItemForm::Bytes.shown(b"it's a\tb.png"), "\"it's a\\tb.png\"");
        assert_eq!(ItemForm::Fields.shown(b"a\0b"), "\"a\" \"b\"");
        assert_eq!(ItemForm::Fields.shown(b"a\0b\0c\0d\0e"), "\"a\" \"b\" \"c\" \"d\" …");
        assert_eq!(ItemForm::Json.shown(b"{\"a\":1}"), "{\"a\":1}");
        assert_eq!(ItemForm::Block.shown(b"a\nb\n"), "4 bytes");
        assert_eq!(ItemForm::Bytes.shown(&[b'x'; 100]).chars().count(), 63);
        assert_eq!(ItemForm::Bytes.tag(b"a\tb\nc\0"), b"a b c\0");
        assert_eq!(ItemForm::Fields.tag(b"a\0b"), b"a b");
    }
}
