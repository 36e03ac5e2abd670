"""What every Python worker of poolctl does: reads frames on fd 3 and publishes each reply in shared memory.

The binary puts `functions.py` or `objects.py` behind this file, and runs the two as one script
(`python3 /proc/self/fd/6 …`); what it speaks is in docs/protocol.md (frames, claim). Needs Python 3.9 and the standard
library, of which it imports as little as it can: every worker starts with this.

The claim, a sealed memfd on fd 5, in words of 64 bits: claimed item, when it was begun, bytes ever published; from
byte 64 on a ring of frames. For each item, in this order:

1. store when it begins, store which it is, call the function;
2. write the reply behind the published bytes, store how many are published now.

If this process dies, what it had not published was never there, and the claimed item without a reply is the one that
was started. If the supervisor dies, fd 3 ends. fd 4 carries what needs no claim: hello, kicks, replies too large for
the ring, bye.

Threads of the function may print at any time, and so may a finaliser at any bytecode. `phase[0]` says who may write to
the ring: the function's side in CALL (under `ring_lock`), the loop in LOOP, where prints wait in `activity`; in DIRECT
they go to descriptors 1 and 2. The loop leaves CALL before it looks at `activity`, a printer enters `activity` before
it looks at `phase`: so one of them always sees the other.
"""

import os
import sys
import time
from _struct import Struct
from _thread import RLock, allocate_lock, get_ident
from io import RawIOBase, TextIOWrapper
from mmap import MADV_DONTFORK, mmap

REQUESTS, REPLIES, CLAIM, SCRIPT = 3, 4, 5, 6
HELLO, TASK, OK, ERR, LOG, PING, BYE, BATCH, DEFINE, PUBLISHED, RELEASE = 0, 1, 2, 3, 7, 8, 9, 10, 11, 12, 13
WORK = (TASK, BATCH, DEFINE, RELEASE)
HEADER = Struct("<IBBHQ")
MAX_BODY_BYTES, READ_BYTES = 64 << 20, 1 << 16
KICK_NS, MAX_WAITING_PRINTS = 1_000_000, 1000

# A reply is packed in one go, padded into bytes that are not published yet; a longer one takes the long way.
SMALL = Struct("<QQ112s")
SMALL_TEXT = 112
OK_HEAD, ERR_HEAD = OK << 32, ERR << 32

LOOP, CALL, DIRECT = 0, 1, 2
OWN_FILE = (lambda: 0).__code__.co_filename

phase = [DIRECT]
activity = []
ring_lock = RLock()
is_forked = [False]


def write_all(descriptor, data):
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view):]


def frame_of(kind, item, meta, payload):
    return HEADER.pack(len(meta) + len(payload), kind, 0, len(meta), item) + meta + payload


class Inbox:
    """The frames that come on fd 3. Which of them are work, the other half of this script says."""

    def __init__(self, ring):
        self.ring, self.buffer = ring, bytearray()
        # Work met while waiting for room in the ring; the supervisor limits how many items it sends ahead.
        self.waiting = []
        self.has_ended, self.awaited_echo = False, None

    def receive(self):
        return os.read(REQUESTS, READ_BYTES)

    def read_frame(self):
        """The next frame as (kind, flags, id, meta, payload), or None at the end of the stream."""
        buffer = self.buffer
        while True:
            if len(buffer) >= 16:
                body_len, kind, flags, meta_len, item = HEADER.unpack_from(buffer)
                end = 16 + body_len
                if len(buffer) >= end:
                    meta = bytes(buffer[16:16 + meta_len])
                    payload = bytes(memoryview(buffer)[16 + meta_len:end])
                    del buffer[:end]
                    return kind, flags, item, meta, payload
            chunk = self.receive()
            buffer += chunk
            if not chunk:
                self.has_ended = True
                return None

    def take(self):
        """Reads one frame and acts on it; false at the end of the stream. Blocks."""
        frame = self.read_frame()
        if frame is None:
            return False
        kind, flags, item, meta, payload = frame
        if kind == RELEASE and not meta:
            self.ring.released = item
        elif kind in WORK:
            self.waiting.append((kind, flags, item, meta, payload))
        elif kind == PING and item != self.awaited_echo:
            write_all(REPLIES, frame_of(PING, item, b"", b""))
        elif kind == PING:
            self.awaited_echo = None
        else:
            self.take_other(kind, flags, item, meta, payload)
        return True

    def take_other(self, kind, flags, item, meta, payload):
        """What only the other half of this script knows."""


