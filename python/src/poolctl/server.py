"""The `poolctl serve` of one pool: a subprocess that is ours, and the socket to it; or the socket of a service."""

from __future__ import annotations

import _socket
import fcntl
import os
import signal
from typing import Optional

from .binary import find_binary
from .errors import PoolError


class Server:
    """A connection, and the process behind it where we started one."""

    def __init__(self, socket: _socket.socket, pid: Optional[int]) -> None:
        self.socket, self.pid = socket, pid
        self.socket.setblocking(False)

    def close(self) -> None:
        """Ends the connection, and with it the process; waits for that."""
        self.socket.close()
        pid, self.pid = self.pid, None
        if pid is None:
            return
        while True:
            try:
                os.waitpid(pid, 0)
                return
            except InterruptedError:
                continue
            except ChildProcessError:
                # Somebody else's wait has reaped it, or nobody needs to.
                return


def start_server() -> Server:
    """Starts a supervisor with a socket as its stdin and stdout; its stderr is ours.

    Never forks: the size of this process and its threads do not matter. It has a process group of its own, so that a
    Ctrl-C is told here alone; it ends when the socket does, or when this process dies.
    """
    binary = find_binary()
    ours, theirs = (above_standard_streams(end) for end in _socket.socketpair())
    try:
        actions = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), place) for place in (0, 1)]
        pid = os.posix_spawn(binary, [binary, "serve"], os.environ, file_actions=actions, setpgroup=0, setsigmask=[],
                             setsigdef=[signal.SIGPIPE, signal.SIGINT])
    except OSError as error:
        ours.close()
        raise PoolError(f"failed to start `{binary} serve`: {error.strerror}") from error
    finally:
        theirs.close()
    return Server(ours, pid)


def above_standard_streams(end: _socket.socket) -> _socket.socket:
    """A socket that does not take the place of a closed stdin, stdout or stderr, where others would write into it."""
    if end.fileno() > 2:
        return end
    moved = fcntl.fcntl(end.fileno(), fcntl.F_DUPFD_CLOEXEC, 3)
    end.close()
    return _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, moved)


def connect_service() -> Server:
    """A connection to the service of this user."""
    path = os.environ.get("POOLCTL_SOCKET")
    if not path:
        runtime = os.environ.get("XDG_RUNTIME_DIR")
        if not runtime:
            raise PoolError("neither POOLCTL_SOCKET nor XDG_RUNTIME_DIR says where the service is",
                            hint="set POOLCTL_SOCKET to the socket of `poold`")
        path = os.path.join(runtime, "poolctl", "poold.sock")
    socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        socket.connect(path)
    except OSError as error:
        socket.close()
        raise PoolError(f"no service answers at {path}: {error.strerror}", hint="start one with `poold`") from error
    return Server(socket, None)
