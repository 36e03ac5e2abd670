"""Pickles with large buffers, in memory that the other end maps: written by one system call each, never copied again.

The layout is that of docs/protocol.md, Python objects; `crates/supervisor/python/objects.py` is the other end.
"""

from __future__ import annotations

import fcntl
import os
from _struct import Struct
from mmap import MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap
from pickle import PickleBuffer
from typing import Any

TWO_LENGTHS = Struct("<QQ")
READ_ONLY = 1 << 63
F_ADD_SEALS, SEALS = 1033, 1 | 2 | 4 | 8
# Python's mmap keeps a descriptor of its own, of which a process may have only so many.
MAX_MAPPINGS = 200


class Mapping(mmap):
    """A private copy of a memfd, made page by page when it is written to; gone with the last array that lies in it."""

    live = 0

    def __del__(self) -> None:
        Mapping.live -= 1


def pack(data: bytes, buffers: list[PickleBuffer]) -> int:
    """A sealed memfd that holds a pickle and its buffers."""
    places, at = [], 16 + 16 * len(buffers) + len(data)
    for buffer in buffers:
        at = (at + 63) & ~63
        view = memoryview(buffer)
        places.append((at, view.nbytes | READ_ONLY if view.readonly else view.nbytes))
        at += view.nbytes
    descriptor = os.memfd_create("poolctl-object", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, at)
        head = TWO_LENGTHS.pack(len(buffers), len(data)) + b"".join(TWO_LENGTHS.pack(*place) for place in places)
        write_at(descriptor, head, 0)
        write_at(descriptor, data, len(head))
        for buffer, (start, _) in zip(buffers, places):
            write_at(descriptor, buffer.raw(), start)
        fcntl.fcntl(descriptor, F_ADD_SEALS, SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def write_at(descriptor: int, data: Any, at: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(descriptor, view, at)
        view, at = view[done:], at + done


def unpack(descriptor: int) -> tuple[memoryview, list[memoryview]]:
    """The pickle and its buffers; closes the descriptor."""
    view = contents_of(descriptor)
    count, length = TWO_LENGTHS.unpack_from(view)
    at = 16 + 16 * count
    buffers = []
    for place in range(16, at, 16):
        start, size = TWO_LENGTHS.unpack_from(view, place)
        buffer = view[start : start + (size & ~READ_ONLY)]
        buffers.append(buffer.toreadonly() if size & READ_ONLY else buffer)
    return view[at : at + length], buffers


def contents_of(descriptor: int) -> memoryview:
    """All of a memfd, writable and no longer tied to it; closes the descriptor."""
    try:
        if Mapping.live < MAX_MAPPINGS:
            try:
                mapping = Mapping(descriptor, 0, MAP_PRIVATE, PROT_READ | PROT_WRITE)
                Mapping.live += 1
                return memoryview(mapping)
            except OSError:
                # Out of descriptors: the content can still be read.
                pass
        view = memoryview(bytearray(os.fstat(descriptor).st_size))
        at = 0
        while at < len(view):
            at += os.preadv(descriptor, [view[at:]], at)
        return view
    finally:
        os.close(descriptor)
