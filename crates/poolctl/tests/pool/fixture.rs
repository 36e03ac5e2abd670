//! Pools for the tests, whose processes carry their sandbox's mark, and the functions they run.

use poolctl::{Kind, Lines, Pool, PoolBuilder, Values};
use poolctl_testkit::{MARK, Sandbox, python};

/// What the workers do.
const FUNCTIONS: &str = r#"
import os, signal, subprocess, time

def double(item):
    return item * 2

def die_at_seven(item):
    if item == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return item

def fail(item):
    raise ValueError(f"not {item}")

def hold(path):
    """Says that it runs, and with which pid; goes on when the fifo beside is opened."""
    with open(path + ".new", "w") as file:
        file.write(str(os.getpid()))
    os.rename(path + ".new", path + ".pid")
    open(path).close()
    return path

def hold_some(item):
    return hold(item) if isinstance(item, str) else item

def second_time(path):
    try:
        open(path, "x").close()
    except FileExistsError:
        return "done"
    raise RuntimeError("the first time")

def leave_a_grandchild(item):
    subprocess.Popen(["sh", "-c", "sleep 1000 & sleep 1000"], start_new_session=True)
    return item

def sleep(seconds):
    time.sleep(seconds)
"#;

/// A pool of `workers` that call one of the functions above.
pub(crate) fn calling(sandbox: &Sandbox, function: &str, workers: u32) -> PoolBuilder<Values> {
    let module = sandbox.write("functions.py", FUNCTIONS);
    let builder = Pool::builder().python(module, function).interpreter(python());
    marked(sandbox, builder).env("PYTHONDONTWRITEBYTECODE", "1").workers(workers)
}

/// A pool of `workers` that answer each line with itself.
pub(crate) fn echoing(sandbox: &Sandbox, workers: u32) -> PoolBuilder<Lines> {
    marked(sandbox, Pool::builder().lines(["cat"])).workers(workers)
}

/// The same pool, whose workers carry the mark.
pub(crate) fn marked<K>(sandbox: &Sandbox, builder: PoolBuilder<K>) -> PoolBuilder<K> {
    builder.env(MARK, sandbox.mark())
}

/// The pool.
pub(crate) fn built<K: Kind>(builder: PoolBuilder<K>) -> Pool<K> {
    builder.build().expect("a pool can be had here")
}

/// An item for `hold`, and the fifo behind it.
pub(crate) fn held_item(sandbox: &Sandbox, name: &str) -> String {
    sandbox.fifo(name).into_os_string().into_string().expect("our own paths are text")
}

/// The pid of the worker that runs `hold` on this item, once it does.
pub(crate) fn pid_of_holder(sandbox: &Sandbox, name: &str) -> String {
    let file = format!("{name}.pid");
    poolctl_testkit::wait_until(poolctl_testkit::DEADLINE, "the item runs", || {
        !sandbox.read(&file).is_empty()
    });
    String::from_utf8(sandbox.read(&file)).expect("a number")
}
