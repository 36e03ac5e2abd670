"""Calls pickled callables for poolctl's Python package. The second half of a script; see `link.py`.

Started as `python3 /proc/self/fd/6 --objects`. What lies in constants, items, results and errors is in docs/protocol.md
(Python objects); the other end is `python/src/poolctl/pickling.py`.

A constant is kept as it came and unpickled when the first item names it, so that one which cannot be unpickled fails
its items and nothing else. Define, release and items are worked off in the order in which they came.

With POOLCTL_SETUP=1 the first frame is a constant, a pickled dict; all of its keys may be missing:

| key | |
|---|---|
| `sys_path`, `argv`, `dir` | as the client has them |
| `main` | `("path", FILE)` or `("module", NAME)`: what `__main__` is for pickles, imported when one needs it |
| `authkey`, `parent`, `name` | what `multiprocessing` says: bytes, (name, pid), and the beginning of this process's name |
| `log_level` | of the logger of `multiprocessing` |
| `initializer` | (pickle of (function, arguments), its buffers), called before the hello |
| `exit` | the same, called at the end |
"""

import _socket
from _pickle import PickleBuffer, dumps, loads
from mmap import MAP_PRIVATE, PROT_READ, PROT_WRITE

decode, encode, quote = make_codec(None)

LENGTH, TWO_LENGTHS = Struct("<I"), Struct("<QQ")
IN_MEMFD, READ_ONLY = 1, 1 << 63
ONE_CALL, MANY_CALLS, MANY_SPREAD, ONE_ALONE = 0, 1, 2, 3
# A buffer from this size on is not copied into the pickle; a pickle from this size on does not go through the ring.
MIN_BUFFER_BYTES, MIN_MEMFD_BYTES = 1 << 17, 1 << 17
# Python's mmap keeps a descriptor of its own.
MAX_MAPPINGS = 200
ANCILLARY_BYTES = _socket.CMSG_SPACE(4 * 253)
PLAIN = frozenset((int, float, bool, type(None), str))
READING, CALLING, WRITING = 0, 1, 2


class Mapping(mmap):
    """A private copy of a memfd, made page by page when it is written to."""

    live = 0

    def __del__(self):
        Mapping.live -= 1


def contents_of(descriptor):
    """All of a memfd, writable, and no longer tied to it."""
    try:
        if Mapping.live < MAX_MAPPINGS:
            try:
                mapping = Mapping(descriptor, 0, MAP_PRIVATE, PROT_READ | PROT_WRITE)
                Mapping.live += 1
                return memoryview(mapping)
            except OSError:
                pass
        data = bytearray(os.fstat(descriptor).st_size)
        view, at = memoryview(data), 0
        while at < len(data):
            at += os.preadv(descriptor, [view[at:]], at)
        return view
    finally:
        os.close(descriptor)


def unpack(view):
    """What lies in a memfd: (its first bytes, its buffers)."""
    count, length = TWO_LENGTHS.unpack_from(view)
    at = 16 + 16 * count
    buffers = []
    for place in range(16, at, 16):
        start, size = TWO_LENGTHS.unpack_from(view, place)
        buffer = view[start:start + (size & ~READ_ONLY)]
        buffers.append(buffer.toreadonly() if size & READ_ONLY else buffer)
    return view[at:at + length], buffers


