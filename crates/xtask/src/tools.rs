//! Programs that tests and benchmarks run beside poolctl: which are there, and how to get the others.

use std::path::PathBuf;
use std::process::Command;

/// A program and the Debian package it comes in.
struct Tool {
    program: &'static str,
    package: &'static str,
}

const TOOLS: [Tool; 5] = [
    Tool { program: "jq", package: "jq" },
    Tool { program: "node", package: "nodejs" },
    Tool { program: "perl", package: "perl" },
    Tool { program: "strace", package: "strace" },
    Tool { program: "parallel", package: "parallel" },
];

/// Where `program` is on PATH.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Installs what is missing where that needs no questions; says what stays missing.
pub(crate) fn install_missing() {
    let missing = || TOOLS.iter().filter(|tool| find(tool.program).is_none());
    let packages: Vec<_> = missing().map(|tool| tool.package).collect();
    if packages.is_empty() {
        return;
    }
    if nix::unistd::geteuid().is_root() && find("apt-get").is_some() {
        println!("installing {}", packages.join(", "));
        let install = [&["install", "--yes", "--no-install-recommends"], packages.as_slice()].concat();
        for arguments in [vec!["update", "--quiet"], install] {
            let status =
                Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive").status();
            if !status.is_ok_and(|status| status.success()) {
                println!("apt-get failed");
                break;
            }
        }
    }
    for tool in missing() {
        println!(
            "no {} here, so what needs it is skipped; install the package {} to run it",
            tool.program, tool.package
        );
    }
}
