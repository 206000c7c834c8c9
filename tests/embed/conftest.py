"""EPLB_EXAMPLES names a folder with the example programs, EPLB_PREFIX a folder that eplb was installed to; what is
not named is not tested."""

import contextlib
import os
import pathlib
import resource

import pytest

import harness
import installed
import programs

pytest_plugins = ["pytest_suite"]


def pytest_configure():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def pytest_generate_tests(metafunc):
    """A test that takes `examples` runs for each way in which they were built, or can be."""
    if "examples" not in metafunc.fixturenames:
        return
    ways = []
    if "EPLB_EXAMPLES" in os.environ:
        ways += ["build"]
    if "EPLB_PREFIX" in os.environ:
        ways += ["pkg-config"]
        if metafunc.definition.get_closest_marker("smoke"):
            ways += ["cmake"]
    if not ways:
        ways = [pytest.param("", marks=pytest.mark.skip("neither EPLB_EXAMPLES nor EPLB_PREFIX is set"))]
    metafunc.parametrize("examples", ways, indirect=True)


@pytest.fixture(scope="session")
def prefix(tmp_path_factory):
    if "EPLB_PREFIX" not in os.environ:
        pytest.skip("EPLB_PREFIX does not say where eplb is installed")
    return installed.Prefix(pathlib.Path(os.environ["EPLB_PREFIX"]), tmp_path_factory.mktemp("built"))


@pytest.fixture
def examples(request):
    """The folder with the programs."""
    if request.param == "build":
        return pathlib.Path(os.environ["EPLB_EXAMPLES"])
    prefix = request.getfixturevalue("prefix")
    return prefix.examples_by_cmake() if request.param == "cmake" else prefix.examples_by_pkg_config()


@pytest.fixture
def at_end():
    """Whose close() is called when the test is over."""
    with contextlib.ExitStack() as things:
        yield lambda thing: things.enter_context(contextlib.closing(thing))


@pytest.fixture
def run(at_end):
    """Starts a program; it is ended when the test is over."""
    return lambda *command, **options: at_end(programs.Program([str(part) for part in command], **options))


@pytest.fixture
def start(examples, run):
    """Starts an example."""
    return lambda name, *arguments, **options: run(examples / name, *arguments, **options)


@pytest.fixture
def dial(at_end):
    """A client."""
    return lambda address, **options: at_end(harness.dial(address, **options))


@pytest.fixture
def backend(at_end):
    """A listening socket that the test serves by hand."""
    return lambda: at_end(harness.Backend())


@pytest.fixture
def greeter(at_end):
    """A server that says its name, and then echoes."""
    return lambda name: at_end(harness.Greeter(name))
