"""The configuration file: what it does, and what is said of one that is wrong."""

import pathlib
import re
import signal
import subprocess

import pytest

from harness import read_exactly, run_eplb, wait_until

EXAMPLES = sorted((pathlib.Path(__file__).parents[2] / "examples").glob("*.toml"))
GOOD = """
[[service]]
name = "mysql"
listen = "127.0.0.1:5555"
[[service.backend]]
address = "127.0.0.1:1"
"""


def written(lab, text, name="eplb.toml"):
    path = lab.folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def said_of(path, *args):
    """What -t says, without the directory of the file."""
    done = run_eplb("-t", "-c", str(path), *args)
    assert not re.search(r"ERROR|Sanitizer|terminate called|what\(\)", done.stderr)
    return done.returncode, done.stdout.replace(f"{path.parent}/", ""), done.stderr.replace(f"{path.parent}/", "")


@pytest.mark.quick
def test_every_service_of_a_file_serves_its_own_backends(lab):
    one, two, front = lab.greeter("1"), lab.greeter("2"), f"unix:{lab.folder}/front"
    listen = [lab.reserve(), lab.reserve(), front]
    eplb = lab.configured(
        f"""
        [defaults]
        idle_timeout = "1h"
        [[service]]
        name = "one"
        listen = "{listen[0]}"
        [[service.backend]]
        address = "{one.address}"
        [[service]]
        listen = ["{listen[1]}", "{front}"]
        relay = "copy"
        [[service.backend]]
        address = "{two.address}"
        name = "second"
        """,
        listen=listen,
    )
    for listener, greeting, service in ((0, b"1", "one"), (1, b"2", listen[1]), (2, b"2", listen[1])):
        client = lab.client(eplb, listener)
        assert read_exactly(client, 1) == greeting
        client.close()
        session = eplb.next_session()
        assert session["service"] == service
    assert session["backend_name"] == "second"
    told = "\n".join(eplb.messages())
    assert "service one: relay auto" in told and "idle 1h" in told
    assert f"service {listen[1]}: relay copy" in told


def test_an_option_wins_over_the_file(lab):
    server = lab.greeter("!")
    listen = lab.reserve()
    text = f"""
        [log]
        level = "error"
        [[service]]
        listen = "{listen}"
        relay = "splice"
        [[service.backend]]
        address = "{server.address}"
        """
    eplb = lab.configured(text, "--relay", "copy", "--log-level", "info", listen=[listen])
    assert re.search("relay copy", "\n".join(eplb.messages()))


@pytest.mark.quick
def test_a_good_file_passes_the_test_and_nothing_is_opened(lab, tmp_path):
    path = written(lab, f'[log]\nfile = "{tmp_path}/eplb.log"\n' + GOOD)
    trace = tmp_path / "trace"
    strace = ["strace", "-f", "-o", str(trace), "-e", "trace=socket,bind,connect,unlink,creat,openat",
              "-E", "ASAN_OPTIONS=detect_leaks=0"]  # fmt: skip
    done = run_eplb("-t", "-c", str(path), prefix=strace)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{path}: good: 1 service, 1 listener, 1 backend\n"
    calls = trace.read_text()
    assert "bind(" not in calls and "unlink" not in calls and "AF_INET" not in calls
    assert "O_CREAT" not in calls and "O_WRONLY" not in calls


