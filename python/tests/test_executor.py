"""`Executor`: that it does what `concurrent.futures.ProcessPoolExecutor` does."""

import asyncio
import concurrent.futures
import concurrent.futures.process
import os
import signal
import subprocess
import sys
import threading
import time
import weakref

import tasks
from support import PATIENCE, PoolTest, until

import poolctl


class Futures(PoolTest):
    @classmethod
    def setUpClass(cls):
        cls.executor = poolctl.Executor(2)

    @classmethod
    def tearDownClass(cls):
        cls.executor.shutdown()

    def test_futures_are_those_of_the_standard_library(self):
        future = self.executor.submit(tasks.add, 1, b=2)

        self.assertIsInstance(future, concurrent.futures.Future)
        self.assertEqual((future.result(PATIENCE), future.exception()), (3, None))
        self.assertTrue(future.done() and not future.cancelled() and not future.running())

    def test_a_chunk_size_that_is_no_number_is_refused(self):
        for size in (2.5, "2"):
            with self.subTest(size), self.assertRaises(TypeError):
                self.executor.map(abs, [1, 2, 3], chunksize=size)

    def test_wait_and_as_completed_work(self):
        futures = [self.executor.submit(tasks.slowly, n, 0.02 * n) for n in range(6)]

        first = concurrent.futures.wait(futures, PATIENCE, concurrent.futures.FIRST_COMPLETED)
        done = list(concurrent.futures.as_completed(futures, PATIENCE))

        self.assertTrue(first.done)
        self.assertEqual({future.result() for future in done}, set(range(6)))

    def test_callbacks_get_the_future(self):
        seen = []
        future = self.executor.submit(tasks.slowly, 5)

        future.add_done_callback(lambda future: seen.append(future.result()))

        until(lambda: seen == [5])
        future.add_done_callback(seen.append)
        self.assertIs(seen[1], future)

    def test_many_threads_wait_for_the_same_and_for_other_futures(self):
        shared = self.executor.submit(tasks.slowly, "shared", 0.2)
        found = []

        def work(n):
            own = self.executor.submit(tasks.slowly, n, 0.01)
            found.append((own.result(PATIENCE) == n, shared.result(PATIENCE)))

        threads = [threading.Thread(target=work, args=(n,)) for n in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)

        self.assertEqual(found, [(True, "shared")] * 10)

    def test_errors_have_the_cause_of_the_standard_library(self):
        error = self.executor.submit(tasks.fail, 1).exception(PATIENCE)

        self.assertIs(type(error.__cause__), concurrent.futures.process._RemoteTraceback)

    def test_result_raises_the_timeout_of_futures(self):
        future = self.executor.submit(tasks.slowly, 1, 0.3)

        self.assertRaises(concurrent.futures.TimeoutError, future.result, 0.01)
        self.assertEqual(future.result(PATIENCE), 1)

    def test_map_takes_chunks_buffers_and_timeouts(self):
        self.assertEqual(list(self.executor.map(pow, range(10), range(10))), [n**n for n in range(10)])
        self.assertEqual(list(self.executor.map(pow, range(10), range(10), chunksize=3)), [n**n for n in range(10)])
        self.assertEqual(list(self.executor.map(tasks.square, range(50), buffersize=3)), [n * n for n in range(50)])
        self.assertRaises(ValueError, self.executor.map, pow, [1], [1], chunksize=-1)
        results = self.executor.map(tasks.slowly, [0, 1], [0, 2], timeout=0.5)
        self.assertEqual(next(results), 0)
        self.assertRaises(concurrent.futures.TimeoutError, next, results)

    def test_map_with_a_buffer_reads_no_further(self):
        taken = []

        def items():
            for n in range(1000):
                taken.append(n)
                yield n

        results = self.executor.map(tasks.same, items(), buffersize=4)
        found = [next(results) for _ in range(10)]

        self.assertEqual(found, list(range(10)))
        self.assertLessEqual(len(taken), 15)

    def test_what_is_queued_can_be_cancelled_and_what_runs_cannot(self):
        futures = [self.executor.submit(tasks.slowly, n, 0.3) for n in range(8)]
        until(lambda: any(future.running() for future in futures))

        self.assertTrue(futures[-1].cancel())
        running = next(future for future in futures if future.running())
        self.assertFalse(running.cancel())

        self.assertTrue(futures[-1].cancelled())
        self.assertRaises(concurrent.futures.CancelledError, futures[-1].result)
        self.assertIsNotNone(running.result(PATIENCE))

    def test_what_runs_can_be_stopped(self):
        future = self.executor.submit(time.sleep, 600)
        until(future.running)

        self.assertTrue(future.stop())

        self.assertTrue(future.cancelled())
        self.assertEqual(self.executor.submit(tasks.square, 3).result(PATIENCE), 9)

    def test_what_cannot_be_pickled_is_told_by_the_future(self):
        future = self.executor.submit(tasks.same, threading.Lock())

        self.assertIsInstance(future.exception(PATIENCE), TypeError)

    def test_who_is_listed_first_is_ready_and_its_death_breaks_the_executor(self):
        for _ in range(5):
            with poolctl.Executor(2) as executor:
                future = executor.submit(time.sleep, 60)
                next(iter(executor._processes.values())).terminate()
                self.assertRaises(concurrent.futures.process.BrokenProcessPool, future.result, PATIENCE)

    def test_sys_exit_is_delivered(self):
        self.assertIsInstance(self.executor.submit(sys.exit, 4).exception(PATIENCE), SystemExit)

    def test_futures_can_be_awaited(self):
        async def main():
            loop = asyncio.get_running_loop()
            return (await self.executor.submit(tasks.square, 4),
                    await loop.run_in_executor(self.executor, tasks.square, 5))

        self.assertEqual(asyncio.run(main()), (16, 25))

    def test_a_burst_of_submits_all_complete(self):
        futures = [self.executor.submit(tasks.square, n) for n in range(20000)]

        self.assertEqual([future.result(PATIENCE) for future in futures], [n * n for n in range(20000)])

    def test_no_reference_to_arguments_or_results_stays(self):
        value = tasks.StrangeError(1, 2)
        reference = weakref.ref(value)

        self.executor.submit(tasks.same, {"x": value.args}).result(PATIENCE)
        future = self.executor.submit(id, [value.args])
        del value

        until(lambda: reference() is None)
        future.result(PATIENCE)


