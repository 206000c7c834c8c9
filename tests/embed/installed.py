"""An installed eplb, and programs that are built with it as other people would."""

import concurrent.futures
import functools
import os
import pathlib
import shlex
import shutil
import subprocess

HERE = pathlib.Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples"
PATIENCE = 300  # seconds for a compiler

# Nothing of the surroundings helps to find it.
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("PKG_CONFIG", "CMAKE", "LD_", "CPATH", "CPLUS", "LIBRARY_PATH", "CXXFLAGS", "EPLB"))
}


def run(*command, ok=True, **environment):
    """What it says on both outputs; it has to end as `ok` says."""
    done = subprocess.run(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        env={**ENVIRONMENT, **environment},
    )
    assert (done.returncode == 0) == ok, f"{shlex.join(done.args)}: exit code {done.returncode}\n{done.stdout}"
    return done.stdout


def at_once(jobs):
    """Calls them, as many at a time as there are processors, and returns what they returned."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return [running.result() for running in [pool.submit(job) for job in jobs]]


def compiler():
    return shlex.split(os.environ.get("CXX", "g++"))


def clang():
    """Another compiler than the library's, or nothing."""
    return next((found for name in ("clang++-19", "clang++") if (found := shutil.which(name))), None)


class Prefix:
    """`folder` is where it was installed; programs go to folders in `output`."""

    def __init__(self, folder, output):
        self.folder = folder.resolve()
        self.output = output
        [library] = self.folder.glob("lib*/**/libeplb.so")
        self.libdir = library.parent
        self.headers = sorted((self.folder / "include" / "eplb").glob("*.hpp"))

    def new_folder(self, name):
        folder = self.output / name
        folder.mkdir()
        return folder

    def pkg_config(self, *arguments, packages=("eplb",)):
        path = str(self.libdir / "pkgconfig")
        return shlex.split(run("pkg-config", *arguments, *packages, PKG_CONFIG_PATH=path))

    def compile(self, source, program, *, packages=("eplb",), libs=None, using=None, options=()):
        """With what pkg-config says, and nothing else."""
        run(
            *(using or compiler()),
            "-std=c++20",
            *options,
            *self.pkg_config("--cflags", packages=packages),
            source,
            "-o",
            program,
            *(libs or [*self.pkg_config("--libs", packages=packages), f"-Wl,-rpath,{self.libdir}"]),
        )
        return program

    def static_libs(self):
        """What a program with the archive links. Both libraries are there, so it has to be called by name."""
        libs = self.pkg_config("--static", "--libs")
        assert "-leplb" in libs
        return ["-l:libeplb.a" if lib == "-leplb" else lib for lib in libs]

    @functools.cache
    def examples_by_pkg_config(self):
        folder = self.new_folder("pkg-config")
        at_once(functools.partial(self.compile, each, folder / each.stem) for each in sorted(EXAMPLES.glob("*.cpp")))
        return folder

    def cmake(self, name, *options, ok=True):
        """Configures CMakeLists.txt in here. Returns the folder, and what CMake said."""
        folder = self.new_folder(name)
        said = run("cmake", "-S", HERE, "-B", folder, f"-DCMAKE_PREFIX_PATH={self.folder}", *options, ok=ok)
        return folder, said

    @functools.cache
    def examples_by_cmake(self):
        folder, _ = self.cmake("cmake")
        run("cmake", "--build", folder, "--parallel", os.cpu_count())
        return folder

    @functools.cache
    def hosts(self):
        """The programs of hosts/."""
        folder = self.new_folder("hosts")
        packages = {"glib": ("eplb", "glib-2.0"), "libuv": ("eplb", "libuv")}  # asio is headers only
        warnings = ("-Wall", "-Wextra", "-Werror", "-pthread")
        at_once(
            functools.partial(
                self.compile,
                HERE / "hosts" / f"{name}_host.cpp",
                folder / name,
                packages=packages.get(name, ("eplb",)),
                options=warnings,
            )
            for name in ("asio", "glib", "libuv", "epoll")  # the longest first
        )
        return folder
