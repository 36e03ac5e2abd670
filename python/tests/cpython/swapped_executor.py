"""CPython's tests of `ProcessPoolExecutor`, with another class in its place. None of their code is here."""

import concurrent.futures
import multiprocessing
import os
import re
import unittest.mock

from test import test_concurrent_futures as theirs

import suites

_assert_python_ok = theirs.assert_python_ok
_context = os.environ.get(suites.CONTEXT, "")


def assert_python_ok(*arguments, **environment):
    """As theirs, for a program that imports the tested executor and not `concurrent.futures`'."""
    *options, program = arguments
    name = suites.tested(suites.EXECUTOR).__name__
    program = re.sub(rf"from concurrent\.futures import (?={name}\b)", suites.import_line(suites.EXECUTOR), program)
    return _assert_python_ok(*options, program, PYTHONPATH=suites.search_path(), **environment)


class Futures:
    """`concurrent.futures` with the tested executor, for tests that take it from the module."""

    ProcessPoolExecutor = suites.tested(suites.EXECUTOR)

    def __getattr__(self, name):
        return getattr(concurrent.futures, name)


class Swapped(theirs.ExecutorMixin):
    executor_type = suites.tested(suites.EXECUTOR)

    # CPython's executor gives up when a worker dies, which this test asks for; poolctl's does so when it is told to.
    breaks = {"test_killed_child"}
    # This one skips itself for the class that the module has, so the module has to keep its own.
    takes_own = {"test_hang_gh83386"}

    if _context:
        ctx = _context

    def get_context(self):
        return multiprocessing.get_context(_context or "spawn")

    def setUp(self):
        self.put(theirs, "assert_python_ok", assert_python_ok)
        if self._testMethodName not in self.takes_own:
            self.put(theirs, "futures", Futures())
        if self._testMethodName in self.breaks and suites.is_ours(suites.EXECUTOR):
            self.executor_kwargs = {"on_worker_death": "break"}
        super().setUp()

    def put(self, place, name, value):
        patch = unittest.mock.patch.object(place, name, value)
        patch.start()
        self.addCleanup(patch.stop)


def suite(mixin):
    """The test class that CPython makes of `mixin`, for the tested executor."""
    bases = (mixin, Swapped, theirs.BaseTestCase)
    return type(mixin.__name__, bases, {"__module__": __name__})


ProcessPoolExecutorTest = suite(theirs.ProcessPoolExecutorTest)
WaitTests = suite(theirs.WaitTests)
AsCompletedTests = suite(theirs.AsCompletedTests)
ProcessPoolShutdownTest = suite(theirs.ProcessPoolShutdownTest)
ExecutorDeadlockTest = suite(theirs.ExecutorDeadlockTest)
InitializerMixin = suite(theirs.InitializerMixin)
FailingInitializerMixin = suite(theirs.FailingInitializerMixin)
