"""`Pool`: that it does what `multiprocessing.Pool` does."""

import asyncio
import concurrent.futures
import contextlib
import io
import multiprocessing
import multiprocessing.pool
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections import Counter

import tasks
from support import PATIENCE, PoolTest, children, descriptors, until

import poolctl


class Interrupts(PoolTest):
    def test_a_ctrl_c_at_any_moment_leaves_a_pool_that_works(self):
        rounds = 60
        # A shell that starts this in the background has SIGINT ignored.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGINT, before)
        with poolctl.Pool(2) as pool:
            pool.map(abs, range(4))
            for number in range(rounds):
                timer = threading.Timer(0.02 * number / rounds, os.kill, (os.getpid(), signal.SIGINT))
                with self.assertRaises(KeyboardInterrupt):
                    timer.start()
                    while True:
                        self.assertEqual(pool.map(abs, range(0, -500, -1), 1), list(range(500)))
                timer.join()
                futures = [pool.apply_async(abs, (n,)) for n in range(20)]
                self.assertEqual([future.get(PATIENCE) for future in futures], list(range(20)), number)

    def test_a_handler_of_the_program_is_left_alone(self):
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.addCleanup(signal.signal, signal.SIGINT, before)
        with poolctl.Pool(1):
            self.assertIs(signal.getsignal(signal.SIGINT), signal.SIG_IGN)


