"""What is typed: every mistake gets a message that names the thing, the place and the way out, and an exit code."""

import contextlib
import os
import pathlib
import re
import socket
import subprocess

import pytest

from harness import GUARD, TCP_STATES, Namespace, command_line, dial, read_exactly, run_eplb

LISTEN = ("-l", "{port}")
BACKEND = ("-b", "127.0.0.1:1")
USAGE, RUN_TIME = 2, 1

# What is typed, the exit code, and what the message must match.
MISTAKES = [
    ((), USAGE, ["listen", "-l"]),
    (BACKEND, USAGE, ["listener", "-l"]),
    (LISTEN, USAGE, ["backend", "-b"]),
    ((*LISTEN, *BACKEND, "--no-such-flag"), USAGE, ["--no-such-flag"]),
    ((*LISTEN, *BACKEND, "--conect-timeout", "5s"), USAGE, ["--conect-timeout", "did you mean.*--connect-timeout"]),
    ((*LISTEN, *BACKEND, "stray"), USAGE, ["stray"]),
    ((*LISTEN, *BACKEND, "-b"), USAGE, ["--backend: the value is missing"]),
    ((*LISTEN, *BACKEND, "-w", "1", "-w", "2"), USAGE, ["--workers is given more than once"]),
    # verbs
    (("relaod", "-c", "eplb.toml"), USAGE, ['unknown verb "relaod"; did you mean "reload"', "--help"]),
    (("telepathy",), USAGE, ['unknown verb "telepathy"']),
    (("127.0.0.1:1",), USAGE, ['unexpected argument "127.0.0.1:1"', "-b"]),
    # addresses
    ((*LISTEN, "-b", ":3306"), USAGE, ["--backend", ":3306", "127.0.0.1:3306"]),
    (("-l", "nosuch.invalid:80", *BACKEND), RUN_TIME, ["nosuch.invalid"]),
    (("-l", "127.0.0.1:99999999999999999999", *BACKEND), USAGE, ["99999999999999999999"]),
    # loops and repetitions
    ((*LISTEN, "-b", "{port}"), USAGE, ["{port}", "loop|listener"]),
    (("-l", "{any_port}", "-b", "127.0.0.1{any_port}"), USAGE, ["127.0.0.1{any_port}", "loop|listener"]),
    (("-l", "{any_port}", "-b", "[::1]{any_port}"), USAGE, [r"\[::1\]{any_port}", "loop|listener"]),
    (("-l", "{any_port}", "-b", "127.9.9.9{any_port}"), USAGE, ["127.9.9.9{any_port}", "loop|listener"]),
    (("-l", "unix:@eplb-loop", "-b", "unix:@eplb-loop"), USAGE, ["unix:@eplb-loop", "loop|listener"]),
    ((*LISTEN, *LISTEN, *BACKEND), USAGE, ["{port}", "twice"]),
    # a place that is taken
    (("-l", "{taken}", *BACKEND), RUN_TIME, ["{taken}", "[Aa]ddress already in use"]),
    ((*LISTEN, "-l", "{taken}", *BACKEND), RUN_TIME, ["{taken}", "[Aa]ddress already in use"]),
    (("-l", "192.0.2.1:80", *BACKEND), RUN_TIME, ["192.0.2.1:80", "[Cc]annot assign|not available"]),
    (("-l", "unix:/nonexistent/eplb", *BACKEND), RUN_TIME, ["unix:/nonexistent/eplb", "No such file"]),
    # values
    ((*LISTEN, "-b", "127.0.0.1:0"), USAGE, ["--backend", "127.0.0.1:0", "port"]),
    (("-l", "127.0.0.1:65536", *BACKEND), USAGE, ["--listen", "127.0.0.1:65536", "port"]),
    (("-l", "127.0.0.1:abc", *BACKEND), USAGE, ["--listen", "127.0.0.1:abc", "port"]),
    ((*LISTEN, *BACKEND, "--idle-timeout", "5"), USAGE, ["--idle-timeout", "5", "unit"]),
    ((*LISTEN, *BACKEND, "--max-connections", "0"), USAGE, ["--max-connections", "0"]),
    ((*LISTEN, "-b", "127.0.0.1:1,wieght=3"), USAGE, ["--backend", "did you mean.*weight"]),
    ((*LISTEN, *BACKEND, "--relay", "telepathy"), USAGE, ["--relay", "telepathy", "splice"]),
    ((*LISTEN, *BACKEND, "--relay", "Auto"), USAGE, ["--relay", "Auto"]),
    ((*LISTEN, *BACKEND, "--log-level", "loud"), USAGE, ["--log-level", "loud", "debug"]),
    ((*LISTEN, *BACKEND, "--log-format", "xml"), USAGE, ["--log-format", "xml", "json"]),
]  # fmt: skip

