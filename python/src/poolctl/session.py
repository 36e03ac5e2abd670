"""One pool at the other end of a socket: submits tasks, settles their results, asks about it.

A *call* is what waits for results: a future, or something with `_take`, `_fail` and `_drop` that many numbers belong to.
Every number (task or request) is in `calls` until its one terminal reply comes.

What is submitted stands in `backlog`, as runs of consecutive numbers with one key, until there is credit for it. It is
written at once while workers may be idle; else when there is enough of it, or when the leader of the socket turns.
"""

from __future__ import annotations

import json
import sys
from _pickle import loads
from _thread import get_ident
from collections import deque
from concurrent.futures._base import FINISHED, PENDING
from itertools import repeat
from typing import Any, Callable, Optional

from . import frames, memfd, outcomes
from .driver import NOBODY, Driver
from .errors import PoolError
from .frames import HEADER, HEADER_BYTES, IN_MEMFD, LENGTH, MAX_FRAME_BYTES, NO_ID, frame
from .future import SETTLING, TaskFuture, settle
from .pickling import Constants, Large, Payload
from .server import Server

FLUSH_BYTES = 1 << 16
# How much may lie in memfds and not be answered, where more than one is under way.
MAX_LARGE_BYTES = 256 << 20
LENGTH_OF = LENGTH.pack
LENGTH_AT = LENGTH.unpack_from


class Run:
    """Consecutive tasks with one key. A task that was cancelled is None."""

    __slots__ = ("first", "items", "key")

    def __init__(self, first: int, key: bytes, items: list[Optional[Payload]]) -> None:
        self.first, self.key, self.items = first, key, items


