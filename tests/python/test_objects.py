"""Plays the supervisor for the worker of pickled callables (`objects.py`)."""

import base64
import fcntl
import functools
import operator
import os
import pickle
import socket
import struct
import tempfile
import unittest

from worker_host import BATCH, BYE, ERR, HELLO, OK, RELEASE, TASK, Worker, frame_bytes

DEFINE = 11
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE if hasattr(fcntl, "F_SEAL_WRITE") else 2 | 4 | 8


def call(*arguments, **keywords):
    return b"\0" + pickle.dumps((arguments, keywords), 5)


def packed(data, buffers):
    """A memfd as docs/protocol.md has it."""
    places, at = [], 16 + 16 * len(buffers) + len(data)
    for buffer in buffers:
        at = (at + 63) // 64 * 64
        places.append((at, len(buffer)))
        at += len(buffer)
    memfd = os.memfd_create("packed", os.MFD_ALLOW_SEALING)
    os.ftruncate(memfd, at)
    os.pwrite(memfd, struct.pack("<QQ", len(buffers), len(data)), 0)
    for index, (buffer, place) in enumerate(zip(buffers, places)):
        os.pwrite(memfd, struct.pack("<QQ", *place), 16 + 16 * index)
        os.pwrite(memfd, buffer, place[0])
    os.pwrite(memfd, data, 16 + 16 * len(buffers))
    fcntl.fcntl(memfd, 1033, SEALS)
    return memfd


class ObjectWorker(Worker):
    parts = ("link.py", "nesting.py", "objects.py")

    def __init__(self, cwd=".", setup=None, env=(), **more):
        super().__init__("--objects", None, cwd, env={**dict(env), **({"POOLCTL_SETUP": "1"} if setup else {})}, **more)
        if setup:
            self.define("setup", pickle.dumps(setup))

    def define(self, key, data):
        self.send(frame_bytes(DEFINE, 0, b'{"key":"%s"}' % key.encode(), data))

    def ask(self, first, key, items):
        payload = b"".join(struct.pack("<I", len(item)) + item for item in items)
        self.send(frame_bytes(BATCH, first, b'{"n":%d,"key":"%s"}' % (len(items), key.encode()), payload))

    def send_memfd(self, kind, item, meta, memfd):
        socket.send_fds(self.socket, [frame_bytes(kind, item, meta, flags=1)], [memfd])
        os.close(memfd)

    def values(self, count):
        return [pickle.loads(frame.payload) for frame in self.until_replies(count)]


