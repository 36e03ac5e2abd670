//! A virtual environment under the target folder, for Python packages that tests and benchmarks need beside poolctl.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

/// Where its list of packages is noted once they are in it.
const STAMP: &str = "installed.txt";

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnvironmentError {
    /// The list of packages could not be read, or noted.
    #[error("failed to read or note {path}")]
    List { path: PathBuf, source: io::Error },
    /// A program could not be run.
    #[error("failed to run {program}")]
    Run { program: String, source: io::Error },
    /// A program said no.
    #[error("{program} failed")]
    Failed { program: String },
}

/// The interpreter of the environment `name`, which has what the file `requirements` lists; made when it is not there.
pub(crate) fn environment(top: &Path, name: &str, requirements: &str) -> Result<PathBuf, EnvironmentError> {
    let list = top.join(requirements);
    let wanted =
        fs::read_to_string(&list).map_err(|source| EnvironmentError::List { path: list.clone(), source })?;
    let folder = target(top).join(name);
    let (python, stamp) = (folder.join("bin/python"), folder.join(STAMP));
    if python.is_file() && fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    println!("making {} with what {requirements} lists", folder.display());
    succeed(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
    succeed(install.arg(&list))?;
    fs::write(&stamp, wanted).map_err(|source| EnvironmentError::List { path: stamp.clone(), source })?;
    Ok(python)
}

/// Where cargo builds.
fn target(top: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| top.join("target"), |path| top.join(path))
}

fn succeed(command: &mut Command) -> Result<(), EnvironmentError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status();
    let status = status.map_err(|source| EnvironmentError::Run { program: program.clone(), source })?;
    if status.success() { Ok(()) } else { Err(EnvironmentError::Failed { program }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_with_the_same_list_is_taken_as_it_is() {
        let top = tempfile::tempdir().expect("a temporary folder");
        let folder = target(top.path()).join("tested-environment");
        fs::create_dir_all(folder.join("bin")).expect("made");
        for (path, text) in [("bin/python", ""), (STAMP, "numpy\n")] {
            fs::write(folder.join(path), text).expect("written");
        }
        fs::write(top.path().join("list.txt"), "numpy\n").expect("written");

        let python = environment(top.path(), "tested-environment", "list.txt").expect("it is there");

        assert_eq!(python, folder.join("bin/python"));
        fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn a_list_that_is_missing_is_named() {
        let top = tempfile::tempdir().expect("a temporary folder");

        let error = environment(top.path(), "tested-environment", "gone.txt").expect_err("no such list");

        assert!(matches!(error, EnvironmentError::List { path, .. } if path.ends_with("gone.txt")));
    }
}
