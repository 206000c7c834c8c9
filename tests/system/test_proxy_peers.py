"""The PROXY protocol with those that others run: HAProxy and nginx, in front of eplb and behind it."""

import contextlib
import ipaddress
import pathlib
import socket
import subprocess

import pytest

from harness import dial, read_exactly, read_to_end, wait_until

NGINX_STREAM = pathlib.Path("/usr/lib/nginx/modules/ngx_stream_module.so")


class Peer:
    """HAProxy or nginx with a configuration of the test's."""

    def __init__(self, lab, name, address, text):
        folder = lab.folder / name
        folder.mkdir()
        self.address = address
        config = folder / "config"
        if name.startswith("haproxy"):
            config.write_text("defaults\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n" + text)
            command = ["haproxy", "-db", "-f", str(config)]
        else:
            load = f"load_module {NGINX_STREAM};" if NGINX_STREAM.exists() else ""
            config.write_text(
                f"{load} daemon off; worker_processes 1; user root; pid {folder}/pid; error_log stderr error;"
                f"events {{}} stream {{ {text} }}"
            )
            command = ["nginx", "-p", str(folder), "-e", "stderr", "-c", str(config)]
        self.log = folder / "log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        wait_until(self._answers, f"{name} listens")

    def _answers(self):
        assert self.process.poll() is None, self.log.read_text()
        with contextlib.suppress(ConnectionRefusedError):
            dial(self.address).close()
            return True

    def close(self):
        self.process.terminate()
        self.process.wait(20)


def front(lab, kind, version, target):
    """A peer that tells `target` who its clients are."""
    address = lab.reserve()
    if kind == "haproxy":
        send = {"v1": "send-proxy", "v2": "send-proxy-v2"}[version]
        text = f"listen front\n mode tcp\n bind {address}\n server s {target} {send}\n"
    else:  # it has version 1 only
        text = f"server {{ listen {address}; proxy_pass {target}; proxy_protocol on; }}"
    return lab.keep(Peer(lab, kind + "-front", address, text))


def behind(lab, kind):
    """A peer that answers whoever it is told the client is."""
    address = lab.reserve()
    if kind == "haproxy":
        text = (
            f"frontend back\n mode http\n bind {address} accept-proxy\n"
            ' http-request return status 200 content-type text/plain lf-string "%[src]:%[src_port] %[dst]:%[dst_port]"\n'
        )
    else:
        text = (
            f"server {{ listen {address} proxy_protocol;"
            ' return "$proxy_protocol_addr:$proxy_protocol_port $proxy_protocol_server_addr:$proxy_protocol_server_port"; }'
        )
    return lab.keep(Peer(lab, kind + "-back", address, text))


@pytest.mark.parametrize("kind, version", [("haproxy", "v1"), ("haproxy", "v2"), ("nginx", "v1")])
@pytest.mark.parametrize("accept", ["any", "the same"])
def test_they_tell_eplb_who_the_client_is(lab, kind, version, accept):
    server, listen = lab.greeter("!"), lab.reserve()
    accept = version if accept == "the same" else accept
    eplb = lab.configured(
        f'[[service]]\nlisten = "{listen}"\naccept_proxy = "{accept}"\ntrusted_proxies = ["127.0.0.1"]\n'
        f'[[service.backend]]\naddress = "{server.address}"\n',
        listen=[listen],
    )
    peer = front(lab, kind, version, listen)
    eplb.counting = False  # it has asked whether the peer listens, through it
    eplb.wait_until_settled()
    eplb.forget_sessions()
    client = lab.keep(dial(peer.address))
    own = "{}:{}".format(*client.getsockname())
    block = b"x" * 200_000
    client.sendall(block)
    assert read_exactly(client, 1 + len(block)) == b"!" + block
    client.close()
    session = next(s for s in iter(eplb.next_session, None) if s["client"] == own)
    assert session["proxy"].startswith("127.0.0.1:")
    assert session["up"] == len(block)