ERRORS = [
    # What the issue promises, to the letter.
    (
        GOOD.replace('name = "mysql"', 'relay = "spilce"'),
        'eplb.toml:3:9: error: unknown relay "spilce"; did you mean "splice"?\n'
        '    3 | relay = "spilce"\n'
        "      |         ^~~~~~~~\n",
    ),
    # All of them at once, in the order of the file.
    (
        'wrokers = 2\n[log]\nlevel = "loud"\n[[service]]\nlisten = ":0"\nidle_timeout = 5\nidle_timeout = "6s"\n'
        "[[service.backend]]\nweight = -1\n",
        "eplb.toml:1:1: error: unknown key \"wrokers\"; did you mean \"workers\"?\n"
        "    1 | wrokers = 2\n"
        "      | ^~~~~~~\n"
        'eplb.toml:3:9: error: unknown level "loud"; use debug, info, warning or error\n'
        '    3 | level = "loud"\n'
        "      |         ^~~~~~\n"
        'eplb.toml:5:10: error: listen: bad address ":0": ports are numbers from 1 to 65535\n'
        '    5 | listen = ":0"\n'
        "      |          ^~~~\n"
        'eplb.toml:6:16: error: idle_timeout: a duration needs a unit; did you mean "5s"?\n'
        "    6 | idle_timeout = 5\n"
        "      |                ^\n"
        'eplb.toml:7:1: error: "idle_timeout" is given twice; first in line 6\n'
        '    7 | idle_timeout = "6s"\n'
        "      | ^~~~~~~~~~~~\n"
        'eplb.toml:8:1: error: [[service.backend]] has no address; add: address = "127.0.0.1:3306"\n'
        "    8 | [[service.backend]]\n"
        "      | ^~~~~~~~~~~~~~~~~~~\n"
        "eplb.toml:9:10: error: weight: -1 is not a whole number from 0 to 65535\n"
        "    9 | weight = -1\n"
        "      |          ^~\n",
    ),
    # A backend that is our own listener.
    (
        GOOD.replace("127.0.0.1:1", "127.0.0.1:5555"),
        "eplb.toml:6:11: error: backend 127.0.0.1:5555 is our own listener 127.0.0.1:5555 in line 4: every connection "
        "would loop\n"
        '    6 | address = "127.0.0.1:5555"\n'
        "      |           ^~~~~~~~~~~~~~~~\n",
    ),
]


@pytest.mark.quick
@pytest.mark.parametrize("text, expected", ERRORS, ids=range(len(ERRORS)))
def test_errors_are_told_as_a_compiler_does_all_in_one_run(lab, text, expected):
    path = written(lab, text)
    assert said_of(path) == (2, "", expected)
    # Without -t it does not start either, and says the same.
    done = run_eplb("-c", str(path))
    assert done.returncode == 2
    assert done.stderr.replace(f"{path.parent}/", "") == expected


def test_warnings_do_not_keep_it_from_starting_unless_strict(lab):
    path = written(lab, GOOD.replace('name = "mysql"', 'connect_timeout = "off"'))
    code, out, err = said_of(path)
    assert code == 0 and "good" in out
    assert err.startswith("eplb.toml:3:19: warning: connect_timeout is off: ")
    code, out, err = said_of(path, "--strict")
    assert code == 2 and out == ""
    assert err.endswith("eplb.toml: 1 warning, and --strict\n")


def values_of(dump):
    return [re.sub(r"\s+#.*", "", line) for line in dump.splitlines()]


@pytest.mark.quick
def test_the_dump_tells_where_each_value_comes_from_and_is_a_configuration(lab):
    path = written(lab, 'workers = 2\n[defaults]\nidle_timeout = "5m"\n' + GOOD)
    done = run_eplb("-T", "-c", str(path), "--log-level", "debug")
    assert (done.returncode, done.stderr) == (0, "")
    for line in (
        rf"workers = 2 +# {re.escape(str(path))}:1",
        r'level = "debug" +# --log-level',
        r'format = "text" +# default',
        rf'idle_timeout = "5m" +# {re.escape(str(path))}:3 \[defaults\]',
        rf'listen = \["127.0.0.1:5555"\] +# {re.escape(str(path))}:7',
    ):
        assert re.search(f"^{line}$", done.stdout, re.M), done.stdout
    again = written(lab, done.stdout, "again.toml")
    assert said_of(again)[0] == 0
    assert values_of(run_eplb("-T", "-c", str(again)).stdout) == values_of(done.stdout)


def test_variables_are_replaced_only_when_that_is_asked_for(lab):
    path = written(lab, GOOD.replace('"127.0.0.1:1"', '"${DB:-127.0.0.1:7}"\nweight = "${WEIGHT}"'))
    code, _, err = said_of(path)
    assert code == 2 and "eplb.toml:6:11: error: address: bad address" in err
    code, _, err = said_of(path, "--expand-env")
    assert code == 2 and "eplb.toml:7:10: error: there is no variable WEIGHT in the environment" in err
    done = run_eplb("-T", "-c", str(path), "--expand-env", prefix=["env", "WEIGHT=3"])
    assert done.returncode == 0, done.stderr
    assert 'address = "127.0.0.1:7"' in done.stdout and "weight = 3" in done.stdout


