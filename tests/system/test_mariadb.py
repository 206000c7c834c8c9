"""The demonstration that the project grew from: MariaDB clients reach two servers through one port."""

import contextlib
import hashlib
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from harness import GUARD, Lab, dial, read_exactly, wait_until

BULK_ROWS, BULK_ROW_BYTES = 500, 100_000  # 50 MB


class Server:
    """A mariadbd of its own, with one database."""

    def __init__(self, folder, address, database):
        self.folder = folder
        self.address = address
        self.socket = folder / "socket"
        self.log = folder / "log"
        # One that starts removes from its tmpdir the temporary tables of all others.
        common = [f"--datadir={folder}/data", f"--tmpdir={folder}", "--user=root"]
        subprocess.run(
            ["mariadb-install-db", "--no-defaults", *common, "--skip-test-db",
             "--auth-root-authentication-method=normal"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True,
        )  # fmt: skip
        host, port = address.rsplit(":", 1)
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                ["mariadbd", "--no-defaults", *common, f"--socket={self.socket}", f"--bind-address={host}",
                 f"--port={port}", f"--pid-file={folder}/pid", "--max-allowed-packet=64M", "--skip-name-resolve",
                 "--innodb-buffer-pool-size=32M", "--innodb-flush-log-at-trx-commit=0"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        wait_until(self._answers, "mariadbd is up")
        self.run(
            f"CREATE DATABASE {database}; USE {database};"
            "CREATE TABLE t (id INT PRIMARY KEY, value VARCHAR(64));"
            "CREATE TABLE bulk (id INT PRIMARY KEY, data LONGBLOB);"
            f"INSERT INTO bulk SELECT seq, RPAD(SHA2(seq, 512), {BULK_ROW_BYTES}, SHA2(seq + 7, 512))"
            f" FROM seq_1_to_{BULK_ROWS};"
        )

    def _answers(self):
        assert self.process.poll() is None, self.log.read_text()
        with contextlib.suppress(OSError, AssertionError):
            with contextlib.closing(dial(self.address)) as probe:
                return b"MariaDB" in read_exactly(probe, 40)
        return False

    def run(self, sql):
        return query(["--socket", str(self.socket)], sql)

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(GUARD)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def query(where, sql, database=None):
    """Runs statements on one connection and returns what the client prints."""
    done = subprocess.run(
        ["mariadb", "--no-defaults", "--user=root", "--batch", "--skip-column-names", "--skip-ssl", "--quick",
         "--max-allowed-packet=64M", *where, *([database] if database else [])],
        input=sql.encode(), capture_output=True, timeout=GUARD * 2,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.fixture(scope="module")
def servers():
    for tool, package in {
        "mariadbd": "mariadb-server",
        "mariadb-install-db": "mariadb-server",
        "mariadb": "mariadb-client",
    }.items():
        assert shutil.which(tool), f"{tool} is missing: apt-get install {package}"
    with tempfile.TemporaryDirectory(prefix="eplb-mariadb-") as folder, contextlib.ExitStack() as running:
        lab = Lab(pathlib.Path(folder))
        running.callback(lab.finish, failed=True)
        started = {}
        for name in ("test", "test2"):
            (pathlib.Path(folder) / name).mkdir()
            address = lab.reserve()
            started[name] = running.enter_context(
                contextlib.closing(Server(pathlib.Path(folder) / name, address, name))
            )
        yield started


def through(eplb):
    host, port = eplb.listeners[0].rsplit(":", 1)
    eplb.clients += 1
    return ["--host", host, "--port", port, "--protocol=tcp"]


@pytest.mark.parametrize("relay", ["auto", "splice", "copy"])
def test_two_clients_reach_two_servers_and_run_statements(lab, servers, relay):
    eplb = lab.eplb([server.address for server in servers.values()], relay=relay)
    for name in ("test", "test2"):
        statements = ["SELECT DATABASE();", "TRUNCATE t;"]
        expected = [name]
        for number in range(99):
            statements.append(f"INSERT INTO t VALUES ({number}, 'row {number}');")
            statements.append(f"SELECT value FROM t WHERE id = {number};")
            expected.append(f"row {number}")
        assert len(statements) == 200
        answer = query(through(eplb), "\n".join(statements), database=name)
        assert answer.decode().splitlines() == expected
        session = eplb.next_session()
        assert session["backend"] == servers[name].address
        assert session["end"] in ("client_fin", "server_fin")
    # Each server has its own database only: whoever had been sent to the other one would have failed.


@pytest.mark.parametrize("relay", ["auto", "splice", "copy"])
def test_a_bulk_select_of_fifty_megabytes_is_the_same_through_eplb(lab, servers, relay):
    server = servers["test"]
    select = "SELECT id, data FROM bulk ORDER BY id;"
    direct = hashlib.sha256(query(["--socket", str(server.socket)], select, "test")).hexdigest()
    eplb = lab.eplb([server.address], relay=relay)
    answer = query(through(eplb), select, "test")
    assert len(answer) > BULK_ROWS * BULK_ROW_BYTES
    assert hashlib.sha256(answer).hexdigest() == direct
    assert eplb.next_session()["down"] > BULK_ROWS * BULK_ROW_BYTES