class Session(Driver):
    """A connection with one pool."""

    # Which classes errors of tasks get: those of `multiprocessing` or of `concurrent.futures`.
    manner: outcomes.Manner

    def __init__(self, server: Server, manner: outcomes.Manner) -> None:
        super().__init__(server)
        self.manner = manner
        self.calls: dict[int, Any] = {}
        self.next_number = 1
        self.backlog: deque[Run] = deque()
        self.backlog_bytes = 0
        self.sent_items = self.sent_bytes = self.credit_items = self.credit_bytes = self.answered = 0
        self.large: dict[int, int] = {}
        self.large_bytes = 0
        # What still reads an input: iterators of `imap`.
        self.flows: list[Any] = []
        self.constants = Constants()
        self.pool, self.workers = 0, 1
        self.meta = b""
        self.workers_seen: dict[str, dict[str, Any]] = {}
        self.is_closing = self.is_open = self.is_fragile = False
        self.broken: Optional[str] = None
        self.wants_close = False
        self.closing: Optional[Reply] = None
        self.release = frame(frames.RELEASE, 0)

    # Beginning.

    def open(self, pool: dict[str, Any], setup: bytes) -> None:
        """Opens a pool, whose workers get `setup`."""
        pool["target"]["setup"] = "setup"
        first = self.define_frame(b"setup", setup)
        self.begin(frames.OPEN, pool, first)

    def attach(self, name: str) -> None:
        """Attaches to a named pool of a service."""
        self.begin(frames.ATTACH, {"name": name}, b"")

    def begin(self, kind: int, payload: dict[str, Any], first: bytes) -> None:
        hello = {"poolctl": 1, "client": "poolctl-python 0.1.0"}
        with self.door:
            self.write(frame(frames.HELLO, 0, b"", json.dumps(hello).encode()) + first)
        try:
            said = self.request(kind, {}, json.dumps(payload).encode())
        except BaseException:
            self.let_go()
            raise
        self.pool, self.workers = said["pool"], said["workers"]
        self.meta = b'{"pool":%d' % self.pool
        self.is_open = True

    # Requests.

    def request(self, kind: int, meta: dict[str, Any], payload: bytes = b"", deadline: Optional[float] = None) -> Any:
        """Asks something and waits for the answer."""
        reply = self.ask(kind, meta, payload)
        self.wait(reply, deadline)
        return reply.result(0)

    def ask(self, kind: int, meta: dict[str, Any], payload: bytes = b"") -> Reply:
        self.check_fork()
        reply = Reply(self)
        with self.door:
            if self.has_ended:
                raise outcomes.lost(self)
            number = reply._number = self.next_number
            self.next_number += 1
            self.calls[number] = reply
            if kind != frames.TERMINATE:
                self.flush()
            self.write(frame(kind, number, json.dumps(meta).encode() if meta else b"", payload))
        return reply

    def define_frame(self, key: bytes, payload: Payload) -> bytes:
        meta = b'{"key":"%s"}' % key
        if isinstance(payload, bytes):
            return frame(frames.DEFINE, 0, meta, payload)
        return frame(frames.DEFINE, 0, meta, b"", IN_MEMFD)

    def define(self, key: bytes, payload: Payload) -> None:
        descriptors = () if isinstance(payload, bytes) else (payload.pack(),)
        with self.door:
            self.write(self.define_frame(key, payload), descriptors)

    def key_of(self, function: Callable[..., Any]) -> bytes:
        """The name of a callable at the other end."""
        return self.constants.find(function, self.define)

    # Submitting.

    def submit(self, key: bytes, item: Payload, call: Any, will_wait: bool = False) -> None:
        """Submits one task. `will_wait`: the caller waits for it next, and so reads the socket itself."""
        with self.door:
            if self.has_ended or self.is_closing or self.broken:
                raise outcomes.not_running(self)
            number = call._number = self.next_number
            self.next_number = number + 1
            self.calls[number] = call
            backlog = self.backlog
            if backlog:
                run = backlog[-1]
                if run.key is key and run.first + len(run.items) == number:
                    run.items.append(item)
                else:
                    backlog.append(Run(number, key, [item]))
            else:
                backlog.append(Run(number, key, [item]))
            self.backlog_bytes += len(item) + 4
            if self.sent_items - self.answered < 2 * self.workers or self.backlog_bytes > FLUSH_BYTES:
                self.flush()
            if self.may_sleep or self.leader is NOBODY and not will_wait:
                self.poke()
            if self.constants.passing:
                self.constants.was_named(key)

    def call(self, key: bytes, item: Payload) -> Any:
        """Submits one task and returns its result: as `submit` and `result`, by the short way where nobody else reads."""
        call = TaskFuture(self)
        size = len(item)
        with self.door:
            is_short = (
                self.leader is NOBODY and type(item) is bytes and not self.backlog and not self.outbox
                and not (self.has_ended or self.is_closing or self.broken or self.constants.passing)
                and self.sent_items < self.credit_items and self.sent_bytes + size <= self.credit_bytes
            )
            if is_short:
                number = call._number = self.next_number
                self.next_number = number + 1
                self.calls[number] = call
                meta = b'%s,"key":"%s"}' % (self.meta, key)
                self.write(HEADER.pack(len(meta) + size, frames.SUBMIT, 0, len(meta), number) + meta + item)
                self.sent_items += 1
                self.sent_bytes += size
                self.leader = call
        if is_short:
            try:
                while call._state is PENDING and not self.has_ended:
                    self.turn()
            finally:
                self.leave(call, call)
        else:
            self.submit(key, item, call, True)
        return call.result()

    def reserve(self, count: int, call: Any) -> int:
        """Numbers for so many tasks of one call, which `submit_reserved` gets one after another; returns the first."""
        with self.door:
            if self.has_ended or self.is_closing or self.broken:
                raise outcomes.not_running(self)
            first = self.next_number
            self.next_number += count
            self.calls.update(zip(range(first, first + count), repeat(call)))
        return first

    def submit_reserved(self, first: int, key: bytes, items: list[Optional[Payload]]) -> None:
        with self.door:
            self.backlog.append(Run(first, key, items))
            self.backlog_bytes += sum(len(item) for item in items if item is not None) + 4 * len(items)
            self.flush()

    def push(self) -> None:
        """Writes what was gathered, and sees that somebody reads."""
        with self.door:
            self.flush()
            if self.leader is NOBODY and self.calls:
                self.call_reader()

    def outstanding(self) -> int:
        """How many tasks are under way or queued here."""
        return sum(type(call) is not Reply for call in list(self.calls.values()))

    def flush(self) -> None:
        """Writes what there is credit for. Under the door."""
        backlog = self.backlog
        while backlog and not self.is_blocked:
            run = backlog[0]
            items = run.items
            if isinstance(items[0], Large):
                if not self.send_large(run, items[0]):
                    return
                taken = 1
            else:
                taken = self.send_batch(run)
                if taken == 0:
                    return
            if taken == len(items):
                backlog.popleft()
            else:
                run.first += taken
                run.items = items[taken:]
        if not backlog:
            self.backlog_bytes = 0
            if self.constants.dropped:
                self.release_dropped()
            if self.wants_close and not self.flows:
                self.send_close()

    def send_batch(self, run: Run) -> int:
        """Sends as many of the first small tasks of a run as it may; returns how many it has dealt with."""
        items, size = run.items, 0
        if items[0] is None:
            return 1
        room = min(len(items), self.credit_items - self.sent_items)
        bytes_left = min(self.credit_bytes - self.sent_bytes, MAX_FRAME_BYTES)
        parts: list[bytes] = []
        count = 0
        for item in items if room == len(items) else items[: max(room, 0)]:
            if type(item) is not bytes:
                break
            length = len(item)
            if size + length > bytes_left and (count or self.sent_items > self.answered):
                break
            size += length
            count += 1
            parts.append(LENGTH_OF(length))
            parts.append(item)
        if count == 0:
            return 0
        if count == 1:
            meta = b'%s,"key":"%s"}' % (self.meta, run.key)
            self.write(HEADER.pack(len(meta) + size, frames.SUBMIT, 0, len(meta), run.first) + meta + parts[1])
        else:
            meta = b'%s,"n":%d,"key":"%s"}' % (self.meta, count, run.key)
            head = HEADER.pack(len(meta) + size + 4 * count, frames.BATCH, 0, len(meta), run.first)
            parts.insert(0, head + meta)
            self.write(b"".join(parts))
        self.sent_items += count
        self.sent_bytes += size
        return count

    def send_large(self, run: Run, item: Large) -> bool:
        """Sends a task in a memfd, unless too much is under way in such."""
        size = item.size()
        if self.large and (self.large_bytes + size > MAX_LARGE_BYTES or len(self.large) > 4 * self.workers):
            return False
        if self.sent_items >= self.credit_items:
            return False
        try:
            descriptor = item.pack()
        except OSError as error:
            call = self.calls.pop(run.first, None)
            if call is not None:
                call._fail(run.first, error)
            return True
        self.large[run.first] = size
        self.large_bytes += size
        meta = b'%s,"key":"%s"}' % (self.meta, run.key)
        self.write(frame(frames.SUBMIT, run.first, meta, b"", IN_MEMFD), (descriptor,))
        self.sent_items += 1
        return True

    def release_dropped(self) -> None:
        dropped = self.constants.dropped
        while dropped:
            self.write(frame(frames.RELEASE, 0, b'{"key":"%s"}' % dropped.pop(0)))

    # What the driver asks.

    def fill(self) -> None:
        if self.backlog or self.constants.dropped or self.wants_close:
            self.flush()

    def has_work(self) -> bool:
        return bool(self.calls) or bool(self.backlog)

    def on_end(self) -> None:
        calls, self.calls = self.calls, {}
        self.backlog.clear()
        error = outcomes.lost(self)
        for number, call in calls.items():
            if isinstance(call, Reply) and self.is_closing:
                call._fail(number, error)
            elif self.is_closing:
                call._drop(number)
            else:
                call._fail(number, error)
        for flow in list(self.flows):
            flow.end(error)

    # Frames that come.

    def take_frame(self, kind: int, flags: int, number: int, at: int, payload_at: int, end: int) -> None:
        if kind == frames.BATCH:
            count = json.loads(bytes(self.buffer[at:payload_at]))["n"]
            self.take_batch(number, count, payload_at)
        elif kind == frames.RESULT:
            self.take_result(number, flags, at, payload_at, end)
        elif kind == frames.CREDIT:
            credit = json.loads(bytes(self.buffer[payload_at:end]))
            self.credit_items, self.credit_bytes = credit["items"], credit["bytes"]
            if self.backlog:
                with self.door:
                    self.flush()
        elif kind == frames.LOG:
            self.take_log(at, payload_at, end)
        elif kind == frames.EVENT:
            self.take_event(json.loads(bytes(self.buffer[payload_at:end])))
        elif kind == frames.ERROR:
            self.take_error(number, json.loads(bytes(self.buffer[payload_at:end])))

    def take_batch(self, first: int, count: int, at: int) -> None:
        """Settles the results of consecutive tasks."""
        buffer, pop = self.buffer, self.calls.pop
        simple, others = [], []
        for number in range(first, first + count):
            (size,) = LENGTH_AT(buffer, at)
            at += 4
            call = pop(number, None)
            if call is not None:
                try:
                    value = loads(buffer[at : at + size])
                except BaseException as error:
                    call._fail(number, outcomes.unreadable(error))
                else:
                    if call._is_simple:
                        simple.append((call, value))
                    else:
                        call._take(number, value)
            at += size
        self.answered += count
        if self.large:
            for number in range(first, first + count):
                self.large_bytes -= self.large.pop(number, 0)
        with SETTLING:
            for call, value in simple:
                if call._lazy_condition is None and call._state is PENDING:
                    call._result = value
                    call._state = FINISHED
                else:
                    others.append((call, value))
        for call, value in others:
            settle(call, value, None)

    def take_result(self, number: int, flags: int, at: int, payload_at: int, end: int) -> None:
        parts: Any = self.buffer[payload_at:end]
        buffers: Any = ()
        if flags & IN_MEMFD:
            parts, buffers = memfd.unpack(self.descriptors.popleft())
        call = self.calls.pop(number, None)
        if type(call) is not Reply:
            self.answered += 1
            if self.large:
                self.large_bytes -= self.large.pop(number, 0)
        if call is None:
            return
        if payload_at - at > 2:
            meta = json.loads(bytes(self.buffer[at:payload_at]))
            if "outcome" in meta:
                self.take_outcome(number, call, meta, bytes(parts))
                return
        try:
            value = json.loads(bytes(parts) or b"{}") if type(call) is Reply else loads(parts, buffers=buffers)
        except BaseException as error:
            call._fail(number, outcomes.unreadable(error))
        else:
            call._take(number, value)

    def take_outcome(self, number: int, call: Any, meta: dict[str, Any], payload: bytes) -> None:
        if meta["outcome"] == "cancelled":
            call._drop(number)
            return
        error = outcomes.error_of(self, meta, payload)
        call._fail(number, error)

    def take_error(self, number: int, said: dict[str, Any]) -> None:
        error = PoolError(said.get("msg", "the supervisor refused a request"), said.get("code"), said.get("hint"))
        call = self.calls.pop(number, None)
        if call is not None:
            if type(call) is not Reply:
                self.answered += 1
            call._fail(number, error)
        elif number == NO_ID or number == 0:
            self.broken = str(error)

    def take_log(self, at: int, payload_at: int, end: int) -> None:
        meta = json.loads(bytes(self.buffer[at:payload_at]) or b"{}")
        text = bytes(self.buffer[payload_at:end]).decode("utf-8", "backslashreplace")
        stream = sys.stdout if meta.get("stream") == "stdout" else sys.stderr
        if "stream" not in meta and not text.endswith("\n"):
            text += "\n"
        try:
            stream.write(text)
            stream.flush()
        except (AttributeError, OSError, ValueError):
            # There is no such stream, or it was closed.
            pass

    def take_event(self, event: dict[str, Any]) -> None:
        name = event.get("event")
        if name == "up":
            self.workers_seen[event["worker"]] = event
        elif name == "down":
            self.workers_seen.setdefault(event["worker"], {}).update(event)
            if len(self.workers_seen) > 4096:
                for worker in [w for w, seen in self.workers_seen.items() if seen.get("event") == "down"][:2048]:
                    del self.workers_seen[worker]
        elif name == "lost":
            self.broken = "the pool is lost"

    # The end.

    def close_soon(self) -> None:
        """Closes the pool once everything is on its way to it."""
        with self.door:
            self.wants_close = True
            self.flush()
            if self.leader is NOBODY and not self.has_ended and self.calls:
                self.call_reader()

    def send_close(self) -> None:
        """Asks for the end of the pool, which comes when its tasks have ended. Under the door."""
        self.wants_close, self.is_closing = False, True
        self.closing = Reply(self)
        number = self.closing._number = self.next_number
        self.next_number += 1
        self.calls[number] = self.closing
        self.write(frame(frames.CLOSE, number, b'{"pool":%d}' % self.pool))

    def terminate(self) -> None:
        """Ends the pool at once."""
        self.check_fork()
        with self.door:
            self.is_closing = True
            self.wants_close = False
            if self.has_ended:
                dropped: list[Any] = []
            else:
                dropped = [n for run in self.backlog for n in range(run.first, run.first + len(run.items))]
                self.backlog.clear()
        for number in dropped:
            call = self.calls.pop(number, None)
            if call is not None:
                call._drop(number)
        if not self.has_ended and self.leading_thread != get_ident():
            try:
                self.request(frames.TERMINATE, {"pool": self.pool})
            except PoolError:
                pass
        self.let_go()

    def join(self) -> None:
        """Waits until the pool has ended, after `close_soon` or `terminate`."""
        for flow in list(self.flows):
            flow.drain()
        with self.door:
            self.flush()
        while not self.has_ended:
            # Until everything is sent there is no request to wait for; then any call will do.
            call = self.closing or next(iter(list(self.calls.values())), None)
            if call is None:
                break
            self.wait(call)
            if call is self.closing:
                break
        self.let_go()

    def abandon(self, is_closed: bool) -> None:
        """Nobody can use the pool any more: what was closed finishes its work, else it ends."""
        try:
            if is_closed:
                self.join()
            else:
                self.terminate()
        except PoolError:
            pass

    # Asking about tasks.

    def cancel(self, call: Any, is_queued_only: bool) -> None:
        """Cancels the tasks of a call and waits until it is known what became of them."""
        with self.door:
            taken = self.take_from_backlog(call)
            numbers = [] if taken and call._is_single else self.numbers_of(call)
        for number in taken:
            call._drop(number)
        if taken:
            self.notice(call)
        for first, count in ranges(numbers):
            meta: dict[str, Any] = {"task": first}
            if count > 1:
                meta["n"] = count
            if is_queued_only:
                meta["queued"] = True
            try:
                self.request(frames.CANCEL, meta)
            except PoolError:
                # It has ended meanwhile.
                pass
        if numbers and not is_queued_only:
            # What runs is stopped after the reply: at the latest when the grace of its worker is over.
            self.wait(call)

    def numbers_of(self, call: Any) -> list[int]:
        """The numbers of a call that were sent and have no outcome. Under the door."""
        if call._is_single:
            return [call._number] if call._number in self.calls else []
        return sorted(number for number, other in self.calls.items() if other is call)

    def take_from_backlog(self, call: Any) -> list[int]:
        """Takes the tasks of a call out of what was not sent. Under the door."""
        taken = []
        for run in self.backlog:
            run.items = list(run.items)
            for index, item in enumerate(run.items):
                number = run.first + index
                if item is not None and self.calls.get(number) is call:
                    run.items[index] = None
                    del self.calls[number]
                    taken.append(number)
        return taken

    def cancel_queued(self) -> None:
        """Cancels every task that does not run yet, but for the next one of each worker and one more."""
        with self.door:
            tasks = [number for number, call in self.calls.items() if type(call) is not Reply][self.workers + 1 :]
            unsent = {number for run in self.backlog for number in range(run.first, run.first + len(run.items))}
            chosen = set(tasks)
            for run in self.backlog:
                run.items = [None if run.first + n in chosen else item for n, item in enumerate(run.items)]
            dropped = [(number, self.calls.pop(number)) for number in tasks if number in unsent]
            sent = [number for number in tasks if number not in unsent]
        for number, call in dropped:
            call._drop(number)
        for first, count in ranges(sent):
            try:
                self.request(frames.CANCEL, {"task": first, "n": count, "queued": True})
            except PoolError:
                pass

    def stats(self) -> dict[str, Any]:
        pools = self.request(frames.STATS, {"pool": self.pool})["pools"]
        return next(pool for pool in pools if pool["pool"] == self.pool)

    def is_running(self, call: Any) -> bool:
        if any(call is self.calls.get(run.first + i) for run in self.backlog for i in range(len(run.items))):
            return False
        return any(now.get("task") == call._number for now in self.stats().get("now", ()))


class Reply(TaskFuture):
    """What a request is answered with."""

    _is_simple = False


def ranges(numbers: list[int]) -> list[tuple[int, int]]:
    """Numbers in order, as (first, how many in a row)."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and found[-1][0] + found[-1][1] == number:
            found[-1] = found[-1][0], found[-1][1] + 1
        else:
            found.append((number, 1))
    return found
