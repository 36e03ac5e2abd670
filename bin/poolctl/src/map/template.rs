//! How an item becomes a command: words with `{}` and its kin, without a shell.
//!
//! The payload of an item is one argument, or several fields with NUL between them (NUL can be in no argument): the
//! columns of a line, the members of a combination, or the items that one command takes together. A word with `{}` is
//! repeated for each of them; `{2}` takes one.

mod part;

use std::sync::{Arc, OnceLock};

use poolctl_supervisor::{ArgumentError, CommandLine, CommandTemplate};
use poolctl_types::{Item, Slot};

use crate::stderr::say;
use part::{Part, Which};

pub(crate) use part::Form;

/// The longest argument the kernel takes, without its NUL (MAX_ARG_STRLEN of Linux).
const LONGEST_ARGUMENT: usize = (128 << 10) - 1;

/// The names of the fields, once the first line of the input is read.
pub(crate) type FieldNames = Arc<OnceLock<Vec<Vec<u8>>>>;

/// How the bytes of an item reach its command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passing {
    /// As one argument.
    Whole,
    /// As several arguments, with NUL between them.
    Fields,
    /// On stdin.
    Stdin,
    /// Not at all.
    Nothing,
}

/// A command with places for the item.
#[derive(Debug)]
pub(crate) struct Template {
    words: Vec<Vec<Part>>,
    passing: Passing,
    names: FieldNames,
    trace: bool,
}

impl Template {
    /// The template of `words`, in which `braces` stands for the item (`{}` unless `-I` says otherwise). Where no
    /// word has a place for it, it goes to the end.
    pub(crate) fn new(words: &[Vec<u8>], braces: &[u8], passing: Passing, names: Option<FieldNames>) -> Self {
        let named = names.is_some();
        let mut words: Vec<Vec<Part>> = words.iter().map(|word| part::parse(word, braces, named)).collect();
        let has_place = words.iter().flatten().any(|part| !matches!(part, Part::Literal(_)));
        if !has_place && passing != Passing::Stdin {
            words.push(vec![Part::Item(Which::Each, Form::Whole)]);
        }
        Self { words, passing, names: names.unwrap_or_default(), trace: false }
    }

    /// The same, printing each command on stderr before it runs.
    pub(crate) fn traced(mut self, trace: bool) -> Self {
        self.trace = trace;
        self
    }

    /// The same, with the item put behind the last word whatever the words hold (a script's `$1`).
    pub(crate) fn for_script(words: &[Vec<u8>], passing: Passing) -> Self {
        let mut words: Vec<Vec<Part>> = words.iter().map(|word| vec![Part::Literal(word.clone())]).collect();
        if passing != Passing::Stdin {
            words.push(vec![Part::Item(Which::Each, Form::Whole)]);
        }
        Self { words, passing, names: FieldNames::default(), trace: false }
    }

    /// A command that is the same whatever the item.
    pub(crate) fn fixed(words: &[Vec<u8>]) -> Self {
        let words = words.iter().map(|word| vec![Part::Literal(word.clone())]).collect();
        Self { words, passing: Passing::Nothing, names: FieldNames::default(), trace: false }
    }

    /// The program, if it is the same for every item.
    pub(crate) fn program(&self) -> Option<&[u8]> {
        match self.words.first().map(Vec::as_slice) {
            Some([Part::Literal(program)]) => Some(program),
            _ => None,
        }
    }

    /// Whether the command depends on where it runs (`{%}`).
    pub(crate) fn uses_slot(&self) -> bool {
        self.words.iter().flatten().any(|part| matches!(part, Part::Slot))
    }

