//! Functions as a table, or as lines of JSON.

use poolctl_supervisor::Hello;
use serde::Serialize;

/// A signature longer than this moves the text behind it, instead of that of every other function.
const WIDEST_SIGNATURE: usize = 48;

/// One function of a worker.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Function {
    name: String,
    /// What it takes and gives; none if the worker does not say.
    signature: Option<String>,
    /// A line about it; none if the worker does not say.
    doc: Option<String>,
}

/// How functions are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listing {
    /// For people, in columns.
    Table,
    /// One object a line.
    Json,
}

impl Function {
    /// The functions that a hello names, by name.
    pub(super) fn all_of(hello: Hello) -> Vec<Self> {
        let said = |text: Option<String>| text.filter(|text| !text.is_empty());
        let (mut signatures, mut docs) = (hello.signatures.into_iter(), hello.docs.into_iter());
        let mut functions: Vec<Self> = hello
            .functions
            .into_iter()
            .map(|name| Self { name, signature: said(signatures.next()), doc: said(docs.next()) })
            .collect();
        functions.sort_by(|a, b| a.name.cmp(&b.name));
        functions
    }

    fn shown_signature(&self) -> String {
        shown(self.signature.as_deref().unwrap_or_default())
    }
}

impl Listing {
    /// The list of these functions.
    pub(super) fn of(self, functions: &[Function]) -> Vec<u8> {
        match self {
            Listing::Table => table(functions).into_bytes(),
            Listing::Json => {
                let mut lines = Vec::new();
                for function in functions {
                    serde_json::to_writer(&mut lines, function).expect("texts can be written to memory");
                    lines.push(b'\n');
                }
                lines
            }
        }
    }
}

fn table(functions: &[Function]) -> String {
    let len = |text: &str| text.chars().count();
    let names = functions.iter().map(|function| len(&shown(&function.name))).max().unwrap_or(0);
    let signatures = functions.iter().map(|function| len(&function.shown_signature()));
    let signatures = signatures.filter(|width| *width <= WIDEST_SIGNATURE).max().unwrap_or(0);
    let mut text = String::new();
    for function in functions {
        let doc = shown(function.doc.as_deref().unwrap_or_default());
        let (name, signature) = (shown(&function.name), function.shown_signature());
        let line = match (names, signatures) {
            (names, 0) => format!("{name:names$}  {signature}  {doc}"),
            (names, signatures) => format!("{name:names$}  {signature:signatures$}  {doc}"),
        };
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A text of a worker, on one line and without anything that a terminal obeys.
fn shown(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str, signature: &str, doc: &str) -> Function {
        let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Function { name: name.to_owned(), signature: said(signature), doc: said(doc) }
    }

    #[test]
    fn the_columns_of_a_table_stand_below_each_other() {
        let long = "fn(std::collections::BTreeMap<String, Vec<String>>) -> String";
        let functions = [
            function("add", "fn(i64, i64) -> i64", "Adds."),
            function("square", "fn(i64) -> i64", "Multiplies.\u{1b}[31m"),
            function("x", "", ""),
            function("z", long, "Does."),
        ];

        let expected = format!(
            "add     fn(i64, i64) -> i64  Adds.\nsquare  fn(i64) -> i64       Multiplies.\u{fffd}[31m\nx\nz       {long}  Does.\n"
        );
        assert_eq!(String::from_utf8(Listing::Table.of(&functions)).unwrap(), expected);
        assert_eq!(Listing::Table.of(&[function("f", "", ""), function("g", "", "")]), b"f\ng\n");
    }

    #[test]
    fn what_a_worker_does_not_say_is_null_in_json() {
        let lines = Listing::Json.of(&[function("add", "fn()", ""), function("b", "", "")]);

        let expected = "{\"name\":\"add\",\"signature\":\"fn()\",\"doc\":null}\n{\"name\":\"b\",\"signature\":null,\"doc\":null}\n";
        assert_eq!(String::from_utf8(lines).unwrap(), expected);
    }
}