def pack(data, buffers):
    """A sealed memfd with `data` and `buffers` in it."""
    import fcntl
    places, at = [], 16 + 16 * len(buffers) + len(data)
    for buffer in buffers:
        at = (at + 63) & ~63
        size = memoryview(buffer).nbytes
        places.append((at, size | READ_ONLY if memoryview(buffer).readonly else size))
        at += size
    memfd = os.memfd_create("poolctl-object", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(memfd, at)
        head = TWO_LENGTHS.pack(len(buffers), len(data)) + b"".join(TWO_LENGTHS.pack(*place) for place in places)
        write_at(memfd, head, 0)
        write_at(memfd, data, len(head))
        for buffer, (start, _) in zip(buffers, places):
            write_at(memfd, buffer.raw(), start)
        fcntl.fcntl(memfd, 1033, 1 | 2 | 4 | 8)  # F_ADD_SEALS: no other seals, shrinking, growing or writing
    except BaseException:
        os.close(memfd)
        raise
    return memfd


def write_at(descriptor, data, at):
    view = memoryview(data)
    while view:
        done = os.pwrite(descriptor, view, at)
        view, at = view[done:], at + done


class ObjectInbox(Inbox):
    """The frames that come on fd 3, and the descriptors that come with some of them, in the same order."""

    def __init__(self, ring):
        super().__init__(ring)
        self.socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, REQUESTS)
        self.descriptors = []
        self.nests = Nests(ring, count_of)
        # Kept, since memory of this size is mapped and unmapped each time.
        self.room = bytearray(READ_BYTES)

    def receive(self):
        size, ancillary, _, _ = self.socket.recvmsg_into([self.room], ANCILLARY_BYTES, _socket.MSG_CMSG_CLOEXEC)
        for level, kind, passed in ancillary:
            if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
                self.descriptors += memoryview(passed).cast("i")
        return memoryview(self.room)[:size]

    def take_other(self, kind, flags, item, meta, payload):
        if kind == RESULT:
            self.nests.outcomes[item] = flags, meta, payload

    def parts_of(self, flags, payload):
        """The bytes of a payload, wherever it lies, and its buffers."""
        if flags & IN_MEMFD:
            return unpack(contents_of(self.descriptors.pop(0)))
        return payload, []

    def send_memfd(self, frame, memfd):
        """Sends a frame whose payload is a memfd."""
        sent = self.socket.sendmsg([frame], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, LENGTH.pack(memfd))])
        write_all(REPLIES, frame[sent:])


class Constants:
    """The callables that items name, by their keys."""

    def __init__(self):
        self.pickled, self.loaded = {}, {}

    def define(self, key, parts):
        self.pickled[key] = parts

    def release(self, key):
        self.pickled.pop(key, None)
        self.loaded.pop(key, None)

    def find(self, key):
        """(callable, whether it was pickled by value)."""
        found = self.loaded.get(key)
        if found is None:
            data, buffers = self.pickled[key]
            found = self.loaded[key] = loads(data, buffers=buffers), b"cloudpickle" in bytes(data[:65536])
            del self.pickled[key]
        return found


class Writer:
    """Pickles results; what is large in them stays out of the pickle, in `buffers`."""

    def __init__(self):
        self.buffers = []

    def keep(self, buffer):
        if memoryview(buffer).nbytes < MIN_BUFFER_BYTES:
            return True
        self.buffers.append(buffer)
        return False

    def write(self, result, is_by_value):
        try:
            return dumps(result, 5, buffer_callback=self.keep)
        except Exception:
            if not is_by_value:
                raise
            # A class that came by value has no place where a plain pickle could find it.
            import cloudpickle
            self.buffers.clear()
            return cloudpickle.dumps(result, 5, buffer_callback=self.keep)


def fields_of(error, stage, result):
    """What an error reply says: as for functions, and the exception itself if it can be pickled."""
    fields = error_fields(error)
    trace = fields.get("trace", "")
    try:
        from binascii import b2a_base64
        fields["data"] = b2a_base64(dumps((error, trace), 5), newline=False).decode()
    except BaseException:
        pass
    if stage == READING:
        fields["stage"] = "reading"
    elif stage == WRITING and isinstance(error, Exception):
        fields["stage"] = "writing"
        try:
            fields["value"] = shortened(repr(result), 4096)
        except BaseException:
            fields["value"] = "?"
    return fields


def items_of(count, payload):
    """Where the items of a batch lie in its payload."""
    at = 0
    for _ in range(count):
        size, = LENGTH.unpack_from(payload, at)
        at += 4 + size
        yield at - size, at


def count_of(frame):
    """How many items there are in a frame of work."""
    kind, _, _, meta, _ = frame
    return decode(meta.decode())["n"] if kind == BATCH else int(kind == TASK)


