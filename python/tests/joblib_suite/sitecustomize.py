"""Registers the backend as soon as joblib is imported, in the processes that joblib's tests start by themselves.

Python imports a module of this name at its start. poolctl's own workers are left alone: what they need to know of the
backend, the package has to tell them.
"""

import importlib.util
import os
import sys

REGISTER = os.environ.get("POOLCTL_TESTED_BACKEND")


class AfterJoblib:
    """Finds joblib as the other finders do, and registers the backend behind it."""

    def find_spec(self, name, path=None, target=None):
        if name != "joblib":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None:
            execute = spec.loader.exec_module

            def exec_module(module):
                execute(module)
                where, _, function = REGISTER.partition(":")
                getattr(importlib.import_module(where), function)()

            spec.loader.exec_module = exec_module
        return spec


if REGISTER and "POOLCTL_SLOT" not in os.environ:
    sys.meta_path.insert(0, AfterJoblib())
