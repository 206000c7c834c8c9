"""What `meson install` leaves behind is all that another program needs, and no more than it promises."""

import ctypes
import functools
import json
import os
import pathlib
import re
import shutil

import pytest

import installed
from harness import read_exactly
from installed import at_once, run as output_of

ROOT = pathlib.Path(__file__).parents[2]
ANYWHERE = "127.0.0.1:0"


def is_an_echo(program, dial):
    client = dial(program.address())
    client.sendall(b"hello\n")
    assert read_exactly(client, 6) == b"hello\n"
    return program.stop() == 0


def needed(program):
    """The shared libraries that it asks for itself."""
    return re.findall(r"\(NEEDED\).*\[(.*)\]", output_of("readelf", "-dW", program))


# --- pkg-config


def test_pkg_config_asks_a_program_for_nothing_but_eplb(prefix):
    assert prefix.pkg_config("--cflags") == [f"-I{prefix.folder}/include"]
    assert prefix.pkg_config("--libs") == [f"-L{prefix.libdir}", "-leplb"]
    assert prefix.pkg_config("--print-requires", "--print-requires-private") == []


@pytest.mark.parametrize("using", ["g++", "clang++"])
def test_a_program_with_the_static_library_takes_what_pkg_config_says(prefix, run, dial, using):
    """The archive may come from a build with link-time optimization, of which clang understands nothing."""
    command = [installed.clang()] if using == "clang++" else None
    if command == [None]:
        pytest.skip("no clang++ here")
    source = installed.EXAMPLES / "echo_server.cpp"
    program = prefix.output / f"static-{using}"
    prefix.compile(source, program, libs=prefix.static_libs(), using=command)
    assert not [library for library in needed(program) if "eplb" in library]
    assert is_an_echo(run(program, ANYWHERE), dial)


# --- CMake


def test_cmake_builds_with_either_library(prefix, run, dial):
    folder = prefix.examples_by_cmake()
    assert "libeplb.so.0.1" in needed(folder / "echo_server")
    assert not [library for library in needed(folder / "static_echo_server") if "eplb" in library]
    assert is_an_echo(run(folder / "static_echo_server", ANYWHERE), dial)


def test_cmake_links_the_static_library_where_it_is_told_to(prefix):
    folder, _ = prefix.cmake("cmake-static", "-DEPLB_USE_STATIC_LIBS=ON", "-DEPLB_VERSION_WANTED=")
    output_of("cmake", "--build", folder, "--target", "timers")
    assert not [library for library in needed(folder / "timers") if "eplb" in library]


def test_cmake_does_not_take_it_for_another_minor_version(prefix):
    """Until 1.0 that may be anything."""

    def refuses(version):
        _, said = prefix.cmake(f"wants-{version}", f"-DEPLB_VERSION_WANTED={version}", ok=False)
        said = " ".join(said.split())
        assert f'"eplb" that is compatible with requested version "{version}"' in said
        assert "eplb-config.cmake, version: 0.1.0" in said

    at_once(functools.partial(refuses, version) for version in ("0.0", "0.1.1", "0.2", "1.0"))


def test_cmake_finds_everything_in_a_folder_that_was_moved(prefix, run, dial):
    elsewhere = prefix.output / "moved here"
    shutil.copytree(prefix.folder, elsewhere, symlinks=True)
    moved = installed.Prefix(elsewhere, prefix.output)
    folder, _ = moved.cmake("cmake-moved")
    output_of("cmake", "--build", folder, "--target", "echo_server", "static_echo_server", "--parallel", 2)
    assert f"[{moved.libdir}]" in output_of("readelf", "-dW", folder / "echo_server")
    for name in ("echo_server", "static_echo_server"):
        assert is_an_echo(run(folder / name, ANYWHERE), dial)
    for file in folder.rglob("flags.make"):
        assert str(prefix.folder) not in file.read_text()


# --- documents


def test_the_programs_in_the_documents_compile_and_do_what_they_say(prefix, run):
    """embedding.md begins with a port forwarder of thirty lines, and ends with a test that passes."""
    page = (ROOT / "docs/embedding.md").read_text()
    programs = [block for block in re.findall(r"```cpp\n(.*?)```", page, re.DOTALL) if "int main" in block]
    assert len(programs) == 2
    forwarder, clock = (prefix.output / f"document-{i}.cpp" for i in range(2))
    for source, text in zip((forwarder, clock), programs):
        source.write_text(text)
    at_once(functools.partial(prefix.compile, source, source.with_suffix("")) for source in (forwarder, clock))
    assert run(clock.with_suffix("")).exit_code() == 0


# --- headers

STRICT = [
    *("-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow"),
    *("-Wnon-virtual-dtor", "-Woverloaded-virtual", "-Werror"),
]
# Words that are macros in programs with Qt; there they come before everything else.
QT = ["-Dsignals=public", "-Dslots=", "-Demit=", "-Dforeach=for", "-Dforever=for(;;)"]


def compiles(prefix, names, using, folder, *options):
    source = folder / f"{names[0]}.cpp"
    source.write_text("".join(f'#include "eplb/{name}"\n' for name in names))
    output_of(*using, *STRICT, *options, f"-I{prefix.folder}/include", source)


def test_every_header_is_installed(prefix):
    assert [header.name for header in prefix.headers] == sorted(path.name for path in ROOT.glob("include/eplb/*.hpp"))


def test_every_header_compiles_on_its_own(prefix, tmp_path):
    names = [[header.name] for header in prefix.headers]
    at_once(functools.partial(compiles, prefix, name, installed.compiler(), tmp_path) for name in names)


