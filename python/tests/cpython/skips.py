"""Tests of CPython's that are not run with poolctl's classes: `suite.test` → why.

A test that skips itself needs no line here; its own reason is shown. A line whose test does not exist is an error.
"""

_UNPICKLABLE = "counts the workers started for tasks that cannot be pickled; here such a task starts none"
_MANAGER_THREAD = "waits for a private thread of ProcessPoolExecutor; here there is none"

SKIPS = {
    "ProcessPoolExecutorTest.test_saturation": _UNPICKLABLE,
    "ProcessPoolShutdownTest.test_processes_terminate": _UNPICKLABLE,
    "ProcessPoolShutdownTest.test_del_shutdown": _MANAGER_THREAD,
    "ProcessPoolShutdownTest.test_shutdown_no_wait": _MANAGER_THREAD,
    "ExecutorDeadlockTest.test_shutdown_deadlock_pickle": _MANAGER_THREAD,
    "ProcessPoolExecutorTest.test_max_tasks_per_child_defaults_to_spawn_context":
        "asks for the start method of a private context; workers are always started afresh",
}
