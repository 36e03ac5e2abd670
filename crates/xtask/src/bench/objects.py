"""What `multiprocessing` does of what shared objects do: the figure goes to $figure, what proves the work to stdout.

usage: objects.py value N | value-two N | queue N | simple-queue N | queue-two N | attach BYTES
"""

import multiprocessing
import os
import sys
import time
from multiprocessing import shared_memory

ATTACHES = 2000

def count(counter, times, go):
    go.wait()
    for _ in range(times):
        with counter.get_lock():
            counter.value += 1


def produce(queue, numbers, go):
    go.wait()
    for number in numbers:
        queue.put(number)


def consume(queue, sums, go):
    go.wait()
    got = total = 0
    while (number := queue.get()) is not None:
        got, total = got + 1, total + number
    sums.put((got, total))


def value(times, processes):
    counter, go = multiprocessing.Value("Q", 0), multiprocessing.Event()
    workers = [multiprocessing.Process(target=count, args=(counter, times // processes, go)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    begun = time.perf_counter()
    go.set()
    for worker in workers:
        worker.join()
    return time.perf_counter() - begun, counter.value == times


def queues(queue, times, pairs):
    sums, go = multiprocessing.SimpleQueue(), multiprocessing.Event()
    parts = [range(at * (times // pairs), (at + 1) * (times // pairs)) for at in range(pairs)]
    producers = [multiprocessing.Process(target=produce, args=(queue, part, go)) for part in parts]
    consumers = [multiprocessing.Process(target=consume, args=(queue, sums, go)) for _ in parts]
    for process in producers + consumers:
        process.start()
    begun = time.perf_counter()
    go.set()
    for producer in producers:
        producer.join()
    for _ in consumers:
        queue.put(None)
    results = [sums.get() for _ in consumers]
    seconds = time.perf_counter() - begun
    for consumer in consumers:
        consumer.join()
    return seconds, [sum(parts) for parts in zip(*results)] == [times, sum(range(times))]


def attach_all(name, size, line):
    begun = time.perf_counter()
    is_exact = True
    for _ in range(ATTACHES):
        memory = shared_memory.SharedMemory(name)
        is_exact &= memory.buf[size - 1] == 7
        memory.close()
    line.send((time.perf_counter() - begun, is_exact))


def attach(size):
    memory = shared_memory.SharedMemory(create=True, size=size)
    try:
        memory.buf[size - 1] = 7
        here, there = multiprocessing.Pipe()
        process = multiprocessing.Process(target=attach_all, args=(memory.name, size, there))
        process.start()
        told = here.recv()
        process.join()
    finally:
        memory.close()
        memory.unlink()
    return told


def main(way, times):
    if way == "value":
        seconds, is_exact = value(times, 1)
    elif way == "value-two":
        seconds, is_exact = value(times, 2)
    elif way == "queue":
        seconds, is_exact = queues(multiprocessing.Queue(), times, 1)
    elif way == "simple-queue":
        seconds, is_exact = queues(multiprocessing.SimpleQueue(), times, 1)
    elif way == "queue-two":
        seconds, is_exact = queues(multiprocessing.Queue(), times, 2)
    elif way == "attach":
        seconds, is_exact = attach(times)
        times = ATTACHES
    else:
        sys.exit(__doc__)
    with open(os.environ["figure"], "w") as file:
        file.write(str(times / seconds))
    print("exact" if is_exact else "lost")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