def test_all_headers_compile_in_a_program_with_qt(prefix, tmp_path):
    compiles(prefix, [header.name for header in prefix.headers], installed.compiler(), tmp_path, *QT)


def test_all_headers_compile_with_clang_too(prefix, tmp_path):
    if installed.clang() is None:
        pytest.skip("no clang++ here")
    compiles(prefix, [header.name for header in prefix.headers], [installed.clang()], tmp_path)


def test_headers_include_eplb_and_the_system_only(prefix):
    for header in prefix.headers:
        for include in re.findall(r"#include (.*)", header.read_text()):
            assert re.fullmatch(r'"eplb/\w+\.hpp"|<\w+>|<sys/\w+\.h>|<netinet/\w+\.h>', include), (header, include)


# --- the library


def test_it_exports_eplb_and_nothing_else(prefix):
    symbols = {
        re.fullmatch(r"[0-9a-f]+ \w (.*)", line)[1]
        for line in output_of("nm", "-DC", "--defined-only", prefix.libdir / "libeplb.so").splitlines()
    }
    symbols = {re.sub(r"@@?\w+$", "", symbol) for symbol in symbols}
    assert "eplb_version" in symbols
    assert any(symbol.startswith("eplb::Reactor::run_once(") for symbol in symbols)
    of_eplb = re.compile(r"((vtable|typeinfo|typeinfo name|VTT|(non-)?virtual thunk) (for|to) )?eplb::.*|eplb_version")
    assert [symbol for symbol in symbols if not of_eplb.fullmatch(symbol)] == []
    inner = re.compile(
        r"eplb::(sys|health|proxy|control|detail|base)::|::(Impl|Mailbox)\b|eplb::(Session|Worker|Duplex|Slab)\b"
        r"|\(anonymous namespace\)"
    )
    assert [symbol for symbol in symbols if inner.search(symbol)] == []


def test_its_name_says_the_versions_that_are_alike(prefix):
    said = output_of("readelf", "-dW", prefix.libdir / "libeplb.so")
    assert re.findall(r"\(SONAME\).*\[(.*)\]", said) == ["libeplb.so.0.1"]
    assert not re.search(r"RPATH|RUNPATH|TEXTREL", said)
    assert os.readlink(prefix.libdir / "libeplb.so") == "libeplb.so.0.1"


def test_of_other_libraries_it_needs_fmt_only(prefix):
    allowed = re.compile(r"(libfmt|libstdc\+\+|libm|libgcc_s|libc|ld-linux.*)\.so\.\d+")
    names = needed(prefix.libdir / "libeplb.so")
    assert [name for name in names if not allowed.fullmatch(name)] == []
    assert any(name.startswith("libfmt") for name in names)


def test_its_version_is_the_same_wherever_it_is_asked_for(prefix, tmp_path):
    source = tmp_path / "version.cpp"
    source.write_text(
        '#include "eplb/version.hpp"\n'
        "#include <cstdio>\n"
        "int main() {\n"
        '    std::printf("%s %s %d.%d.%d\\n", eplb_version(), EPLB_VERSION,\n'
        "                EPLB_VERSION_MAJOR, EPLB_VERSION_MINOR, EPLB_VERSION_PATCH);\n"
        "}\n"
    )
    program = prefix.compile(source, tmp_path / "version")
    versions = set(output_of(program).split()) | set(prefix.pkg_config("--modversion"))
    library = ctypes.CDLL(prefix.libdir / "libeplb.so")
    library.eplb_version.restype = ctypes.c_char_p
    assert versions == {library.eplb_version().decode()}


# --- what is not there


def test_it_takes_with_it_nothing_of_the_program_and_of_where_it_was_built(prefix):
    texts = [*prefix.headers, *prefix.folder.rglob("*.pc"), *prefix.folder.rglob("*.cmake")]
    assert len(texts) == len(prefix.headers) + 3
    for path in texts:
        text = path.read_text()
        assert not re.search(r"toml\+\+|CLI11|[/\"<-](c?ares|CLI|xxhash|fmt/)|nlohmann", text), path
        assert str(ROOT) not in text.replace(f"prefix={prefix.folder}\n", ""), path
    for library in (prefix.libdir / "libeplb.so", prefix.libdir / "libeplb.a"):
        assert str(ROOT).encode() not in library.read_bytes(), library


def test_nothing_is_installed_but_headers_libraries_and_how_to_find_them(prefix):
    files = {str(path.relative_to(prefix.folder)) for path in prefix.folder.rglob("*") if not path.is_dir()}
    libdir = prefix.libdir.relative_to(prefix.folder)
    assert files == {f"include/eplb/{header.name}" for header in prefix.headers} | {
        f"{libdir}/{name}"
        for name in (
            "libeplb.a",
            "libeplb.so",
            "libeplb.so.0.1",
            "libeplb.so.0.1.0",
            "pkgconfig/eplb.pc",
            "cmake/eplb/eplb-config.cmake",
            "cmake/eplb/eplb-config-version.cmake",
        )
    }


def test_meson_asks_for_nothing_that_only_the_program_needs(prefix):
    build = next((folder for folder in prefix.folder.parents if (folder / "meson-info").is_dir()), None)
    if build is None:
        pytest.skip("not installed into its build directory, so that is not known")
    said = json.loads(output_of("meson", "introspect", "--dependencies", build))
    assert {dependency["name"] for dependency in said} == {"fmt", "libxxhash", "threads"}
