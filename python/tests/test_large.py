"""Large arguments, results and callables: in memory that both ends map."""

import contextlib
import functools
import os
import resource
import unittest
from collections import Counter
from pickle import PickleBuffer

import tasks
from support import PATIENCE, PoolTest, descriptors

import poolctl

try:
    import numpy
except ImportError:
    numpy = None


class Large(PoolTest):
    @classmethod
    def setUpClass(cls):
        cls.pool = poolctl.Pool(2)

    @classmethod
    def tearDownClass(cls):
        cls.pool.terminate()
        cls.pool.join()

    def test_bytes_of_any_size_go_there_and_back(self):
        for size in (0, 1, 1000, 1 << 17, 1 << 18, (1 << 20) + 1, 100 << 20):
            with self.subTest(size):
                data = os.urandom(min(size, 4096)) * (size // 4096 + 1)
                self.assertEqual(self.pool.apply(tasks.same, (data[:size],)), data[:size])

    def test_a_process_without_a_descriptor_to_spare_is_told_and_the_pool_goes_on(self):
        limits, held = resource.getrlimit(resource.RLIMIT_NOFILE), []
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, limits[1]))
        try:
            with contextlib.suppress(OSError):
                while True:
                    held.append(os.open("/dev/null", os.O_RDONLY))
            with self.assertRaisesRegex(poolctl.PoolError, "ulimit -n"):
                self.pool.apply(bytes, (1 << 20,))
            self.assertRaises(OSError, self.pool.apply, len, (bytes(1 << 20),))
            self.assertEqual(self.pool.apply(tasks.same, (1,)), 1)
        finally:
            for descriptor in held:
                os.close(descriptor)
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)

        self.assertEqual(self.pool.map(bytes, [1 << 20] * 3, 1), [bytes(1 << 20)] * 3)

    def test_buffers_arrive_writable_and_alone(self):
        sent = bytearray(b"x" * (1 << 20))

        back = self.pool.apply(tasks.touch_buffer, (PickleBuffer(sent),))

        self.assertEqual((back, sent[0]), ((b"\7x", 1 << 20), ord("x")))

    @unittest.skipIf(numpy is None, "numpy is not installed")
    def test_arrays_arrive_writable_both_ways(self):
        arrays = [numpy.full(1 << 20, n, dtype=numpy.uint8) for n in range(8)]

        for back, sent in zip(self.pool.map(tasks.touch, arrays), arrays):
            back += 1
            self.assertEqual((back[0], back[1]), (8, sent[1] + 1))
            self.assertEqual(sent[0], sent[1])

    @unittest.skipIf(numpy is None, "numpy is not installed")
    def test_many_arrays_do_not_use_up_the_descriptors(self):
        results = self.pool.map(tasks.same, [numpy.zeros(1 << 18, dtype=numpy.uint8)] * 1500, 1)

        self.assertEqual(sum(len(array) for array in results), 1500 << 18)
        self.assertLess(len(descriptors()), 300)

    def test_a_partial_is_sent_once_per_worker(self):
        carried = b"z" * (20 << 20)
        before = self.pool.insight()

        found = self.pool.map(functools.partial(tasks.carry, carried), range(100), 1)

        self.assertEqual([n for n, _ in found], [len(carried) + n for n in range(100)])
        self.assertLessEqual(len(Counter(pid for _, pid in found)), 2)
        self.assertIn("workers", before)

    def test_a_partial_that_changes_is_sent_anew(self):
        values = [1]
        call = functools.partial(tasks.same, values)

        first = self.pool.apply(call)
        values.append(2)

        self.assertEqual((first, self.pool.apply(call)), ([1], [1, 2]))

    def test_half_sent_messages_of_a_dying_worker_harm_nobody(self):
        with poolctl.Pool(2) as pool:
            big = [pool.apply_async(tasks.same, (b"b" * (16 << 20),)) for _ in range(4)]
            dying = pool.apply_async(tasks.die, ("exit",))

            self.assertRaises(poolctl.WorkerDied, dying.get, PATIENCE)
            self.assertEqual([len(result.get(PATIENCE)) for result in big], [16 << 20] * 4)
