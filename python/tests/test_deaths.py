"""Workers and clients that die, tasks that run too long: what is lost, and that nothing else is."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from unittest import mock

import tasks
from support import PATIENCE, PoolTest, is_alive, until

import poolctl
from poolctl import interrupts


class Deaths(PoolTest):
    def test_a_death_fails_its_task_alone_and_says_how(self):
        with poolctl.Pool(2) as pool:
            others = [pool.apply_async(tasks.slowly, (n, 0.01)) for n in range(20)]
            killed = pool.apply_async(tasks.die, (signal.SIGKILL,))
            left = pool.apply_async(tasks.die, ("exit",))
            others += [pool.apply_async(tasks.slowly, (n, 0.01)) for n in range(20, 40)]

            with self.assertRaises(poolctl.WorkerDied) as caught:
                killed.get(PATIENCE)
            self.assertEqual((caught.exception.signal, caught.exception.exit), (9, None))
            with self.assertRaises(poolctl.WorkerDied) as caught:
                left.get(PATIENCE)
            self.assertEqual((caught.exception.signal, caught.exception.exit), (None, 3))
            self.assertEqual([other.get(PATIENCE) for other in others], list(range(40)))
            self.assertEqual(pool.map(tasks.square, range(10)), [n * n for n in range(10)])

    def test_a_worker_killed_from_outside_is_replaced(self):
        with poolctl.Pool(1) as pool:
            result = pool.apply_async(time.sleep, (600,))
            worker, = pool._pool
            until(result.running)

            os.kill(worker.pid, signal.SIGKILL)

            self.assertRaises(poolctl.WorkerDied, result.get, PATIENCE)
            self.assertNotEqual(pool.apply(tasks.pid), worker.pid)
            self.assertEqual(worker.exitcode, -9)

    def test_with_retries_a_death_is_not_seen(self):
        with tempfile.TemporaryDirectory() as folder, poolctl.Pool(2, retries=2) as pool:
            paths = [os.path.join(folder, str(n)) for n in range(4)]

            self.assertEqual(pool.map(tasks.die_once, paths), ["done"] * 4)

    def test_a_task_that_runs_too_long_is_stopped(self):
        with poolctl.Pool(2, timeout=2) as pool:
            late = pool.apply_async(time.sleep, (600,))
            others = pool.map(tasks.square, range(100))

            self.assertRaises(poolctl.TaskTimedOut, late.get, PATIENCE)
            self.assertEqual(others, [n * n for n in range(100)])
            self.assertEqual(pool.apply(tasks.square, (5,)), 25)

    def test_a_running_task_can_be_stopped(self):
        with poolctl.Pool(1) as pool:
            result = pool.apply_async(time.sleep, (600,))
            until(result.running)

            self.assertTrue(result.stop())

            self.assertTrue(result.ready() and not result.successful())
            self.assertEqual(pool.apply(tasks.square, (5,)), 25)

    def test_a_pool_can_break_at_the_first_death(self):
        with poolctl.Pool(1, on_worker_death="break") as pool:
            dying = pool.apply_async(tasks.die, (signal.SIGSEGV,))
            waiting = pool.apply_async(tasks.square, (1,))

            self.assertRaises(poolctl.WorkerDied, dying.get, PATIENCE)
            self.assertRaises(poolctl.PoolBroken, waiting.get, PATIENCE)

    def test_the_supervisor_killed_fails_everything_at_once(self):
        pool = poolctl.Pool(2)
        result = pool.apply_async(time.sleep, (600,))
        pids = [worker.pid for worker in pool._pool]

        os.kill(pool._session.server.pid, signal.SIGKILL)

        self.assertRaises(poolctl.PoolLost, result.get, PATIENCE)
        self.assertRaises(poolctl.PoolLost, pool.apply, tasks.square, (1,))
        until(lambda: not any(map(is_alive, pids)))
        pool.terminate()

    def test_nothing_lives_when_the_client_is_killed(self):
        code = ("import sys; sys.path[:0] = [%r, %r]\nimport poolctl, time\n"
                "pool = poolctl.Pool(2)\nresult = pool.map_async(time.sleep, [600] * 4, 1)\n"
                "print(pool._session.server.pid, *[worker.pid for worker in pool._pool], flush=True)\nresult.get()\n") % (
                    os.path.dirname(os.path.dirname(poolctl.__file__)), os.path.dirname(tasks.__file__))
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as client:
            pids = [int(pid) for pid in client.stdout.readline().split()]
            self.assertEqual(len(pids), 3)

            client.kill()

            until(lambda: not any(map(is_alive, pids)))

    def test_a_keyboard_interrupt_is_not_put_off_while_a_call_waits(self):
        main = threading.main_thread().ident

        def interrupt():
            until(lambda: sys._current_frames()[main].f_globals["__name__"] == "poolctl.spinning")
            os.kill(os.getpid(), signal.SIGINT)

        # Whoever started the tests may have had it ignored.
        self.addCleanup(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, signal.default_int_handler))
        # Where it is put off, nobody sends it again here.
        with poolctl.Pool(1) as pool, mock.patch.object(interrupts, "start_new_thread") as putting_off:
            pool.apply(abs, (1,))
            threading.Thread(target=interrupt).start()
            self.assertRaises(KeyboardInterrupt, pool.apply, time.sleep, (5,))

        putting_off.assert_not_called()

    def test_a_keyboard_interrupt_leaves_a_usable_pool(self):
        with poolctl.Pool(2) as pool:
            result = pool.map_async(tasks.slowly, range(20), 1)
            signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
            self.addCleanup(signal.signal, signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, 0.1)

            self.assertRaises(KeyboardInterrupt, pool.apply, time.sleep, (2,))

            self.assertEqual(result.get(PATIENCE), list(range(20)))
            self.assertEqual(pool.apply(tasks.square, (3,)), 9)