    /// The argv of an item.
    fn argv(&self, item: Item, payload: &[u8], slot: Slot) -> Result<Vec<Vec<u8>>, ArgumentError> {
        let fields: Vec<&[u8]> = match self.passing {
            Passing::Whole => vec![payload],
            Passing::Fields => payload.split(|byte| *byte == 0).collect(),
            Passing::Stdin | Passing::Nothing => Vec::new(),
        };
        let mut argv = Vec::with_capacity(self.words.len());
        for word in &self.words {
            let repeated = word.iter().any(|part| matches!(part, Part::Item(Which::Each, _)));
            let times = if repeated { fields.len() } else { 1 };
            for turn in 0..times {
                argv.push(self.word(word, item, &fields, turn, slot)?);
            }
        }
        Ok(argv)
    }

    fn word(
        &self,
        parts: &[Part],
        item: Item,
        fields: &[&[u8]],
        turn: usize,
        slot: Slot,
    ) -> Result<Vec<u8>, ArgumentError> {
        let mut word = Vec::new();
        for part in parts {
            match part {
                Part::Literal(bytes) => word.extend_from_slice(bytes),
                Part::Number => word.extend_from_slice((item.0 + 1).to_string().as_bytes()),
                Part::Slot => word.extend_from_slice((u64::from(slot.0) + 1).to_string().as_bytes()),
                Part::Item(which, form) => {
                    let field = match which {
                        Which::Each => fields.get(turn),
                        Which::Nth(number) => fields.get(*number - 1),
                        Which::Named(name) => self
                            .names
                            .get()
                            .and_then(|names| names.iter().position(|known| known == name))
                            .and_then(|index| fields.get(index)),
                    };
                    let field = field.ok_or_else(|| ArgumentError::NoField { field: which.to_string() })?;
                    word.extend_from_slice(form.of(field));
                }
            }
        }
        if word.contains(&0) {
            return Err(ArgumentError::Nul);
        }
        if word.len() > LONGEST_ARGUMENT {
            return Err(ArgumentError::TooLong { len: word.len(), most: LONGEST_ARGUMENT });
        }
        Ok(word)
    }
}

impl CommandTemplate for Template {
    fn command(&self, item: Item, payload: &[u8], slot: Slot) -> Result<CommandLine, ArgumentError> {
        let argv = self.argv(item, payload, slot)?;
        if self.trace {
            let words: Vec<_> = argv.iter().map(|word| quoted(word)).collect();
            say(&format!("{}\n", words.join(" ")));
        }
        let stdin = (self.passing == Passing::Stdin).then(|| payload.to_vec());
        Ok(CommandLine { argv, stdin })
    }
}

