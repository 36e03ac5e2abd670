"""CPython's tests of `multiprocessing.Pool`, with another class in its place. None of their code is here."""

import re
import unittest
import unittest.mock

from test import _test_multiprocessing as theirs
from test.support import script_helper

import suites

_assert_python_ok = script_helper.assert_python_ok


def assert_python_ok(*arguments, **environment):
    """As theirs, for a program that imports the tested pool and not `multiprocessing`'s."""
    *options, program = arguments
    program = re.sub(r"from multiprocessing import (?=Pool\b)", suites.import_line(suites.POOL), program)
    return _assert_python_ok(*options, program, PYTHONPATH=suites.search_path(), **environment)


class Swapped:
    """Some tests take the pool from the module and not from their class, so it is put there too while they run."""

    @classmethod
    def setUpClass(cls):
        for place, name, value in ((theirs.multiprocessing, "Pool", suites.tested(suites.POOL)),
                                   (script_helper, "assert_python_ok", assert_python_ok)):
            patch = unittest.mock.patch.object(place, name, value)
            patch.start()
            cls.addClassCleanup(patch.stop)
        super().setUpClass()


class Processes(Swapped, theirs.ProcessesMixin):
    Pool = staticmethod(suites.tested(suites.POOL))


class _TestPool(theirs._TestPool, Processes, unittest.TestCase):
    pass


class _TestPoolWorkerErrors(theirs._TestPoolWorkerErrors, Processes, unittest.TestCase):
    pass


class _TestPoolWorkerLifetime(theirs._TestPoolWorkerLifetime, Processes, unittest.TestCase):
    pass
