import os
import pathlib
import resource
import shutil
import tempfile

import pytest

import harness

pytest_plugins = ["pytest_suite"]

# What the tests start, and the Debian package that has it.
TOOLS = {
    "strace": "strace",
    "dnsmasq": "dnsmasq-base",
    "ip": "iproute2",
    "nft": "nftables",
    "setpriv": "util-linux",
    "nsenter": "util-linux",
    "prlimit": "util-linux",
}


def pytest_configure(config):
    if config.option.collectonly:
        return
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if os.geteuid() != 0:
        pytest.exit("the system tests need root (other users, namespaces, strace): use sudo", 1)
    missing = {package for tool, package in TOOLS.items() if shutil.which(tool) is None}
    if missing:
        pytest.exit(f"missing Debian packages: apt-get install {' '.join(sorted(missing))}", 1)
    harness.binary()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "call":
        item.failed = report.failed
    lab = item.funcargs.get("lab") if hasattr(item, "funcargs") else None
    if report.failed and lab is not None:
        for eplb in lab.eplbs:
            lines = eplb.lines if len(eplb.lines) <= 40 else [*eplb.lines[:12], "[...]", *eplb.lines[-27:]]
            report.sections.append((f"log of eplb, pid {eplb.pid}", "\n".join(lines)))


@pytest.fixture
def lab(request):
    with tempfile.TemporaryDirectory(prefix="eplb-test-") as folder:
        os.chmod(folder, 0o777)
        lab = harness.Lab(pathlib.Path(folder))
        yield lab
        lab.finish(failed=getattr(request.node, "failed", True))


@pytest.fixture
def narrow(lab):
    """The test runs inside Lab.narrow_network(): its sockets are made there. eplb takes it as `namespace`."""
    network = lab.narrow_network()
    with network.entered():
        yield network
