"""What the measured pools run: functions that every kind of worker can import."""

import os
import time


def square(number):
    return number * number


def same(value):
    return value


def pid_after(seconds):
    time.sleep(seconds)
    return os.getpid()


def hold(path, seconds):
    """Says in a file which process this is, then works for a while."""
    with open(path + ".new", "w", encoding="ascii") as file:
        file.write(str(os.getpid()))
    os.rename(path + ".new", path)
    time.sleep(seconds)


class Load:
    """An array that knows how often this process has received it."""

    received = 0

    def __init__(self, array):
        self.array = array

    def __getstate__(self):
        return self.array

    def __setstate__(self, array):
        type(self).received += 1
        self.array = array


def element(load, index):
    """Its element, the process that read it, and how often that had received the array by then."""
    return int(load.array[index]), os.getpid(), Load.received
