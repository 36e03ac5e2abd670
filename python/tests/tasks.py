"""Functions that workers import."""

import os
import signal
import sys
import threading
import time

import support  # noqa: F401  (puts the package on the path)

import poolctl

state = {}


def square(x):
    return x * x


def add(a, b=0, *, c=0):
    return a + b + c


def same(x):
    return x


def fail(x):
    raise ValueError(f"no {x}")


def die(how):
    if how == "exit":
        os._exit(3)
    os.kill(os.getpid(), how)


def pid(_=None):
    return os.getpid()


def slowly(x, seconds=0.05):
    time.sleep(seconds)
    return x


def die_once(path):
    """Kills its process at the first call for this path."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return "done"
    os.kill(os.getpid(), signal.SIGKILL)


def remember(value):
    state["value"] = value


def recall(_=None):
    return state.get("value")


def identity():
    """What a worker says that it is."""
    import multiprocessing

    current, parent = multiprocessing.current_process(), multiprocessing.parent_process()
    return {"name": current.name, "daemon": current.daemon, "authkey": bytes(current.authkey), "parent": parent.pid,
            "parent_lives": parent.is_alive(), "dir": os.getcwd(), "argv": sys.argv, "id": poolctl.worker_id(),
            "threads": threading.active_count()}


def touch(array):
    array[0] = 7
    return array


def touch_buffer(buffer):
    buffer[0] = 7
    return bytes(buffer[:2]), len(buffer)


def carry(constant, x):
    """With a large first argument that a partial carries."""
    return len(constant) + x, os.getpid()


def nest(x):
    with poolctl.Pool(1) as pool:
        return pool.apply(square, (x,))


class StrangeError(Exception):
    """Its constructor takes other arguments than it passes on."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


def raise_strange():
    raise StrangeError(1, 2)


class Unpicklable(Exception):
    def __reduce__(self):
        raise TypeError("not this one")


def raise_unpicklable():
    raise Unpicklable("text")


class FailsToLoad:
    def __reduce__(self):
        return fail, ("load",)


def give_unloadable():
    return FailsToLoad()


def give_lambda():
    return lambda: 1


def announce(text):
    print(text)
    print(text + "!", file=sys.stderr)


def raise_base(kind):
    raise kind("stop")


def at_exit(path):
    def write():
        with open(path, "a", encoding="utf-8") as file:
            file.write("bye\n")

    return write


def fibonacci(number):
    if number < 2:
        return number
    pool = poolctl.current_pool()
    one, other = pool.submit(fibonacci, number - 1), pool.submit(fibonacci, number - 2)
    return one.get() + other.get()


def doubled_elsewhere(number):
    return poolctl.current_pool().submit(int.__add__, number, number).get()


def message_of_nested_error():
    try:
        poolctl.current_pool().map(divided, [1, 0])
    except ZeroDivisionError as error:
        return f"{type(error).__name__}: {error}"


def divided(number):
    return 1 / number


def length_of_nested(size):
    return len(poolctl.current_pool().apply(bytes, (size,)))


def farewell():
    return state.get("calls", 0)


def counted(number):
    state["calls"] = state.get("calls", 0) + 1
    return number


def failing_farewell():
    raise ValueError("no farewell")


def refuse_to_show(_):
    raise OSError("no place to show it")
