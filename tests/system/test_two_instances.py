"""Two of them are started at the same moment: one serves, the other one says why it does not."""

import subprocess

import pytest

from harness import Eplb, command_line, dial, read_exactly, wait_until

ROUNDS = 8


@pytest.mark.parametrize("workers", ["1", "4"])
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_of_two_that_start_in_the_same_moment_exactly_one_serves(lab, workers, kind):
    server = lab.greeter("a")
    path = lab.folder / "eplb.toml"
    for number in range(ROUNDS):
        listen = lab.reserve() if kind == "tcp" else f"unix:{lab.folder}/front"
        path.write_text(f'[[service]]\nlisten = "{listen}"\n[[service.backend]]\naddress = "{server.address}"\n')
        both = [
            subprocess.Popen(command_line(["-c", str(path), "-w", workers]), stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        try:
            wait_until(lambda: any(eplb.poll() is not None for eplb in both), "one of them leaves")
            left = [eplb for eplb in both if eplb.poll() is not None]
            assert len(left) == 1, f"round {number}: nobody serves"
            assert left[0].returncode == 1
            assert "Address already in use" in left[0].stderr.read()
            winner = next(eplb for eplb in both if eplb is not left[0])
            client = wait_until(lambda: connected(listen), "the other one listens")
            assert read_exactly(client, 1) == b"a"
            client.close()
            assert winner.poll() is None
        finally:
            for eplb in both:
                eplb.kill()
                eplb.wait()
                eplb.stderr.close()


def connected(listen):
    try:
        return dial(listen)
    except (ConnectionRefusedError, FileNotFoundError):
        return None
