"""Plays the supervisor for one Python worker: the socketpair, the claim memfd with its ring, batches and releases."""

import fcntl
import json
import os
import pathlib
import select
import signal
import socket
import struct
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "crates" / "supervisor" / "python"
GOLDEN = ROOT / "tests" / "golden"

HELLO, TASK, OK, ERR, LOG, PING, BYE, BATCH, PUBLISHED, RELEASE = 0, 1, 2, 3, 7, 8, 9, 10, 12, 13
HEADER = struct.Struct("<IBBHQ")
WORDS = struct.Struct("<QQQ")
NOTHING_CLAIMED = 2**64 - 1
PATIENCE = 30


class Frame:
    def __init__(self, kind, flags, item, meta, payload, way):
        self.kind = kind
        self.flags = flags
        self.item = item
        self.meta = json.loads(meta) if meta else {}
        self.payload = payload
        self.way = way

    def value(self):
        return json.loads(self.payload)

    def __repr__(self):
        return f"Frame({self.kind}, {self.item}, {self.meta}, {self.payload[:80]!r}, {self.way})"


def frame_bytes(kind, item, meta=b"", payload=b"", flags=0):
    return HEADER.pack(len(meta) + len(payload), kind, flags, len(meta), item) + meta + payload


def batch_bytes(first, texts):
    payload = b"".join(text + b"\n" for text in texts)
    return frame_bytes(BATCH, first, b'{"n":%d}' % len(texts), payload, flags=2)


def split_frames(data, way):
    """The whole frames at the start of `data`, and what is left."""
    frames, at = [], 0
    while len(data) - at >= 16:
        body_len, kind, flags, meta_len, item = HEADER.unpack_from(data, at)
        if len(data) - at < 16 + body_len:
            break
        meta_end = at + 16 + meta_len
        frames.append(Frame(kind, flags, item, bytes(data[at + 16:meta_end]), bytes(data[meta_end:at + 16 + body_len]), way))
        at += 16 + body_len
    return frames, bytes(data[at:])


def script_of(*parts):
    """A descriptor of the parts of the worker script, one behind the other as the binary has them."""
    script = os.memfd_create("worker.py")
    os.write(script, b"".join((SCRIPTS / part).read_bytes() for part in parts))
    os.lseek(script, 0, os.SEEK_SET)
    return script


class Worker:
    """One life of the worker script; the ring is only ever read by `pread`."""

    parts = ("link.py", "functions.py")

    def __init__(self, target, function, cwd, ring_bytes=1 << 20, env=(), interpreter=sys.executable):
        self.ring_bytes = ring_bytes
        self.claim = os.memfd_create("claim", os.MFD_ALLOW_SEALING)
        os.ftruncate(self.claim, 64 + ring_bytes)
        fcntl.fcntl(self.claim, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        os.pwrite(self.claim, WORDS.pack(NOTHING_CLAIMED, 0, 0), 0)
        self.consumed = 0
        self.ring_rest = b""
        self.socket_rest = b""
        self.frames = []
        self.descriptors = []
        self.own_ping = None
        self.socket, theirs = socket.socketpair()
        script = script_of(*self.parts)
        self.process = self.start(target, function, cwd, dict(env), interpreter, theirs.fileno(), script)
        theirs.close()
        os.close(script)

    def start(self, target, function, cwd, env, interpreter, theirs, script):
        # Far above 6 first, so that no source is overwritten before it is used.
        sources = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 100) for descriptor in (theirs, theirs, self.claim, script)]
        redirections = " ".join(f"{place}<&{source} {source}<&-" for place, source in zip((3, 4, 5, 6), sources))
        named = [word for word in (target, function) if word is not None]
        command = ["bash", "-c", f'exec "$@" {redirections}', "-", interpreter, "/proc/self/fd/6", *named]
        try:
            return subprocess.Popen(command, cwd=cwd, env={**os.environ, **env}, pass_fds=sources,
                                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        finally:
            for source in sources:
                os.close(source)

    def words(self):
        return WORDS.unpack(os.pread(self.claim, WORDS.size, 0))

    def drain_ring(self, may_release=True):
        """Takes what is published; says so to the worker."""
        _, _, published = self.words()
        pending = published - self.consumed
        if not 0 <= pending <= self.ring_bytes:
            raise AssertionError(f"published {published} after {self.consumed} in a ring of {self.ring_bytes}")
        offset = self.consumed % self.ring_bytes
        first = min(pending, self.ring_bytes - offset)
        data = os.pread(self.claim, first, 64 + offset) + os.pread(self.claim, pending - first, 64)
        frames, self.ring_rest = split_frames(self.ring_rest + data, "ring")
        self.frames += frames
        self.consumed = published
        if pending and may_release:
            self.send(frame_bytes(RELEASE, published))

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def batch(self, first, values):
        self.send(batch_bytes(first, [json.dumps(value).encode() for value in values]))

    def turn(self, timeout=PATIENCE, may_release=True):
        """Waits for something on fd 4 and takes it, and what the ring holds; false at the end of the stream."""
        if not select.select([self.socket], [], [], timeout)[0]:
            raise AssertionError(f"nothing came for {timeout} s; {self.frames[-3:]}")
        try:
            data, descriptors, _, _ = socket.recv_fds(self.socket, 1 << 16, 16)
            self.descriptors += descriptors
        except ConnectionResetError:
            data = b""
        frames, self.socket_rest = split_frames(self.socket_rest + data, "socket")
        for frame in frames:
            if frame.kind in (OK, ERR, LOG):
                self.drain_ring(may_release=False)
            if frame.kind == PING and frame.item != self.own_ping:
                self.send(frame_bytes(PING, frame.item))
            self.frames.append(frame)
        self.drain_ring(may_release)
        return bool(data)

    def until(self, condition):
        """Turns until `condition(self)` holds."""
        deadline = time.monotonic() + PATIENCE
        while not condition(self):
            if not self.turn() and not condition(self):
                raise AssertionError(f"the worker has gone: {self.frames[-3:]} {self.process.stderr.read()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"it did not come to it: {self.frames[-3:]}")

    def replies(self):
        return [frame for frame in self.frames if frame.kind in (OK, ERR)]

    def until_replies(self, count):
        self.until(lambda worker: len(worker.replies()) >= count)
        return self.replies()

    def until_gone(self):
        """Turns until the stream has ended; returns what was left on its stdout and stderr."""
        while self.turn():
            pass
        out, err = self.process.communicate(timeout=PATIENCE)
        return out, err

    def finish(self):
        """Says that there is no more; returns its stdout and stderr."""
        self.socket.shutdown(socket.SHUT_WR)
        return self.until_gone()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        self.socket.close()
        for descriptor in (self.claim, *self.descriptors):
            os.close(descriptor)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
