"""The functions that the benchmark maps over its items."""

import time


def square(x):
    return x * x


def slow_first(x):
    """The item itself; the first one takes three seconds, and all the others are done long before it."""
    if x == 1:
        time.sleep(3)
    return x
