"""What `imap` and `imap_unordered` give back: results as they come, the input read only so far ahead.

A `Flow` is one such input on its way through the pool. It reads on while fewer than `window` items are between input and
consumer. A list or a range is read by whoever asks for the next result; any other iterable by a thread of its own, since
it may block for as long as it likes. When the iterator is dropped, the rest still runs and its results are dropped.
"""

from __future__ import annotations

import time
from _thread import allocate_lock
from collections import deque
from concurrent.futures import CancelledError
from concurrent.futures._base import FINISHED, PENDING
from itertools import islice
from threading import Condition, Thread
from typing import Any, Callable, Iterable, Iterator, Optional

from .results import timed_out

MAX_BACKLOG_BYTES = 8 << 20


class Part:
    """One chunk of a flow, as a call of the session."""

    __slots__ = ("_number", "count", "flow", "index")
    _is_single, _is_simple, _state = True, False, PENDING

    def __init__(self, flow: Flow, index: int, count: int) -> None:
        self.flow, self.index, self.count = flow, index, count

    def _take(self, number: int, value: Any) -> None:
        self.flow.arrive(self.index, value, None)

    def _fail(self, number: int, error: BaseException) -> None:
        self.flow.arrive(self.index, [None] * self.count, error)

    def _drop(self, number: int) -> None:
        self.flow.arrive(self.index, [None] * self.count, CancelledError())


class Flow:
    """An input on its way through the pool. `_state` is PENDING while the consumer has to wait."""

    def __init__(self, session: Any, submit: Callable[[list[Any], Part], None], on_end: Callable[[], None],
                 items: Iterable[Any], chunk: int, is_ordered: bool, window: int) -> None:
        self.session, self.submit, self.on_end = session, submit, on_end
        self.input: Optional[Iterator[Any]] = iter(items)
        self.chunk, self.is_ordered, self.window = chunk, is_ordered, window
        self.reading = allocate_lock()
        self.state = Condition()
        self.next_index = self.want = self.inside = 0
        self.arrived: dict[int, tuple[Any, Optional[BaseException]]] = {}
        self.ready: deque[tuple[Any, Optional[BaseException]]] = deque()
        self.error: Optional[BaseException] = None
        self.is_dropped = False
        self._state: str = PENDING
        session.flows.append(self)
        self.reader: Optional[Thread] = None
        if isinstance(items, (list, tuple, range)):
            self.read()
        else:
            self.reader = Thread(target=self.read_on, name="poolctl-input", daemon=True)
            self.reader.start()

    # Reading the input.

    def has_room(self) -> bool:
        return self.inside < self.window and self.session.backlog_bytes < MAX_BACKLOG_BYTES

    def read(self) -> None:
        """Reads as long as there is room."""
        with self.reading:
            while self.input is not None and self.has_room():
                self.read_chunk()
        self.session.push()

    def read_on(self) -> None:
        while True:
            self.read()
            with self.state:
                while self.input is not None and not self.has_room():
                    # The session's backlog shrinks without telling.
                    self.state.wait(None if self.inside >= self.window else 0.01)
                if self.input is None:
                    return

    def read_chunk(self) -> None:
        try:
            items = list(islice(self.input, self.chunk)) if self.input is not None else []
        except BaseException as error:
            self.finish(error)
            return
        if not items:
            self.finish(None)
            return
        part = Part(self, self.next_index, len(items))
        self.next_index += 1
        with self.state:
            self.inside += len(items)
        try:
            self.submit(items, part)
        except BaseException as error:
            self.arrive(part.index, [None] * len(items), error)
            if self.session.has_ended or self.session.broken or self.session.is_closing:
                self.finish(None)

    def finish(self, error: Optional[BaseException]) -> None:
        """The input has ended."""
        with self.state:
            self.input, self.error = None, error
            self.look()
            self.state.notify_all()
        if self in self.session.flows:
            self.session.flows.remove(self)
            self.on_end()
        self.session.notice(self)

    def end(self, error: BaseException) -> None:
        """The pool has ended."""
        if self.input is not None:
            with self.state:
                self.input, self.error = None, error
                self.look()
                self.state.notify_all()

    def drain(self) -> None:
        """Reads the whole input, however far ahead of the consumer."""
        with self.state:
            self.window = 1 << 62
            self.state.notify_all()
        if self.reader is None:
            self.read()
        else:
            self.reader.join()

    # Results.

    def arrive(self, index: int, value: Any, error: Optional[BaseException]) -> None:
        values = [value] if self.chunk == 1 and error is None else value
        with self.state:
            if self.is_dropped:
                self.inside -= len(values)
                self.state.notify()
                return
            if not self.is_ordered:
                self.put(values, error)
            else:
                self.arrived[index] = values, error
                while self.want in self.arrived:
                    self.put(*self.arrived.pop(self.want))
                    self.want += 1
            self.look()

    def put(self, values: list[Any], error: Optional[BaseException]) -> None:
        if error is not None:
            # The chunk ends with its error, and takes all of its room with it.
            self.inside -= len(values) - 1
            self.ready.append((None, error))
        else:
            self.ready.extend((value, None) for value in values)

    def look(self) -> None:
        """Whether the consumer has something to take, or to be told."""
        has_ended = self.input is None and self.inside <= len(self.ready)
        self._state = FINISHED if self.ready or has_ended or self.session.has_ended else PENDING

    def take(self, deadline: Optional[float]) -> Any:
        if self.reader is None and self.input is not None and self.inside <= self.window // 2:
            self.read()
        while True:
            with self.state:
                if self.ready:
                    value, error = self.ready.popleft()
                    self.inside -= 1
                    if self.reader is not None:
                        self.state.notify()
                    if error is not None:
                        raise error
                    return value
                self.look()
                if self._state is FINISHED:
                    error, self.error = self.error, None
                    raise error if error is not None else StopIteration
            if not self.session.wait(self, deadline):
                raise timed_out()

    def drop(self) -> None:
        with self.state:
            self.is_dropped = True
            self.inside -= len(self.ready) + sum(len(values) for values, _ in self.arrived.values())
            self.ready.clear()
            self.arrived.clear()
            self.state.notify_all()


class IMapIterator:
    """Results in the order of the input, or as they come."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow

    def __iter__(self) -> IMapIterator:
        return self

    def next(self, timeout: Optional[float] = None) -> Any:
        """The next result; raises `multiprocessing.TimeoutError` after `timeout` seconds."""
        return self._flow.take(None if timeout is None else time.monotonic() + timeout)

    __next__ = next

    def __del__(self) -> None:
        flow = getattr(self, "_flow", None)
        if flow is not None:
            flow.drop()
