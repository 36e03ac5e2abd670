//! What this process is: its executable, the stock worker beside it, and the name of its run.

use std::os::unix::ffi::OsStringExt;

use poolctl_service::{NoProgram, sibling};

pub(crate) use poolctl_service::{executable, run_id};

/// The stock worker is in none of its places.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are no native functions")]
pub(crate) struct NoStockWorker(#[from] NoProgram);

/// The path of the stock worker, which holds the native functions.
pub(crate) fn stock_worker() -> Result<Vec<u8>, NoStockWorker> {
    Ok(sibling("pool-worker")?.into_os_string().into_vec())
}
