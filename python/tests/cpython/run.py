"""Runs the standard library's own tests of pools and executors on poolctl's classes.

Needs the tests (Debian: libpython3.11-testsuite), the package on PYTHONPATH or installed for the interpreter that has
them (found by itself; --python names one), and the binary where the package looks for it. Each suite runs in a process
of its own, so that a test that hangs or crashes costs only itself. What is skipped is told with its reason. With
--pool, --thread-pool and --executor another class is tested: with the standard library's own, everything must pass.
"""

import argparse
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
SOURCES = HERE.parents[1] / "src"
sys.path.insert(0, str(HERE))

import interpreters  # noqa: E402
import suites  # noqa: E402


def main():
    options = _options()
    environment = {**os.environ, "PYTHONPATH": _search_path(options)}
    for variable, named in ((suites.POOL, options.pool), (suites.THREAD_POOL, options.thread_pool),
                            (suites.EXECUTOR, options.executor), (suites.CONTEXT, options.context)):
        environment[variable] = named
    interpreter, looked_at = options.python, []
    if interpreter is None:
        interpreter, looked_at = interpreters.usable()
    print(*looked_at, sep="\n")
    if interpreter is None:
        print(f"CPython's tests are skipped: no interpreter here has them; install {interpreters.PACKAGE}")
        print("Ran 1 test in 0s\n\nOK (skipped=1)")
        return 0
    arguments = [interpreter, str(HERE / "drive.py"), "--jobs", str(options.jobs), "--limit", str(options.limit)]
    arguments += ["--unskip"] if options.unskip else []
    return subprocess.run(arguments + options.only, env=environment, check=False).returncode


def _options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", metavar="SUITE or SUITE.TEST", help="what to run; everything if not given")
    parser.add_argument("--python", help="the interpreter to run the tests with")
    parser.add_argument("--pool", default=suites.OURS[suites.POOL], metavar="MODULE:CLASS")
    parser.add_argument("--thread-pool", default=suites.OURS[suites.THREAD_POOL], metavar="MODULE:CLASS")
    parser.add_argument("--executor", default=suites.OURS[suites.EXECUTOR], metavar="MODULE:CLASS")
    parser.add_argument("--context", default="", help="start method that executors are made with, for stand-ins")
    parser.add_argument("--jobs", type=int, default=2, help="suites at a time")
    parser.add_argument("--limit", type=float, default=120, help="seconds until a test counts as hanging")
    parser.add_argument("--unskip", action="store_true", help="run what skips.py lists too")
    parser.add_argument("--installed", action="store_true", help="take the installed package, not the sources beside")
    return parser.parse_args()


def _search_path(options):
    folders = [str(HERE)] if options.installed else [str(HERE), str(SOURCES)]
    return os.pathsep.join(folders + [folder for folder in [os.environ.get("PYTHONPATH")] if folder])


if __name__ == "__main__":
    sys.exit(main())
