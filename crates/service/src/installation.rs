//! The programs of this installation: which is running, and where its siblings lie.

use std::env;
use std::path::{Path, PathBuf};

use poolctl_types::Moment;

/// Where programs lie in an installation that keeps them off PATH, as seen from the directory of the one that runs.
const LIBEXEC: &str = "../libexec/poolctl";

/// A program is in none of its places.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("found no `{name}`: neither `{}` nor `{}` is there", .beside.display(), .libexec.display())]
pub struct NoProgram {
    /// Its name.
    pub name: &'static str,
    /// Where it was looked for first.
    pub beside: PathBuf,
    /// Where it was looked for then.
    pub libexec: PathBuf,
}

/// The file that runs, also when it was replaced on disk meanwhile.
#[must_use]
pub fn executable() -> PathBuf {
    let itself = Path::new("/proc/self/exe");
    env::current_exe().ok().filter(|path| path.exists()).unwrap_or_else(|| itself.to_path_buf())
}

/// The program of this name: beside this executable, else in `../libexec/poolctl`, and nowhere else, so that no other
/// program of that name is ever run.
///
/// # Errors
/// It is in neither place.
pub fn sibling(name: &'static str) -> Result<PathBuf, NoProgram> {
    // Of an executable that was deleted meanwhile the directory is still right.
    let own = env::current_exe().unwrap_or_default();
    sibling_in(own.parent().unwrap_or(Path::new("/")), name)
}

fn sibling_in(directory: &Path, name: &'static str) -> Result<PathBuf, NoProgram> {
    let beside = directory.join(name);
    if beside.exists() {
        return Ok(beside);
    }
    let libexec = directory.join(LIBEXEC).join(name);
    if libexec.exists() { Ok(libexec) } else { Err(NoProgram { name, beside, libexec }) }
}

/// A name that no other run of this machine has: no two have the same pid at the same moment.
#[must_use]
pub fn run_id(now: Moment) -> String {
    format!("{:x}-{:x}", std::process::id(), now.0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_sibling_beside_is_nearer_than_one_in_libexec() {
        let root = tempfile::tempdir().unwrap();
        let (bin, libexec) = (root.path().join("bin"), root.path().join("libexec/poolctl"));
        fs::create_dir(&bin).unwrap();
        fs::create_dir_all(&libexec).unwrap();

        let nowhere = sibling_in(&bin, "poold").unwrap_err().to_string();
        fs::write(libexec.join("poold"), "").unwrap();
        let far = sibling_in(&bin, "poold").unwrap();
        fs::write(bin.join("poold"), "").unwrap();
        let near = sibling_in(&bin, "poold").unwrap();

        assert!(
            nowhere.contains("bin/poold` nor") && nowhere.contains("libexec/poolctl/poold`"),
            "{nowhere}"
        );
        assert_eq!(far.canonicalize().unwrap(), libexec.join("poold").canonicalize().unwrap());
        assert_eq!(near, bin.join("poold"));
    }
}
