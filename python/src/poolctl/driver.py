"""The socket to a supervisor, shared by threads: who waits for a result reads it, so that a result costs no hop.

# States
`door` is the one lock. Under it stand who leads, who queues, and what is to be written.

| leader | who reads |
|---|---|
| `NOBODY` | nobody: the next caller that waits takes the lead; else the reader thread |
| `READER` | the reader thread, in `poll` |
| a seat | the caller that sits there, inside `wait` |

A caller that may not lead sleeps on its own *seat* (a lock). The reader thread is started at first need. It *leads*,
*naps* (sleeps for `NAP` at most) or is *asleep* (until it is called).

# Steps
1. Write: under the door. What the socket does not take waits in `outbox`; who leads writes it when there is room.
   A leader that may be in `poll` is woken by the pipe `poke`, once, if there is something for it to do.
2. Lead: under the door say "I may sleep"; poll; read; settle what came; wake the seats whose calls are settled.
3. Leave: under the door, give the lead to the seat that has queued longest. If there is none and something is
   outstanding, the reader is called if it is asleep; if it naps, it looks by itself.

The nap: a caller that leads and leaves in a loop would wake the reader each time just to ask for the lead back. So a
reader that finds that callers have led meanwhile naps, and looks again; it falls asleep when nothing is outstanding.

# Why no wake is lost
"May sleep", the seats and the outbox change under the door. What is put in before the leader says "I may sleep" is
seen by it; what comes after finds that it may sleep, and pokes. A seat is a lock: a release before the acquire counts.

# Interrupts
A KeyboardInterrupt that strikes a leader while it settles a frame is kept until that frame is settled (settling twice
does nothing), and raised then; so no result that was read is lost.
"""

from __future__ import annotations

import _socket
import errno
import os
import select
import threading
import time
import weakref
from _thread import allocate_lock, get_ident
from collections import deque
from concurrent.futures._base import PENDING
from typing import Any, Optional

from . import interrupts
from .errors import ForkedPool
from .frames import HEADER, HEADER_BYTES
from .future import SETTLING, STARTING
from .server import Server
from .spinning import Waiter

NOBODY, READER, CLOSED = None, "reader", "closed"
NAP = 0.002
BUFFER_BYTES = 1 << 18
MAX_DESCRIPTORS = 64
# What a write fails with though the other end is there.
UNSENDABLE = (errno.ETOOMANYREFS, errno.ENOMEM, errno.ENOBUFS)
# In the place of a descriptor that came and could not be taken.
LOST = -1
ANCILLARY_BYTES = _socket.CMSG_SPACE(4 * MAX_DESCRIPTORS)
CLOSED_EVENTS = select.POLLIN | select.POLLHUP | select.POLLERR


class Unsettled:
    """What a seat waits for that waits for the lead alone."""

    _state = PENDING