class Runner:
    """Runs items and publishes each reply at once."""

    def __init__(self, ring, constants):
        self.ring, self.constants = ring, constants
        self.is_timed = os.environ.pop("POOLCTL_TIMING", "") == "1"
        self.writer = Writer()
        # The meta that came last, and what it says: consecutive frames mostly say the same.
        self.meta, self.fields = b"", {}

    def run(self, key, item, payload, spans, buffers):
        """Runs the items that lie at `spans` of `payload`, the first of which is `item`.

        This is the one place where nanoseconds count; everything unusual goes to `reply`.
        """
        ring, clock, pack_into, load, plain = self.ring, time.monotonic_ns, SMALL.pack_into, loads, PLAIN
        memory, words, fence, phase_, activity_ = ring.memory, ring.words, ring.fence, phase, activity
        small_text = -1 if self.is_timed else SMALL_TEXT
        writer, nests = self.writer, ring.inbox.nests
        function, is_by_value = None, True
        at, base, last = ring.window()
        kick_at = ring.kick_at
        for start, end in spans:
            if item >= nests.batch_end:
                # The rest was given back.
                return
            now = clock()
            if now >= kick_at:
                ring.kick()
                now = clock()
                kick_at = ring.kick_at = now + KICK_NS
            words[1] = now
            words[0] = item
            head, stage, result = OK_HEAD, READING, None
            phase_[0] = CALL
            try:
                if function is None and key is not None:
                    function, is_by_value = self.constants.find(key)
                given = load(payload[start + 1:end], buffers=buffers)
                stage = CALLING
                if payload[start] == ONE_CALL:
                    arguments, keywords = given
                    given = None
                    result = function(*arguments, **keywords)
                    arguments = keywords = None
                elif payload[start] == ONE_ALONE:
                    alone, arguments, keywords = given
                    given = None
                    result = alone(*arguments, **keywords)
                    alone = arguments = keywords = None
                else:
                    result = list(map(function, given)) if payload[start] == MANY_CALLS else [function(*a) for a in given]
                    given = None
                stage = WRITING
                text = dumps(result, 5) if type(result) in plain else writer.write(result, is_by_value)
            except BaseException as error:
                head = ERR_HEAD
                arguments = keywords = given = alone = None
                writer.buffers.clear()
                text = describe(error, lambda error, stage=stage, result=result: fields_of(error, stage, result))
            result = None
            phase_[0] = LOOP
            if activity_:
                settle_activity(ring)
                at, base, last = ring.window()
            size = len(text)
            if size <= small_text and at <= last and not writer.buffers:
                pack_into(memory, at, head + size, item, text)
                at += 16 + size
                if fence:
                    fence.release()
                    fence.acquire()
                words[2] = base + at
            else:
                self.reply(head >> 32, item, b'{"ns":%d}' % (clock() - now) if self.is_timed else b"", text, writer.buffers)
                at, base, last = ring.window()
            item += 1

    def reply(self, kind, item, meta, text, buffers):
        """Sends a reply of any length, on fd 4 and in a memfd if it is long."""
        if kind == OK and (buffers or len(text) >= MIN_MEMFD_BYTES):
            try:
                memfd = pack(text, buffers)
            except BaseException as error:
                buffers.clear()
                self.ring.reply(ERR, item, meta, describe(error))
                return
            buffers.clear()
            try:
                frame = HEADER.pack(len(meta), OK, IN_MEMFD, len(meta), item) + meta
                self.ring.inbox.send_memfd(frame, memfd)
            finally:
                os.close(memfd)
            self.ring.await_echo(item)
        else:
            self.ring.reply(kind, item, meta, text)

    def take(self, kind, flags, item, meta, payload):
        """Acts on one frame of work."""
        inbox = self.ring.inbox
        if meta != self.meta:
            self.meta, self.fields = meta, decode(meta.decode()) if meta else {}
        fields = self.fields
        key = fields.get("key")
        if kind == DEFINE:
            self.constants.define(key, inbox.parts_of(flags, payload))
        elif kind == RELEASE:
            self.constants.release(key)
        else:
            buffers = ()
            if flags & IN_MEMFD:
                payload, buffers = inbox.parts_of(flags, payload)
            if kind == TASK:
                spans = ((0, len(payload)),)
            elif fields["n"] == 1:
                spans = ((4, len(payload)),)
            else:
                spans = items_of(fields["n"], payload)
            inbox.nests.batch_end = item + (fields["n"] if kind == BATCH else 1)
            phase[0] = LOOP
            self.run(key, item, payload, spans, buffers)
            phase[0] = DIRECT
            if activity:
                settle_activity(self.ring)
            self.ring.kick()


class MainModule(type(sys)):
    """Stands for the client's main module, and imports it when somebody asks for something in it."""

    def __getattr__(self, name):
        source = self.__dict__.get("__poolctl_source__")
        if source is None or name.startswith("__") and name.endswith("__"):
            raise AttributeError(f"the client's main module has no `{name}`")
        del self.__poolctl_source__
        self.__poolctl_importing__ = True
        try:
            import_main(self, *source)
        finally:
            del self.__poolctl_importing__
        return getattr(self, name)


