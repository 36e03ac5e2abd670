"""Runs each suite in its process, again for the rest when that ends early, and prints what unittest would.

`run.py` starts it with the interpreter that has CPython's tests.
"""

import argparse
import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import suites
from skips import SKIPS

CHILD = pathlib.Path(__file__).with_name("one_suite.py")
# For a child that neither tells anything nor ends itself, since faulthandler of its own would have ended it before.
GRACE = 30


class Suite:
    """What became of the tests of one suite."""

    def __init__(self, name, tests, unskip):
        self.name = name
        self.tests = tests
        self.outcomes = {}
        self.outside = []
        self.output = ""
        self.seconds = 0.0
        for test in tests:
            if not unskip and self.id(test) in SKIPS:
                self.outcomes[test] = ("skipped", SKIPS[self.id(test)])

    def id(self, test):
        return f"{self.name}.{test}"

    def left(self):
        return [test for test in self.tests if test not in self.outcomes]

    def run(self, limit):
        """Runs until every test has an outcome."""
        begun = time.monotonic()
        while self.left():
            current, status, output = self._one_process(limit)
            self.output += output
            if current is not None:
                self.outcomes[current] = ("error", f"its process ended with {status} or was ended\n{output}")
            elif self.left():
                first, *others = self.left()
                self.outcomes[first] = ("error", f"it did not run; the process ended with {status}\n{output}")
                self.outcomes.update({test: ("error", "it did not run, as the first one") for test in others})
        self.seconds = time.monotonic() - begun
        return self

    def _one_process(self, limit):
        """One child: the test in which it ended before its time, its exit status, and what it printed."""
        reader, writer = os.pipe()
        with tempfile.TemporaryFile("w+", errors="replace") as printed, open(reader, "rb", buffering=0) as lines:
            command = [sys.executable, str(CHILD), str(writer), str(limit), self.name, *self.left()]
            child = subprocess.Popen(command, pass_fds=[writer], stdin=subprocess.DEVNULL, stdout=printed,
                                     stderr=subprocess.STDOUT, start_new_session=True)
            os.close(writer)
            current = self._listen(child, lines, limit + GRACE)
            status = child.wait()
            end_group(child.pid)
            printed.seek(0)
            return current, status, printed.read()

    def _listen(self, child, lines, patience):
        """Reads what the child tells until it has ended; a forked copy of it may keep the pipe open."""
        current, rest, silent_since = None, b"", time.monotonic()
        while True:
            ready, _, _ = select.select([lines], [], [], 0.5)
            if ready:
                chunk = lines.read(1 << 16)
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    current = self._told(json.loads(line), current)
                silent_since = time.monotonic()
                if not chunk:
                    return current
            elif child.poll() is not None:
                return current
            elif time.monotonic() - silent_since > patience:
                end_group(child.pid)

    def _told(self, line, current):
        if "begun" in line:
            return line["begun"]
        if "ended" in line:
            self.outcomes[line["ended"]] = (line["outcome"], line["detail"])
            return None
        if line["outcome"] == "skipped":
            self.outcomes.update({test: ("skipped", line["detail"]) for test in self.left()})
        else:
            self.outside.append(f"{line['outside']}\n{line['detail']}")
        return current

    def count(self, outcome):
        return sum(1 for found, _ in self.outcomes.values() if found == outcome)

    def report(self):
        """Prints failures with all they say, and the closing lines in unittest's form; true if all is well."""
        for test, (outcome, detail) in self.outcomes.items():
            if outcome in ("failed", "error"):
                print(f"{'=' * 70}\n{outcome.upper()}: {self.id(test)}\n{'-' * 70}\n{detail}")
        for text in self.outside:
            print(f"{'=' * 70}\nERROR outside of a test of {self.name}: {text}")
        warnings = sorted({line for line in self.output.splitlines() if line.startswith("Warning -- ")})
        for warning in warnings[:10]:
            print(f"{self.name}: {warning}")
        failures, errors, skipped = self.count("failed"), self.count("error") + len(self.outside), self.count("skipped")
        parts = (("failures", failures), ("errors", errors), ("skipped", skipped))
        told = ", ".join(f"{name}={number}" for name, number in parts if number)
        verdict = "FAILED" if failures or errors else "OK"
        print(f"{self.name}\nRan {len(self.tests)} tests in {self.seconds:.1f}s\n")
        print(f"{verdict} ({told})\n" if told else f"{verdict}\n", flush=True)
        return not failures and not errors


def end_group(group):
    """Ends whatever is left of a child's group."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass


def chosen(only, unskip):
    """The suites that are asked for, with their tests; `only` has names of suites and of single tests."""
    every = {name: suites.names_of(name) for name in suites.SUITES}
    known = {f"{name}.{test}" for name, tests in every.items() for test in tests}
    for name in [*SKIPS, *only]:
        if name not in known and name not in every:
            sys.exit(f"there is no test {name}")
    found = []
    for name, tests in every.items():
        wanted = [test for test in tests if not only or name in only or f"{name}.{test}" in only]
        if wanted:
            found.append(Suite(name, wanted, unskip))
    return found


def table(found):
    """Every skipped test with its reason."""
    lines = [(suite.id(test), reason) for suite in found for test, (outcome, reason) in suite.outcomes.items()
             if outcome == "skipped"]
    if lines:
        width = max(len(test) for test, _ in lines)
        print("skipped:", *(f"  {test:{width}}  {reason}" for test, reason in lines), sep="\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("only", nargs="*")
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--limit", type=float, required=True)
    parser.add_argument("--unskip", action="store_true")
    options = parser.parse_args()
    found = chosen(options.only, options.unskip)
    passed = True
    with ThreadPoolExecutor(options.jobs) as threads:
        for suite in threads.map(lambda suite: suite.run(options.limit), found):
            passed &= suite.report()
    table(found)
    ran = sum(len(suite.tests) for suite in found)
    skipped = sum(suite.count("skipped") for suite in found)
    good = sum(suite.count("passed") for suite in found)
    print(f"CPython's own tests: {good} of {ran} run and pass, {skipped} are skipped")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
