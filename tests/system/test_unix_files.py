"""The file of a Unix listener: what is ours, and what is not."""

import os
import signal
import socket
import stat

import pytest

from harness import dial, read_exactly, wait_until


def service(path, backends, extra=""):
    text = f'[[service]]\nname = "db"\nlisten = "unix:{path}"\n{extra}\n'
    for backend in backends:
        text += f'[[service.backend]]\naddress = "{getattr(backend, "address", backend)}"\n'
    return text


WORKERS = pytest.mark.parametrize("workers", ["1", "3"])


def served(lab, eplb):
    client = lab.client(eplb)
    said = read_exactly(client, 1)
    client.close()
    return said.decode()


def mode(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


@pytest.mark.quick
@WORKERS
def test_a_listener_whose_file_is_gone_is_reachable_again_after_a_reload(lab, workers):
    server, path = lab.greeter("a"), lab.folder / "front"
    eplb = lab.configured(service(path, [server], 'unix_mode = "0620"'), "-w", workers, listen=[f"unix:{path}"])
    for _ in range(3):
        path.unlink()
        with pytest.raises(FileNotFoundError):
            dial(f"unix:{path}")
        assert eplb.reload()[-1].startswith("reloaded")
        assert mode(path) == 0o620
        assert served(lab, eplb) == "a"
    told = eplb.messages("warning")
    assert f"listener unix:{path}: its file is gone, so nobody could connect" in told
    assert f"listener unix:{path}: it has a new file" in told
    eplb.reload()  # what was left of the old ones is gone by now
    states = [state for state in eplb.socket_states().values()]
    eplb.baseline = eplb.sockets()
    eplb.process.send_signal(signal.SIGTERM)
    eplb.expect_exit()
    assert not path.exists(), states


def test_who_waits_in_the_queue_of_a_listener_whose_file_is_gone_is_served(lab):
    server, path = lab.greeter("a"), lab.folder / "front"
    text = service(path, [server], "max_connections = 1")
    eplb = lab.configured(text, listen=[f"unix:{path}"])
    first = lab.client(eplb)
    assert read_exactly(first, 1) == b"a"
    waiting = [lab.client(eplb) for _ in range(5)]
    path.unlink()
    assert eplb.reload()[-1].startswith("reloaded")
    first.close()
    for client in waiting:
        assert read_exactly(client, 1) == b"a"
        client.close()
    assert served(lab, eplb) == "a"
    eplb.reload()
    eplb.baseline = [name for name, state in eplb.socket_states().items() if state in ("LISTEN", "?")]


@WORKERS
def test_what_somebody_else_has_put_at_its_path_is_left_alone(lab, workers):
    server, path = lab.greeter("a"), lab.folder / "front"
    eplb = lab.configured(service(path, [server], 'unix_mode = "0666"'), "-w", workers, listen=[f"unix:{path}"])
    assert served(lab, eplb) == "a"
    warning = f"listener unix:{path}: another file has taken the place of its own"

    path.unlink()
    other = lab.keep(socket.socket(socket.AF_UNIX))
    other.bind(str(path))
    other.listen()
    path.chmod(0o600)
    eplb.reload()
    assert mode(path) == 0o600 and warning in "".join(eplb.messages("warning"))

    path.unlink()
    victim = lab.folder / "victim"
    victim.write_text("x")
    victim.chmod(0o600)
    path.symlink_to(victim)
    eplb.reload(service(path, [server], 'unix_mode = "0640"'))
    assert mode(victim) == 0o600

    eplb.process.send_signal(signal.SIGTERM)
    eplb.expect_exit()
    assert path.is_symlink() and victim.read_text() == "x"


@pytest.mark.quick
def test_a_socket_with_a_mode_has_it_before_anybody_could_use_it(lab):
    """With a wide umask, and an owner that comes before the mode."""
    server, path = lab.greeter("a"), lab.folder / "front"
    text = service(path, [server], 'unix_owner = "65534"\nunix_mode = "0600"')
    before = os.umask(0)
    try:
        eplb = lab.configured(text, listen=[f"unix:{path}"], wait=False)
        seen = set()

        def ready():
            try:
                seen.add(mode(path))
            except FileNotFoundError:
                pass
            return any('"ready"' in line or "ready" in line for line in list(eplb.lines))

        wait_until(ready, "it is ready")
    finally:
        os.umask(before)
    eplb.wait_until_ready()
    assert seen <= {0o600}, [oct(m) for m in seen]
    assert os.lstat(path).st_uid == 65534
