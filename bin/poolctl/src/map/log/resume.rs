//! Reading a log back: what is done, and where its output ends.

use std::collections::{HashMap, HashSet};
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::hash::{ItemHash, Key};
use super::line::{Ending, Entry, Header, OutputFile};

/// The names of items that are done.
#[derive(Debug, Clone, Default)]
pub(crate) struct DoneKeys(HashSet<Key>);

impl DoneKeys {
    /// Whether the item of this name is done.
    pub(crate) fn contains(&self, key: Key) -> bool {
        self.0.contains(&key)
    }
}

impl FromIterator<Key> for DoneKeys {
    fn from_iter<I: IntoIterator<Item = Key>>(keys: I) -> Self {
        Self(keys.into_iter().collect())
    }
}

/// Why a log cannot be continued.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResumeError {
    /// It cannot be read or cut.
    #[error("failed to read the log `{}`", .path.display())]
    Io { path: PathBuf, source: io::Error },
    /// A whole line of it is no line of a log.
    #[error("`{}`, line {line}: no line of a log", .path.display())]
    BadLine { path: PathBuf, line: usize, source: serde_json::Error },
    /// It tells of something else.
    #[error("`{}` is the log of another target", .path.display())]
    OtherTarget { path: PathBuf },
}

/// What a log says.
#[derive(Debug, Default)]
pub(crate) struct Resumed {
    /// The items that are not to be run again.
    pub(crate) done: DoneKeys,
    /// The regular file that the last run wrote to, if it did.
    pub(crate) output: Option<EarlierOutput>,
}

/// The file that an earlier run wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EarlierOutput {
    /// Which file, and where the last logged result ends in it.
    pub(crate) file: OutputFile,
    /// Whether the run ended in good order, so that no result of it lies behind that.
    pub(crate) complete: bool,
}

/// Reads the log at `path` (none is an empty one) and cuts off a last line that is not whole. With `failed_again`
/// only items that are ok are done.
pub(crate) fn resume(path: &Path, target: ItemHash, failed_again: bool) -> Result<Resumed, ResumeError> {
    let failed = |source| ResumeError::Io { path: path.to_path_buf(), source };
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Resumed::default()),
        Err(source) => return Err(failed(source)),
    };
    let whole = memchr::memrchr(b'\n', &text).map_or(0, |last| last + 1);
    let resumed = read(path, &text[..whole], target, failed_again)?;
    if whole < text.len() {
        let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
        file.set_len(whole as u64).map_err(failed)?;
    }
    Ok(resumed)
}

