//! What is in files. A file is read from start to end, in pieces, so that it may be larger than memory.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use poolctl::task;
use sha2::{Digest, Sha256};

/// How much is read at once, in bytes.
const PIECE_BYTES: usize = 128 << 10;

/// A file cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read `{}`: {reason}", path.display())]
pub(crate) struct Unreadable {
    path: PathBuf,
    /// In the message, and no source besides: what a task's caller sees is the message.
    reason: io::Error,
}

/// The SHA-256 of a file, in hexadecimal.
#[task]
fn sha256_file(path: &Path) -> Result<String, Unreadable> {
    let mut hash = Sha256::new();
    each_piece(path, |piece| hash.update(piece))?;
    Ok(hexadecimal(&hash.finalize()))
}

/// The BLAKE3 of a file, in hexadecimal.
#[task]
fn blake3_file(path: &Path) -> Result<String, Unreadable> {
    let mut hash = blake3::Hasher::new();
    each_piece(path, |piece| {
        hash.update(piece);
    })?;
    Ok(hexadecimal(hash.finalize().as_bytes()))
}

/// How many lines a file has, as `wc -l` counts them.
#[task]
fn line_count(path: &Path) -> Result<u64, Unreadable> {
    let mut lines = 0;
    each_piece(path, |piece| lines += piece.iter().filter(|byte| **byte == b'\n').count() as u64)?;
    Ok(lines)
}

/// How many words a file has: runs of bytes between white space.
#[task]
fn word_count(path: &Path) -> Result<u64, Unreadable> {
    let (mut words, mut is_in_word) = (0, false);
    each_piece(path, |piece| {
        for byte in piece {
            let is_space = byte.is_ascii_whitespace() || *byte == b'\x0b';
            words += u64::from(!is_space && !is_in_word);
            is_in_word = !is_space;
        }
    })?;
    Ok(words)
}

fn each_piece(path: &Path, mut take: impl FnMut(&[u8])) -> Result<(), Unreadable> {
    let unreadable = |reason| Unreadable { path: path.to_owned(), reason };
    let mut file = File::open(path).map_err(unreadable)?;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(got) => take(&piece[..got]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(error)),
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tempfile::NamedTempFile;

    use super::*;

    fn file(contents: &[u8]) -> NamedTempFile {
        let mut file = NamedTempFile::new().expect("a file can be made");
        file.write_all(contents).expect("there is room");
        file
    }

    #[test]
    fn hashes_are_those_of_the_standards() {
        let (abc, empty) = (file(b"abc"), file(b""));

        let hashes = [sha256_file(abc.path()), sha256_file(empty.path()), blake3_file(abc.path())];

        let expected = [
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
        ];
        assert_eq!(hashes.map(Result::unwrap), expected);
    }

    #[test]
    fn a_file_of_many_pieces_is_hashed_as_a_whole() {
        let contents = vec![7; 3 * PIECE_BYTES + 1];
        let long = file(&contents);

        assert_eq!(blake3_file(long.path()).unwrap(), blake3::hash(&contents).to_hex().as_str());
        assert_eq!(sha256_file(long.path()).unwrap(), hexadecimal(&Sha256::digest(&contents)));
    }

    #[test]
    fn lines_and_words_are_counted_as_wc_does() {
        let text = file("  Überall\tist\nhier.\n\n ohne Ende".as_bytes());
        let mut long = "word ".repeat(PIECE_BYTES / 4);
        long.push('\n');
        let long = file(long.as_bytes());

        assert_eq!((line_count(text.path()).unwrap(), word_count(text.path()).unwrap()), (3, 5));
        assert_eq!((line_count(long.path()).unwrap(), word_count(long.path()).unwrap()), (1, 32768));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let missing = sha256_file(Path::new("/no/such/file")).unwrap_err();
        let folder = line_count(Path::new("/")).unwrap_err();

        assert_eq!(
            missing.to_string(),
            "cannot read `/no/such/file`: No such file or directory (os error 2)"
        );
        assert!(folder.to_string().starts_with("cannot read `/`: "), "{folder}");
    }
}