class Ring:
    """The claim and the ring behind it; the words and the position are touched by `run` too, for speed."""

    def __init__(self):
        size = os.fstat(CLAIM).st_size
        self.memory = mmap(CLAIM, size)
        # A process that the function forks has no business here.
        self.memory.madvise(MADV_DONTFORK)
        self.words = memoryview(self.memory)[:24].cast("Q")
        self.size = size - 64
        self.released = self.kicked = self.kick_at = 0
        self.inbox = Inbox(self)
        # Where stores may be seen in another order than they were made, a lock's release and acquire between them.
        self.fence = None
        if os.uname().machine not in ("x86_64", "i686", "i386"):
            self.fence = allocate_lock()
            self.fence.acquire()

    def window(self):
        """Where the next reply goes, what to add to a place to get its count, the last place for a small reply."""
        published = self.words[2]
        at = 64 + published % self.size
        free = self.released + self.size - published
        return at, published - at, -1 if self.inbox.has_ended else min(64 + self.size, at + free) - SMALL.size

    def publish(self, frame):
        """Puts a frame into the ring; waits for room; false if it is too long or there will be no room."""
        published, size = self.words[2], self.size
        end = published + len(frame)
        if len(frame) * 4 > size or self.inbox.has_ended:
            return False
        while end - self.released > size:
            self.kick()
            if not self.inbox.take():
                return False
        offset = published % size
        first = min(len(frame), size - offset)
        self.memory[64 + offset:64 + offset + first] = frame[:first]
        if first < len(frame):
            self.memory[64:64 + len(frame) - first] = frame[first:]
        if self.fence:
            self.fence.release()
            self.fence.acquire()
        self.words[2] = end
        return True

    def reply(self, kind, item, meta, payload):
        """Sends a reply of any length.

        One on fd 4 must not be overtaken by the next in the ring, nor the other way round: the supervisor empties the
        ring before it takes it, and this side waits for the echo of a ping behind it before it publishes again.
        """
        if len(payload) > MAX_BODY_BYTES:
            kind = ERR
            payload = describe(Refusal("ValueError", f"the function returned {len(payload)} bytes of JSON, which is over "
                                       f"the limit of {MAX_BODY_BYTES}; write it to a file and return its name"))
        frame = frame_of(kind, item, meta, payload)
        if not self.publish(frame):
            write_all(REPLIES, frame)
            self.await_echo(item)

    def await_echo(self, item):
        """Waits until the supervisor has taken what was sent on fd 4."""
        self.inbox.awaited_echo = item
        write_all(REPLIES, frame_of(PING, item, b"", b""))
        while self.inbox.awaited_echo is not None and self.inbox.take():
            pass

    def log(self, stream, data):
        """Puts what was printed into the ring, in the name of the item that is claimed."""
        meta = b'{"stream":"%s"}' % stream
        step = min(32768, self.size // 4 - 64)
        for start in range(0, len(data), step):
            self.reply(LOG, self.words[0], meta, data[start:start + step])

    def kick(self):
        """Tells the supervisor that something new is published, if there is."""
        published = self.words[2]
        if published != self.kicked:
            self.kicked = published
            # So short a write to a socket is whole or waits.
            os.write(REPLIES, HEADER.pack(0, PUBLISHED, 0, 0, published))


class Printed(RawIOBase):
    """Takes what is printed and puts it into the ring, whole and in order with the replies."""

    def __init__(self, ring, descriptor, stream):
        self.ring, self.descriptor, self.stream = ring, descriptor, stream
        self.name = f"<{stream.decode()}>"

    def write(self, data):
        data = bytes(data)
        if phase[0] == DIRECT:
            write_all(self.descriptor, data)
        elif ring_lock._is_owned():
            # A finaliser that prints while this very thread writes to the ring.
            activity.append((self, data))
        else:
            with ring_lock:
                if not activity:
                    activity.append(None)
                is_taken = phase[0] == CALL or phase[0] == LOOP and len(activity) < MAX_WAITING_PRINTS
                if phase[0] == CALL:
                    self.ring.log(self.stream, data)
                elif is_taken:
                    activity.append((self, data))
            if not is_taken:
                write_all(self.descriptor, data)
        return len(data)

    def as_text(self):
        return TextIOWrapper(self, "utf-8", "backslashreplace", "\n", write_through=True)

    def writable(self):
        return True

    def fileno(self):
        return self.descriptor


def settle_activity(ring):
    """Puts what was printed outside a call into the ring, once nobody else writes to it."""
    if is_forked[0]:
        leave_child(None)
    with ring_lock:
        while activity:
            entry = activity.pop(0)
            if entry is not None:
                ring.log(entry[0].stream, entry[1])


def become_child():
    """In a process that the function forked: its prints go to the descriptors, and the protocol is not its own."""
    phase[0] = DIRECT
    is_forked[0] = True
    activity.append(None)
    os.closerange(REQUESTS, REPLIES + 1)


def leave_child(error):
    """Ends a forked process that came back from the function: the item's reply is its parent's to give."""
    if isinstance(error, SystemExit):
        os._exit(error.code & 0xFF if isinstance(error.code, int) else error.code is not None)
    if error is not None:
        sys.excepthook(type(error), error, error.__traceback__)
    os._exit(error is not None)


class Refusal(Exception):
    """An error of the worker's own finding: no traceback helps with it. `code` is for one that cannot start."""

    def __init__(self, type_name, message, code=0):
        self.type_name, self.message, self.code = type_name, message, code


class ScannerSettings:
    strict, object_hook, object_pairs_hook, parse_float, parse_int, parse_constant = True, None, None, float, int, float


def make_codec(refuse_object):
    """(decode, encode, quote): JSON text to value, value to JSON text, string to JSON string.

    Straight from the C half of `json`, since importing all of it would double the time to start.
    """
    try:
        from _json import encode_basestring, make_encoder, make_scanner
        scan = make_scanner(ScannerSettings)
        markers = {}
        chunks_of = make_encoder(markers, refuse_object, encode_basestring, None, ": ", ", ", False, False, False)

        def decode(text):
            value, end = scan(text, 0)
            if end != len(text):
                raise ValueError("more than one JSON value")
            return value

        def encode(value):
            try:
                return "".join(chunks_of(value, 0))
            finally:
                markers.clear()

        if encode(decode('[1,{"a":[2.5,null,"\\n"]}]')) == '[1, {"a": [2.5, null, "\\n"]}]':
            return decode, encode, encode_basestring
    except (ImportError, TypeError, AttributeError, ValueError):
        pass
    import json
    encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=refuse_object)
    return json.loads, encoder.encode, encoder.encode


