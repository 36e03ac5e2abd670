"""The Python worker against its protocol: results, errors, prints, the ring, deaths. No Rust takes part."""

import json
import os
import random
import signal
import sys
import tempfile
import textwrap
import time
import unittest

from worker_host import (BYE, ERR, HELLO, LOG, NOTHING_CLAIMED, OK, PATIENCE, PING, PUBLISHED, RELEASE,
                         Worker, batch_bytes, frame_bytes)

FUNCTIONS = """
    import asyncio, atexit, json, os, subprocess, sys, threading, time

    def square(x): return x * x
    def same(x): return x
    def long(n): return "x" * n
    def special(name):
        loop = []; loop.append(loop)
        return {"nan": float("nan"), "inf": [float("inf")], "set": {1}, "loop": loop, "gen": (i for i in "ab"),
                "lone": "\\udc80", "lone in a list": ["\\udc80"], "huge": 10 ** 5000, "bytes": b"x",
                "tuple": (1, 2.5), "keys": {1: 2, None: 3}, "true": True, "é": "é\\n\\"\\u2028", "tiny": 1e-320,
                "none": None, "zero": -0.0, "big": 2 ** 64}[name]

    class Odd(Exception):
        def __str__(self): raise RuntimeError("no")

    class Tools:
        @staticmethod
        def twice(x): return 2 * x
        class Inner:
            @classmethod
            def name(cls, x): return cls.__name__ + x

    number = 5

    def fail(how):
        if how == "value": raise ValueError("bad: \\udc80 é")
        if how == "chain":
            try: {}["k"]
            except KeyError as error: raise Odd() from error
        if how == "exit": sys.exit(3)
        if how == "interrupt": raise KeyboardInterrupt
        if how == "deep": return fail(how)
        if how == "long": raise ValueError("y" * 10**6)
        return how

    def printing(x):
        print("out", x)
        sys.stderr.write("err é")
        sys.stdout.buffer.write(b"raw\\xff")
        os.write(1, b"direct")
        if x == 2: raise ValueError("two")
        return x

    def flood(n):
        for i in range(n): print("line", i)
        return n

    def big_print(n):
        sys.stdout.write("z" * n)
        return n

    def thread_print(n):
        def work():
            for i in range(n): print("t", i)
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads: thread.start()
        for i in range(n): print("m", i)
        for thread in threads: thread.join()
        return n

    def background(x):
        def work():
            while True: print("b" * 50)
        if x == 0: threading.Thread(target=work, daemon=True).start()
        return x

    class Noisy:
        def __init__(self): self.me = self
        def __del__(self): print("gone")

    def garbage(x):
        Noisy()
        return [x]

    def sleep(x):
        time.sleep(x)
        return x

    def die(x):
        os.kill(os.getpid(), 9) if x == "die" else None
        return x

    def leave(x): os._exit(x)

    def add(a, b=10): return a + b

    async def slow(x):
        await asyncio.sleep(0)
        if x < 0: raise ValueError("negative")
        return x + 1

    def returns_awaitable(x): return slow(x)

    def forks(how):
        child = os.fork()
        if child == 0:
            print("in the child")
            if how == "raises": raise ValueError("in the child")
            if how == "exits": sys.exit(7)
            return "never seen"
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def descriptors(x):
        return subprocess.run(["ls", "/proc/self/fd"], capture_output=True, text=True).stdout.split()

    def pool(x):
        import multiprocessing
        with multiprocessing.get_context(x).Pool(2) as pool: return pool.map(abs, [-1, -2])

    def surroundings(x):
        return [sys.argv, sys.path[0], sys.stdin.read(), os.environ.get("POOLCTL_TIMING")]

    atexit.register(lambda: print("at exit"))
"""


class WorkerCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.write("functions.py", FUNCTIONS)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def write(cls, name, text):
        path = os.path.join(cls.folder.name, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(textwrap.dedent(text))

    def worker(self, function, target="functions", **options):
        worker = Worker(target, function, self.folder.name, **options)
        self.addCleanup(worker.close)
        return worker

    def replies(self, function, values, **options):
        worker = self.worker(function, **options)
        worker.batch(0, values)
        return worker.until_replies(len(values))

    def error(self, function, value, **options):
        [reply] = self.replies(function, [value], **options)
        self.assertEqual(reply.kind, ERR)
        return reply.value()

    def text_of_logs(self, worker, item=None, stream="stdout"):
        logs = [frame for frame in worker.frames if frame.kind == LOG and frame.meta["stream"] == stream]
        return b"".join(frame.payload for frame in logs if item in (None, frame.item))


class Results(WorkerCase):
    def test_hello_comes_first_and_names_what_it_can_do(self):
        worker = self.worker("square")
        worker.turn()
        self.assertEqual(worker.frames[0].kind, HELLO)
        self.assertEqual(worker.frames[0].value(),
                         {"poolctl": 1, "caps": ["claim", "batch"], "functions": ["square"]})
        self.assertEqual(worker.words(), (NOTHING_CLAIMED, 0, 0))

    def test_hello_names_the_interpreter_when_a_shim_was_started(self):
        worker = self.worker("square", env={"POOLCTL_INTERPRETER": "/shims/python3"})
        worker.turn()
        self.assertEqual(worker.frames[0].value()["executable"], sys.executable)

    def test_a_batch_is_answered_in_order_and_the_end_of_the_stream_ends_the_worker(self):
        worker = self.worker("square")
        worker.batch(7, range(1000))
        replies = worker.until_replies(1000)
        out, err = worker.finish()
        self.assertEqual([(frame.item, frame.value()) for frame in replies], [(7 + x, x * x) for x in range(1000)])
        self.assertEqual((out, err, worker.process.returncode), (b"at exit\n", b"", 0))
        self.assertEqual(worker.words()[0], 1006)

    def test_values_are_written_exactly_as_json_dumps_writes_them(self):
        cases = {"tuple": "[1, 2.5]", "keys": '{"1": 2, "null": 3}', "true": "true", "é": '"é\\n\\"\u2028"',
                 "tiny": "1e-320", "none": "null", "zero": "-0.0", "big": "18446744073709551616"}
        replies = self.replies("special", list(cases))
        self.assertEqual([frame.payload.decode() for frame in replies], list(cases.values()))

    def test_random_values_come_back_as_they_went(self):
        generator = random.Random(5)

        def value(depth=0):
            kind = generator.randrange(8 if depth < 4 else 6)
            return [lambda: None, lambda: generator.random() < 0.5, lambda: generator.randrange(-2**70, 2**70),
                    lambda: generator.uniform(-1e300, 1e300), lambda: "".join(generator.choices('aé"\\\n😀\0', k=9)),
                    lambda: "x" * generator.randrange(400), lambda: [value(depth + 1) for _ in range(3)],
                    lambda: {str(key): value(depth + 1) for key in range(3)}][kind]()
        values = [value() for _ in range(3000)]
        replies = self.replies("same", values, ring_bytes=1 << 16)
        wanted = [json.dumps(value, ensure_ascii=False, allow_nan=False) for value in values]
        self.assertEqual([frame.payload.decode() for frame in replies], wanted)

    def test_results_that_are_no_json_are_errors_of_their_item(self):
        bad = ["nan", "inf", "set", "loop", "gen", "lone", "lone in a list", "huge", "bytes"]
        replies = self.replies("special", bad + ["none"])
        self.assertEqual([frame.kind for frame in replies], [ERR] * len(bad) + [OK])
        messages = {name: frame.value()["msg"] for name, frame in zip(bad, replies)}
        self.assertIn("returned nan", messages["nan"])
        self.assertIn("`set`", messages["set"])
        self.assertIn("Circular", messages["loop"])
        self.assertIn("return a list", messages["gen"])
        self.assertIn("surrogates not allowed", messages["lone"])

    def test_items_that_python_cannot_hold_fail_alone(self):
        worker = self.worker("same")
        deep = b"[" * 100_000 + b"]" * 100_000
        worker.send(batch_bytes(0, [b"1", b"9" * 5000, deep, b" [2 , 3] "]))
        replies = worker.until_replies(4)
        if sys.version_info >= (3, 11):
            self.assertEqual(replies[1].kind, ERR)
        self.assertEqual([frame.item for frame in replies], [0, 1, 2, 3])
        self.assertEqual((replies[0].value(), replies[3].value()), (1, [2, 3]))
        self.assertEqual(replies[2].value()["type"], "RecursionError")

    def test_timing_is_said_when_asked_for(self):
        replies = self.replies("sleep", [0.01, 0], env={"POOLCTL_TIMING": "1"})
        self.assertGreaterEqual(replies[0].meta["ns"], 10_000_000)
        self.assertEqual(list(replies[1].meta), ["ns"])

    def test_starmap_spreads_arrays_and_objects(self):
        replies = self.replies("add", [[1, 2], [1], {"a": 1, "b": 5}, [1, 2, 3], 4], env={"POOLCTL_STARMAP": "1"})
        self.assertEqual([frame.value() for frame in replies[:3]], [3, 11, 6])
        self.assertEqual(replies[3].value()["type"], "TypeError")
        self.assertIn("--starmap needs an array or an object", replies[4].value()["msg"])

    def test_coroutines_are_awaited(self):
        for function in ("slow", "returns_awaitable"):
            replies = self.replies(function, [1, -1, 3])
            self.assertEqual([replies[0].value(), replies[2].value()], [2, 4])
            error = replies[1].value()
            self.assertEqual((error["type"], error["msg"]), ("ValueError", "negative"))
            self.assertNotIn("asyncio", error["trace"])

    def test_builtins_classes_and_methods_can_be_called(self):
        self.assertEqual(self.replies("sqrt", [9], target="math")[0].value(), 3.0)
        self.assertEqual(self.replies("dumps", [[1]], target="json")[0].value(), "[1]")
        self.assertEqual(self.replies("Tools.twice", [4])[0].value(), 8)
        self.assertEqual(self.replies("Tools.Inner.name", ["!"])[0].value(), "Inner!")
        self.assertEqual(self.error("sqrt", -1, target="math")["type"], "ValueError")

    def test_a_single_task_and_a_ping_are_answered(self):
        worker = self.worker("square")
        worker.own_ping = 77
        worker.send(frame_bytes(1, 5, b"", b"12") + frame_bytes(PING, 77))
        worker.until_replies(1)
        worker.until(lambda worker: any(frame.kind == PING for frame in worker.frames))
        self.assertEqual([frame.item for frame in worker.frames if frame.kind == PING], [77])
        self.assertEqual(worker.replies()[0].payload, b"144")

    def test_the_function_finds_itself_in_a_plain_program(self):
        [reply] = self.replies("surroundings", [0], env={"POOLCTL_TIMING": "1"})
        self.assertEqual(reply.value(), [["functions"], os.path.realpath(self.folder.name), "", None])


class Errors(WorkerCase):
    def test_exceptions_carry_type_message_and_a_trace_without_the_worker(self):
        error = self.error("fail", "value")
        self.assertEqual((error["type"], error["msg"]), ("ValueError", "bad: \\udc80 é"))
        self.assertTrue(error["trace"].startswith("Traceback (most recent call last):\n  File "))
        self.assertIn('functions.py", line', error["trace"].splitlines()[1])
        self.assertNotIn("/proc/self/fd", error["trace"])

    def test_a_chain_of_causes_and_a_broken_str_do_no_harm(self):
        error = self.error("fail", "chain")
        self.assertEqual(error["type"], "functions.Odd")
        self.assertEqual(error["msg"], "<its __str__ raised RuntimeError>")
        self.assertIn("KeyError: 'k'", error["trace"])
        self.assertIn("direct cause", error["trace"])

    def test_exits_and_interrupts_are_errors_and_the_worker_lives_on(self):
        replies = self.replies("fail", ["exit", "interrupt", "deep", "fine"])
        self.assertEqual([frame.value()["type"] for frame in replies[:3]],
                         ["SystemExit", "KeyboardInterrupt", "RecursionError"])
        self.assertEqual(replies[3].value(), "fine")

    def test_a_long_message_is_shortened(self):
        error = self.error("fail", "long")
        self.assertLess(len(error["msg"]), 20_000)
        self.assertIn("letters left out", error["msg"])

    def bye(self, target, function, **options):
        worker = self.worker(function, target=target, **options)
        worker.until_gone()
        [bye] = [frame for frame in worker.frames if frame.kind != PUBLISHED]
        self.assertEqual(bye.kind, BYE)
        self.assertEqual(bye.value()["bye"], "cannot start")
        self.assertEqual(worker.process.returncode, bye.value()["code"])
        return bye.value()["code"], bye.value()["err"]

    def test_what_is_not_found_is_named_with_what_was_meant(self):
        cases = [("functionz", "x", "functions"), ("math", "sqr", "sqrt"), ("jsonn", "dumps", "json"),
                 ("json.decodr", "x", "json.decoder"), ("function.py", "x", "functions.py"),
                 ("functions", "Tools.twise", "twice")]
        for target, function, meant in cases:
            code, error = self.bye(target, function)
            self.assertEqual(code, 127, error)
            self.assertIn(f"did you mean `{meant}`?", error["msg"])

    def test_what_cannot_be_called_is_named(self):
        code, error = self.bye("functions", "number")
        self.assertEqual((code, error["msg"]), (127, "`functions:number` is not callable: it is a `int`"))

    def test_a_module_that_raises_at_import_shows_where(self):
        self.write("broken.py", "import no_such_thing\n")
        self.write("syntax.py", "def f(:\n")
        self.write("leaves.py", "import sys; print('bye now'); sys.exit(0)\n")
        for target in ("broken", "broken.py"):
            code, error = self.bye(target, "f")
            self.assertEqual((code, error["type"]), (126, "ModuleNotFoundError"))
            self.assertIn('broken.py", line 1', error["trace"])
            self.assertNotIn("importlib", error["trace"])
        code, error = self.bye("syntax.py", "f")
        self.assertEqual((code, error["type"]), (126, "SyntaxError"))
        code, error = self.bye("leaves", "f")
        self.assertEqual((code, error["type"]), (126, "SystemExit"))

    def test_a_file_finds_its_neighbours_and_keeps_its_name(self):
        self.write("deep/neighbour.py", "value = 40\n")
        self.write("deep/json.py", "import neighbour\ndef f(x): return [x + neighbour.value, __name__]\n")
        self.assertEqual(self.replies("f", [2], target="deep/json.py")[0].value(), [42, "json"])


class Prints(WorkerCase):
    def test_prints_come_before_the_reply_of_their_item(self):
        worker = self.worker("printing")
        worker.batch(0, [1, 2, 3])
        worker.until_replies(3)
        out, err = worker.finish()
        self.assertEqual(self.text_of_logs(worker, 2), b"out 3\nraw\xff")
        self.assertEqual(self.text_of_logs(worker, 1, "stderr"), "err é".encode())
        items = [frame.item for frame in worker.frames if frame.kind in (OK, ERR, LOG)]
        self.assertEqual(items, sorted(items))
        self.assertEqual([frame.kind for frame in worker.frames if frame.item == 1][-1], ERR)
        self.assertEqual((out, err), (b"directdirectdirectat exit\n", b""))

    def test_a_flood_of_prints_waits_for_room_and_arrives_whole(self):
        worker = self.worker("flood", ring_bytes=4096)
        worker.batch(0, [5000, 1])
        worker.until_replies(2)
        wanted = b"".join(b"line %d\n" % i for i in range(5000))
        self.assertEqual(self.text_of_logs(worker, 0), wanted)

    def test_a_print_longer_than_the_ring_arrives_whole(self):
        worker = self.worker("big_print", ring_bytes=4096)
        worker.batch(0, [100_000])
        worker.until_replies(1)
        self.assertEqual(self.text_of_logs(worker), b"z" * 100_000)

    def test_threads_may_print_at_any_time(self):
        worker = self.worker("thread_print", ring_bytes=8192)
        worker.batch(0, [300] * 5)
        worker.until_replies(5)
        out, _ = worker.finish()
        lines = (self.text_of_logs(worker) + out).count(b"\n")
        self.assertEqual(lines, 5 * 4 * 300 + 1)

    def test_a_thread_that_prints_for_ever_disturbs_no_reply(self):
        worker = self.worker("background", ring_bytes=1 << 16)
        for first in range(0, 2000, 100):
            worker.batch(first, range(first, first + 100))
        replies = worker.until_replies(2000)
        self.assertEqual([(frame.item, frame.value()) for frame in replies], [(x, x) for x in range(2000)])

    def test_finalisers_that_print_disturb_no_reply(self):
        worker = self.worker("garbage", ring_bytes=8192)
        worker.batch(0, range(20_000))
        replies = worker.until_replies(20_000)
        self.assertEqual([frame.value() for frame in replies], [[x] for x in range(20_000)])
        self.assertGreater(self.text_of_logs(worker).count(b"gone\n"), 10_000)


class Ring(WorkerCase):
    def test_replies_wrap_round_a_small_ring(self):
        values = [["x" * (i % 300), i] for i in range(3000)]
        replies = self.replies("same", values, ring_bytes=4096)
        self.assertEqual([frame.value() for frame in replies], values)
        self.assertEqual({frame.way for frame in replies}, {"ring"})

    def test_a_full_ring_waits_for_a_release_and_keeps_later_batches(self):
        worker = self.worker("same", ring_bytes=4096)
        # What is read until the hello may be released; so nothing is published before.
        worker.until(lambda worker: any(frame.kind == HELLO for frame in worker.frames))
        worker.batch(0, ["y" * 84] * 99 + ["end"])
        while worker.words()[2] <= 4096 - 2 * 102:
            worker.turn(may_release=False)
        _, _, published = worker.words()
        worker.batch(100, range(500))
        self.assertLessEqual(published, 4096)
        self.assertLess(len(worker.replies()), 100)
        worker.send(frame_bytes(RELEASE, worker.consumed))
        replies = worker.until_replies(600)
        self.assertEqual([frame.item for frame in replies], list(range(600)))

    def test_replies_too_long_for_the_ring_go_over_the_socket_in_order(self):
        sizes = [10, 2000, 5, 1_000_000, 3, 20_000_000, 1, 1005, 1006, 1007]
        replies = self.replies("long", sizes, ring_bytes=4096)
        self.assertEqual([len(frame.value()) for frame in replies], sizes)
        self.assertEqual([frame.way for frame in replies[:7]], ["ring", "socket"] * 3 + ["ring"])

    def test_a_reply_over_the_limit_is_an_error_that_says_so(self):
        error = self.error("long", 70_000_000)
        self.assertIn("over the limit of 67108864", error["msg"])

    def test_a_slow_item_is_claimed_while_it_runs_and_the_one_before_is_announced(self):
        worker = self.worker("sleep")
        before = time.monotonic_ns()
        worker.batch(3, [0.05, 600])
        worker.until_replies(1)
        deadline = time.monotonic() + PATIENCE
        while worker.words()[0] != 4 and time.monotonic() < deadline:
            os.sched_yield()
        claimed, started, _ = worker.words()
        self.assertEqual(claimed, 4)
        self.assertTrue(before < started <= time.monotonic_ns())

    def test_the_end_of_the_stream_lets_a_full_ring_out_over_the_socket(self):
        worker = self.worker("same", ring_bytes=4096)
        worker.batch(0, ["y" * 84] * 100)
        worker.socket.shutdown(1)
        while worker.turn(may_release=False):
            pass
        self.assertEqual([frame.item for frame in worker.replies()], list(range(100)))
        self.assertEqual(worker.process.wait(30), 0)


class Deaths(WorkerCase):
    def settled_after_death(self, worker):
        """What a supervisor knows of a dead worker: replies in order, and the item that was started without one."""
        worker.until_gone()
        self.assertEqual(worker.ring_rest, b"", "half a frame was published")
        items = [frame.item for frame in worker.replies()]
        self.assertEqual(items, list(range(len(items))))
        claimed = worker.words()[0]
        done = len(items) - 1
        self.assertIn(claimed, (done, done + 1) if items else (NOTHING_CLAIMED, 0))
        return items, claimed

    def test_killed_at_random_instants_it_leaves_whole_replies_and_the_exact_claim(self):
        generator = random.Random(11)
        self.write("noted.py", """
            import os
            notes = os.open(os.environ["NOTES"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            def note(x):
                os.pwrite(notes, x.to_bytes(8, "little"), 0)
                return [x, "z" * (x % 200)]
        """)
        path = os.path.join(self.folder.name, "notes")
        for life in range(40):
            with open(path, "wb"):
                pass
            worker = self.worker("note", target="noted", ring_bytes=8192, env={"NOTES": path})
            for first in range(0, 20_000, 500):
                worker.send(batch_bytes(first, [b"%d" % x for x in range(first, first + 500)]))
            worker.until_replies(generator.choice([0, 1, 10, 100, 3000]))
            for _ in range(generator.randrange(3000)):
                pass
            worker.kill()
            items, claimed = self.settled_after_death(worker)
            for frame in worker.replies():
                self.assertEqual(frame.value(), [frame.item, "z" * (frame.item % 200)])
            with open(path, "rb") as notes:
                noted = notes.read()
            if noted:
                # The last call that really began was claimed before; whatever is claimed may not have begun yet.
                last = int.from_bytes(noted, "little")
                self.assertIn(last, (claimed, claimed - 1), f"life {life}")
            worker.close()
            self._cleanups.pop()

    def test_an_item_that_kills_its_worker_is_claimed_and_the_one_before_is_answered(self):
        worker = self.worker("die")
        worker.batch(0, ["a", "b", "die", "c"])
        items, claimed = self.settled_after_death(worker)
        self.assertEqual((items, claimed), ([0, 1], 2))
        self.assertEqual(worker.process.returncode, -signal.SIGKILL)

    def test_os_exit_is_a_death_like_any_other(self):
        worker = self.worker("leave")
        worker.batch(0, [4])
        items, claimed = self.settled_after_death(worker)
        self.assertEqual((items, claimed, worker.process.returncode), ([], 0, 4))

    def test_prints_of_a_killed_item_survive_it(self):
        self.write("last_words.py", """
            import os
            def f(x):
                print("no line end yet", end="")
                os.kill(os.getpid(), 9)
        """)
        worker = self.worker("f", target="last_words")
        worker.batch(0, [1])
        worker.until_gone()
        self.assertEqual(self.text_of_logs(worker, 0), b"no line end yet")

    def test_forked_children_leave_without_touching_the_protocol(self):
        worker = self.worker("forks")
        worker.batch(0, ["returns", "raises", "exits", "returns"])
        replies = worker.until_replies(4)
        out, err = worker.finish()
        self.assertEqual([frame.value() for frame in replies], [0, 1, 7, 0])
        self.assertEqual(out.count(b"in the child\n"), 4)
        self.assertIn(b"ValueError: in the child", err)

    def test_programs_that_the_function_starts_inherit_nothing_of_ours(self):
        [reply] = self.replies("descriptors", [0])
        self.assertEqual(reply.value(), ["0", "1", "2", "3"])

    def test_multiprocessing_works_inside_a_function(self):
        replies = self.replies("pool", ["fork", "spawn"])
        self.assertEqual([frame.value() for frame in replies], [[1, 2], [1, 2]])


if __name__ == "__main__":
    unittest.main()
