"""What the suites in Python have in common: a limit to the time of a test, and the line for EPLB_TEST_COUNTS. A suite
has `suite = NAME` in its pytest.ini."""

import collections
import faulthandler
import os
import signal

import pytest

PATIENCE = 600  # seconds for a test: several times what the slowest takes


def pytest_addoption(parser):
    parser.addini("suite", "what it is called where tests are counted")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol():
    """A hanging test fails; should even that hang, the whole run ends and says where it stood."""

    def give_up(*_):
        raise TimeoutError(f"the test did not end within {PATIENCE} s")

    faulthandler.dump_traceback_later(PATIENCE + 60, exit=True)
    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """For `-n auto`: most of the time a test waits."""
    return len(os.sched_getaffinity(0)) + 1


_outcomes = collections.defaultdict(set)


def pytest_runtest_logreport(report):
    if report.outcome != "passed" or report.when == "call":
        _outcomes[report.nodeid].add(report.outcome)


def pytest_sessionfinish(session):
    counts_file = os.environ.get("EPLB_TEST_COUNTS")
    if not counts_file or hasattr(session.config, "workerinput"):
        return
    verdicts = collections.Counter(
        next(verdict for verdict in ("failed", "skipped", "passed") if verdict in outcomes)
        for outcomes in _outcomes.values()
    )
    with open(counts_file, "a") as file:
        name = session.config.getini("suite")
        file.write(f"{name} {verdicts['passed']} {verdicts['failed']} {verdicts['skipped']}\n")