class Calls(PoolTest):
    @classmethod
    def setUpClass(cls):
        cls.pool = poolctl.Pool(2)

    @classmethod
    def tearDownClass(cls):
        cls.pool.terminate()
        cls.pool.join()

    def test_apply_passes_arguments_and_keywords(self):
        self.assertEqual(self.pool.apply(tasks.add, (1,), {"b": 2, "c": 3}), 6)

    def test_map_keeps_the_order_for_any_chunks(self):
        expected = [tasks.square(x) for x in range(1000)]

        for chunk in (None, 1, 7, 1000, 5000):
            with self.subTest(chunk):
                self.assertEqual(self.pool.map(tasks.square, range(1000), chunk), expected)

    def test_a_chunk_size_that_is_no_number_is_refused_and_harms_nobody(self):
        for size in (2.5, "2"):
            for call in (self.pool.map, self.pool.map_async, self.pool.imap, self.pool.imap_unordered):
                with self.subTest(size, call=call), self.assertRaises(TypeError):
                    call(abs, [1, 2, 3], size)

        self.assertEqual(self.pool.map(abs, [-1, -2], 1 << 100), [1, 2])
        self.assertEqual(list(self.pool.imap(abs, [-1, -2], 1 << 100)), [1, 2])

    def test_tasks_that_are_refused_together_all_fail(self):
        with poolctl.Pool(1) as pool:
            known, pool._session.meta = pool._session.meta, b'{"pool":99'
            futures = [pool.map_async(abs, range(100), chunk) for chunk in (1, 7)]
            for future in futures:
                with self.assertRaisesRegex(poolctl.PoolError, "99"):
                    future.get(PATIENCE)

            pool._session.meta = known
            self.assertEqual(pool.map(abs, range(-3, 0)), [3, 2, 1])
            self.assertFalse(pool._session.calls)

    def test_a_stream_that_cannot_take_what_tasks_print_harms_nobody(self):
        narrow = io.TextIOWrapper(io.BytesIO(), "ascii")
        broken = io.StringIO()
        broken.write = lambda text: tasks.fail(text)
        with contextlib.redirect_stdout(broken):
            self.assertEqual(self.pool.apply(print, ("lost",)), None)
            self.assertEqual(self.pool.apply(abs, (-1,)), 1)
        with contextlib.redirect_stdout(narrow):
            self.pool.apply(print, ("\u00e9",))
            until(lambda: self.pool.apply(abs, (-1,)) and narrow.buffer.getvalue() == b"\\xe9\n")

    def test_starmap_spreads_its_items(self):
        self.assertEqual(self.pool.starmap(pow, [(2, 3), (3, 2)]), [8, 9])
        self.assertEqual(self.pool.starmap(pow, ([n, 2] for n in range(100)), 7), [n * n for n in range(100)])

    def test_an_empty_map_gives_an_empty_list(self):
        self.assertEqual(self.pool.map(tasks.square, []), [])
        self.assertEqual(self.pool.map_async(tasks.square, iter(())).get(PATIENCE), [])

    def test_imap_gives_results_in_order_and_unordered_all_of_them(self):
        for chunk in (1, 3, 100):
            with self.subTest(chunk):
                self.assertEqual(list(self.pool.imap(tasks.square, range(50), chunk)), [x * x for x in range(50)])
                unordered = self.pool.imap_unordered(tasks.square, (x for x in range(50)), chunk)
                self.assertEqual(sorted(unordered), [x * x for x in range(50)])

    def test_imap_reads_an_endless_input_only_so_far_ahead(self):
        taken = []

        def endless():
            while True:
                taken.append(None)
                yield len(taken)

        results = self.pool.imap(tasks.same, endless(), window=10)
        first = [next(results) for _ in range(30)]

        self.assertEqual(first, list(range(1, 31)))
        self.assertLessEqual(len(taken), 45)
        flow = results._flow
        flow.finish(None)

    def test_an_input_that_raises_reaches_the_caller_as_it_is(self):
        def broken():
            yield 1
            raise KeyError("input")

        with self.assertRaises(KeyError) as caught:
            self.pool.map(tasks.square, broken())
        self.assertIsNone(caught.exception.__cause__)
        results = self.pool.imap(tasks.square, broken())
        self.assertEqual(next(results), 1)
        self.assertRaises(KeyError, next, results)
        self.assertEqual(self.pool.apply(tasks.square, (3,)), 9)

    def test_waiting_too_long_raises_the_error_of_multiprocessing(self):
        result = self.pool.apply_async(tasks.slowly, (1, 0.3))

        self.assertRaises(multiprocessing.TimeoutError, result.get, 0.01)
        self.assertRaises(ValueError, result.successful)
        self.assertEqual(result.get(PATIENCE), 1)
        self.assertTrue(result.ready() and result.successful())
        self.assertRaises(multiprocessing.TimeoutError, self.pool.imap(tasks.slowly, [1]).next, 0.001)

    def test_callbacks_run_once_and_before_get_returns(self):
        seen = []

        self.pool.apply_async(tasks.square, (3,), callback=seen.append).get(PATIENCE)
        self.pool.map_async(tasks.square, range(4), callback=seen.append).get(PATIENCE)
        failed = self.pool.apply_async(tasks.fail, (1,), callback=seen.append, error_callback=seen.append)

        self.assertRaises(ValueError, failed.get, PATIENCE)
        self.assertEqual(seen[:2], [9, [0, 1, 4, 9]])
        self.assertIsInstance(seen[2], ValueError)
        self.assertEqual(len(seen), 3)

    def test_a_callback_may_submit_and_wait(self):
        done = []

        def callback(value):
            done.append(self.pool.apply(tasks.square, (value,)))

        self.pool.apply_async(tasks.square, (3,), callback=callback).wait(PATIENCE)

        self.assertEqual(done, [81])

    def test_map_is_not_fail_fast_and_raises_the_first_error(self):
        with self.assertRaises(ValueError) as caught:
            self.pool.map(tasks.fail, range(3), 1)
        self.assertIs(type(caught.exception.__cause__), multiprocessing.pool.RemoteTraceback)
        self.assertIn("tasks.py", str(caught.exception.__cause__))

    def test_what_cannot_be_pickled_raises_in_the_caller(self):
        with self.assertRaises(Exception) as caught:
            self.pool.apply(tasks.same, (threading.Lock(),))
        self.assertIn("pickle", str(caught.exception))
        self.assertRaises(TypeError, self.pool.map, tasks.same, [1, threading.Lock(), 3], 1)
        self.assertEqual(self.pool.apply(tasks.same, (1,)), 1)

    def test_what_multiprocessing_shares_by_inheritance_says_what_to_use(self):
        shareds = multiprocessing.Lock(), multiprocessing.Queue(), multiprocessing.Value("i")
        # They come with a process of their own, which stays.
        self.before = children(), len(descriptors())
        for shared in shareds:
            with self.subTest(type(shared)), self.assertRaisesRegex(poolctl.NotShareable, "Manager"):
                self.pool.apply(tasks.same, (shared,))

    def test_a_result_that_cannot_be_pickled_is_a_maybe_encoding_error(self):
        with self.assertRaises(multiprocessing.pool.MaybeEncodingError) as caught:
            self.pool.apply(tasks.give_lambda)
        self.assertTrue(caught.exception.exc and caught.exception.value)

    def test_exceptions_that_cannot_be_rebuilt_become_a_typed_error(self):
        for task, name in ((tasks.raise_strange, "StrangeError"), (tasks.raise_unpicklable, "Unpicklable")):
            with self.subTest(name), self.assertRaisesRegex(poolctl.RemoteError, name):
                self.pool.apply(task)

    def test_a_result_that_cannot_be_unpickled_fails_its_task(self):
        self.assertRaises(poolctl.ObjectUnreadable, self.pool.apply, tasks.give_unloadable)
        self.assertRaises(poolctl.ObjectUnreadable, self.pool.apply, tasks.same, (tasks.FailsToLoad(),))

    def test_exceptions_that_are_no_exception_cross_as_well(self):
        self.assertRaises(SystemExit, self.pool.apply, sys.exit, (3,))
        self.assertRaises(KeyboardInterrupt, self.pool.apply, tasks.raise_base, (KeyboardInterrupt,))

    def test_results_can_be_awaited(self):
        async def main():
            alone = await self.pool.apply_async(tasks.square, (5,))
            return alone, await asyncio.gather(*(self.pool.apply_async(tasks.square, (n,)) for n in range(5)))

        self.assertEqual(asyncio.run(main()), (25, [0, 1, 4, 9, 16]))

    def test_many_threads_share_a_pool(self):
        found = Counter()

        def work(number):
            for n in range(50):
                found[self.pool.apply(tasks.add, (number, n)) == number + n] += 1

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)

        self.assertEqual(found, {True: 400})

    def test_no_reference_to_arguments_or_results_stays(self):
        class Counted(list):
            pass

        item = Counted([1])
        reference = weakref.ref(item)

        self.pool.apply(len, (item,))
        self.pool.map(len, [item])
        del item

        until(lambda: reference() is None)

    def test_a_worker_is_what_a_spawned_child_would_be(self):
        found = self.pool.apply(tasks.identity)

        self.assertEqual(found["authkey"], bytes(multiprocessing.current_process().authkey))
        self.assertEqual((found["parent"], found["parent_lives"]), (os.getpid(), True))
        self.assertEqual((found["dir"], found["argv"]), (os.getcwd(), sys.argv))
        self.assertRegex(found["name"], r"PoolWorker-[12]")
        self.assertIn(found["id"], (0, 1))
        self.assertFalse(found["daemon"])

    def test_a_task_may_have_a_pool_of_its_own(self):
        self.assertEqual(self.pool.apply(tasks.nest, (4,)), 16)

    def test_chunk_sizes_below_one_are_refused(self):
        self.assertRaises(ValueError, self.pool.map, tasks.square, [1], 0)
        self.assertRaises(ValueError, self.pool.imap, tasks.square, [1], 0)


