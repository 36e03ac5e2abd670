"""Runs tests of others in processes that may hang or crash, and prints what unittest would.

A process tells on a descriptor, a line of JSON each: `{"begun": TEST}`, `{"ended": TEST, "outcome": …, "detail": …}`
and, for what goes wrong outside of a test, `{"outside": NAME, "outcome": …, "detail": …}`. Outcomes are `passed`,
`failed`, `error` and `skipped`. When it ends before it has told of every test, the one that it had begun is an error,
and another process runs the rest.
"""

import faulthandler
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time

# For a process that neither tells anything nor ends itself, though `watch` should have ended it.
GRACE = 30


def watch(seconds):
    """Ends this process, with the stacks of its threads printed, unless it is called again within `seconds`."""
    faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__)


def unwatch():
    faulthandler.cancel_dump_traceback_later()


class Teller:
    """The side of the process that runs the tests."""

    def __init__(self, descriptor):
        os.set_inheritable(descriptor, False)
        self.output = open(descriptor, "w", encoding="utf-8")

    def tell(self, **line):
        self.output.write(json.dumps(line) + "\n")
        self.output.flush()


class Suite:
    """What became of the tests of one suite."""

    def __init__(self, name, tests, command):
        """`command(descriptor, tests)` is the command line of a process that runs `tests` and tells of each."""
        self.name = name
        self.tests = tests
        self.command = command
        self.outcomes = {}
        self.outside = []
        self.output = ""
        self.seconds = 0.0

    def id(self, test):
        return f"{self.name}.{test}"

    def skip(self, test, reason):
        """Settles a test without running it."""
        self.outcomes[test] = ("skipped", reason)

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
            elif status:
                self.outside.append(f"its process did not end well, but with {status}\n{output}")
        self.seconds = time.monotonic() - begun
        return self

    def _one_process(self, limit):
        """One child: the test in which it ended before its time, its exit status, and what it printed."""
        reader, writer = os.pipe()
        with tempfile.TemporaryFile("w+", errors="replace") as printed, open(reader, "rb", buffering=0) as lines:
            command = self.command(writer, self.left())
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
                    current = self.told(json.loads(line), current)
                silent_since = time.monotonic()
                if not chunk:
                    return current
            elif child.poll() is not None:
                return current
            elif time.monotonic() - silent_since > patience:
                end_group(child.pid)

    def told(self, line, current):
        """Takes one line of news; returns the test that is running behind it."""
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


def table(suites):
    """Every skipped test with its reason."""
    lines = [(suite.id(test), reason) for suite in suites for test, (outcome, reason) in suite.outcomes.items()
             if outcome == "skipped"]
    if lines:
        width = max(len(test) for test, _ in lines)
        print("skipped:", *(f"  {test:{width}}  {reason}" for test, reason in lines), sep="\n")


def total(what, suites):
    """The last line: how many ran and passed."""
    ran = sum(len(suite.tests) for suite in suites)
    good, skipped = (sum(suite.count(outcome) for suite in suites) for outcome in ("passed", "skipped"))
    print(f"{what}: {good} of {ran} run and pass, {skipped} are skipped")