class Objects(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def start(self, **options):
        worker = ObjectWorker(self.folder, **options)
        self.addCleanup(worker.close)
        return worker

    def test_the_hello_names_what_it_understands(self):
        worker = self.start()

        worker.until(lambda worker: worker.frames)

        self.assertEqual(worker.frames[0].kind, HELLO)
        self.assertEqual(worker.frames[0].value()["caps"], ["claim", "batch", "raw", "define", "shm"])

    def test_a_batch_calls_a_constant_with_arguments_and_keywords(self):
        worker = self.start()
        worker.define("k1", pickle.dumps(int))

        worker.ask(5, "k1", [call("7"), call("ff", base=16)])

        self.assertEqual(worker.values(2), [7, 255])
        self.assertEqual([frame.item for frame in worker.replies()], [5, 6])

    def test_a_list_is_one_item(self):
        worker = self.start()
        worker.define("k1", pickle.dumps(pow))

        worker.ask(1, "k1", [b"\2" + pickle.dumps([(2, 3), (3, 2)])])

        self.assertEqual(worker.values(1), [[8, 9]])

    def test_an_error_carries_the_exception_and_its_trace(self):
        worker = self.start()
        worker.define("k1", pickle.dumps(int))

        worker.ask(1, "k1", [call("x"), call("1")])

        error, fine = worker.until_replies(2)
        self.assertEqual((error.kind, fine.kind), (ERR, OK))
        exception, trace = pickle.loads(base64.b64decode(error.value()["data"]))
        self.assertIsInstance(exception, ValueError)
        self.assertIn("ValueError", trace)

    def test_items_and_results_that_cannot_be_read_or_written_say_so(self):
        worker = self.start()
        worker.define("k1", pickle.dumps(memoryview))

        worker.ask(1, "k1", [b"\0junk", call(b"x")])

        self.assertEqual([frame.value()["stage"] for frame in worker.until_replies(2)], ["reading", "writing"])

    def test_large_buffers_come_in_memfds_and_are_writable(self):
        worker = self.start()
        worker.define("k1", pickle.dumps(operator.setitem))
        worker.define("k2", pickle.dumps(len))
        view, buffers = pickle.PickleBuffer(bytearray(b"x" * (1 << 20))), []
        writing = b"\0" + pickle.dumps(((view, 0, 7), {}), 5, buffer_callback=buffers.append)
        reading = b"\0" + pickle.dumps(((view,), {}), 5, buffer_callback=buffers.append)

        for item, key, data in ((1, b"k1", writing), (2, b"k2", reading)):
            worker.send_memfd(TASK, item, b'{"key":"%s"}' % key, packed(data, [b"x" * (1 << 20)]))

        self.assertEqual(worker.values(2), [None, 1 << 20])

    def test_a_large_result_lies_in_a_sealed_memfd(self):
        worker = self.start()
        worker.define("k1", pickle.dumps(bytes))

        worker.ask(1, "k1", [call(1 << 20), call(3)])

        big, small = worker.until_replies(2)
        self.assertEqual((big.flags, small.flags), (1, 0))
        memfd = worker.descriptors[0]
        self.assertEqual(fcntl.fcntl(memfd, 1034) & SEALS, SEALS)
        count, length = struct.unpack("<QQ", os.pread(memfd, 16, 0))
        self.assertEqual((count, pickle.loads(os.pread(memfd, length, 16))), (0, bytes(1 << 20)))

    def test_a_released_constant_is_unknown(self):
        worker = self.start()
        worker.define("k1", pickle.dumps(int))
        worker.send(frame_bytes(RELEASE, 0, b'{"key":"k1"}'))

        worker.ask(1, "k1", [call("1")])

        self.assertEqual(worker.until_replies(1)[0].kind, ERR)

    def test_the_setup_comes_before_the_hello(self):
        worker = self.start(setup={"argv": ["a", "b"], "initializer": (pickle.dumps((os.putenv, ("A", "B"))), ()),
                                   "authkey": b"secret", "parent": ("MainProcess", os.getpid()), "name": "W"})
        worker.define("k1", pickle.dumps(eval))

        worker.ask(1, "k1", [call("__import__('sys').argv"),
                             call("__import__('multiprocessing').current_process().name"),
                             call("bytes(__import__('multiprocessing').current_process().authkey)"),
                             call("__import__('multiprocessing').parent_process().pid"),
                             call("__import__('multiprocessing').current_process().daemon")])

        self.assertEqual(worker.values(5), [["a", "b"], "W-1", b"secret", os.getpid(), False])

    def test_a_setup_that_raises_cannot_start(self):
        worker = self.start(setup={"initializer": (pickle.dumps((int, ("x",))), ())})

        worker.until_gone()

        bye = worker.frames[-1]
        self.assertEqual(bye.kind, BYE)
        self.assertEqual((bye.value()["code"], bye.value()["err"]["type"]), (126, "ValueError"))

    def test_the_main_module_is_imported_when_something_in_it_is_asked_for(self):
        path = os.path.join(self.folder, "script.py")
        with open(path, "w") as file:
            file.write("def double(x):\n    return 2 * x, __name__\n")
        worker = self.start(setup={"main": ("path", path)})
        worker.define("k1", b"c__main__\ndouble\n.")

        worker.ask(1, "k1", [call(4)])

        self.assertEqual(worker.values(1), [(8, "__mp_main__")])

if __name__ == "__main__":
    unittest.main()
