"""What the kernel will not take is found out before anything is changed, and told at its place."""

import contextlib
import re

import pytest

from harness import dial, read_exactly, run_eplb, wait_until


def service(listen, backends, extra=""):
    text = f'[[service]]\nname = "db"\nlisten = ["{listen}"]\n{extra}\n'
    for backend in backends:
        text += f'[[service.backend]]\naddress = "{getattr(backend, "address", backend)}"\n'
    return text


def served(lab, eplb):
    client = lab.client(eplb)
    said = read_exactly(client, 1)
    client.close()
    return said.decode()


# What can never work, and what may come by itself.
NEVER = ['congestion = "nosuch"']
NOT_NOW = ['interface = "nosuch0"', 'source = "192.0.2.1"']
AS_NOBODY = ["mark = 5", "transparent = true"]


def controlled(lab, text):
    return f'control = "unix:{lab.folder}/control"\n' + text


def reload_by(eplb, *args):
    return run_eplb("reload", "-c", str(eplb.config), *args)


def place(eplb, key, line=5):
    return re.compile(rf"^{re.escape(str(eplb.config))}:{line}:\d+: error: {key}: ", re.M)


@pytest.mark.quick
@pytest.mark.parametrize("extra", NEVER + NOT_NOW)
def test_a_reload_of_what_the_kernel_refuses_is_refused_and_clients_are_served_on(lab, extra):
    server, listen = lab.greeter("a"), lab.reserve()
    before = controlled(lab, service(listen, [server]))
    eplb = lab.configured(before, listen=[listen])
    eplb.baseline = eplb.sockets()
    key = extra.split()[0]
    eplb.config.write_text(controlled(lab, service(listen, [server], extra)))
    for args in (["-n"], []):
        done = reload_by(eplb, *args)
        assert done.returncode == 1 and place(eplb, key).search(done.stderr), done
    assert served(lab, eplb) == "a"
    forced = reload_by(eplb, "--force")
    if extra in NEVER:
        assert forced.returncode == 1 and place(eplb, key).search(forced.stderr)
    else:
        assert forced.returncode == 0 and f"warning: {key}: " in forced.stdout, forced
    eplb.config.write_text(before)
    assert reload_by(eplb).returncode == 0
    eplb.forget_sessions()
    assert served(lab, eplb) == "a"


@pytest.mark.parametrize("extra", AS_NOBODY)
def test_who_lacks_the_capability_is_refused_by_a_start_a_reload_and_a_test_alike(lab, extra):
    server, listen = lab.greeter("a"), lab.reserve()
    before = service(listen, [server])
    eplb = lab.configured(before, listen=[listen], user="nobody")
    key = extra.split()[0]
    told = eplb.reload(service(listen, [server], extra))
    refusal = next(line for line in told if f" {key}: " in line)
    assert "Operation not permitted" in refusal and ":4:" in refusal
    assert told[-1].startswith("not reloaded")
    assert served(lab, eplb) == "a"
    other = lab.folder / "other.toml"
    other.write_text(service(lab.reserve(), [server], extra))
    other.chmod(0o644)
    for args in ([], ["-t"]):
        done = run_eplb(*args, "-c", str(other), user="nobody")
        assert done.returncode == 1 and re.search(rf":4:\d+: error: {key}: .*Operation not permitted", done.stderr)


def test_a_test_of_a_file_tries_options_but_takes_no_port(lab):
    taken, path = lab.backend(), lab.folder / "eplb.toml"
    path.write_text(service(taken.address, ["127.0.0.1:1"]))
    assert run_eplb("-t", "-c", str(path)).returncode == 0
    path.write_text(service(taken.address, ["127.0.0.1:1"], NEVER[0]))
    done = run_eplb("-t", "-c", str(path))
    assert done.returncode == 1 and "error: congestion: " in done.stderr
    path.write_text(service(taken.address, ["127.0.0.1:1"], NOT_NOW[0]))
    done = run_eplb("-t", "-c", str(path))
    assert done.returncode == 0 and "warning: interface: " in done.stderr
    assert run_eplb("-t", "--strict", "-c", str(path)).returncode == 2


@pytest.mark.quick
def test_a_start_tells_the_place_of_a_port_that_is_taken(lab):
    taken, path = lab.backend(), lab.folder / "eplb.toml"
    path.write_text(service(taken.address, ["127.0.0.1:1"]))
    done = run_eplb("-c", str(path))
    assert done.returncode == 1
    assert f"{path}:3:11: error: cannot listen on {taken.address} (" in done.stderr