# The same for many values that are wrong in one and the same place.
MORE_MISTAKES = [
    *(
        (arguments, USAGE, [option, re.escape(address), "port|address"])
        for option in ("--listen", "--backend")
        for address in (
            "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:99999", "127.0.0.1:abc", "127.0.0.1:", "127.0.0.1",
            "127.0.0.1:-1", "127.0.0.1:80x", "127.0.0.1: 80", "[::1", "[::1]", "[::1]80", "[:::1]:80", "::1:80",
            "[nonsense]:80", "unix:", "unix:@", "unix:/" + "x" * 108, ":", "",
        )
        for arguments in [(*LISTEN, "-b", address) if option == "--backend" else ("-l", address, *BACKEND)]
    ),
    *(
        ((*LISTEN, *BACKEND, option, duration), USAGE, [option, re.escape(duration), "duration"])
        for option in ("--connect-timeout", "--idle-timeout", "--half-close-timeout", "--drain-timeout")
        for duration in ("5", "s", "-5s", "5x", "1.5s", "99999999999999999999s", "9999999999999h", "5 s", "")
    ),
    *(
        ((*LISTEN, *BACKEND, "--max-connections", number), USAGE, ["--max-connections", number])
        for number in ("0", "-1", "abc", "1x", "1.5", "18446744073709551616", "4294967296000000000")
    ),
    *(
        ((*LISTEN, "-b", f"127.0.0.1:1,{setting}"), USAGE, ["--backend", re.escape(setting.split("=")[0])])
        for setting in (
            "weight=-1", "weight=abc", "weight=", "weight", "weight=1.5", "weight=99999999999", "name=", "colour=red",
            "weight=1,,",
        )
    ),
]  # fmt: skip


