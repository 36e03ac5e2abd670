"""A pytest plugin that has joblib's own tests run with the backend "poolctl", and tells what becomes of each.

It makes the backend the default and adds it wherever a test is parametrized over the process back ends. The items that
concern it are kept: those with "poolctl" among their parameters, those that use the default, and those that name loky
in their code, which get ours under that name. `run.py` starts it; `--told` names the descriptor.
"""

import inspect
import json
import pathlib
import re
import sys
import unittest.mock

import pytest

sys.path.insert(1, str(pathlib.Path(__file__).resolve().parents[1]))

from supervised_suite import Teller, unwatch, watch  # noqa: E402

NAME = "poolctl"
IN_PLACE_OF = "loky"
PROCESS_BACKENDS = (IN_PLACE_OF, "multiprocessing")
OTHERS = re.compile(r"""["'](multiprocessing|threading|sequential|dask)["']""")


def pytest_addoption(parser):
    parser.addoption("--told", type=int, help="descriptor to tell on")
    parser.addoption("--limit", type=float, default=120.0, help="seconds until a test counts as hanging")
    parser.addoption("--items", help="file with the names of the items to run, as JSON; without it they are told")


def pytest_configure(config):
    from joblib import parallel

    if NAME not in parallel.BACKENDS:
        pytest.exit(f"nobody has registered {NAME!r}", returncode=3)
    parallel.DEFAULT_BACKEND = NAME
    config.pluginmanager.register(Told(config))


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc):
    metafunc.definition.own_markers[:] = [with_ours(mark) for mark in metafunc.definition.own_markers]


def with_ours(mark):
    """The mark itself, or one with "poolctl" beside the process back ends of a parametrization."""
    if mark.name != "parametrize" or not is_backend(mark.args[0]):
        return mark
    values = list(mark.args[1])
    if NAME in values or not any(value in values for value in PROCESS_BACKENDS):
        return mark
    return pytest.mark.parametrize(mark.args[0], [*values, NAME], **mark.kwargs).mark


def is_backend(parameter):
    """Whether a parameter of that name is a backend; several in one word are a table of the test's own."""
    return isinstance(parameter, str) and parameter.endswith("backend") and "," not in parameter


def backends(item):
    """The back ends among its parameters."""
    parameters = getattr(item, "callspec", None)
    return [value for name, value in parameters.params.items() if is_backend(name)] if parameters else []


def concerns_us(item):
    found = backends(item)
    if any(value == NAME or type(value).__name__ == "PoolctlBackend" for value in found):
        return True
    return all(value is None for value in found) and (names_loky(item) or not OTHERS.search(code(item)))


def names_loky(item):
    return not backends(item) and f'"{IN_PLACE_OF}"' in code(item)


def code(item):
    """Its body; what it is parametrized with stands before."""
    return inspect.getsource(item.function).partition("def ")[2]


class Told:
    def __init__(self, config):
        self.teller = Teller(config.getoption("--told"))
        self.limit = config.getoption("--limit")
        self.wanted = config.getoption("--items")
        self.outcome = None

    def pytest_collection_modifyitems(self, items):
        if self.wanted is None:
            self.teller.tell(items=[item.name for item in items if concerns_us(item)], all=len(items))
            items.clear()
            return
        wanted = set(json.loads(pathlib.Path(self.wanted).read_text(encoding="utf-8")))
        items[:] = [item for item in items if item.name in wanted]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        from joblib.parallel import BACKENDS

        self.outcome = ("passed", "")
        self.teller.tell(begun=item.name)
        watch(self.limit)
        ours = BACKENDS[NAME] if names_loky(item) else BACKENDS[IN_PLACE_OF]
        try:
            with unittest.mock.patch.dict(BACKENDS, {IN_PLACE_OF: ours}), \
                 unittest.mock.patch.object(item.module, "LokyBackend", ours):
                return (yield)
        finally:
            unwatch()
            self.teller.tell(ended=item.name, outcome=self.outcome[0], detail=self.outcome[1])

    def pytest_runtest_logreport(self, report):
        if report.failed and self.outcome[0] != "failed":
            self.outcome = ("failed" if report.when == "call" else "error", report.longreprtext)
        elif report.skipped and self.outcome[0] == "passed":
            self.outcome = ("skipped", reason(report))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session):
        # Every failure has been told, so the status only says whether the process ended well.
        if session.exitstatus in (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.OK
        # What is left at the interpreter's exit may hang too.
        watch(self.limit)


def reason(report):
    """Why it was skipped, or why joblib expects it to fail."""
    if hasattr(report, "wasxfail"):
        return f"joblib expects it to fail: {report.wasxfail}"
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    return str(report.longrepr)
