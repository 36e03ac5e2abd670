"""Runs each suite in a process of its own, and again for the rest when that ends early.

`run.py` starts it with the interpreter that has CPython's tests.
"""

import argparse
import pathlib
import sys
from concurrent.futures import ThreadPoolExecutor

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(1, str(HERE.parent))

import suites  # noqa: E402
import supervised_suite  # noqa: E402
from skips import SKIPS  # noqa: E402


def chosen(options):
    """The suites that are asked for, with their tests; `only` has names of suites and of single tests."""
    every = {name: suites.names_of(name) for name in suites.SUITES}
    known = {f"{name}.{test}" for name, tests in every.items() for test in tests}
    for name in [*SKIPS, *options.only]:
        if name not in known and name not in every:
            sys.exit(f"there is no test {name}")
    found = []
    for name, tests in every.items():
        wanted = [test for test in tests
                  if not options.only or name in options.only or f"{name}.{test}" in options.only]
        if wanted:
            found.append(suite(name, wanted, options))
    return found


def suite(name, tests, options):
    def command(descriptor, tests):
        return [sys.executable, str(HERE / "one_suite.py"), str(descriptor), str(options.limit), name, *tests]

    made = supervised_suite.Suite(name, tests, command)
    for test in tests:
        reason = SKIPS.get(made.id(test))
        if reason and not options.unskip:
            made.skip(test, reason)
    return made


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("only", nargs="*")
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--limit", type=float, required=True)
    parser.add_argument("--unskip", action="store_true")
    options = parser.parse_args()
    found = chosen(options)
    passed = True
    with ThreadPoolExecutor(options.jobs) as threads:
        for ended in threads.map(lambda suite: suite.run(options.limit), found):
            passed &= ended.report()
    supervised_suite.table(found)
    supervised_suite.total("CPython's own tests", found)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
