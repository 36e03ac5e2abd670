//! A test's own place: directories, a mark on its processes, and the check that nothing is left at its end.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::fcntl::{OFlag, open};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::proc::{is_marked, marked, names_in};
use crate::wait::{holds_within, wait_until};
use crate::{DEADLINE, Invocation, MARK, Process, poolctl_binary, poold_binary, python};

/// Where segments with a name would lie.
const SEGMENTS: &str = "/dev/shm";

/// A test's own place. When it is dropped by a test that passes, it asserts that no process with its mark lives, no file
/// is in its temporary, runtime and home directories, and no segment in /dev/shm that was not there before.
#[derive(Debug)]
pub struct Sandbox {
    directory: TempDir,
    mark: String,
    segments: BTreeSet<String>,
}

impl Sandbox {
    /// An empty place.
    ///
    /// # Panics
    /// If the directories cannot be made.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it makes directories; a default is free of effects")]
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let directory =
            tempfile::Builder::new().prefix("poolctl-test-").tempdir().expect("a temporary directory");
        for name in ["work", "tmp", "run", "home"] {
            fs::create_dir(directory.path().join(name)).expect("a directory in our own");
        }
        let run = directory.path().join("run");
        fs::set_permissions(run, fs::Permissions::from_mode(0o700)).expect("a directory of our own");
        let mark = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Self { directory, mark, segments: names_in(Path::new(SEGMENTS)).collect() }
    }

    /// The mark its processes carry.
    #[must_use]
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// The directory programs run in.
    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.directory.path().join("work")
    }

    /// The path of `name` in the working directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.work().join(name)
    }

    /// Writes a file into the working directory, and returns its path.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, contents).expect("a file in our own directory");
        path
    }

    /// Reads a file of the working directory; empty if it is not there.
    #[must_use]
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_default()
    }

    /// Makes a named pipe in the working directory: what opens it blocks until a test opens the other end.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn fifo(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).expect("a fifo in our own directory");
        path
    }

    /// Opens a named pipe for writing and closes it, which lets one reader go on and find it empty.
    ///
    /// # Panics
    /// If nobody comes to read within the deadline.
    #[track_caller]
    pub fn release(&self, name: &str) {
        wait_until(DEADLINE, &format!("somebody reads the fifo {name}"), || self.try_release(name));
    }

    /// As [`Sandbox::release`], but only if somebody reads there now; whether it was so.
    #[must_use]
    pub fn try_release(&self, name: &str) -> bool {
        // Without a reader this open fails at once instead of blocking.
        open(&self.path(name), OFlag::O_WRONLY | OFlag::O_NONBLOCK, Mode::empty()).is_ok()
    }

    /// `poolctl map` with these arguments.
    #[must_use]
    pub fn map<A: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Invocation {
        self.poolctl(["map"]).args(arguments)
    }

    /// `poolctl` with these arguments.
    #[must_use]
    pub fn poolctl<A: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Invocation {
        Invocation::new(poolctl_binary().as_os_str(), self.environment(), self.work(), &self.mark)
            .args(arguments)
    }

    /// `poold` with these arguments.
    #[must_use]
    pub fn poold<A: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Invocation {
        Invocation::new(poold_binary().as_os_str(), self.environment(), self.work(), &self.mark)
            .args(arguments)
    }

    /// The directory that programs find as their runtime directory.
    #[must_use]
    pub fn run_directory(&self) -> PathBuf {
        self.directory.path().join("run")
    }

    /// Another program, which the product is compared with.
    #[must_use]
    pub fn peer(&self, program: &str) -> Invocation {
        Invocation::new(program.as_ref(), self.environment(), self.work(), &self.mark)
    }

    /// The living processes with its mark.
    #[must_use]
    pub fn processes(&self) -> Vec<Process> {
        marked(&self.mark)
    }

    /// Asserts that nothing is left; also done on drop.
    ///
    /// # Panics
    /// If something is left after the deadline; the message lists it.
    #[track_caller]
    pub fn expect_nothing_left(&self) {
        if !holds_within(DEADLINE, || self.left().is_empty()) {
            let left = self.left();
            self.kill_all();
            panic!("left behind:\n{}", left.join("\n"));
        }
    }

    /// What is there that was not before, one line each.
    #[must_use]
    pub fn left(&self) -> Vec<String> {
        let mut left: Vec<String> =
            self.processes().iter().map(|process| format!("process {process:?}")).collect();
        for name in ["tmp", "run", "home"] {
            left.extend(files_below(&self.directory.path().join(name)).map(|path| format!("file {path:?}")));
        }
        let new = names_in(Path::new(SEGMENTS)).filter(|name| !self.segments.contains(name));
        left.extend(new.map(|name| format!("segment {name}")));
        left
    }

    fn kill_all(&self) {
        for process in self.processes() {
            let pid = i32::try_from(process.pid).expect("a pid fits 31 bits");
            if is_marked(process.pid, &self.mark) {
                // An error means that it has ended since, which is what is wanted.
                kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
            }
        }
    }

    fn environment(&self) -> Vec<(OsString, OsString)> {
        let place = |name: &str| self.directory.path().join(name).into_os_string();
        let mut environment: Vec<(OsString, OsString)> = vec![
            (MARK.into(), self.mark.clone().into()),
            ("HOME".into(), place("home")),
            ("TMPDIR".into(), place("tmp")),
            ("XDG_RUNTIME_DIR".into(), place("run")),
            // What a service logs is for the test to read.
            ("XDG_STATE_HOME".into(), place("work")),
            ("LANG".into(), "C.UTF-8".into()),
            ("POOLCTL_PYTHON".into(), python().into()),
            ("PYTHONDONTWRITEBYTECODE".into(), "1".into()),
            // A slow machine makes a test longer than the ten seconds after which progress is told.
            ("POOLCTL_PROGRESS".into(), "never".into()),
            // GNU parallel keeps its notes below this directory, wherever HOME is.
            ("PARALLEL_HOME".into(), place("work")),
        ];
        environment.extend(std::env::var_os("PATH").map(|path| ("PATH".into(), path)));
        environment
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.kill_all();
        } else {
            self.expect_nothing_left();
        }
    }
}

/// The files below a directory, at any depth; directories alone are no leak.
fn files_below(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![directory.to_path_buf()];
    while let Some(directory) = pending.pop() {
        for name in names_in(&directory) {
            let path = directory.join(name);
            if path.is_dir() && !path.is_symlink() { pending.push(path) } else { found.push(path) }
        }
    }
    found.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_seen() {
        let sandbox = Sandbox::new();
        let running = sandbox.peer("sleep").arg("1000").start();

        fs::write(sandbox.directory.path().join("tmp/forgotten"), "").expect("a file in our own directory");

        // A process that begins has no environment yet by which it could be known.
        let is_seen = |left: &str| left.contains("sleep 1000") && left.contains("tmp/forgotten");
        let seen = holds_within(DEADLINE, || is_seen(&sandbox.left().join("\n")));
        assert!(seen, "{}", sandbox.left().join("\n"));
        fs::remove_file(sandbox.directory.path().join("tmp/forgotten")).expect("it was just made");
        running.kill();
        sandbox.expect_nothing_left();
    }

    #[test]
    fn a_program_gets_its_input_and_is_heard() {
        let sandbox = Sandbox::new();

        let finished = sandbox.peer("sh").args(["-c", "cat; echo no >&2; exit 3"]).input("abc").run();

        let finished = finished.expect_code(3).expect_stdout("abc").expect_words(&["no"]);
        assert_eq!(finished.signal(), None);
    }
}
