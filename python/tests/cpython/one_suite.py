"""Runs tests of one suite in a process of its own and writes a line of JSON about each: `run.py` starts it.

usage: one_suite.py DESCRIPTOR SECONDS SUITE TEST…
"""

import faulthandler
import json
import os
import sys
import unittest

import suites


class Told(unittest.TestResult):
    """Writes what becomes of each test; one that takes too long ends the process, with all its stacks printed."""

    def __init__(self, output, seconds):
        super().__init__()
        self.output = output
        self.seconds = seconds
        self.outcome = None

    def tell(self, **line):
        self.output.write(json.dumps(line) + "\n")
        self.output.flush()

    def startTest(self, test):
        super().startTest(test)
        self.outcome = ("passed", "")
        faulthandler.dump_traceback_later(self.seconds, exit=True, file=sys.__stderr__)
        self.tell(begun=test._testMethodName)

    def stopTest(self, test):
        faulthandler.cancel_dump_traceback_later()
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
    os.set_inheritable(int(descriptor), False)
    with open(int(descriptor), "w", encoding="utf-8") as output:
        tests = unittest.TestSuite(map(suites.suite_class(suite), names))
        result = Told(output, float(seconds))
        tests.run(result)


if __name__ == "__main__":
    main(*sys.argv[1:])
