"""What travels: calls, lists of calls, and the callables themselves, which are sent once and then named by a key."""

from __future__ import annotations

import marshal
import sys
import weakref
from _thread import allocate_lock
from collections import OrderedDict, deque
from importlib.util import find_spec
from pickle import PickleBuffer, dumps, loads
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, Callable, Optional, Union

from . import memfd
from .errors import BY_VALUE, NotShareable

# A buffer from this size on is not copied into the pickle; a pickle from this size on travels in a memfd.
MIN_BUFFER_BYTES = MIN_MEMFD_BYTES = 1 << 17
MAX_KEPT_CONSTANTS = 128
ONE_CALL, MANY_CALLS, MANY_SPREAD = b"\0", b"\1", b"\2"


class Large:
    """A payload that travels in a memfd, which is made when its turn comes."""

    __slots__ = ("buffers", "data")

    def __init__(self, data: bytes, buffers: list[PickleBuffer]) -> None:
        self.data, self.buffers = data, buffers

    def __len__(self) -> int:
        # It takes none of the credit for bytes.
        return 0

    def size(self) -> int:
        return len(self.data) + sum(memoryview(buffer).nbytes for buffer in self.buffers)

    def pack(self) -> int:
        return memfd.pack(self.data, self.buffers)


Payload = Union[bytes, Large]


def dump(value: Any, kind: bytes = b"") -> Payload:
    """`value` pickled, behind a byte that says what it is; with its large buffers outside of the pickle."""
    buffers: list[PickleBuffer] = []

    def keep(buffer: PickleBuffer) -> bool:
        if memoryview(buffer).nbytes < MIN_BUFFER_BYTES:
            return True
        buffers.append(buffer)
        return False

    try:
        data = dumps(value, 5, buffer_callback=keep)
    except RuntimeError as error:
        raise not_shareable(error) from None
    except Exception as error:
        # What has no name that others could import: a lambda, a local class.
        buffers.clear()
        data = dumped_by_value(value, keep, error)
    if b"__main__" in data and has_cloudpickle():
        # What is defined in the main module goes by value, so that workers need not import that module.
        buffers.clear()
        data = cloudpickle_dumps(value, keep)
    data = kind + data
    return Large(data, buffers) if buffers or len(data) >= MIN_MEMFD_BYTES else data


def dumped_by_value(value: Any, keep: Callable[[PickleBuffer], bool], error: Exception) -> bytes:
    """What plain pickle refused with `error`, by cloudpickle where that can; else the error."""
    if not has_cloudpickle():
        raise with_way_out(error)
    try:
        return cloudpickle_dumps(value, keep)
    except Exception:
        raise error from None


def with_way_out(error: Exception) -> Exception:
    """An error of pickling, with a note of what would help."""
    if hasattr(error, "add_note"):
        error.add_note(f"poolctl: {BY_VALUE}")
    return error


def not_shareable(error: RuntimeError) -> Exception:
    """What to say of an object of `multiprocessing` that only its own children could inherit."""
    text = str(error)
    if "through inheritance" not in text:
        return error
    return NotShareable(text, hint="give it to initargs of a multiprocessing.Pool, or use one of "
                                   "multiprocessing.Manager(), whose proxies can be passed to any process")


def has_cloudpickle() -> bool:
    if not found:
        found.append("cloudpickle" in sys.modules or find_spec("cloudpickle") is not None)
    return found[0]


found: list[bool] = []


def cloudpickle_dumps(value: Any, keep: Optional[Callable[[PickleBuffer], bool]] = None) -> bytes:
    import cloudpickle

    data: bytes = cloudpickle.dumps(value, 5, buffer_callback=keep)
    return data


def dump_callable(function: Any) -> tuple[Payload, bool]:
    """A callable pickled, and whether it stays the same for as long as it lives.

    That holds for what is pickled by name, and for functions that carry no values. What a function refers to in the
    main module is sent as it is at its first call.
    """
    kind = type(function)
    if kind is FunctionType:
        is_named = is_importable(function)
        if not is_named and refers_to_nothing(function):
            return dumps(by_code(function), 5), True
        if not is_named and has_cloudpickle():
            data = cloudpickle_dumps(function)
            is_stable = not function.__closure__ and not function.__defaults__ and not function.__kwdefaults__
            return (Large(data, []) if len(data) >= MIN_MEMFD_BYTES else data), is_stable
        return dump(function), True
    is_named = kind is type or kind is BuiltinFunctionType and isinstance(function.__self__, (ModuleType, type(None)))
    try:
        return dump(function), is_named
    except NotShareable:
        raise
    except Exception as error:
        if not has_cloudpickle():
            raise with_way_out(error) from None
        return cloudpickle_dumps(function), False