def import_main(module, kind, place):
    """What `multiprocessing` does in a spawned process, without what it takes to import that."""
    if kind == "path" and os.path.isfile(place) and place.endswith(".py"):
        module.__file__ = place
        with open(place, "rb") as file:
            code = compile(file.read(), place, "exec")
        exec(code, module.__dict__)
        return
    import runpy
    if kind == "path":
        found = runpy.run_path(place, run_name="__mp_main__")
    else:
        found = runpy.run_module(place, run_name="__mp_main__", alter_sys=True)
    module.__dict__.update(found)


class Introducer:
    """Tells `multiprocessing.process` who this process is, when something imports it."""

    def __init__(self, setup):
        self.setup = setup

    def find_spec(self, name, path=None, target=None):
        if name != "multiprocessing.process":
            return None
        sys.meta_path.remove(self)
        from _frozen_importlib_external import PathFinder
        spec = PathFinder.find_spec(name, path)
        execute = spec.loader.exec_module

        def execute_and_introduce(module):
            execute(module)
            self.introduce(module)

        spec.loader.exec_module = execute_and_introduce
        return spec

    def introduce(self, process):
        setup, current = self.setup, process.current_process()
        current._name = "%s-%d" % (setup.get("name", "PoolWorker"), int(os.environ.get("POOLCTL_SLOT", "0")) + 1)
        if setup.get("authkey"):
            current.authkey = setup["authkey"]
        if setup.get("parent"):
            name, pid = setup["parent"]
            try:
                sentinel = os.pidfd_open(pid)
            except OSError:
                # It has gone: what is readable at once says the same.
                sentinel = os.open("/dev/null", os.O_RDONLY)
            process._parent_process = process._ParentProcess(name, pid, sentinel)


def prepare(setup):
    """Makes this process what a spawned child of the client would be."""
    if "sys_path" in setup:
        sys.path[:] = setup["sys_path"]
    if "argv" in setup:
        sys.argv[:] = setup["argv"]
    if setup.get("dir"):
        os.chdir(setup["dir"])
    main = MainModule("__mp_main__")
    main.__poolctl_script__ = sys.modules["__main__"]
    main.__builtins__ = __builtins__
    main.__poolctl_source__ = setup.get("main")
    sys.modules["__main__"] = sys.modules["__mp_main__"] = main
    sys.meta_path.insert(0, Introducer(setup))
    if setup.get("log_level") is not None:
        import multiprocessing.util
        multiprocessing.util.log_to_stderr(setup["log_level"])
    if setup.get("initializer"):
        phase[0] = DIRECT
        data, buffers = setup["initializer"]
        function, arguments = loads(data, buffers=buffers)
        function(*arguments)


def read_setup(inbox):
    """The constant that comes before the hello."""
    while not inbox.waiting:
        if not inbox.take():
            os._exit(0)
    _, flags, _, _, payload = inbox.waiting.pop(0)
    data, buffers = inbox.parts_of(flags, payload)
    return loads(data, buffers=buffers)


def finish(ring, setup):
    """Calls the exit function, and tells what it gave."""
    if not setup.get("exit"):
        return
    meta = b""
    try:
        data, buffers = setup["exit"]
        function, arguments = loads(data, buffers=buffers)
        result = dumps(function(*arguments), 5)
        if len(result) > MAX_BODY_BYTES - 64:
            raise ValueError(f"the exit function returned {len(result)} bytes, over the limit of {MAX_BODY_BYTES}")
    except BaseException as error:
        meta = b'{"failed":true}'
        result = describe(error, lambda error: fields_of(error, CALLING, None))
    write_all(REPLIES, frame_of(RESULT, 0, meta, result))


def serve():
    ring = start_ring()
    ring.inbox = inbox = ObjectInbox(ring)
    prepare_paths("")
    os.register_at_fork(after_in_child=become_child)
    setup = {}
    try:
        if os.environ.pop("POOLCTL_SETUP", "") == "1":
            setup = read_setup(inbox)
        prepare(setup)
    except BaseException as error:
        give_up_start(error)
    runner = Runner(ring, Constants())
    # Where the package finds it.
    globals()["nests"] = inbox.nests
    say_hello(["claim", "batch", "raw", "define", "shm"])
    setup.pop("initializer", None)
    while inbox.waiting or inbox.take():
        if inbox.waiting:
            runner.take(*inbox.waiting.pop(0))
    finish(ring, setup)


if __name__ == "__main__":
    try:
        serve()
    except (BrokenPipeError, ConnectionResetError):
        # Nobody listens any more.
        phase[0] = DIRECT
