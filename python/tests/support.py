"""What the tests of the package share: where the program is, and waiting for conditions."""

import gc
import os
import pathlib
import sys
import time
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
PATIENCE = 30

sys.path.insert(0, str(TOP / "python" / "src"))


def find_program():
    """The program that was built last, unless POOLCTL_BINARY names one."""
    if "POOLCTL_BINARY" in os.environ:
        return
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", TOP / "target"))
    built = [path for path in (target / kind / "poolctl" for kind in ("release", "debug")) if path.is_file()]
    if built:
        os.environ["POOLCTL_BINARY"] = str(max(built, key=lambda path: path.stat().st_mtime))


find_program()


def until(condition, what="it did not come to it"):
    """Waits for `condition()` and returns what it gave."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(what)
        time.sleep(0.005)


def is_alive(pid):
    """Whether there is such a process and it is no zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


def descriptors():
    return set(os.listdir("/proc/self/fd"))


def children():
    """The processes that this one has."""
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
        return set(file.read().split())


class PoolTest(unittest.TestCase):
    """Asserts that a test leaves no child and no descriptor behind."""

    def setUp(self):
        gc.collect()
        self.before = children(), len(descriptors())
        self.addCleanup(self.check_leftovers)

    def check_leftovers(self):
        gc.collect()
        until(lambda: children() <= self.before[0], "a child is left")
        until(lambda: len(descriptors()) <= self.before[1], "a descriptor is left")