fn read(path: &Path, text: &[u8], target: ItemHash, failed_again: bool) -> Result<Resumed, ResumeError> {
    let mut last: HashMap<Key, bool> = HashMap::new();
    let mut output: Option<EarlierOutput> = None;
    for (index, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        if let Ok(header) = serde_json::from_slice::<Header>(line) {
            if header.target != target.to_string() {
                return Err(ResumeError::OtherTarget { path: path.to_path_buf() });
            }
            output = header.output.map(|file| EarlierOutput { file, complete: false });
            continue;
        }
        if let (Some(output), Ok(ending)) = (&mut output, serde_json::from_slice::<Ending>(line)) {
            output.file.offset = ending.end;
            output.complete = true;
            continue;
        }
        let bad = |source| ResumeError::BadLine { path: path.to_path_buf(), line: index + 1, source };
        let entry: Entry = serde_json::from_slice(line).map_err(bad)?;
        let key = u128::from_str_radix(&entry.key, 16)
            .map_err(|_| bad(serde::de::Error::custom("the key is no hash")))?;
        let done = match entry.status.as_str() {
            "ok" => true,
            "cancelled" => false,
            _ => !failed_again,
        };
        last.insert(Key(key), done);
        if let (Some(output), Some(offset)) = (&mut output, entry.offset) {
            output.file.offset = offset;
            output.file.shared |= entry.shared;
        }
    }
    let done = last.into_iter().filter(|(_, done)| *done).map(|(key, _)| key).collect();
    Ok(Resumed { done, output })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::log::{ending, header};
    use crate::map::target::TargetSpec;

    const FILE: OutputFile = OutputFile { device: 1, inode: 2, offset: 5, shared: false };

    fn target(name: &str) -> ItemHash {
        ItemHash::of_target(&TargetSpec::Command { words: vec![name.as_bytes().to_vec()] })
    }

    fn line(item: &str, status: &str, offset: u64) -> Vec<u8> {
        let key = target("x").with(item.as_bytes()).key(0);
        format!("{{\"v\":1,\"key\":\"{key}\",\"status\":\"{status}\",\"offset\":{offset}}}\n").into_bytes()
    }

    #[test]
    fn a_log_cut_at_any_byte_counts_up_to_its_last_whole_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let lines =
            [header(target("x"), Some(FILE)), line("a", "ok", 10), line("b", "failed", 20), ending(20)];
        let whole = lines.concat();
        for cut in 0..=whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();

            let resumed = resume(&path, target("x"), false).unwrap();

            let kept = lines
                .iter()
                .scan(0, |end, line| {
                    *end += line.len();
                    Some(*end)
                })
                .take_while(|end| *end <= cut);
            let kept: Vec<usize> = kept.collect();
            assert_eq!(fs::read(&path).unwrap().len(), kept.last().copied().unwrap_or(0), "cut at {cut}");
            assert_eq!(resumed.done.contains(target("x").with(b"a").key(0)), kept.len() >= 2);
            let at = |offset, complete| Some(EarlierOutput { file: OutputFile { offset, ..FILE }, complete });
            let expected = [None, at(5, false), at(10, false), at(20, false), at(20, true)];
            assert_eq!(resumed.output, expected[kept.len()]);
        }
    }

    #[test]
    fn failed_items_are_done_unless_they_are_wanted_again_and_cancelled_ones_never() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        fs::write(&path, [line("a", "failed", 1), line("b", "cancelled", 2), line("c", "ok", 3)].concat())
            .unwrap();
        let done = |again| {
            let resumed = resume(&path, target("x"), again).unwrap();
            ["a", "b", "c"].map(|item| resumed.done.contains(target("x").with(item.as_bytes()).key(0)))
        };

        assert_eq!(done(false), [true, false, true]);
        assert_eq!(done(true), [false, false, true]);
    }

    #[test]
    fn a_log_of_another_target_or_no_log_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        fs::write(&path, header(target("y"), None)).unwrap();
        assert!(matches!(resume(&path, target("x"), false), Err(ResumeError::OtherTarget { .. })));

        fs::write(&path, "hello\n").unwrap();
        assert!(matches!(resume(&path, target("x"), false), Err(ResumeError::BadLine { line: 1, .. })));

        let missing = resume(&directory.path().join("none"), target("x"), false).unwrap();
        assert!(missing.output.is_none());
    }

    #[test]
    fn a_file_that_was_shared_for_one_result_was_shared() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut shared = line("b", "ok", 20);
        shared.truncate(shared.len() - 2);
        shared.extend_from_slice(b",\"shared\":true}\n");
        let lines = [header(target("x"), Some(FILE)), line("a", "ok", 10), shared, line("c", "ok", 30)];
        fs::write(&path, lines.concat()).unwrap();

        let output = resume(&path, target("x"), false).unwrap().output.unwrap();

        assert_eq!(output.file, OutputFile { offset: 30, shared: true, ..FILE });
    }

    #[test]
    fn a_run_whose_output_is_no_file_leaves_nothing_to_cut() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let lines = [header(target("x"), Some(FILE)), line("a", "ok", 10), header(target("x"), None)];
        fs::write(&path, lines.concat()).unwrap();

        assert_eq!(resume(&path, target("x"), false).unwrap().output, None);
    }
}
