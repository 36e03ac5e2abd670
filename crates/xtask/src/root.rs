//! Where the repository is: two folders above this crate's manifest.

use std::path::{Path, PathBuf};

/// The top folder of the repository that `cargo xtask` was called in.
pub(crate) fn folder() -> PathBuf {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.ancestors().nth(2).map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// Where `cargo build --release` puts the binary of the command line.
pub(crate) fn release_binary(top: &Path) -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| top.join("target"), |path| top.join(path));
    target.join("release/poolctl")
}
