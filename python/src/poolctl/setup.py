"""What a worker is told before anything else: to be what a spawned child of this process would be."""

from __future__ import annotations

import os
import sys
from pickle import dumps
from typing import Any, Callable, Optional

from .pickling import Payload, dump, has_cloudpickle


def make_setup(initializer: Optional[Callable[..., Any]], initargs: tuple[Any, ...],
               on_exit: Optional[Callable[..., Any]], name: str) -> bytes:
    """The pickled dict that `crates/supervisor/python/objects.py` describes."""
    directory = working_directory()
    setup: dict[str, Any] = {
        "sys_path": [directory if entry == "" else entry for entry in sys.path if entry or directory],
        "argv": list(sys.argv) if hasattr(sys, "argv") else [],
        "dir": directory,
        "name": name,
        "parent": ("MainProcess", os.getpid()),
        "initializer": whole(dump((initializer, tuple(initargs)))) if initializer is not None else None,
        "exit": whole(dump((on_exit, ()))) if on_exit is not None else None,
        "main": None if has_cloudpickle() else main_module(),
    }
    process = sys.modules.get("multiprocessing.process")
    if process is not None:
        current = process.current_process()
        setup["authkey"] = bytes(current.authkey)
        setup["parent"] = (current.name, os.getpid())
    util = sys.modules.get("multiprocessing.util")
    if util is not None and getattr(util, "_log_to_stderr", False):
        setup["log_level"] = util.get_logger().getEffectiveLevel()
    return dumps(setup, 5)


def working_directory() -> Optional[str]:
    """Where this process works; None if somebody has removed that."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return None


def whole(payload: Payload) -> Any:
    """A payload as the pair that `pickle.loads` takes; initializers are seldom large."""
    if isinstance(payload, bytes):
        return payload, ()
    return payload.data, [bytearray(buffer.raw()) for buffer in payload.buffers]


def main_module() -> Optional[tuple[str, str]]:
    """Where workers find the main module of this process, as `multiprocessing.spawn` would tell them."""
    main = sys.modules.get("__main__")
    name = getattr(getattr(main, "__spec__", None), "name", None)
    if name:
        return "module", name
    path = getattr(main, "__file__", None)
    if path is None or getattr(main, "__poolctl_script__", None) is not None:
        return None
    return "path", os.path.abspath(path)


def share_main_module() -> None:
    """Makes what workers call `__mp_main__` be found here, as importing `multiprocessing` does."""
    if "__main__" in sys.modules:
        sys.modules.setdefault("__mp_main__", sys.modules["__main__"])


def is_importing_main() -> bool:
    """Whether this process is a worker that imports the client's main module just now."""
    return bool(getattr(sys.modules.get("__mp_main__"), "__poolctl_importing__", False))