@pytest.mark.parametrize("client", ["203.0.113.7", "2001:db8::7"])
@pytest.mark.parametrize("over", ["127.0.0.1", "[::1]", "unix"])
def test_nginx_passes_on_clients_of_another_family_than_its_own(lab, client, over):
    """It names the family by the client, whatever it accepted on."""
    backend, listen = lab.backend(), lab.reserve()
    eplb = lab.configured(
        f'[[service]]\nlisten = "{listen}"\naccept_proxy = "v1"\nsend_proxy = "v1"\ntrusted_proxies = ["127.0.0.1"]\n'
        f'[[service.backend]]\naddress = "{backend.address}"\n',
        listen=[listen],
    )
    eplb.counting = False
    near = f"unix:{lab.folder}/near" if over == "unix" else lab.reserve(over)
    plain = lab.reserve()  # to ask whether it listens
    lab.keep(
        Peer(
            lab, "nginx-near", plain,
            f"set_real_ip_from 127.0.0.1; set_real_ip_from ::1; set_real_ip_from unix:; proxy_protocol on;"
            f"server {{ listen {near} proxy_protocol; proxy_pass {listen}; }}"
            f"server {{ listen {plain}; return x; }}",
        )
    )  # fmt: skip
    if over == "unix":
        sock = lab.keep(socket.socket(socket.AF_UNIX))
        sock.connect(f"{lab.folder}/near")
    else:
        sock = lab.keep(dial(near))
    family, own = ("TCP6", "2001:db8::1") if ":" in client else ("TCP4", "198.51.100.1")
    sock.sendall(f"PROXY {family} {client} {own} 1234 3306\r\n".encode())
    server = lab.keep(backend.accept())
    told = ipaddress.ip_address(server.recv(200).decode().split(" ")[2])
    assert (getattr(told, "ipv4_mapped", None) or told) == ipaddress.ip_address(client)
    sock.close()
    server.close()
    session = eplb.next_session()
    assert session["client"] == (f"[{client}]:1234" if ":" in client else f"{client}:1234")


@pytest.mark.parametrize("kind", ["haproxy", "nginx"])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_eplb_tells_them_who_the_client_is(lab, kind, version):
    peer, listen = behind(lab, kind), lab.reserve()
    tlvs = 'proxy_tlvs = ["crc32c", "unique_id"]\n' if version == "v2" else ""
    eplb = lab.configured(
        f'[[service]]\nlisten = "{listen}"\nsend_proxy = "{version}"\n{tlvs}'
        f'[[service.backend]]\naddress = "{peer.address}"\n',
        listen=[listen],
    )
    client = lab.client(eplb)
    own = "{}:{}".format(*client.getsockname())
    if kind == "haproxy":  # nginx would not read it, and reset us for that
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
    answer = read_to_end(client).decode()
    assert answer.endswith(f"{own} {listen}"), answer
    client.close()


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_chain_of_two_eplbs_keeps_the_first_client(lab, version):
    server, near, far = lab.greeter("!"), lab.reserve(), lab.reserve()
    text = (
        f'[[service]]\nname = "near"\nlisten = "{near}"\nsend_proxy = "{version}"\n'
        f'[[service.backend]]\naddress = "{far}"\n'
    )
    inner = (
        f'[[service]]\nname = "far"\nlisten = "{far}"\naccept_proxy = "{version}"\ntrusted_proxies = ["127.0.0.1"]\n'
        f'[[service.backend]]\naddress = "{server.address}"\n'
    )
    behind_it = lab.configured(inner, listen=[far])
    in_front = lab.configured(text, listen=[near])
    behind_it.counting = False
    client = lab.client(in_front)
    assert read_exactly(client, 1) == b"!"
    own = "{}:{}".format(*client.getsockname())
    client.close()
    assert in_front.next_session()["client"] == own
    assert behind_it.next_session()["client"] == own