/// A word as one would type it into a shell.
fn quoted(word: &[u8]) -> String {
    match shlex::bytes::try_quote(word) {
        Ok(quoted) => String::from_utf8_lossy(&quoted).into_owned(),
        Err(_) => String::from_utf8_lossy(word).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<Vec<u8>> {
        words.iter().map(|word| word.as_bytes().to_vec()).collect()
    }

    fn rendered(template: &Template, payload: &str) -> Vec<String> {
        let argv = template.argv(Item(6), payload.as_bytes(), Slot(1)).unwrap();
        argv.into_iter().map(|word| String::from_utf8(word).unwrap()).collect()
    }

    fn whole(text: &[&str], payload: &str) -> Vec<String> {
        rendered(&Template::new(&words(text), b"{}", Passing::Whole, None), payload)
    }

    #[test]
    fn the_item_takes_its_places_or_goes_to_the_end() {
        assert_eq!(whole(&["gzip", "-k"], "a b"), ["gzip", "-k", "a b"]);
        assert_eq!(whole(&["cp", "{}", "{}.bak"], "x"), ["cp", "x", "x.bak"]);
        assert_eq!(whole(&["echo", "{#}", "{%}"], "x"), ["echo", "7", "2"]);
        assert_eq!(
            whole(&["awk", "{print $1}"], "x"),
            ["awk", "{print $1}", "x"],
            "no place: taken as it is"
        );
    }

    #[test]
    fn a_fixed_command_has_no_place_for_an_item() {
        let template = Template::fixed(&words(&["find", ".", "-exec", "ls", "{}", ";"]));

        assert_eq!(rendered(&template, "x"), ["find", ".", "-exec", "ls", "{}", ";"]);
    }

    #[test]
    fn forms_of_a_path_are_those_of_gnu_parallel() {
        let forms = |item| whole(&["{.}", "{/}", "{//}", "{/.}"], item);
        assert_eq!(forms("foo.tar.gz"), ["foo.tar", "foo.tar.gz", ".", "foo.tar"]);
        assert_eq!(forms(".bashrc"), ["", ".bashrc", ".", ""]);
        assert_eq!(forms("a/b.c/d"), ["a/b.c/d", "d", "a/b.c", "d"]);
        assert_eq!(forms("foo."), ["foo", "foo.", ".", "foo"]);
        assert_eq!(forms("a/b/"), ["a/b/", "", "a", ""]);
        assert_eq!(forms("/a"), ["/a", "a", "/", "a"]);
    }

    #[test]
    fn fields_are_taken_by_number_and_a_word_with_braces_is_repeated_for_each() {
        let fields = |text: &[&str], payload| {
            rendered(&Template::new(&words(text), b"{}", Passing::Fields, None), payload)
        };
        assert_eq!(fields(&["mv", "{2}", "{1.}"], "a.x\0b"), ["mv", "b", "a"]);
        assert_eq!(fields(&["rm", "--", "{}"], "a\0b\0c"), ["rm", "--", "a", "b", "c"]);
        assert_eq!(fields(&["rm", "-f"], "a\0b"), ["rm", "-f", "a", "b"]);
        assert_eq!(fields(&["x", "--in={}", "{#}"], "a\0b"), ["x", "--in=a", "--in=b", "7"]);
        let template = Template::new(&words(&["{3}"]), b"{}", Passing::Fields, None);
        let refusal = template.argv(Item(0), b"a\0b", Slot(0)).unwrap_err();
        assert_eq!(refusal, ArgumentError::NoField { field: "3".to_owned() });
    }

    #[test]
    fn named_fields_are_found_by_the_header() {
        let names = FieldNames::default();
        names.set(vec![b"name".to_vec(), b"size".to_vec()]).unwrap();
        let template =
            Template::new(&words(&["x", "{size}", "{name.}", "{none"]), b"{}", Passing::Fields, Some(names));

        assert_eq!(rendered(&template, "a.b\x0012"), ["x", "12", "a", "{none"]);
    }

    #[test]
    fn another_replacement_string_leaves_braces_alone() {
        let template = Template::new(&words(&["cp", "%", "{}"]), b"%", Passing::Whole, None);

        assert_eq!(rendered(&template, "x"), ["cp", "x", "{}"]);
    }

    #[test]
    fn an_item_on_stdin_is_no_argument_and_a_script_gets_it_as_its_parameter() {
        let template = Template::new(&words(&["wc", "-l"]), b"{}", Passing::Stdin, None);
        let command = template.command(Item(0), b"a\0b", Slot(0)).unwrap();
        assert_eq!(command, CommandLine { argv: words(&["wc", "-l"]), stdin: Some(b"a\0b".to_vec()) });

        let script = Template::for_script(&words(&["sh", "-c", "echo {} $1", "sh"]), Passing::Whole);
        assert_eq!(rendered(&script, "$(x)"), ["sh", "-c", "echo {} $1", "sh", "$(x)"]);
    }

    #[test]
    fn what_no_argument_can_hold_is_refused() {
        let template = Template::new(&words(&["x"]), b"{}", Passing::Whole, None);

        assert_eq!(template.argv(Item(0), b"a\0b", Slot(0)), Err(ArgumentError::Nul));
        let long = vec![b'x'; 128 << 10];
        let refusal = ArgumentError::TooLong { len: 128 << 10, most: (128 << 10) - 1 };
        assert_eq!(template.argv(Item(0), &long, Slot(0)), Err(refusal));
        assert!(template.argv(Item(0), &long[1..], Slot(0)).is_ok());
    }
}