class Ends(PoolTest):
    def test_wrong_arguments_are_refused(self):
        self.assertRaises(ValueError, poolctl.Executor, 0)
        self.assertRaises(TypeError, poolctl.Executor, 1, initializer=3)
        self.assertRaises(ValueError, poolctl.Executor, 1, max_tasks_per_child=0)

    def test_shutdown_completes_what_is_pending_and_refuses_more(self):
        executor = poolctl.Executor(2)
        futures = [executor.submit(tasks.slowly, n) for n in range(10)]

        executor.shutdown()

        self.assertEqual([future.result(0) for future in futures], list(range(10)))
        self.assertRaises(RuntimeError, executor.submit, tasks.square, 1)
        executor.shutdown()

    def test_shutdown_without_waiting_lets_pending_work_complete(self):
        executor = poolctl.Executor(2)
        futures = [executor.submit(tasks.slowly, n) for n in range(10)]

        executor.shutdown(wait=False)

        self.assertEqual([future.result(PATIENCE) for future in futures], list(range(10)))

    def test_shutdown_can_cancel_what_is_queued(self):
        executor = poolctl.Executor(2)
        futures = [executor.submit(tasks.slowly, n, 0.1) for n in range(50)]

        executor.shutdown(cancel_futures=True)

        self.assertGreater(sum(future.cancelled() for future in futures), 30)
        self.assertTrue(all(future.done() for future in futures))

    def test_an_executor_that_is_forgotten_finishes_its_work(self):
        executor = poolctl.Executor(1)
        futures = [executor.submit(tasks.slowly, n) for n in range(5)]

        del executor

        self.assertEqual([future.result(PATIENCE) for future in futures], list(range(5)))

    def test_workers_are_started_when_they_are_needed(self):
        with poolctl.Executor(4) as executor:
            for n in range(3):
                executor.submit(tasks.square, n).result(PATIENCE)
            self.assertEqual(len(executor._processes), 1)

    def test_the_end_of_the_interpreter_waits_for_pending_work(self):
        script = ("import sys; sys.path[:0] = [%r, %r]\nimport poolctl, tasks, time\n"
                  "executor = poolctl.Executor(1)\nexecutor.submit(time.sleep, 0.3)\n"
                  "executor.submit(tasks.announce, 'pending')\n%s")
        for end in ("", "executor.shutdown(wait=False)\n", "del executor\n"):
            with self.subTest(end):
                code = script % (os.path.dirname(os.path.dirname(poolctl.__file__)), os.path.dirname(tasks.__file__), end)
                done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE)
                self.assertEqual((done.returncode, done.stdout), (0, "pending\n"), done.stderr)

    def test_what_fails_while_the_interpreter_ends_is_told_as_ever(self):
        # Nothing here has imported concurrent.futures.process, which cannot be imported any more by then.
        script = ("import sys; sys.path[:0] = [%r, %r]\nimport poolctl, signal, tasks, time\n"
                  "executor = poolctl.Executor(1, on_worker_death='replace')\nexecutor.submit(time.sleep, 0.3)\n"
                  "futures = [executor.submit(tasks.fail, 'x'), executor.submit(tasks.die, signal.SIGKILL)]\n"
                  "futures.append(executor.submit(tasks.square, 3))\n"
                  "for future in futures:\n    future.add_done_callback(lambda done: print(type(done.exception()).__name__))")
        code = script % (os.path.dirname(os.path.dirname(poolctl.__file__)), os.path.dirname(tasks.__file__))

        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE)

        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "ValueError\nWorkerDied\nNoneType\n", ""))

    def test_one_death_breaks_an_executor(self):
        with poolctl.Executor(2) as executor:
            executor.submit(tasks.square, 1).result(PATIENCE)
            futures = [executor.submit(tasks.slowly, n, 0.5) for n in range(4)]

            died = executor.submit(tasks.die, signal.SIGKILL)

            self.assertIsInstance(died.exception(PATIENCE), concurrent.futures.process.BrokenProcessPool)
            concurrent.futures.wait(futures, PATIENCE)
            with self.assertRaises(concurrent.futures.process.BrokenProcessPool) as refused:
                executor.submit(tasks.square, 1)
            self.assertNotIn("cannot start", str(refused.exception))

    def test_an_initializer_that_raises_breaks_an_executor(self):
        with poolctl.Executor(1, initializer=tasks.fail, initargs=("start",)) as executor:
            future = executor.submit(tasks.square, 1)
            self.assertIsInstance(future.exception(PATIENCE), concurrent.futures.process.BrokenProcessPool)

    def test_workers_can_be_ended_at_once(self):
        for end in ("terminate_workers", "kill_workers"):
            with self.subTest(end):
                executor = poolctl.Executor(2)
                futures = [executor.submit(time.sleep, 600) for _ in range(4)]
                until(lambda: len(executor._processes) == 2)

                getattr(executor, end)()

                self.assertTrue(all(future.done() for future in futures))
