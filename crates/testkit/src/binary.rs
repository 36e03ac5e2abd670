//! Which programs the tests run: the `poolctl` under test, and the Python interpreter itself.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The `poolctl` under test: `POOLCTL_BIN` if set, else the one of this build's profile, built once a run.
///
/// # Panics
/// If it is not there and cannot be built.
#[must_use]
pub fn poolctl_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("POOLCTL_BIN") {
        Some(path) => {
            let path = PathBuf::from(path);
            assert!(path.is_file(), "POOLCTL_BIN is {}, which is no file", path.display());
            path
        }
        None => build(),
    })
}

/// The `poold` beside the `poolctl` under test.
///
/// # Panics
/// As [`poolctl_binary`].
#[must_use]
pub fn poold_binary() -> PathBuf {
    poolctl_binary().with_file_name("poold")
}

/// The Python interpreter behind `python3` on PATH: `sys.executable`, so that no start-up script is in the way.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn python() -> &'static str {
    static PYTHON: OnceLock<String> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let output = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
        let output = output.expect("the tests need python3 on PATH");
        String::from_utf8(output.stdout).expect("a path in UTF-8").trim_end().to_owned()
    })
}

/// Builds the binary in the profile of the running test. Cargo does nothing where it is fresh already, so that a test
/// never runs an old one.
fn build() -> PathBuf {
    let profile = profile_directory();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // The service and the stock worker lie beside it.
    command.args([
        "build",
        "--quiet",
        "--package",
        "poolctl-cli",
        "--package",
        "poold",
        "--package",
        "pool-worker",
    ]);
    command.arg("--target-dir").arg(profile.parent().expect("a profile lies in the target directory"));
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")));
    if profile.ends_with("release") {
        command.arg("--release");
    }
    let output = command.output().expect("cargo runs");
    assert!(output.status.success(), "poolctl did not build:\n{}", String::from_utf8_lossy(&output.stderr));
    profile.join("poolctl")
}

/// `target/debug` or `target/release`, from where the running test lies (`…/deps/suite-0123`).
fn profile_directory() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let directory = test.parent().expect("a program lies in a directory");
    let directory = if directory.ends_with("deps") { directory.parent() } else { Some(directory) };
    directory.expect("`deps` lies in the directory of a profile").to_path_buf()
}