class Life(PoolTest):
    def test_wrong_arguments_are_refused(self):
        self.assertRaises(ValueError, poolctl.Pool, 0)
        self.assertRaises(ValueError, poolctl.Pool, 1, maxtasksperchild=0)
        self.assertRaises(TypeError, poolctl.Pool, 1, initializer=3)
        self.assertRaises(ValueError, poolctl.Pool, 1, on_worker_death="panic")

    def test_close_lets_work_end_and_refuses_more(self):
        pool = poolctl.Pool(2)
        result = pool.map_async(tasks.slowly, range(20), 1)

        pool.close()

        with self.assertRaisesRegex(ValueError, "Pool not running"):
            pool.apply(tasks.square, (1,))
        pool.join()
        self.assertEqual(result.get(0), list(range(20)))

    def test_join_runs_what_an_imap_has_not_read_yet(self):
        pool = poolctl.Pool(2)
        results = pool.imap(tasks.same, iter(range(100)), window=5)

        pool.close()
        pool.join()

        self.assertEqual(list(results), list(range(100)))

    def test_join_before_close_is_refused(self):
        with poolctl.Pool(1) as pool:
            self.assertRaisesRegex(ValueError, "still running", pool.join)

    def test_terminate_does_not_wait_for_tasks(self):
        pool = poolctl.Pool(2)
        results = [pool.apply_async(time.sleep, (600,)) for _ in range(5)]
        pids = [worker.pid for worker in pool._pool]

        pool.terminate()
        pool.join()

        self.assertTrue(all(result.ready() for result in results))
        self.assertEqual(len(pids), 2)

    def test_a_pool_that_is_forgotten_ends(self):
        pool = poolctl.Pool(1)
        pool.apply(tasks.square, (1,))
        reference = weakref.ref(pool)

        with self.assertWarns(ResourceWarning):
            del pool

        self.assertIsNone(reference())

    def test_an_initializer_prepares_each_worker(self):
        with poolctl.Pool(2, tasks.remember, ("prepared",)) as pool:
            self.assertEqual(set(pool.map(tasks.recall, range(10), 1)), {"prepared"})

    def test_an_initializer_that_raises_breaks_the_pool(self):
        with poolctl.Pool(1, tasks.fail, ("start",)) as pool, self.assertRaisesRegex(poolctl.PoolBroken, "no start"):
            pool.apply(tasks.square, (1,))

    def test_a_worker_is_replaced_after_so_many_calls(self):
        with poolctl.Pool(1, maxtasksperchild=3) as pool:
            calls = Counter(pool.map(tasks.pid, range(12), 4))

        self.assertEqual(sorted(calls.values()), [3, 3, 3, 3])

    def test_workers_are_listed_and_pools_resized(self):
        with poolctl.Pool(2) as pool:
            workers = pool._pool
            self.assertEqual(len({worker.pid for worker in workers}), 2)
            self.assertTrue(all(worker.is_alive() and worker.exitcode is None for worker in workers))

            pool.resize(3)

            until(lambda: pool.map(tasks.slowly, range(6), 1) == list(range(6)) and len(pool._pool) == 3)
            self.assertEqual(pool.insight()["workers"], 3)

            pool.resize(1)

            until(lambda: len(pool._pool) == 1)
            self.assertEqual(pool.map(tasks.square, range(5)), [0, 1, 4, 9, 16])

    def test_a_forked_copy_of_the_client_is_refused(self):
        with poolctl.Pool(1) as pool:
            child = os.fork()
            if child == 0:
                try:
                    pool.apply(tasks.square, (1,))
                except poolctl.ForkedPool:
                    os._exit(7)
                finally:
                    os._exit(1)
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 7)
            self.assertEqual(pool.apply(tasks.square, (2,)), 4)

    def test_a_script_runs_without_a_stdin_and_prints_what_its_workers_print(self):
        script = ("import os, sys; sys.path[:0] = [%r, %r]\nos.close(0)\nimport poolctl, tasks\n"
                  "if __name__ == '__main__':\n"
                  "    with poolctl.Pool(1) as pool: pool.apply(tasks.announce, ('hello',))\n") % (
                      os.path.dirname(os.path.dirname(poolctl.__file__)), os.path.dirname(tasks.__file__))
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=True)

        self.assertEqual((done.stdout, done.stderr), ("hello\n", "hello!\n"))

    def test_the_result_of_a_map_is_shown_as_progress(self):
        with poolctl.Pool(2) as pool:
            self.assertEqual(pool.map(tasks.square, range(100), progress=True), [n * n for n in range(100)])


