"""Which Python can run CPython's own tests: distributions ship the interpreter without most of them."""

import os
import shutil
import subprocess
import sys

NEEDED = ("test._test_multiprocessing", "test.test_concurrent_futures")
PACKAGE = "libpython3.11-testsuite"

# What is looked for, and where it is read: not an import, since that costs a second and may print.
_PROBE = """
import importlib.util, sys
print(sys.version.split()[0])
if sys.version_info >= (3, 12):
    sys.exit("since 3.12 the tests are cut differently")
for name in sys.argv[1:]:
    if importlib.util.find_spec(name) is None:
        sys.exit("no " + name)
"""


def usable():
    """Path of the first interpreter that has all tests, or `None`; and a line about each that was looked at."""
    looked_at = []
    for path in _candidates():
        ended = subprocess.run([path, "-I", "-c", _PROBE, *NEEDED], capture_output=True, text=True, check=False)
        version = ended.stdout.strip() or "not a Python that runs"
        if ended.returncode == 0:
            looked_at.append(f"{path} ({version}) has them")
            return path, looked_at
        reasons = ended.stderr.strip().splitlines() or ["failed"]
        looked_at.append(f"{path} ({version}): {reasons[-1]}")
    return None, looked_at


def _candidates():
    """The running interpreter, then Debian's, then what is on PATH: each once."""
    named = [sys.executable, "/usr/bin/python3.11", "/usr/bin/python3"]
    found = [shutil.which(name) for name in ("python3", "python3.11", "python3.10", "python3.9")]
    seen = set()
    for path in named + found:
        if path and os.path.exists(path) and path not in seen:
            seen.add(path)
            yield path