def qualified(kind):
    name = getattr(kind, "__qualname__", None) or getattr(kind, "__name__", "?")
    module = getattr(kind, "__module__", "builtins")
    return name if module in ("builtins", None) else f"{module}.{name}"


def message_of(error):
    try:
        return str(error)
    except BaseException as broken:
        return f"<its __str__ raised {type(broken).__name__}>"


def without_own_frames(entry):
    """The part of a traceback that is the function's: without this file, the importer and the event loop before it."""
    while entry is not None:
        name = entry.tb_frame.f_code.co_filename
        if not name.startswith((OWN_FILE, "<frozen importlib")) and "/asyncio/" not in name:
            break
        entry = entry.tb_next
    return entry


def trace_of(error):
    try:
        import traceback
        return "".join(traceback.format_exception(type(error), error, without_own_frames(error.__traceback__)))
    except BaseException:
        return None


def shortened(text, limit):
    """`text` in UTF-8's reach, and its middle left out when it is very long."""
    if len(text) > limit:
        text = f"{text[:limit // 2]}\n… {len(text) - limit} letters left out …\n{text[-limit // 2:]}"
    return text.encode("utf-8", "backslashreplace").decode()


def error_fields(error):
    """An error as type, message and trace."""
    if type(error) is Refusal:
        return {"type": error.type_name, "msg": shortened(error.message, 16384)}
    fields = {"type": shortened(qualified(type(error)), 1024), "msg": shortened(message_of(error), 16384)}
    trace = trace_of(error)
    return fields if trace is None else {**fields, "trace": shortened(trace, 65536)}


def describe(error, fields_of=error_fields):
    """The payload of an error reply."""
    if is_forked[0]:
        leave_child(error)
    try:
        return encode(fields_of(error)).encode()
    except BaseException as broken:
        return b'{"type":"Exception","msg":"an error that cannot be described: %s"}' % type(broken).__name__.encode()


def prepare_paths(target):
    """What a program started by hand would find: the working directory on the path, no trace of this script."""
    if not getattr(sys.flags, "safe_path", False):
        del sys.path[0]
    try:
        sys.path.insert(0, os.getcwd())
    except FileNotFoundError:
        # Somebody has removed it; there is nothing to import from it.
        pass
    sys.argv[:] = [target]
    # Without it, `multiprocessing` does not try to run this script again in its children.
    globals().pop("__file__", None)
    for descriptor in (REQUESTS, REPLIES):
        os.set_inheritable(descriptor, False)
        os.set_blocking(descriptor, True)
    # The mapping holds the memfd, and this script has been read.
    os.closerange(CLAIM, SCRIPT + 1)


def start_ring():
    """The ring, with prints going into it."""
    ring = Ring()
    sys.stdout = sys.__stdout__ = Printed(ring, 1, b"stdout").as_text()
    sys.stderr = sys.__stderr__ = Printed(ring, 2, b"stderr").as_text()
    return ring


def say(kind, message):
    write_all(REPLIES, frame_of(kind, 0, b"", encode(message).encode()))


def say_hello(caps, **more):
    hello = {"poolctl": 1, "caps": caps, **more}
    if os.environ.get("POOLCTL_INTERPRETER", sys.executable) != sys.executable:
        hello["executable"] = sys.executable  # behind a shim
    say(HELLO, hello)


def give_up_start(error):
    """Says why this worker cannot start, and ends."""
    code = error.code if type(error) is Refusal else 126
    say(BYE, {"bye": "cannot start", "code": code, "err": error_fields(error)})
    os._exit(code)
