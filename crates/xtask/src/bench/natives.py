"""What `multiprocessing` does of what Rust pools do: the figure goes to $figure, what proves the work to stdout.

usage: natives.py map N | arrays N | start N
"""

import multiprocessing
import os
import statistics
import sys
import time

from functions import square

WORKERS = 2
BYTES = 16 << 20


def with_ends_swapped(data):
    data = bytearray(data)
    data[0], data[-1] = data[-1], data[0]
    return data


def main(way, count):
    if way == "map":
        with multiprocessing.Pool(WORKERS) as pool:
            pool.map(square, range(1000))
            seconds, squares = timed(lambda: pool.map(square, range(count)))
        told(count / seconds)
        print(sum(squares) % 2**64)
    elif way == "arrays":
        data = bytearray(range(256)) * (BYTES // 256)
        swapped = with_ends_swapped(data)
        with multiprocessing.Pool(1) as pool:
            times, results = zip(*(timed(lambda: pool.apply(with_ends_swapped, (data,))) for _ in range(count)))
        told(2 * BYTES / statistics.median(times) / 1e9)
        print("swapped" if all(result == swapped for result in results) else "otherwise")
    elif way == "start":
        times, results = zip(*(timed(pool_of_two) for _ in range(count)))
        told(statistics.median(times) * 1e3)
        print(*results[0])
    else:
        sys.exit(__doc__)


def pool_of_two():
    pool = multiprocessing.Pool(WORKERS)
    squares = pool.map(square, [1, 2])
    pool.close()
    pool.join()
    return squares


def timed(work):
    begun = time.perf_counter()
    result = work()
    return time.perf_counter() - begun, result


def told(figure):
    with open(os.environ["figure"], "w") as file:
        print(figure, file=file)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
