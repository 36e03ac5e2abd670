//! `--output`: a file for each item, named by its number; `.failed` is added where the item is not ok.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use poolctl_supervisor::Output;
use poolctl_types::Item;

use super::OutletError;
use super::piece::Ending;

/// A directory that is there and can be written to, made if it is not.
pub(crate) fn make_directory(path: &Path) -> Result<(), OutletError> {
    fs::create_dir_all(path).map_err(|source| OutletError::File { path: path.to_path_buf(), source })
}

/// Writes the file of an item, whole or not at all, and removes one that says otherwise.
pub(super) fn write(
    directory: &Path,
    item: Item,
    ok: bool,
    output: &Output,
    ending: Ending,
) -> Result<(), OutletError> {
    /// As for any new file: the umask takes away what it shall.
    const MODE: u32 = 0o666;
    let path = path(directory, item, ok);
    let mut builder = tempfile::Builder::new();
    builder.prefix(".poolctl-").permissions(Permissions::from_mode(MODE));
    let written = builder.tempfile_in(directory).and_then(|mut file| {
        ending.write(output, &mut file)?;
        file.persist(&path).map_err(|error| error.error)?;
        Ok(())
    });
    written.map_err(|source| OutletError::File { path, source })?;
    remove_one(directory, item, !ok)
}

/// Removes what an earlier run left of an item that gave nothing out.
pub(super) fn remove(directory: &Path, item: Item) -> Result<(), OutletError> {
    remove_one(directory, item, true)?;
    remove_one(directory, item, false)
}

fn remove_one(directory: &Path, item: Item, ok: bool) -> Result<(), OutletError> {
    let path = path(directory, item, ok);
    match fs::remove_file(&path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(OutletError::File { path, source }),
        _ => Ok(()),
    }
}

fn path(directory: &Path, item: Item, ok: bool) -> PathBuf {
    directory.join(format!("{item}{}", if ok { "" } else { ".failed" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn an_item_has_one_file_which_others_may_read_as_the_umask_says() {
        let directory = tempfile::tempdir().unwrap();
        let output = Output::from(b"x".to_vec());
        let plain = directory.path().join("plain");
        fs::write(&plain, "").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        let expected = mode(&plain);
        fs::remove_file(plain).unwrap();

        for (ok, name) in [(false, "1.failed"), (true, "1"), (false, "1.failed")] {
            write(directory.path(), Item(1), ok, &output, Ending::LineBreak).unwrap();

            assert_eq!(names(directory.path()), [name]);
            assert_eq!(mode(&directory.path().join(name)), expected);
        }
        remove(directory.path(), Item(1)).unwrap();
        assert!(names(directory.path()).is_empty());
    }
}