def listening_sockets():
    """Of this network, by address."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in pathlib.Path(f"/proc/thread-self/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if TCP_STATES[fields[3]] == "LISTEN":
                found.add(fields[1])
    return found


@pytest.fixture(scope="module")
def own_network():
    """Where nobody else listens or stops listening meanwhile."""
    network = Namespace()
    yield network
    network.close()


def check_mistake(lab, network, arguments, code, patterns):
    with network.entered():
        taken = lab.backend()
        places = {
            "port": lab.reserve(),
            "any_port": ":" + lab.reserve("[::]").rsplit(":", 1)[1],
            "taken": taken.address,
        }
        before = listening_sockets()
        done = run_eplb(*(argument.format(**places) for argument in arguments))
        assert listening_sockets() <= before
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("eplb: ")
    assert not re.search(r"ERROR|Sanitizer|terminate called|what\(\)", done.stderr)
    quoted = {name: re.escape(place) for name, place in places.items()}
    for pattern in patterns:
        assert re.search(pattern.format(**quoted), done.stderr), f"{pattern!r} is not in: {done.stderr}"


@pytest.mark.quick
@pytest.mark.parametrize("arguments, code, patterns", MISTAKES, ids=lambda value: str(value)[:60])
def test_a_mistake_is_explained_and_nothing_is_left_half_started(lab, own_network, arguments, code, patterns):
    check_mistake(lab, own_network, arguments, code, patterns)


@pytest.mark.parametrize("arguments, code, patterns", MORE_MISTAKES, ids=lambda value: str(value)[:60])
def test_every_wrong_value_is_explained(lab, own_network, arguments, code, patterns):
    check_mistake(lab, own_network, arguments, code, patterns)


def test_a_privileged_port_needs_the_right_to_it(lab):
    namespace = lab.namespace()
    namespace.set("net/ipv4/ip_unprivileged_port_start", 1024)
    done = run_eplb("-l", "127.0.0.1:80", "-b", "127.0.0.1:1", user="nobody", namespace=namespace)
    assert done.returncode == 1
    assert re.search(r"^eplb: .*127\.0\.0\.1:80.*[Pp]ermission denied", done.stderr), done.stderr


def test_the_socket_of_a_running_eplb_is_not_taken_over(lab):
    where = f"unix:{lab.folder}/eplb"
    running = lab.eplb([lab.greeter("!")], listen=[where])
    done = run_eplb("-l", where, "-b", "127.0.0.1:1")
    assert done.returncode == 1
    assert re.search(r"^eplb: .*unix:.*[Aa]ddress already in use", done.stderr), done.stderr
    assert read_exactly(lab.client(running), 1) == b"!"
    running.counting = False  # the other one may have knocked to see whether anybody is there


def test_a_file_that_is_no_socket_is_not_removed(lab):
    precious = lab.folder / "precious"
    precious.write_text("data")
    done = run_eplb("-l", f"unix:{precious}", "-b", "127.0.0.1:1")
    assert done.returncode == 1
    assert precious.read_text() == "data"


def test_the_socket_that_a_crashed_eplb_left_behind_is_replaced(lab):
    where = f"unix:{lab.folder}/eplb"
    left_over = socket.socket(socket.AF_UNIX)
    left_over.bind(where.removeprefix("unix:"))
    left_over.close()
    eplb = lab.eplb([lab.greeter("!")], listen=[where])
    assert read_exactly(lab.client(eplb), 1) == b"!"


def test_a_port_with_connections_in_time_wait_can_be_listened_on_again(lab):
    address = lab.reserve()
    backend = lab.backend()
    for _ in range(2):
        eplb = lab.eplb([backend], listen=[address])
        client, server = lab.pair(eplb, backend)
        server.close()  # so that eplb closes the client's connection first
        assert client.recv(1) == b""
        client.close()
        eplb.next_session()
        eplb.check_quiet()
        eplb.process.terminate()
        eplb.expect_exit(0)


def test_a_host_name_is_looked_up(lab):
    backend = lab.greeter("!")
    port = lab.reserve().rsplit(":", 1)[1]
    eplb = lab.eplb([f"localhost:{backend.address.rsplit(':', 1)[1]}"], listen=[f"localhost:{port}"])
    with contextlib.closing(dial(f"127.0.0.1:{port}")) as client:
        eplb.clients += 1
        assert read_exactly(client, 1) == b"!"


@pytest.mark.quick
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_goes_to_standard_output_begins_with_how_to_use_it_and_names_every_flag(flag):
    done = run_eplb(flag)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.match(r"(?i)usage|example", done.stdout)
    assert "eplb -l :5555 -b 127.0.0.1:3306 -b 127.0.0.1:3307" in done.stdout
    flags = """-l --listen -b --backend weight= name= --connect-timeout 5s --idle-timeout --half-close-timeout 1m
        --drain-timeout 30s -w --workers --max-connections --relay auto splice copy --pipe-size --busy-poll --log-level debug info warning error
        --log-format text json -q --quiet -h --help -V --version""".split()
    for word in flags:
        assert word in done.stdout, word


@pytest.mark.quick
@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_version_goes_to_standard_output(flag):
    done = run_eplb(flag)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"eplb \d+\.\d+\.\d+\n", done.stdout)


def test_help_is_given_even_when_the_rest_makes_no_sense():
    assert run_eplb("--help", "--no-such-flag").returncode == 0


def test_the_manual_page_has_every_option_and_no_other():
    page = (pathlib.Path(__file__).parents[2] / "man" / "eplb.1").read_text()
    said = set()
    for arguments in (["--help"], ["reload", "--help"]):
        said |= set(re.findall(r"(?<![\w:-])--?[A-Za-z][a-z-]*", run_eplb(*arguments).stdout))
    written = set()
    for line in page.splitlines():
        if line.startswith(".It Fl"):
            for option in re.findall(r"(?:Fl|,) (-?[\w-]+)", line):
                written.add("-" + option)
    assert said == written


def test_a_start_without_threads_says_what_was_short(lab, monkeypatch):
    monkeypatch.setenv("ASAN_OPTIONS", "detect_leaks=0")  # which takes a thread
    done = run_eplb("-l", lab.reserve(), "-b", "127.0.0.1:1", user="nobody", prefix=["prlimit", "--nproc=1:1"])
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "eplb: cannot start the thread of the log: too little memory, or too many threads (ulimit -v, -u): "
        "Resource temporarily unavailable\n"
    )


def test_a_start_while_nobody_reads_standard_error_hangs_nowhere(lab):
    """A warning of the configuration, and a mistake, are told before there is a log."""
    path = lab.folder / "eplb.toml"
    reading, writing = os.pipe()
    filler = os.open(f"/proc/self/fd/{writing}", os.O_WRONLY | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(filler, b"x")
    os.close(filler)
    path.write_text("nonsense = 1\n")
    process = subprocess.Popen(command_line(["-c", str(path)]), stdin=subprocess.DEVNULL, stderr=writing)
    assert process.wait(GUARD) == 2
    os.close(reading)
    os.close(writing)
