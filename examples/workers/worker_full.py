"""A worker that uses all that JSON lines offer: two functions, items sent ahead, cancel, errors, progress, logs.

`primes`, the first, counts the primes below a number; `divisors` lists what divides it. One thread reads requests, so
that a cancel is heard while an item is being worked on; items are answered one after another, in the order they came.
"""

import json
import queue
import threading
import time
import traceback

requests = open(3, encoding="utf-8")
replies = open(4, "w", encoding="utf-8", buffering=1)
tasks = queue.SimpleQueue()
cancelled = set()


class Cancelled(Exception):
    """The item is no longer wanted."""


def reply(**message):
    print(json.dumps(message), file=replies)


def steps(task, until):
    """Counts to `until`; says how far it is, and stops when the item is cancelled."""
    said = time.monotonic()
    for number in range(1, until):
        if number % 1000 == 0:
            if task["id"] in cancelled:
                raise Cancelled("asked to stop")
            if time.monotonic() - said > 0.5:
                said = time.monotonic()
                reply(id=task["id"], progress=number / until, note=f"{number} of {until}")
        yield number


def primes(task, until):
    return sum(1 for n in steps(task, until) if n > 1 and all(n % d for d in range(2, int(n**0.5) + 1)))


def divisors(task, number):
    return [n for n in steps(task, number + 1) if number % n == 0]


FUNCTIONS = {"primes": primes, "divisors": divisors}


def work(task):
    try:
        function = FUNCTIONS[task.get("fn", "primes")]
        if not isinstance(task["data"], int):
            raise TypeError(f"a whole number is needed, not {json.dumps(task['data'])}")
        result = function(task, task["data"])
    except Exception as error:
        # The same item would fail the same way again, so another attempt makes no sense.
        details = {"type": type(error).__name__, "msg": str(error), "trace": traceback.format_exc(), "retry": False}
        reply(id=task["id"], err=details)
    else:
        reply(id=task["id"], ok=result)
    cancelled.discard(task["id"])


def listen():
    for line in requests:
        message = json.loads(line)
        if message.get("cancel"):
            cancelled.add(message["id"])
        else:
            tasks.put(message)
    tasks.put(None)


threading.Thread(target=listen, daemon=True).start()
reply(poolctl=1, caps=["ahead:16", "cancel"], functions=list(FUNCTIONS))
for task in iter(tasks.get, None):
    if task.get("attempt", 1) > 1:
        reply(log=f"attempt {task['attempt']}", level="info", id=task["id"])
    work(task)
