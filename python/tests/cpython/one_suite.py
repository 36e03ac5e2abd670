"""Runs tests of one suite in a process of its own and writes a line of JSON about each: `run.py` starts it.

usage: one_suite.py DESCRIPTOR SECONDS SUITE TEST…
"""

import pathlib
import sys
import unittest

sys.path.insert(1, str(pathlib.Path(__file__).resolve().parents[1]))

import suites  # noqa: E402
from supervised_suite import Teller, unwatch, watch  # noqa: E402


class Told(unittest.TestResult):
    """Writes what becomes of each test; one that takes too long ends the process, with all its stacks printed."""

    def __init__(self, teller, seconds):
        super().__init__()
        self.tell = teller.tell
        self.seconds = seconds
        self.outcome = None

    def startTest(self, test):
        super().startTest(test)
        self.outcome = ("passed", "")
        watch(self.seconds)
        self.tell(begun=test._testMethodName)

    def stopTest(self, test):
        unwatch()
        super().stopTest(test)
        self.tell(ended=test._testMethodName, outcome=self.outcome[0], detail=self.outcome[1])

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.settle(test, "failed", self._exc_info_to_string(err, test))

    def addError(self, test, err):
        super().addError(test, err)
        self.settle(test, "error", self._exc_info_to_string(err, test))

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.settle(test, "failed", f"{subtest}\n{self._exc_info_to_string(err, test)}")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.settle(test, "skipped", reason)

    def settle(self, test, outcome, detail):
        """The first that goes wrong names the outcome; what goes wrong outside of a test belongs to the suite."""
        if not isinstance(test, unittest.TestCase):
            self.tell(outside=str(test), outcome=outcome, detail=detail)
        elif self.outcome[0] in ("passed", "skipped"):
            self.outcome = (outcome, detail)


def main(descriptor, seconds, suite, *names):
    tests = unittest.TestSuite(map(suites.suite_class(suite), names))
    tests.run(Told(Teller(int(descriptor)), float(seconds)))
    # What is left at the interpreter's exit may hang too.
    watch(float(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
