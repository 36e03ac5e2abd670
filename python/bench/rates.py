"""One measurement of one pool with two workers: the figure goes to $figure, and `exact` to stdout when all was right.

usage: rates.py WAY POOL [COUNT]

Ways, with their figures: one-after-another, one-by-one, map-singly, map (items a second) · arrays (GB/s, there and
back) · carried (ms for a map whose function carries 200 MB) · start (ms until each worker has given a result) ·
told (ms from a worker's SIGKILL to the error of its item) · lost (items without a result when a worker is killed).
The exit status is 77 where the pool's package is not installed.
"""

import contextlib
import functools
import os
import signal
import sys
import tempfile
import time

import pools
import tasks

WORKERS = 2
NOT_INSTALLED = 77
# Behind the item of the killed worker.
OTHERS = 200
PATIENCE = 30
# Within this a pool that says nothing about a dead worker is believed not to say it at all.
SILENCE = 3


def timed(work):
    begun = time.perf_counter()
    result = work()
    return time.perf_counter() - begun, result


def rate(way, make, count):
    items = range(count)
    with make(WORKERS) as pool:
        run = getattr(pool, way.replace("-", "_"))
        run(tasks.square, range(100))
        seconds, results = timed(lambda: run(tasks.square, items))
    return count / seconds, results == [number * number for number in items]


def arrays(make, count):
    import numpy

    inputs = [numpy.full(16 << 20, number, dtype=numpy.uint8) for number in range(count)]
    with make(WORKERS) as pool:
        # Workers that are not forked import numpy with the first array that they see.
        pool.map(tasks.same, [numpy.zeros(4)] * 10, chunk=1)
        seconds, results = timed(lambda: pool.map(tasks.same, inputs, chunk=1))
    is_exact = all(numpy.array_equal(a, b) for a, b in zip(inputs, results))
    return 2 * count * (16 << 20) / seconds / 1e9, is_exact and len(results) == count


def carried(make, count):
    import numpy

    array = numpy.arange(25_000_000)
    with make(WORKERS) as pool:
        pool.map(tasks.same, list(range(100)))
        function = functools.partial(tasks.element, tasks.Load(array))
        seconds, results = timed(lambda: pool.map(function, list(range(count))))
    received = {process: times for _, process, times in results}
    once = all(times == 1 for times in received.values()) or "poolctl" not in make.__name__
    return seconds * 1e3, [value for value, _, _ in results] == list(range(count)) and once


def start(make, count):
    around = pools.AROUND.get(make, lambda _: contextlib.nullcontext())
    with around(WORKERS):
        seconds, processes = timed(lambda: first_results(make))
        end_all()
    return seconds * 1e3, processes > 0


def first_results(make):
    """How many processes answered; the pool's end is not part of what is measured, but of the process's."""
    pool = make(WORKERS)
    enter_later.append(pool)
    if not hasattr(pool, "begin"):
        return len(set(pool.map(tasks.pid_after, [0.0] * WORKERS, chunk=1)))
    return len({get(PATIENCE) for get in [pool.begin(tasks.pid_after, 0.0) for _ in range(WORKERS)]})


enter_later = []


def end_all():
    while enter_later:
        with enter_later.pop():
            pass


def kill_one(make):
    """A worker is killed in its item: seconds until that is told, if it is, and how many items have no result."""
    with tempfile.TemporaryDirectory() as folder, make(WORKERS) as pool:
        path = os.path.join(folder, "held")
        pool.begin(tasks.square, 1)(PATIENCE)
        held = pool.begin(tasks.hold, path, SILENCE / 2)
        others = [pool.begin(tasks.square, number) for number in range(OTHERS)]
        others += [pool.begin(tasks.pid_after, 0.2) for _ in range(WORKERS)]
        others += [pool.begin(tasks.square, number) for number in range(OTHERS)]
        deadline = time.monotonic() + PATIENCE
        while not os.path.exists(path) and time.monotonic() < deadline:
            time.sleep(0.001)
        with open(path, encoding="ascii") as file:
            victim = int(file.read())
        killed = time.perf_counter()
        os.kill(victim, signal.SIGKILL)
        was_told = not succeeds(held, SILENCE)
        seconds = time.perf_counter() - killed
        lost = 1 + sum(1 for other in others if not succeeds(other, SILENCE))
    return seconds if was_told and seconds < SILENCE else None, lost


def succeeds(get, seconds):
    try:
        get(seconds)
    except Exception:
        return False
    return True


def main(way, name, count="0"):
    make, count = pools.POOLS[name], int(count)
    # Some pools and their workers log to stdout, which must have our one word only.
    answer = os.dup(1)
    os.dup2(2, 1)
    try:
        if way in ("one-after-another", "one-by-one", "map-singly", "map"):
            figure, is_exact = rate(way, make, count)
        elif way in ("told", "lost"):
            seconds, lost = kill_one(make)
            figure = seconds and seconds * 1e3 if way == "told" else lost
            is_exact = figure is not None
        else:
            figure, is_exact = {"arrays": arrays, "carried": carried, "start": start}[way](make, count)
    except ImportError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return NOT_INSTALLED
    with open(os.environ.get("figure", "/dev/stderr"), "w", encoding="ascii") as file:
        print(figure, file=file)
    os.write(answer, b"exact\n" if is_exact else b"wrong\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) if len(sys.argv) > 2 else __doc__)
