"""joblib with poolctl as its backend."""

import os
import unittest

import tasks
from support import PoolTest

try:
    import joblib
except ImportError:
    joblib = None

import poolctl


@unittest.skipIf(joblib is None, "joblib is not installed")
class Joblib(PoolTest):
    def setUp(self):
        super().setUp()
        poolctl.register_joblib()
        from poolctl.joblib_backend import KEPT

        self.addCleanup(KEPT.close)

    def test_calls_run_in_workers_and_keep_their_order(self):
        with joblib.parallel_config("poolctl", n_jobs=2):
            found = joblib.Parallel()(joblib.delayed(tasks.square)(n) for n in range(500))

        self.assertEqual(found, [n * n for n in range(500)])

    def test_an_error_of_a_call_is_raised(self):
        with joblib.parallel_config("poolctl", n_jobs=2), self.assertRaises(ValueError):
            joblib.Parallel()(joblib.delayed(tasks.fail)(n) for n in range(5))

    def test_a_parallel_can_be_used_again(self):
        with joblib.parallel_config("poolctl", n_jobs=2), joblib.Parallel() as parallel:
            for _ in range(2):
                self.assertEqual(parallel(joblib.delayed(tasks.add)(n, b=1) for n in range(5)), [1, 2, 3, 4, 5])

    def test_one_job_runs_here(self):
        with joblib.parallel_config("poolctl", n_jobs=1):
            self.assertEqual(joblib.Parallel()(joblib.delayed(tasks.square)(n) for n in range(3)), [0, 1, 4])

    def test_calls_that_want_the_same_are_served_by_the_same_workers(self):
        pids = set()
        for _ in range(3):
            pids |= set(joblib.Parallel(2, backend="poolctl")(joblib.delayed(os.getpid)() for _ in range(20)))

        self.assertLessEqual(len(pids), 2)

    def test_a_worker_knows_the_backend_by_its_name(self):
        found = joblib.Parallel(2, backend="poolctl")(joblib.delayed(nested)(n) for n in range(3))

        self.assertEqual(found, [[0, 1], [1, 2], [2, 3]])


def nested(number):
    return joblib.Parallel(2, backend="poolctl")(joblib.delayed(tasks.add)(number, b=b) for b in range(2))
