//! What the tests need from elsewhere: whether another tool is installed, real input, numbers as lines.

use std::fmt::Write;
use std::path::PathBuf;

use poolctl_testkit::Sandbox;

/// Whether a program of this name is on PATH. A test that needs it and lacks it says so and passes.
pub(crate) fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|directory| directory.join(program).is_file());
    if !found {
        skipped(&format!("{program} is not installed"));
    }
    found
}

/// Says why a test has not been run here.
#[expect(clippy::print_stderr, reason = "a test that is skipped in silence looks like one that passed")]
pub(crate) fn skipped(reason: &str) {
    eprintln!("skipped: {reason}");
}

/// Up to `count` real files of this machine, in the order `find` gives them; none with a newline in its name.
pub(crate) fn real_files(sandbox: &Sandbox, count: usize) -> Vec<String> {
    let places = ["/usr/include", "/usr/share/doc"].into_iter().filter(|place| PathBuf::from(place).is_dir());
    let found = sandbox.peer("find").args(places).args(["-type", "f", "-size", "-64k"]).run().expect_code(0);
    found.lines().into_iter().take(count).collect()
}

/// The numbers from `first` to `last`, one a line.
pub(crate) fn numbers(first: u64, last: u64) -> String {
    (first..=last).fold(String::new(), |mut text, number| {
        writeln!(text, "{number}").expect("a string takes any text");
        text
    })
}

/// Lines, each ended by a newline.
pub(crate) fn lines<T: AsRef<str>>(lines: impl IntoIterator<Item = T>) -> String {
    lines.into_iter().fold(String::new(), |mut text, line| {
        text.push_str(line.as_ref());
        text.push('\n');
        text
    })
}
