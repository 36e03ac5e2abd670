//! What this process is: its executable, the stock worker beside it, and the name of its run.

use std::env;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use poolctl_types::Moment;

/// The file name of the stock worker.
const STOCK_WORKER: &str = "pool-worker";

/// Where the stock worker lies in an installation that keeps it off PATH, as seen from the directory of `poolctl`.
const LIBEXEC: &str = "../libexec/poolctl";

/// The stock worker is in none of its places.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "found no `{STOCK_WORKER}`, which holds the native functions: neither `{}` nor `{}` is there",
    .beside.display(), .libexec.display()
)]
pub(crate) struct NoStockWorker {
    beside: PathBuf,
    libexec: PathBuf,
}

/// The file that runs, also when it was replaced on disk meanwhile.
pub(crate) fn executable() -> PathBuf {
    let itself = Path::new("/proc/self/exe");
    env::current_exe().ok().filter(|path| path.exists()).unwrap_or_else(|| itself.to_path_buf())
}

/// The path of the stock worker: beside this executable, else in `../libexec/poolctl`, and nowhere else, so that no
/// other program of that name is ever run.
pub(crate) fn stock_worker() -> Result<Vec<u8>, NoStockWorker> {
    // Of an executable that was deleted meanwhile the directory is still right.
    let own = env::current_exe().unwrap_or_default();
    let path = stock_worker_of(own.parent().unwrap_or(Path::new("/")))?;
    Ok(path.into_os_string().into_vec())
}

fn stock_worker_of(directory: &Path) -> Result<PathBuf, NoStockWorker> {
    let beside = directory.join(STOCK_WORKER);
    if beside.exists() {
        return Ok(beside);
    }
    let libexec = directory.join(LIBEXEC).join(STOCK_WORKER);
    if libexec.exists() { Ok(libexec) } else { Err(NoStockWorker { beside, libexec }) }
}

/// A name that no other run of this machine has: no two have the same pid at the same moment.
pub(crate) fn run_id(now: Moment) -> String {
    format!("{:x}-{:x}", std::process::id(), now.0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_stock_worker_beside_is_nearer_than_that_in_libexec() {
        let root = tempfile::tempdir().unwrap();
        let (bin, libexec) = (root.path().join("bin"), root.path().join("libexec/poolctl"));
        fs::create_dir(&bin).unwrap();
        fs::create_dir_all(&libexec).unwrap();

        let nowhere = stock_worker_of(&bin).unwrap_err().to_string();
        fs::write(libexec.join(STOCK_WORKER), "").unwrap();
        let far = stock_worker_of(&bin).unwrap();
        fs::write(bin.join(STOCK_WORKER), "").unwrap();
        let near = stock_worker_of(&bin).unwrap();

        assert!(nowhere.contains("bin/pool-worker` nor") && nowhere.contains("libexec/poolctl/pool-worker`"));
        assert_eq!(far.canonicalize().unwrap(), libexec.join(STOCK_WORKER).canonicalize().unwrap());
        assert_eq!(near, bin.join(STOCK_WORKER));
    }
}
