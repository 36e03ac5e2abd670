//! Programs that tests and benchmarks run beside poolctl: which are there, and how to get the others.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A program, or a file where Debian puts it, and the Debian package it comes in.
struct Tool {
    program: &'static str,
    package: &'static str,
}

const TOOLS: [Tool; 6] = [
    Tool { program: "jq", package: "jq" },
    Tool { program: "node", package: "nodejs" },
    Tool { program: "perl", package: "perl" },
    Tool { program: "strace", package: "strace" },
    Tool { program: "parallel", package: "parallel" },
    Tool {
        program: "/usr/lib/python3.11/test/test_concurrent_futures.py",
        package: "libpython3.11-testsuite",
    },
];

impl Tool {
    fn is_there(&self) -> bool {
        Path::new(self.program).is_file() || find(self.program).is_some()
    }
}

/// Where `program` is on PATH.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Installs what is missing where that needs no questions; says what stays missing.
pub(crate) fn install_missing() {
    let missing = || TOOLS.iter().filter(|tool| !tool.is_there());
    if missing().next().is_none() {
        return;
    }
    if nix::unistd::geteuid().is_root() && find("apt-get").is_some() {
        apt_get(&["update", "--quiet"]);
        // One at a time, since apt-get installs nothing at all when it does not know one of several.
        for tool in missing() {
            println!("installing {}", tool.package);
            apt_get(&["install", "--yes", "--quiet", "--no-install-recommends", tool.package]);
        }
    }
    for tool in missing() {
        println!(
            "no {} here, so what needs it is skipped; install the package {} to run it",
            tool.program, tool.package
        );
    }
}

fn apt_get(arguments: &[&str]) {
    let status = Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive").status();
    if !status.is_ok_and(|status| status.success()) {
        println!("apt-get {} failed", arguments.join(" "));
    }
}