HOSTILE = {
    "brackets": (b"a = " + b"[" * 1_000_000, "nested"),
    "tables": (b"[" * 1_000_000, "nested"),
    "braces": (b"a = " + b"{a = " * 100_000, "nested"),
    "dots": (b"a" + b".a" * 400_000 + b" = 1", "nested"),
    "nul": (GOOD.encode() + b"\0", ":7: error: there is a NUL byte"),
    "utf16": (GOOD.encode("utf-16"), "UTF-16"),
    "latin1": (b'x = "\xe9"\n', "error"),
    "too large": (b"#" * (1 << 20) + b"\n", "larger than 1MiB"),
    "one quote": (b'a = "', "error"),
    "escapes": (b'a = "\\uD800"', "error"),
    "terminal": (b'a = "\x1b[31m"', "error"),
    "many keys": (b"".join(b"k%d = 1\n" % n for n in range(60_000)), "and 59951 more"),
    "many duplicates": (b"workers = 1\n" * 60_000, "given twice"),
    "many tables": (b"".join(b"[a%d.b]\n" % n for n in range(60_000)), "and 59951 more"),
    "empty": (b"", "no service"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_gets_a_clean_error(lab, name):
    text, expected = HOSTILE[name]
    code, out, err = said_of(written(lab, text))
    assert (code, out) == (2, "")
    assert expected in err
    assert len(err) < 100_000
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", err)


def test_byte_order_mark_and_windows_line_ends_are_no_reason_to_refuse(lab):
    code, _, err = said_of(written(lab, b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode()))
    assert (code, err) == (0, "")


def test_what_is_no_readable_file_is_told_apart(lab, tmp_path):
    subprocess.run(["mkfifo", str(tmp_path / "fifo")], check=True)
    (tmp_path / "loop").symlink_to("loop")
    for name, message in (
        ("fifo", "it is a pipe"),
        (".", "it is a directory"),
        ("absent", "No such file"),
        ("loop", "Too many levels"),
    ):
        done = run_eplb("-t", "-c", str(tmp_path / name))
        assert done.returncode == 2
        assert message in done.stderr
    done = run_eplb("-t", "-c", "/dev/zero")
    assert done.returncode == 2 and "it is a device" in done.stderr
    secret = written(lab, GOOD)
    secret.chmod(0o600)
    done = run_eplb("-t", "-c", str(secret), user="nobody")
    assert done.returncode == 2 and "Permission denied" in done.stderr


def test_a_name_without_an_address_is_no_mistake_of_the_file_but_may_keep_it_from_starting(lab):
    text = GOOD.replace("127.0.0.1:1", "nosuch.invalid:1")
    path = written(lab, text + '\n[dns]\nmissing = "fail"\n')
    assert said_of(path)[0] == 0
    done = run_eplb("-c", str(path))
    assert done.returncode == 1
    assert re.search(r'eplb.toml:6:11: error: cannot resolve "nosuch.invalid"', done.stderr)


def test_the_log_can_go_to_a_file_and_be_moved_away(lab, tmp_path):
    server, listen, log = lab.greeter("!"), lab.reserve(), lab.folder / "eplb.log"
    text = f"""
        [log]
        file = "{log}"
        [[service]]
        listen = "{listen}"
        [[service.backend]]
        address = "{server.address}"
        """
    eplb = lab.configured(text, listen=[listen], wait=False)
    eplb.counting = False
    wait_until(lambda: log.exists() and "ready" in log.read_text(), "it is ready")
    eplb.baseline = eplb.sockets()
    log.rename(lab.folder / "eplb.log.1")
    eplb.process.send_signal(signal.SIGUSR1)
    wait_until(log.exists, "it has opened it anew")
    client = lab.client(eplb)
    assert read_exactly(client, 1) == b"!"
    client.close()
    wait_until(lambda: '"event":"session"' in log.read_text(), "it writes into the new one")


@pytest.mark.parametrize("sessions, lines", [("off", 0), ("close", 1), ("open+close", 2)])
def test_sessions_write_the_lines_that_are_asked_for(lab, sessions, lines):
    server, listen = lab.greeter("!"), lab.reserve()
    eplb = lab.configured(
        f'[log]\nsessions = "{sessions}"\n[[service]]\nlisten = "{listen}"\n'
        f'[[service.backend]]\naddress = "{server.address}"\n',
        listen=[listen],
    )
    eplb.counting = sessions != "off"
    client = lab.client(eplb)
    assert read_exactly(client, 1) == b"!"
    client.close()
    eplb.process.send_signal(signal.SIGTERM)
    eplb.expect_exit(0)  # by then all is written
    told = [line for line in eplb.lines if "client" in line]
    assert len(told) == lines, told


def test_the_examples_are_good():
    assert EXAMPLES
    for example in EXAMPLES:
        done = run_eplb("-t", "--strict", "-c", str(example))
        assert done.returncode == 0, done.stderr