@pytest.mark.quick
def test_a_dry_run_refuses_all_that_a_reload_would(lab):
    server, listen, taken = lab.greeter("a"), lab.reserve(), lab.backend()
    eplb = lab.configured(controlled(lab, service(listen, [server])), listen=[listen])
    eplb.baseline = eplb.sockets()
    port = listen.split(":")[1]
    other = lab.folder / "other.toml"
    more = controlled(lab, service(listen, [server]))
    for text, problem in (
        (more + service(taken.address, [server]).replace("db", "x"), "Address already in use"),
        (more + service(f"unix:{lab.folder}/none/s", [server]).replace("db", "x"), "No such file or directory"),
        (controlled(lab, service(f"0.0.0.0:{port}", [server])), "that takes a restart"),
        (more + f'[log]\nfile = "{lab.folder}/none/log"\n', "cannot write the log file"),
    ):
        other.write_text(text)
        done = run_eplb("reload", "-n", "-c", str(other))
        assert done.returncode == 1 and problem in done.stderr, done
        assert re.search(r"other.toml:\d+:\d+: error: ", done.stderr)
    assert served(lab, eplb) == "a"
    assert not list(lab.folder.glob(".eplb*"))


def test_what_is_not_there_at_the_start_is_waited_for(lab):
    """An interface that comes up later: no client by another way meanwhile, and by this one from then on."""
    namespace = lab.namespace()
    with namespace.entered():
        server, listen = lab.greeter("a"), lab.reserve("0.0.0.0")
    port = int(listen.split(":")[1])
    eplb = lab.configured(service(listen, [server], 'interface = "late0"'), listen=[listen], namespace=namespace)
    assert any("warning: interface: " in line for line in list(eplb.lines))
    eplb.wait_for_message("waits for interface late0")
    assert f"not yet listening on {listen}" in eplb.messages()
    with namespace.entered():
        with pytest.raises(ConnectionRefusedError):
            dial(f"127.0.0.1:{port}")
        namespace.run("ip", "link", "add", "late0", "type", "veth", "peer", "name", "late1")
        namespace.run("ip", "addr", "add", "192.0.2.9/24", "dev", "late0")
        namespace.run("ip", "link", "set", "late0", "up")
        eplb.wait_for_message("interface late0 is there: listening on 0.0.0.0")
        with pytest.raises(ConnectionRefusedError):
            dial(f"127.0.0.1:{port}")  # not by lo
    wait_until(lambda: "LISTEN" in eplb.socket_states().values(), "it listens")
    eplb.baseline = eplb.sockets()


def test_a_source_that_comes_later_is_used_from_then_on(lab):
    namespace = lab.namespace()
    with namespace.entered():
        server, listen = lab.greeter("a"), lab.reserve()
    text = service(listen, [server], 'source = "192.0.2.7"')
    eplb = lab.configured(text, listen=[listen], namespace=namespace)
    assert any("warning: source: " in line for line in list(eplb.lines))
    with namespace.entered():
        client = lab.client(eplb)
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""
        session = eplb.next_session()
        assert (session["end"], session["problem"]) == ("local_error", "source")
        namespace.run("ip", "addr", "add", "192.0.2.7/32", "dev", "lo")
        client = lab.client(eplb)
        assert read_exactly(client, 1) == b"a"


def test_a_backend_is_not_ejected_for_an_option_of_ours(lab):
    server, path = lab.greeter("a"), f"unix:{lab.folder}/front"
    text = service(path, [server], 'source = "192.0.2.7"\neject_after = 1\nmax_ejected_percent = 100')
    eplb = lab.configured(text, listen=[path])
    for _ in range(3):
        assert lab.client(eplb).recv(1) == b""
        session = eplb.next_session()
        assert (session["end"], session["problem"]) == ("local_error", "source")
        assert session["tried"][0]["error"] == "source:EADDRNOTAVAIL"
    assert not [text for text in eplb.messages() if "left alone" in text]


@pytest.mark.parametrize("user", ["root", "nobody"])
def test_the_mode_of_a_unix_socket_is_set_even_if_its_owner_cannot_be(lab, user):
    server, path = lab.greeter("a"), f"unix:{lab.folder}/front"
    front = lab.folder / "front"
    owned = 'unix_owner = "root:root"\nunix_mode = "0600"'
    eplb = lab.configured(service(path, [server], 'unix_mode = "0666"'), listen=[path], user=user)
    assert front.stat().st_mode & 0o777 == 0o666
    told = eplb.reload(service(path, [server], owned))
    if user == "root":
        assert told[-1] == "reloaded" and front.stat().st_mode & 0o777 == 0o600
        return
    assert any(re.search(r":4:\d+: error: unix_owner: .*CAP_CHOWN.*Operation not permitted", line) for line in told)
    assert told[-1].startswith("not reloaded") and front.stat().st_mode & 0o777 == 0o666
    assert not list(lab.folder.glob(".eplb*"))
    other = lab.folder / "other.toml"
    other.write_text(service(f"unix:{lab.folder}/other", [server], owned))
    other.chmod(0o644)
    done = run_eplb("-c", str(other), user="nobody")
    assert done.returncode == 1 and "error: unix_owner: " in done.stderr
    assert not (lab.folder / "other").exists()
