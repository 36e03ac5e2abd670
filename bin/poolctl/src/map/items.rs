//! Where the items come from: words of the command line, files, or stdin.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The words that begin a list of items.
pub(crate) const SEPARATORS: [&str; 2] = [":::", "::::"];

/// One list of items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The words themselves.
    Words(Vec<Vec<u8>>),
    /// The records of a file.
    File(PathBuf),
    /// The records of stdin.
    Stdin,
}

/// Why the items cannot be told apart.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ItemsError {
    /// Items both before and behind `:::`.
    #[error("items stand right behind the target or behind `{mark}`, not both")]
    Both { mark: String },
    /// stdin can be read only once.
    #[error("stdin can be the source of items only once")]
    StdinTwice,
}

/// The sources in the order they were named; stdin if none was.
pub(crate) fn sources(words: &[OsString], files: &[PathBuf]) -> Result<Vec<Source>, ItemsError> {
    let mut sources: Vec<Source> = files.iter().map(|path| file(path.clone())).collect();
    let mut mark: Option<&str> = None;
    for (index, word) in words.iter().enumerate() {
        if let Some(found) = SEPARATORS.iter().find(|mark| word == **mark) {
            if index > 0 && mark.is_none() {
                return Err(ItemsError::Both { mark: (*found).to_owned() });
            }
            mark = Some(found);
            if *found == ":::" {
                sources.push(Source::Words(Vec::new()));
            }
            continue;
        }
        match (mark, sources.last_mut()) {
            (Some("::::"), _) => sources.push(file(PathBuf::from(word))),
            (None, _) if index == 0 => sources.push(Source::Words(vec![word.clone().into_vec()])),
            (_, Some(Source::Words(items))) => items.push(word.clone().into_vec()),
            _ => unreachable!("a list of words was begun before"),
        }
    }
    if sources.iter().filter(|source| **source == Source::Stdin).count() > 1 {
        return Err(ItemsError::StdinTwice);
    }
    if sources.is_empty() {
        sources.push(Source::Stdin);
    }
    Ok(sources)
}

fn file(path: PathBuf) -> Source {
    if path.as_os_str() == "-" { Source::Stdin } else { Source::File(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str], files: &[&str]) -> Result<Vec<Source>, ItemsError> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        sources(&words, &files.iter().map(PathBuf::from).collect::<Vec<_>>())
    }

    fn words(items: &[&str]) -> Source {
        Source::Words(items.iter().map(|item| item.as_bytes().to_vec()).collect())
    }

    #[test]
    fn without_words_and_files_items_come_from_stdin() {
        assert_eq!(parsed(&[], &[]), Ok(vec![Source::Stdin]));
        assert_eq!(parsed(&[], &["x"]), Ok(vec![Source::File("x".into())]));
        assert_eq!(parsed(&[], &["-"]), Ok(vec![Source::Stdin]));
        assert_eq!(parsed(&[], &["-", "-"]), Err(ItemsError::StdinTwice));
    }

    #[test]
    fn each_separator_begins_a_list() {
        assert_eq!(parsed(&["a", "b"], &[]), Ok(vec![words(&["a", "b"])]));
        assert_eq!(parsed(&[":::"], &[]), Ok(vec![words(&[])]));
        assert_eq!(
            parsed(&[":::", "a", "b", "::::", "f", "-", ":::", "c"], &["g"]),
            Ok(vec![
                Source::File("g".into()),
                words(&["a", "b"]),
                Source::File("f".into()),
                Source::Stdin,
                words(&["c"])
            ])
        );
        assert_eq!(parsed(&["a", ":::", "b"], &[]), Err(ItemsError::Both { mark: ":::".to_owned() }));
    }
}