class Driver:
    """Reads and writes frames; what they mean is the subclass's (`take_frame`, `fill`, `has_work`, `on_end`)."""

    def __init__(self, server: Server) -> None:
        self.server, self.socket = server, server.socket
        self.descriptor = self.socket.fileno()
        self.door = allocate_lock()
        self.leader: Any = NOBODY
        self.seats: deque[tuple[Any, Any]] = deque()
        self.may_sleep = self.has_led = self.has_ended = False
        self.is_reader_asleep = self.is_blocked = False
        self.leading_thread = 0
        self.outbox: deque[tuple[Any, tuple[int, ...]]] = deque()
        self.reader_seat: Any = None
        self.reader: Optional[threading.Thread] = None
        self.poke_end, self.poke_start = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.poller = select.poll()
        self.poller.register(self.poke_end, select.POLLIN)
        self.poller.register(self.socket.fileno(), select.POLLIN)
        self.waiter = Waiter(self.poller)
        self.buffer = memoryview(bytearray(BUFFER_BYTES))
        self.start = self.end = 0
        self.descriptors: deque[int] = deque()
        self.is_forked = False
        interrupts.guard()
        remember(self)

    # What the subclass knows.

    def take_frame(self, kind: int, flags: int, number: int, at: int, payload_at: int, end: int) -> None:
        """Acts on the frame whose meta begins at `at` of the buffer."""
        raise NotImplementedError

    def mishandle(self, number: int, error: Exception) -> None:
        """Takes note of a frame that could not be handled."""
        raise NotImplementedError

    def fill(self) -> None:
        """Writes what may be written; under the door."""
        raise NotImplementedError

    def is_only(self) -> bool:
        """Whether one answer is waited for, and no more."""
        raise NotImplementedError

    def has_work(self) -> bool:
        """Whether something is expected from the other end; under the door."""
        raise NotImplementedError

    def on_end(self) -> None:
        """Settles everything: nothing more will come."""
        raise NotImplementedError

    # Writing; all of it under the door.

    def write(self, data: bytes, descriptors: tuple[int, ...] = ()) -> None:
        """Sends a frame, or queues what the socket does not take. Closes the descriptors once they are on their way."""
        self.outbox.append((data, descriptors))
        if len(self.outbox) == 1:
            self.write_out()

    def write_out(self) -> None:
        outbox = self.outbox
        try:
            while outbox:
                data, descriptors = outbox[0]
                if descriptors:
                    rights = b"".join(fd.to_bytes(4, "little") for fd in descriptors)
                    sent = self.socket.sendmsg([data], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
                    for descriptor in descriptors:
                        os.close(descriptor)
                else:
                    sent = self.socket.send(data)
                if sent == len(data):
                    outbox.popleft()
                else:
                    outbox[0] = (memoryview(data)[sent:], ())
        except BlockingIOError:
            if not self.is_blocked:
                self.is_blocked = True
                self.poller.modify(self.socket.fileno(), select.POLLIN | select.POLLOUT)
                self.poke()
            return
        except OSError as error:
            # The other end has gone, and reading tells why; or no descriptor can be sent any more.
            self.forget_outbox()
            if error.errno in UNSENDABLE:
                self.tell_unsendable(error)
                self.socket.shutdown(_socket.SHUT_RDWR)
        if self.is_blocked:
            self.is_blocked = False
            self.poller.modify(self.socket.fileno(), select.POLLIN)

    def tell_unsendable(self, error: OSError) -> None:
        """Nothing can be written any more, though the other end is there."""

    def forget_outbox(self) -> None:
        for _, descriptors in self.outbox:
            for descriptor in descriptors:
                os.close(descriptor)
        self.outbox.clear()

    def poke(self) -> None:
        """Has the leader look for something to do, whoever it is, or calls the reader. Under the door."""
        if self.leader is CLOSED:
            return
        if self.may_sleep:
            self.may_sleep = False
            os.write(self.poke_start, b"!")
        elif self.leader is NOBODY:
            self.call_reader()

    def call_reader(self) -> None:
        """Wakes the reader if it is asleep; starts it if there is none. Under the door."""
        if self.reader_seat is None:
            self.reader_seat = allocate_lock()
            self.reader_seat.acquire()
            self.reader = threading.Thread(target=self.read_on, name="poolctl-reader", daemon=True)
            self.reader.start()
        elif self.is_reader_asleep:
            self.is_reader_asleep = False
            self.reader_seat.release()

    # Waiting.

    def wait(self, call: Any, deadline: Optional[float] = None) -> bool:
        """Waits until `call` is settled, reading meanwhile if nobody else does. `deadline` is of `time.monotonic`."""
        seat = None
        try:
            while call._state is PENDING:
                if seat is None:
                    self.check_fork()
                    seat = allocate_lock()
                    seat.acquire()
                with self.door:
                    if call._state is not PENDING or self.has_ended:
                        break
                    if self.leader is NOBODY:
                        self.leader = seat
                    leads = self.leader is seat
                    if not leads:
                        self.seats.append((seat, call))
                        if self.leader is READER:
                            self.poke()
                if leads:
                    while call._state is PENDING and not self.has_ended:
                        if not self.turn(deadline, self.is_only()):
                            return call._state is not PENDING
                elif not self.sleep(seat, call, deadline):
                    return call._state is not PENDING
        finally:
            if seat is not None:
                self.leave(seat, call)
        return call._state is not PENDING

    def sleep(self, seat: Any, call: Any, deadline: Optional[float]) -> bool:
        """Sleeps until `seat` is woken; false if the deadline came first."""
        if deadline is None:
            return bool(seat.acquire())
        left = deadline - time.monotonic()
        return left > 0 and bool(seat.acquire(True, min(left, threading.TIMEOUT_MAX)))

    def leave(self, seat: Any, call: Any) -> None:
        """Takes `seat` off the queue, and hands the lead over if it has it."""
        with self.door:
            if self.leader is seat:
                self.has_led = True
                self.hand_over()
            elif self.seats:
                try:
                    self.seats.remove((seat, call))
                except ValueError:
                    pass

    def hand_over(self) -> None:
        """Gives the lead to who has queued longest. Under the door."""
        if self.seats:
            self.leader, _ = self.seats.popleft()
            self.leader.release()
        else:
            self.leader = NOBODY
            if self.has_work():
                self.call_reader()

    def wake_settled(self) -> None:
        """Wakes the seats whose calls are settled."""
        if self.seats:
            with self.door:
                for entry in [entry for entry in self.seats if entry[1]._state is not PENDING]:
                    self.seats.remove(entry)
                    entry[0].release()

    def notice(self, call: Any) -> None:
        """Tells that `call` was settled by one who does not lead."""
        self.wake_settled()
        with self.door:
            if self.leader is not NOBODY:
                self.poke()

    # Reading; by the leader only.

    def turn(self, deadline: Optional[float] = None, is_only: bool = False) -> bool:
        """Waits for something to come and settles it; false if the deadline came first.

        `is_only`: it is a caller who waits, and for the only thing that can come.
        """
        timeout = None
        if deadline is not None:
            timeout = (deadline - time.monotonic()) * 1000
            if timeout <= 0 and not self.poller.poll(0):
                return False
            timeout = max(0, min(timeout + 1, 1 << 30))
        with self.door:
            self.fill()
            self.may_sleep = True
        self.leading_thread = get_ident()
        try:
            events = self.waiter.wait(timeout) if is_only else self.poller.poll(timeout)
            self.may_sleep = False
            if len(events) == 1 and events[0][0] == self.descriptor and events[0][1] == select.POLLIN:
                self.receive()
            else:
                self.act_on(events)
        finally:
            self.may_sleep = False
            self.leading_thread = 0
        return True

    def act_on(self, events: list[tuple[int, int]]) -> None:
        for descriptor, event in events:
            if descriptor == self.poke_end:
                os.read(descriptor, 4096)
                self.wake_settled()
                continue
            if event & select.POLLOUT:
                with self.door:
                    self.write_out()
            if event & CLOSED_EVENTS:
                self.receive()

    def receive(self) -> None:
        """Reads once and acts on the whole frames that are there."""
        try:
            got, ancillary, flags, _ = self.socket.recvmsg_into([self.buffer[self.end :]], ANCILLARY_BYTES,
                                                                _socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except OSError:
            got, ancillary, flags = 0, [], 0
        for level, kind, passed in ancillary:
            if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
                self.descriptors.extend(memoryview(passed).cast("i"))
        if flags & _socket.MSG_CTRUNC:
            # This process may have no more; the other end sends one at a time.
            self.descriptors.append(LOST)
        self.end += got
        interrupt = None
        while True:
            try:
                self.take_frames()
                break
            except KeyboardInterrupt as error:
                interrupt = error
        if got == 0:
            self.end_now()
        self.wake_settled()
        if interrupt is not None:
            raise interrupt

    def take_frames(self) -> None:
        buffer, start, end = self.buffer, self.start, self.end
        while end - start >= HEADER_BYTES:
            body_bytes, kind, flags, meta_bytes, number = HEADER.unpack_from(buffer, start)
            frame_end = start + HEADER_BYTES + body_bytes
            if frame_end > end:
                self.make_room(HEADER_BYTES + body_bytes)
                return
            at = start + HEADER_BYTES
            try:
                self.take_frame(kind, flags, number, at, at + meta_bytes, frame_end)
            except Exception as error:
                # One frame that cannot be handled must not come again and again, nor stop those behind it.
                self.mishandle(number, error)
            self.start = start = frame_end
        self.make_room(HEADER_BYTES)

    def make_room(self, frame_bytes: int) -> None:
        """Moves what is left to the front; takes a larger buffer where a frame needs one, a small one afterwards."""
        left = self.end - self.start
        if left == 0:
            self.start = self.end = 0
            if len(self.buffer) > BUFFER_BYTES:
                self.buffer = memoryview(bytearray(BUFFER_BYTES))
        elif len(self.buffer) - self.start < frame_bytes + 4096 or len(self.buffer) - self.end < BUFFER_BYTES // 4:
            buffer = memoryview(bytearray(max(BUFFER_BYTES, frame_bytes + 65536)))
            buffer[:left] = self.buffer[self.start : self.end]
            self.buffer, self.start, self.end = buffer, 0, left

    def end_now(self) -> None:
        """The other end has gone, or this one has let go."""
        with self.door:
            if self.has_ended:
                return
            self.has_ended = True
            self.forget_outbox()
            if self.is_reader_asleep:
                self.call_reader()
        self.on_end()
        with self.door:
            for entry in [entry for entry in self.seats if entry[1] is not Unsettled]:
                self.seats.remove(entry)
                entry[0].release()

    # The reader thread.

    def read_on(self) -> None:
        while True:
            with self.door:
                if self.has_ended:
                    return
                if self.leader is not NOBODY or not self.has_work():
                    self.is_reader_asleep, nap = True, -1.0
                elif self.has_led:
                    self.has_led, nap = False, NAP
                else:
                    self.leader, nap = READER, 0.0
            if nap:
                self.reader_seat.acquire(True, nap)
                continue
            try:
                while not self.seats and not self.has_ended and self.has_work():
                    self.turn()
            finally:
                with self.door:
                    if self.leader is READER:
                        self.hand_over_from_reader()

    def hand_over_from_reader(self) -> None:
        if self.seats:
            self.leader, _ = self.seats.popleft()
            self.leader.release()
        else:
            self.leader = NOBODY

    # Forks.

    def become_copy(self) -> None:
        """In a forked copy of this process: what was copied is of no use, and the socket is the other's."""
        self.door._at_fork_reinit()  # type: ignore[attr-defined]
        self.is_forked = self.has_ended = True
        self.leader = CLOSED
        self.outbox.clear()
        self.socket.close()
        self.close_descriptors()
        self.descriptors.clear()
        self.server.pid = None

    def check_fork(self) -> None:
        if self.is_forked:
            raise ForkedPool("the pool belongs to the process that this one was forked from",
                             hint="make a pool in this process")

    def let_go(self) -> None:
        """Closes the connection and waits for the process behind it.

        From inside a leader (a callback of unpickling, say) only the first half can be done: the process goes by itself.
        """
        if self.is_forked:
            return
        try:
            self.socket.shutdown(_socket.SHUT_RDWR)
        except OSError:
            pass
        self.end_now()
        if self.leading_thread == get_ident():
            return
        seat = allocate_lock()
        seat.acquire()
        with self.door:
            if self.leader is CLOSED:
                return
            is_free = self.leader is NOBODY
            if is_free:
                self.leader = CLOSED
            else:
                self.seats.append((seat, Unsettled))
                self.poke()
        if not is_free:
            seat.acquire()
            self.leader = CLOSED
        alive.discard(self)
        if not alive:
            interrupts.unguard()
        self.server.close()
        if self.reader is not None and self.reader is not threading.current_thread():
            self.reader.join(1)
        self.close_descriptors()

    def close_descriptors(self) -> None:
        for descriptor in (self.poke_end, self.poke_start, *self.descriptors):
            if descriptor != LOST:
                os.close(descriptor)


# The connections of this process, and whether forked copies of it are told.
alive: weakref.WeakSet[Driver] = weakref.WeakSet()
told: list[bool] = []


def remember(driver: Driver) -> None:
    alive.add(driver)
    if not told:
        told.append(True)
        os.register_at_fork(after_in_child=after_fork)


def after_fork() -> None:
    for lock in (SETTLING, STARTING):
        lock._at_fork_reinit()  # type: ignore[attr-defined]
    for driver in list(alive):
        driver.become_copy()
    alive.clear()
