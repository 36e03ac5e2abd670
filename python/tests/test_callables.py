"""What can be called: functions by name, by value, and what a main module defines."""

import os
import subprocess
import sys
import tempfile
import unittest

import tasks
from support import PATIENCE, PoolTest

import poolctl

try:
    import cloudpickle
except ImportError:
    cloudpickle = None

PATHS = [os.path.dirname(os.path.dirname(poolctl.__file__)), os.path.dirname(tasks.__file__)]

SCRIPT = """
import sys
sys.path[:0] = %r
%s
import poolctl

class Point:
    def __init__(self, x):
        self.x = x

def double(point):
    return Point(2 * point.x)

if __name__ == "__main__":
    with poolctl.Pool(2) as pool:
        found = pool.map(double, [Point(n) for n in range(5)])
        assert all(type(point) is Point for point in found), found
        print([point.x for point in found])
"""


class Callables(PoolTest):
    def run_script(self, *lines):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "script.py")
            with open(path, "w", encoding="utf-8") as file:
                file.write(SCRIPT % (PATHS, "\n".join(lines)))
            return subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=PATIENCE)

    @unittest.skipIf(cloudpickle is None, "cloudpickle is not installed")
    def test_functions_and_classes_of_a_main_module_go_by_value(self):
        done = self.run_script()

        self.assertEqual(done.stdout, "[0, 2, 4, 6, 8]\n", done.stderr)

    def test_without_cloudpickle_workers_import_the_main_module(self):
        done = self.run_script("sys.modules['cloudpickle'] = None", "import poolctl.pickling",
                               "poolctl.pickling.found.append(False)")

        self.assertEqual(done.stdout, "[0, 2, 4, 6, 8]\n", done.stderr)

    def test_without_cloudpickle_it_is_told_what_would_help(self):
        code = ("import sys; sys.path[:0] = %r\nimport poolctl, poolctl.pickling\npoolctl.pickling.found.append(False)\n"
                "step = 3\ndef raised(x): return x + step\n"
                "with poolctl.Pool(1) as pool:\n"
                "    for call in raised, lambda x: x + step:\n"
                "        try: pool.map(call, [1])\n"
                "        except Exception as error:\n"
                "            text = str(error) + str(getattr(error, '__notes__', 'install cloudpickle'))\n"
                "            print(type(error).__name__, 'install cloudpickle' in text)\n") % (PATHS,)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE)

        self.assertEqual(done.stdout, "ObjectUnreadable True\nPicklingError True\n", done.stderr)

    @unittest.skipIf(cloudpickle is None, "cloudpickle is not installed")
    def test_lambdas_and_closures_are_sent_as_they_are_at_each_call(self):
        with poolctl.Pool(1) as pool:
            added = 1
            call = lambda x: x + added  # noqa: E731
            first = pool.apply(call, (1,))
            added = 10

            self.assertEqual((first, pool.apply(call, (1,))), (2, 11))
            self.assertEqual([pool.apply(lambda n=n: n) for n in range(200)], list(range(200)))

    def test_a_function_that_refers_to_nothing_needs_no_other_package(self):
        code = ("import sys; sys.path[:0] = %r\nimport poolctl\nrows = lambda n: [sum(range(x)) for x in range(n)]\n"
                "with poolctl.Pool(1) as pool: print(pool.apply(rows, (5,)), 'cloudpickle' in sys.modules)\n") % (PATHS,)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE)

        self.assertEqual(done.stdout, "[0, 0, 1, 3, 6] False\n", done.stderr)

    def test_bound_methods_and_classes_can_be_called(self):
        with poolctl.Pool(1) as pool:
            self.assertEqual(pool.map("-".join, [["a", "b"]]), ["a-b"])
            self.assertEqual(pool.apply(dict, (), {"a": 1}), {"a": 1})

    def test_importing_the_package_starts_nothing(self):
        code = ("import sys; sys.path[:0] = %r\nbefore = set(sys.modules)\nimport poolctl, threading, os\n"
                "heavy = {'multiprocessing', 'cloudpickle', 'numpy', 'joblib', 'asyncio', 'socket'} & set(sys.modules)\n"
                "print(threading.active_count(), len(os.listdir('/proc/self/fd')) < 6, heavy)\n") % (PATHS,)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE)

        self.assertEqual(done.stdout, "1 True set()\n", done.stderr)
