//! On what a benchmark ran: one line for the document.

use std::fs;
use std::path::Path;
use std::process::Command;

/// CPU, cores, kernel, the versions of the peers, and the commit.
pub(crate) fn line(top: &Path) -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown CPU", |(_, model)| model).to_owned();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let first_line = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(top).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().next().map(str::to_owned)
    };
    let parts = [
        Some(format!("{model}, {cores} cores")),
        Some(format!("Linux {}", kernel.trim())),
        first_line("python3", &["--version"]),
        first_line("parallel", &["--version"]),
        first_line("xargs", &["--version"]),
        first_line("rustc", &["--version"]),
        first_line("git", &["rev-parse", "--short", "HEAD"]).map(|commit| format!("commit {commit}")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}
