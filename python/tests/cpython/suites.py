"""Which of CPython's test classes are run, and what they are run with.

The classes under test are named `module:attribute` in the environment, because workers import these modules too: a
test class travels to them by its name.
"""

import importlib
import os
import sys
import unittest

POOL = "POOLCTL_TESTED_POOL"
THREAD_POOL = "POOLCTL_TESTED_THREAD_POOL"
EXECUTOR = "POOLCTL_TESTED_EXECUTOR"
CONTEXT = "POOLCTL_TESTED_CONTEXT"

OURS = {POOL: "poolctl:Pool", THREAD_POOL: "poolctl:ThreadPool", EXECUTOR: "poolctl:Executor", CONTEXT: ""}

POOLS = "test._test_multiprocessing"
EXECUTORS = "test.test_concurrent_futures"

# Suite → CPython's module, the class there, and the module that puts in what is tested.
SUITES = {
    "_TestPool": (POOLS, "_TestPool", "swapped_pool"),
    "_TestPoolWorkerErrors": (POOLS, "_TestPoolWorkerErrors", "swapped_pool"),
    "_TestPoolWorkerLifetime": (POOLS, "_TestPoolWorkerLifetime", "swapped_pool"),
    "_TestPool_threads": (POOLS, "_TestPool", "swapped_thread_pool"),
}
for _name in ("ProcessPoolExecutorTest", "WaitTests", "AsCompletedTests", "ProcessPoolShutdownTest",
              "ExecutorDeadlockTest", "InitializerMixin", "FailingInitializerMixin"):
    SUITES[_name] = (EXECUTORS, _name, "swapped_executor")


def tested(variable):
    """The class that `variable` names."""
    module, attribute = named(variable)
    return getattr(importlib.import_module(module), attribute)


def named(variable):
    """Module and attribute that `variable` names."""
    module, _, attribute = os.environ.get(variable, OURS[variable]).partition(":")
    return module, attribute


def is_ours(variable):
    """Whether it is one of poolctl's classes, not a stand-in."""
    return os.environ.get(variable, OURS[variable]) == OURS[variable]


def suite_class(suite):
    """The test class of `suite`, with what is tested put in."""
    _, _, swapped = SUITES[suite]
    return getattr(importlib.import_module(swapped), suite)


def names_of(suite):
    """The names of its tests, in the order in which they run; this does not import what is tested."""
    module, name, _ = SUITES[suite]
    return unittest.defaultTestLoader.getTestCaseNames(getattr(importlib.import_module(module), name))


def import_line(variable):
    """A line that imports the class under the name it has in CPython's own programs."""
    module, attribute = named(variable)
    return f"from {module} import {attribute} as "


def search_path():
    """PYTHONPATH for programs that the tests start: the same as here, without the folder of a script."""
    return os.pathsep.join(folder for folder in sys.path if folder)
