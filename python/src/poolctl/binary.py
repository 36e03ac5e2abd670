"""Where the `poolctl` program is."""

from __future__ import annotations

import os
import sys

from .errors import BinaryNotFound


def find_binary() -> str:
    """The path of the program: `POOLCTL_BINARY`, else beside the interpreter, else on `PATH`."""
    named = os.environ.get("POOLCTL_BINARY")
    if named:
        if not is_program(named):
            raise BinaryNotFound(f"POOLCTL_BINARY names `{named}`, which is no program that can be run")
        return named
    looked = folders()
    for folder in looked:
        path = os.path.join(folder, "poolctl")
        if is_program(path):
            return path
    raise BinaryNotFound(
        "the program `poolctl` was found neither beside the interpreter nor on PATH "
        f"(looked in {', '.join(looked)}); install the wheel again, or set POOLCTL_BINARY to its path"
    )


def folders() -> list[str]:
    """Where to look, in order; a wheel puts the program into the first or second."""
    found = [os.path.dirname(sys.executable or "")]
    if not is_program(os.path.join(found[0], "poolctl")):
        import sysconfig  # Takes a while, and is rarely needed.

        found.append(sysconfig.get_path("scripts"))
        if hasattr(sysconfig, "get_preferred_scheme"):
            found.append(sysconfig.get_path("scripts", sysconfig.get_preferred_scheme("user")))
    found += os.environ.get("PATH", os.defpath).split(os.pathsep)
    return list(dict.fromkeys(folder for folder in found if folder))


def is_program(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)