class Made:
    """Is pickled as the result of a call, which may be a callable."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> Any:
        return self.function, self.arguments

    def __call__(self) -> None:
        """Only what can be called may stand for a function in a pickle."""


def by_code(function: FunctionType) -> Made:
    """A function by its code alone, which needs no other package at either end."""
    make = Made(getattr, Made(__import__, "types"), "FunctionType")
    code = Made(marshal.loads, marshal.dumps(function.__code__))
    surroundings = {"__name__": function.__module__, "__builtins__": Made(__import__, "builtins")}
    return Made(make, code, surroundings, function.__name__)


def refers_to_nothing(function: FunctionType) -> bool:
    """Whether a function needs nothing but its arguments and what is built in."""
    if function.__closure__ or function.__defaults__ or function.__kwdefaults__ or function.__dict__:
        return False
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        if any(name in function.__globals__ for name in code.co_names):
            return False
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return True


def is_importable(function: Any) -> bool:
    """Whether a function is found by its name, in a module that workers can import."""
    if function.__module__ == "__main__":
        return False
    place: Any = sys.modules.get(function.__module__)
    for name in function.__qualname__.split("."):
        place = getattr(place, name, None)
    return place is function


class Constants:
    """The keys of the callables that the server has.

    - Those that stay the same are known by identity as long as they live.
    - Others (a partial, a bound method, a closure) are pickled for each call, since they can change, and known by
      their pickle: the last `MAX_KEPT_CONSTANTS` of them, and those that are pinned by a call of many tasks.
    - Large ones are sent for one call (which may be a map of many items) and forgotten: they are *passing*.
    """

    def __init__(self) -> None:
        self.lock = allocate_lock()
        self.by_identity: dict[int, tuple[Any, bytes]] = {}
        self.by_pickle: OrderedDict[bytes, bytes] = OrderedDict()
        self.count = 0
        self.passing: set[bytes] = set()
        self.pins: dict[bytes, int] = {}
        # Those that were pushed out while they were pinned, and those that were just now: somebody may be about to
        # submit a task that names one.
        self.retired: set[bytes] = set()
        self.retiring: deque[bytes] = deque()
        # Keys that nobody needs any more.
        self.dropped: list[bytes] = []

    def find(self, function: Any, define: Callable[[bytes, Payload], None]) -> bytes:
        """The key of `function`; calls `define` if the server does not have it yet."""
        known = self.by_identity.get(id(function))
        if known is not None and known[0]() is function:
            return known[1]
        payload, is_stable = dump_callable(function)
        with self.lock:
            if is_stable:
                return self.remember(function, payload, define)
            if isinstance(payload, Large):
                key = self.new_key()
                define(key, payload)
                self.passing.add(key)
                return key
            found = self.by_pickle.get(payload)
            if found is None:
                found = self.by_pickle[payload] = self.new_key()
                define(found, payload)
                if len(self.by_pickle) > MAX_KEPT_CONSTANTS:
                    self.retire(self.by_pickle.popitem(last=False)[1])
            else:
                self.by_pickle.move_to_end(payload)
            return found

    def remember(self, function: Any, payload: Payload, define: Callable[[bytes, Payload], None]) -> bytes:
        identity, key = id(function), self.new_key()
        by_identity, dropped = self.by_identity, self.dropped

        def forget(reference: Any) -> None:
            known = by_identity.get(identity)
            if known is not None and known[0] is reference:
                del by_identity[identity]
            dropped.append(key)

        define(key, payload)
        by_identity[identity] = weakref.ref(function, forget), key
        return key

    def new_key(self) -> bytes:
        self.count += 1
        return b"f%d" % self.count

    def retire(self, key: bytes) -> None:
        if key in self.pins:
            self.retired.add(key)
            return
        self.retiring.append(key)
        if len(self.retiring) > MAX_KEPT_CONSTANTS:
            self.dropped.append(self.retiring.popleft())

    def pin(self, key: bytes) -> None:
        """More tasks will name it, until `unpin`."""
        with self.lock:
            self.pins[key] = self.pins.get(key, 0) + 1

    def unpin(self, key: bytes) -> None:
        with self.lock:
            self.pins[key] -= 1
            if self.pins[key] == 0:
                del self.pins[key]
                if key in self.retired or key in self.passing:
                    self.retired.discard(key)
                    self.passing.discard(key)
                    self.dropped.append(key)

    def was_named(self, key: bytes) -> None:
        """A task that names it was submitted: one that is passing is not needed any more, unless it is pinned."""
        if key in self.passing and key not in self.pins:
            self.passing.discard(key)
            self.dropped.append(key)
