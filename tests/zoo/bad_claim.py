"""A worker with claim and batch that breaks the rules of the shared memory at one item, and echoes every other.

usage: bad_claim.py HOW ITEM [ONCE]

HOW: fine, huge, back, garbage, cut, wild-id, wild-time, silent-death, other-id, truncate, grow, racer.
ITEM: the number at which it happens. ONCE: a file that the first one makes; later lives are fine.
"""

import mmap
import os
import random
import signal
import struct
import sys
import threading
import time

HOW, ITEM = sys.argv[1], int(sys.argv[2])
if len(sys.argv) > 3:
    try:
        os.close(os.open(sys.argv[3], os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        HOW = "fine"

memory = mmap.mmap(5, 0)
RING = len(memory) - 64
HEADER = struct.Struct("<IBBHQ")
published = 0


def word(at, value):
    memory[at:at + 8] = struct.pack("<Q", value % 2**64)


def put(data):
    """Writes behind the published bytes, without publishing."""
    for index, byte in enumerate(data):
        memory[64 + (published + index) % RING] = byte


def publish(data):
    global published
    put(data)
    published += len(data)
    word(16, published)


def frame(kind, item, payload, meta=b""):
    return HEADER.pack(len(meta) + len(payload), kind, 0, len(meta), item) + meta + payload


def read(count):
    data = b""
    while len(data) < count:
        part = os.read(3, count - len(data))
        if not part:
            sys.exit(0)
        data += part
    return data


def rest():
    """Waits to be ended."""
    os.write(4, frame(12, 0, b""))
    while True:
        signal.pause()


def race():
    chance = random.Random(7)
    while True:
        at = chance.choice([0, 8, 16, 64 + 8 * chance.randrange(64)])
        word(at, chance.choice([0, 1, 2**63, 2**64 - 1, chance.randrange(2**64), published]))


def misbehave(item):
    if HOW == "huge":
        word(16, 2**63)
    elif HOW == "back":
        publish(frame(7, item, b"a log", b'{"stream":"stdout"}'))
        os.write(4, frame(12, 0, b""))
        time.sleep(0.3)
        word(16, 0)
    elif HOW == "garbage":
        publish(bytes(random.Random(3).randrange(256) for _ in range(5000)))
    elif HOW == "cut":
        publish(frame(2, item, b"12345")[:-2])
        os.kill(os.getpid(), signal.SIGKILL)
    elif HOW == "wild-id":
        word(0, 2**40)
        os.kill(os.getpid(), signal.SIGKILL)
    elif HOW == "wild-time":
        word(8, 2**64 - 1)
        publish(frame(2, item, b"%d" % ITEM))
        return False
    elif HOW == "silent-death":
        put(frame(2, item, b"12345"))
        os.kill(os.getpid(), signal.SIGKILL)
    elif HOW == "other-id":
        publish(frame(2, item + 1_000_000, b"12345"))
    elif HOW in ("truncate", "grow"):
        try:
            os.ftruncate(5, 0 if HOW == "truncate" else 1 << 30)
        except OSError:
            publish(frame(2, item, b'"refused"'))
            return False
    elif HOW == "racer":
        threading.Thread(target=race, daemon=True).start()
        return True
    else:
        return True
    rest()


hello = b'{"poolctl":1,"caps":["claim","batch"],"functions":[]}'
os.write(4, frame(0, 0, hello))
while True:
    length, kind, flags, meta, first = HEADER.unpack(read(16))
    body = read(length)[meta:]
    if kind not in (1, 10):
        continue
    for index, item in enumerate(body.split(b"\n")[:-1] if kind == 10 else [body.rstrip(b"\n")]):
        word(8, time.monotonic_ns())
        word(0, first + index)
        if int(item) != ITEM or misbehave(first + index):
            publish(frame(2, first + index, item))
    os.write(4, frame(12, 0, b""))
