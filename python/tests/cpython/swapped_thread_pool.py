"""CPython's tests of pools, with a thread pool of ours. None of their code is here."""

import unittest

from test import _test_multiprocessing as theirs

import suites


class _TestPool_threads(theirs._TestPool, theirs.ThreadsMixin, unittest.TestCase):
    Pool = staticmethod(suites.tested(suites.THREAD_POOL))
