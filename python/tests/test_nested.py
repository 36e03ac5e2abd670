"""Tasks that have work for their own pool."""

import unittest

import support
import tasks

import poolctl


class NestedTest(support.PoolTest):
    def test_a_pool_of_one_worker_finishes_tasks_that_wait_for_others(self):
        with poolctl.Pool(1) as pool:
            self.assertEqual(pool.apply(tasks.fibonacci, (10,)), 55)

    def test_tasks_of_many_levels_run_on_all_workers_and_give_the_same(self):
        with poolctl.Pool(3) as pool:
            self.assertEqual(pool.map(tasks.fibonacci, range(12), chunksize=1),
                             [0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89])

    def test_items_sent_ahead_of_one_that_waits_are_run_by_others(self):
        with poolctl.Pool(2) as pool:
            results = pool.map(tasks.doubled_elsewhere, range(200), chunksize=1)
        self.assertEqual(results, [2 * number for number in range(200)])

    def test_an_error_of_a_nested_task_is_its_own(self):
        with poolctl.Pool(2) as pool:
            self.assertEqual(pool.apply(tasks.message_of_nested_error), "ZeroDivisionError: division by zero")

    def test_large_results_cross(self):
        with poolctl.Pool(2) as pool:
            self.assertEqual(pool.apply(tasks.length_of_nested, (3_000_000,)), 3_000_000)

    def test_outside_of_a_task_there_is_no_such_pool(self):
        self.assertIsNone(poolctl.current_pool())


if __name__ == "__main__":
    unittest.main()
