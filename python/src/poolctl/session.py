"""One pool at the other end of a socket: submits tasks, settles their results, asks about it.

A *call* is what waits for results: a future, or something with `_take`, `_fail` and `_drop` that many numbers belong to.
Every number (task or request) is in `calls` until its one terminal reply comes.

How tasks are sent is in `submission.py`, how the socket is shared by threads in `driver.py`.
"""

from __future__ import annotations

import json
import sys
import time
from _pickle import loads
from _thread import get_ident
from concurrent.futures._base import FINISHED, PENDING
from typing import Any, Callable, Optional

from . import frames, memfd, outcomes
from .driver import LOST, NOBODY
from .errors import PoolError
from .frames import IN_MEMFD, LENGTH, NO_ID, frame
from .future import SETTLING, settle
from .server import Server
from .submission import Reply, Submission

LENGTH_AT = LENGTH.unpack_from
NO_DESCRIPTOR = "the result came in a file descriptor, and this process has as many open as it may (ulimit -n)"


class Watch:
    """What is waited for that is no call: the next change among the workers."""

    _state = PENDING


class Session(Submission):
    """A connection with one pool."""

    def __init__(self, server: Server, manner: outcomes.Manner) -> None:
        super().__init__(server, manner)
        self.workers_seen: dict[str, dict[str, Any]] = {}
        # How often something was said of the workers, and who waits for the next time.
        self.changes = 0
        self.watches: list[Watch] = []
        # What exit functions gave: whether they failed, and the result or the error.
        self.exits: list[tuple[bool, bytes]] = []

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
        if said.get("kind", "objects") != "objects":
            self.let_go()
            raise PoolError(f"the pool `{payload.get('name')}` runs {said['kind']} and takes no Python callables; "
                            'its target must be { kind = "objects" }')
        self.pool, self.workers = said["pool"], said["workers"]
        self.meta = b'{"pool":%d' % self.pool

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

    # What the driver asks.

    def fill(self) -> None:
        if self.backlog or self.constants.dropped or self.wants_close:
            self.flush()

    def is_only(self) -> bool:
        return len(self.calls) == 1 and not self.backlog

    def has_work(self) -> bool:
        return bool(self.calls) or bool(self.backlog)

    def tell_unsendable(self, error: OSError) -> None:
        self.broken = f"nothing can be sent any more: {error}"

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
            meta = json.loads(bytes(self.buffer[at:payload_at]) or b"{}")
            self.take_event(meta, bytes(self.buffer[payload_at:end]))
        elif kind == frames.ERROR:
            self.take_error(number, json.loads(bytes(self.buffer[payload_at:end])))

    def mishandle(self, number: int, error: Exception) -> None:
        call = self.calls.pop(number, None)
        if call is not None:
            call._fail(number, error)
        else:
            import logging

            logging.getLogger("poolctl").error("what the supervisor said cannot be handled", exc_info=error)

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
            descriptor = self.descriptors.popleft()
            if descriptor == LOST:
                self.take_error(number, {"msg": NO_DESCRIPTOR})
                return
            parts, buffers = memfd.unpack(descriptor)
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
        if number == NO_ID or number == 0:
            self.broken = str(error)
            return
        # A batch is refused as a whole, with the number of its first task.
        for refused in range(number, number + self.batches.pop(number, 1)):
            call = self.calls.pop(refused, None)
            if type(call) is not Reply:
                self.answered += 1
                if self.large:
                    self.large_bytes -= self.large.pop(refused, 0)
            if call is not None:
                call._fail(refused, error)

    def take_log(self, at: int, payload_at: int, end: int) -> None:
        meta = json.loads(bytes(self.buffer[at:payload_at]) or b"{}")
        text = bytes(self.buffer[payload_at:end]).decode("utf-8", "backslashreplace")
        stream = sys.stdout if meta.get("stream") == "stdout" else sys.stderr
        if "stream" not in meta and not text.endswith("\n"):
            text += "\n"
        try:
            try:
                stream.write(text)
            except UnicodeEncodeError as error:
                stream.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))
            stream.flush()
        except Exception:
            # There is no such stream, or it was closed, or it is the program's own and fails.
            pass

    def take_event(self, meta: dict[str, Any], payload: bytes) -> None:
        if meta.get("event") == "exit":
            self.exits.append((bool(meta.get("failed")), payload))
            return
        event = json.loads(payload)
        name = event.get("event")
        if name == "gone":
            if self.workers_seen.get(event["worker"], {}).get("event") == "up":
                del self.workers_seen[event["worker"]]
        elif name == "up":
            self.workers_seen[event["worker"]] = event
        elif name == "down":
            self.workers_seen.setdefault(event["worker"], {}).update(event)
            if len(self.workers_seen) > 4096:
                for worker in [w for w, seen in self.workers_seen.items() if seen.get("event") == "down"][:2048]:
                    del self.workers_seen[worker]
        elif name == "lost":
            self.broken = "the pool is lost"
        with self.door:
            self.changes += 1
            for watch in self.watches:
                watch._state = FINISHED
            self.watches.clear()

    def living(self, count: Callable[[], int], deadline: float) -> list[dict[str, Any]]:
        """The workers that live, those that are ready first: once these are `count()`, or `deadline` has come."""
        while True:
            changes = self.changes
            try:
                living: list[dict[str, Any]] = self.stats()["alive"]
            except PoolError:
                if self.has_ended:
                    return []
                raise
            ready = sum(worker["ready"] for worker in living)
            if ready >= count() or self.broken or self.has_ended or time.monotonic() > deadline:
                return sorted(living, key=lambda worker: not worker["ready"])
            watch = Watch()
            with self.door:
                if changes == self.changes:
                    self.watches.append(watch)
                else:
                    watch._state = FINISHED
            self.wait(watch, deadline)

    # The end.

    def close_soon(self) -> None:
        """Closes the pool once everything is on its way to it."""
        with self.door:
            self.wants_close = True
            self.flush()
            if self.leader is NOBODY and not self.has_ended and self.calls:
                self.call_reader()

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


def ranges(numbers: list[int]) -> list[tuple[int, int]]:
    """Numbers in order, as (first, how many in a row)."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and found[-1][0] + found[-1][1] == number:
            found[-1] = found[-1][0], found[-1][1] + 1
        else:
            found.append((number, 1))
    return found
