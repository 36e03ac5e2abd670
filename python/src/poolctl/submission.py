"""Sending tasks: what is submitted, and how it is gathered into frames.

What is submitted stands in `backlog`, as runs of consecutive numbers with one key, until there is credit for it. It is
written at once while workers may be idle; else when there is enough of it, or when the leader of the socket turns.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures._base import PENDING
from itertools import repeat
from typing import Any, Callable, Optional

from . import frames, outcomes
from .driver import NOBODY, Driver
from .frames import HEADER, IN_MEMFD, LENGTH, MAX_FRAME_BYTES, frame
from .future import TaskFuture
from .pickling import Constants, Large, Payload
from .server import Server

FLUSH_BYTES = 1 << 16
# How much may lie in memfds and not be answered, where more than one is under way.
MAX_LARGE_BYTES = 256 << 20
KEPT_BATCHES = 1024
LENGTH_OF = LENGTH.pack


class Run:
    """Consecutive tasks with one key. A task that was cancelled is None."""

    __slots__ = ("first", "items", "key")

    def __init__(self, first: int, key: bytes, items: list[Optional[Payload]]) -> None:
        self.first, self.key, self.items = first, key, items


class Reply(TaskFuture):
    """What a request is answered with."""

    _is_simple = False


class Submission(Driver):
    """The sending half of a session. A *call* is what waits for results; `calls` has it by the numbers of its tasks."""

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
        # How many tasks were sent together, by the first of them: they are refused together.
        self.batches: dict[int, int] = {}
        self.max_batches = KEPT_BATCHES
        # What still reads an input: iterators of `imap`.
        self.flows: list[Any] = []
        self.constants = Constants()
        self.pool, self.workers = 0, 1
        # The beginning of the meta of every task.
        self.meta = b""
        self.is_closing = self.wants_close = self.is_fragile = False
        self.broken: Optional[str] = None
        self.closing: Optional[Reply] = None

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
                self.leader is NOBODY and isinstance(item, bytes) and not self.backlog and not self.outbox
                and not (self.has_ended or self.is_closing or self.broken or self.constants.passing)
                and self.sent_items < self.credit_items and self.sent_bytes + size <= self.credit_bytes
            )
            if is_short and isinstance(item, bytes):
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
                    self.turn(None, True)
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
            self.batches[run.first] = count
            if len(self.batches) > self.max_batches:
                self.forget_batches()
        self.sent_items += count
        self.sent_bytes += size
        return count

    def forget_batches(self) -> None:
        """Forgets those whose first task has its outcome: they were not refused."""
        self.batches = {first: count for first, count in self.batches.items() if first in self.calls}
        self.max_batches = max(KEPT_BATCHES, 2 * len(self.batches))

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
                # Whoever leads may be about to wait for it.
                self.may_sleep = True
                self.poke()
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

    def send_close(self) -> None:
        """Asks for the end of the pool, which comes when its tasks have ended. Under the door."""
        self.wants_close, self.is_closing = False, True
        self.closing = Reply(self)
        number = self.closing._number = self.next_number
        self.next_number += 1
        self.calls[number] = self.closing
        self.write(frame(frames.CLOSE, number, b'{"pool":%d}' % self.pool))