class Surroundings(PoolTest):
    def test_progress_that_cannot_be_shown_does_not_stop_what_it_shows(self):
        with poolctl.Pool(1) as pool, self.assertLogs("poolctl", "WARNING"):
            result = pool.map_async(abs, range(10), 1)
            result._progress = tasks.refuse_to_show
            self.assertEqual(result.get(PATIENCE), list(range(10)))

    def test_a_map_of_which_something_is_withdrawn_is_cancelled(self):
        with poolctl.Pool(1) as pool:
            result = pool.map_async(time.sleep, [0.2] * 20, 1)
            until(lambda: pool.insight()["running"] == 1)
            self.assertTrue(result.cancel())
            with self.assertRaises(concurrent.futures.CancelledError):
                result.get(PATIENCE)

    def test_a_pool_works_where_the_working_directory_was_removed(self):
        here = os.getcwd()
        gone = tempfile.mkdtemp()
        try:
            os.chdir(gone)
            os.rmdir(gone)
            with poolctl.Pool(1) as pool:
                self.assertEqual(pool.apply(abs, (-1,)), 1)
        finally:
            os.chdir(here)

    def test_arguments_of_the_wrong_kind_are_named(self):
        for argument, value in {"processes": "4", "retries": 1.5, "timeout": float("inf"), "max_memory": -1,
                                "idle_timeout": "x", "env": {"A": 1}, "on_exit": 4}.items():
            with self.subTest(argument), self.assertRaises((TypeError, ValueError)) as caught:
                poolctl.Pool(**{"processes": 1, argument: value})
            self.assertIn("must be" if argument != "env" else "strings", str(caught.exception))


class Exits(PoolTest):
    def test_what_exit_functions_give_comes_back(self):
        pool = poolctl.Pool(2, on_exit=tasks.farewell)
        pool.map(tasks.counted, range(20), chunksize=1)
        pool.close()
        pool.join()
        # One that was not ready when the pool was closed is not asked.
        self.assertEqual(sum(pool.exit_results()), 20)

    def test_an_exit_function_that_raises_is_told(self):
        pool = poolctl.Pool(1, on_exit=tasks.failing_farewell)
        pool.apply(abs, (1,))
        pool.close()
        pool.join()
        error, = pool.exit_results()
        self.assertIsInstance(error, ValueError)
        self.assertEqual(str(error), "no farewell")


class Threads(PoolTest):
    def test_a_thread_pool_has_the_same_interface(self):
        with poolctl.ThreadPool(2) as pool:
            self.assertEqual(pool.map(tasks.square, range(4)), [0, 1, 4, 9])

            async def main():
                return await pool.apply_async(tasks.square, (3,))

            self.assertEqual(asyncio.run(main()), 9)
