"""The PROXY protocol, both versions, both ways, and what follows from the addresses that it tells."""

import contextlib
import re
import signal
import socket
import struct

import pytest

from harness import ends_with_reset, pattern, read_exactly, read_to_end, wait_until

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
TABLE = []
for byte in range(256):
    crc = byte
    for _ in range(8):
        crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    TABLE.append(crc)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def v1(source="192.0.2.7", destination="198.51.100.1", ports=(4711, 3306)):
    family = "TCP6" if ":" in source else "TCP4"
    return f"PROXY {family} {source} {destination} {ports[0]} {ports[1]}\r\n".encode()


def v2(source="192.0.2.7", destination="198.51.100.1", ports=(4711, 3306), command=1, tlvs=b"", checksum=False):
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    body = socket.inet_pton(family, source) + socket.inet_pton(family, destination) + struct.pack("!HH", *ports)
    if checksum:
        tlvs += b"\x03\x00\x04" + bytes(4)
    body += tlvs
    kind = 0x21 if family == socket.AF_INET6 else 0x11
    header = SIGNATURE + bytes([0x20 | command, kind]) + struct.pack("!H", len(body)) + body
    if checksum:
        header = header[:-4] + struct.pack("!I", crc32c(header))
    return header


def service(listen, backends, extra=""):
    text = f'[[service]]\nlisten = ["{listen}"]\n{extra}\n'
    for backend in backends:
        text += f'[[service.backend]]\naddress = "{getattr(backend, "address", backend)}"\n'
    return text


ACCEPT = 'accept_proxy = "any"\ntrusted_proxies = ["127.0.0.0/8", "unix:"]\n'
HEADERS = {
    "v1 TCP4": (v1(), "192.0.2.7:4711"),
    "v1 TCP6": (v1("2001:db8::7", "2001:db8::1"), "[2001:db8::7]:4711"),
    "v1 UNKNOWN": (b"PROXY UNKNOWN\r\n", None),
    "v2 TCP4": (v2(), "192.0.2.7:4711"),
    "v2 TCP6": (v2("2001:db8::7", "2001:db8::1"), "[2001:db8::7]:4711"),
    "v2 LOCAL": (v2(command=0), None),
    "v2 with TLVs": (v2(tlvs=b"\x04\x00\x05abcde\x02\x00\x0bexample.com", checksum=True), "192.0.2.7:4711"),
}


@pytest.mark.quick
@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("relay", ["auto", "splice"])
def test_the_header_says_who_the_client_is_and_the_payload_behind_it_is_untouched(lab, name, relay):
    header, client = HEADERS[name]
    server, listen = lab.greeter("!"), lab.reserve()
    eplb = lab.configured(service(listen, [server], ACCEPT + f'relay = "{relay}"'), listen=[listen])
    payload = pattern(300_000)
    sock = lab.client(eplb)
    own = "{}:{}".format(*sock.getsockname())
    sock.sendall(header + payload[:100])  # in one segment
    sock.sendall(payload[100:])
    sock.shutdown(socket.SHUT_WR)
    assert read_to_end(sock) == b"!" + payload
    session = eplb.next_session()
    assert session["client"] == (client or own)
    assert session["proxy"] == own
    assert session["up"] == len(payload)


@pytest.mark.parametrize("name", ["v1 TCP6", "v2 with TLVs"])
def test_a_header_may_come_in_any_pieces(lab, name):
    header, client = HEADERS[name]
    server, listen = lab.greeter("!"), lab.reserve()
    eplb = lab.configured(service(listen, [server], ACCEPT), listen=[listen])
    for cut in range(1, len(header)):
        sock = lab.client(eplb)
        sock.sendall(header[:cut])
        sock.sendall(header[cut:] + b"payload")
        assert read_exactly(sock, 8) == b"!payload"
        sock.close()
        assert eplb.next_session()["client"] == client
    sock = lab.client(eplb)
    for byte in header + b"payload":
        sock.sendall(bytes([byte]))
    assert read_exactly(sock, 8) == b"!payload"


NONSENSE = {
    "no header": b"GET / HTTP/1.1\r\n\r\n",
    "bare line feed": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n" + b"x" * 100,
    "too long": b"PROXY UNKNOWN " + b"x" * 200,
    "leading zero": b"PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n",
    "escape": b"PROXY TCP4 \x1b[31m 5.6.7.8 1 2\r\n",
    "bad checksum": v2(checksum=True)[:-1] + b"\x00",
    "TLV past the header": v2(tlvs=b"\x04\x00\xff"),
    "version 3": SIGNATURE + b"\x31\x11\x00\x00",
    "too many TLVs": SIGNATURE + b"\x21\x11\xff\xff" + bytes(5000),
}


@pytest.mark.quick
@pytest.mark.parametrize("name", NONSENSE)
def test_what_is_no_header_is_reset_and_reaches_no_backend(lab, name):
    server, listen = lab.greeter("!"), lab.reserve()
    eplb = lab.configured(service(listen, [server], ACCEPT), listen=[listen])
    sock = lab.client(eplb)
    with contextlib.suppress(ConnectionError):
        sock.sendall(NONSENSE[name])
    assert ends_with_reset(sock)
    session = eplb.next_session()
    assert session["end"] == "bad_proxy_header" and session["problem"]
    assert "backend" not in session and server.served == 0


def test_whoever_leaves_within_the_header_is_done_with(lab):
    server, listen = lab.greeter("!"), lab.reserve()
    eplb = lab.configured(service(listen, [server], ACCEPT), listen=[listen])
    for sent in (b"", v2()[:20]):
        sock = lab.client(eplb)
        sock.sendall(sent)
        sock.shutdown(socket.SHUT_WR)
        assert ends_with_reset(sock)
        assert eplb.next_session()["end"] == "bad_proxy_header"


@pytest.mark.parametrize("version, header", [("v1", v2()), ("v2", v1())])
def test_only_the_version_that_was_agreed_on_counts(lab, version, header):
    server, listen = lab.greeter("!"), lab.reserve()
    text = service(listen, [server], f'accept_proxy = "{version}"\ntrusted_proxies = ["127.0.0.0/8"]')
    eplb = lab.configured(text, listen=[listen])
    sock = lab.client(eplb)
    sock.sendall(header)
    assert ends_with_reset(sock)
    assert eplb.next_session()["end"] == "bad_proxy_header"


def test_nobody_else_may_say_who_they_are(lab):
    server, listen = lab.greeter("!"), lab.reserve()
    text = service(listen, [server], 'accept_proxy = "any"\ntrusted_proxies = ["127.0.0.2"]')
    eplb = lab.configured(text, listen=[listen])
    sock = lab.client(eplb)
    assert ends_with_reset(sock)  # at once, whatever it says
    assert eplb.next_session()["end"] == "untrusted_proxy"
    host, port = listen.rsplit(":", 1)
    sock = lab.keep(socket.create_connection((host, int(port)), source_address=("127.0.0.2", 0)))
    eplb.clients += 1
    sock.sendall(v1())
    assert read_exactly(sock, 1) == b"!"


@pytest.mark.quick
def test_the_told_address_counts_for_who_may_come(lab):
    server, listen = lab.greeter("!"), lab.reserve()
    text = service(listen, [server], ACCEPT + 'allow = ["192.0.2.0/24", "2001:db8::/32"]\ndeny = ["192.0.2.66"]')
    eplb = lab.configured(text, listen=[listen])
    for source, welcome in (("192.0.2.7", True), ("2001:db8::1", True), ("192.0.2.66", False), ("203.0.113.1", False)):
        sock = lab.client(eplb)
        sock.sendall(v2(source, "2001:db8::2" if ":" in source else "198.51.100.1"))
        if welcome:
            assert read_exactly(sock, 1) == b"!"
            sock.close()
            assert eplb.next_session()["end"] == "client_fin"
        else:
            assert ends_with_reset(sock)
            assert eplb.next_session()["end"] == "denied"


@pytest.mark.quick
def test_without_proxies_the_clients_own_address_counts(lab):
    server, listen = lab.greeter("!"), lab.reserve()
    eplb = lab.configured(service(listen, [server], 'deny = ["127.0.0.2"]'), listen=[listen])
    host, port = listen.rsplit(":", 1)
    for source, welcome in (("127.0.0.1", True), ("127.0.0.2", False)):
        with contextlib.suppress(ConnectionResetError):
            sock = lab.keep(socket.create_connection((host, int(port)), source_address=(source, 0)))
            sock.settimeout(20)
            if welcome:
                assert read_exactly(sock, 1) == b"!"
            else:
                assert ends_with_reset(sock)
        eplb.clients += 1


def test_one_client_has_no_more_than_its_share(lab):
    server, listen = lab.greeter("!"), lab.reserve()
    text = service(listen, [server], ACCEPT + "max_connections_per_source = 2")
    eplb = lab.configured(text, listen=[listen])

    def come(source, port):
        sock = lab.client(eplb)
        sock.sendall(v2(source, "2001:db8::2" if ":" in source else "198.51.100.1", ports=(port, 1)))
        return sock

    good = [come("192.0.2.7", 1), come("192.0.2.7", 2), come("192.0.2.8", 3), come("2001:db8::1", 4),
            come("2001:db8::2", 5)]  # fmt: skip
    for sock in good:
        assert read_exactly(sock, 1) == b"!"
    for source in ("192.0.2.7", "2001:db8::3"):
        assert ends_with_reset(come(source, 6))
        assert eplb.next_session()["end"] == "source_connections"
    good[0].close()
    eplb.next_session()
    assert read_exactly(come("192.0.2.7", 7), 1) == b"!"
    # Counts stay when the limit changes.
    eplb.reload(service(listen, [server], ACCEPT + "max_connections_per_source = 3"))
    third = come("192.0.2.7", 8)
    assert read_exactly(third, 1) == b"!"
    assert ends_with_reset(come("192.0.2.7", 9))


def test_one_client_does_not_come_more_often_than_it_may(lab):
    server, listen = lab.greeter("!"), lab.reserve()
    text = service(listen, [server], ACCEPT + 'connection_rate_per_source = "3/1h"')
    eplb = lab.configured(text, listen=[listen])
    for count in range(5):
        sock = lab.client(eplb)
        sock.sendall(v1())
        if count < 3:
            assert read_exactly(sock, 1) == b"!"
            sock.close()
        else:
            assert ends_with_reset(sock)
        assert eplb.next_session()["end"] == ("client_fin" if count < 3 else "source_rate")
    sock = lab.client(eplb)
    sock.sendall(v1("192.0.2.8"))
    assert read_exactly(sock, 1) == b"!"


# --- to backends


def expected_v1(sock, listen):
    host, port = listen.rsplit(":", 1)
    return "PROXY TCP4 {} {} {} {}\r\n".format(sock.getsockname()[0], host, sock.getsockname()[1], port).encode()


@pytest.mark.quick
@pytest.mark.parametrize("relay", ["auto", "splice", "copy"])
@pytest.mark.parametrize("first", ["client", "server"])
def test_a_backend_is_told_who_the_client_is_before_its_first_byte(lab, relay, first):
    backend, listen = lab.backend(), lab.reserve()
    eplb = lab.configured(service(listen, [backend], f'send_proxy = "v1"\nrelay = "{relay}"'), listen=[listen])
    sock, server = lab.pair(eplb, backend)
    header = expected_v1(sock, listen)
    if first == "client":
        sock.sendall(b"hello")
        assert read_exactly(server, len(header) + 5) == header + b"hello"
    else:
        assert read_exactly(server, len(header)) == header
        server.sendall(b"welcome")
        assert read_exactly(sock, 7) == b"welcome"
    sock.close()
    assert read_to_end(server) == b""
    server.close()
    assert eplb.next_session()["up"] == (5 if first == "client" else 0)


def parsed_v2(data):
    assert data[:12] == SIGNATURE
    (size,) = struct.unpack("!H", data[14:16])
    body = data[16 : 16 + size]
    assert data[12] == 0x21 and data[13] == 0x11
    tlvs, rest = {}, body[12:]
    while rest:
        kind, length = struct.unpack("!BH", rest[:3])
        tlvs[kind] = rest[3 : 3 + length]
        rest = rest[3 + length :]
    ports = struct.unpack("!HH", body[8:12])
    return socket.inet_ntoa(body[:4]), socket.inet_ntoa(body[4:8]), ports, tlvs, 16 + size


def test_version_2_has_a_checksum_and_an_id_that_the_log_has_too(lab):
    backend, listen = lab.backend(), lab.reserve()
    tlvs = 'send_proxy = "v2"\nproxy_tlvs = ["crc32c", "unique_id", "authority"]\n'
    eplb = lab.configured(service(listen, [backend], ACCEPT + tlvs), listen=[listen])
    sock, server = lab.client(eplb), None
    sock.sendall(v2(tlvs=b"\x02\x00\x0bexample.com"))
    server = lab.keep(backend.accept())
    data = server.recv(1000)
    source, destination, ports, found, size = parsed_v2(data)
    assert (source, destination, ports) == ("192.0.2.7", "198.51.100.1", (4711, 3306))
    assert found[2] == b"example.com"
    blank = data[:size].replace(b"\x03\x00\x04" + found[3], b"\x03\x00\x04" + bytes(4))
    assert struct.unpack("!I", found[3])[0] == crc32c(blank)
    ident = found[5].decode()
    assert re.fullmatch("[0-9a-f]{32}", ident)
    sock.close()
    server.close()
    assert eplb.next_session()["id"] == ident

    # One that came with the client's header is passed on.
    sock = lab.client(eplb)
    sock.sendall(v2(tlvs=b"\x05\x00\x04a\nb\xff"))
    server = lab.keep(backend.accept())
    assert parsed_v2(server.recv(1000))[3][5] == b"a\nb\xff"
    sock.close()
    server.close()
    assert eplb.next_session()["id"] == r"a\x0ab\xff"


def test_what_a_backend_sends_back_at_once_is_not_waited_for(lab):
    """The header goes out although the client says nothing: MySQL would wait for it, and the client for MySQL."""
    backend, listen = lab.backend(), lab.reserve()
    eplb = lab.configured(service(listen, [backend], 'send_proxy = "v2"'), listen=[listen])
    for _ in range(20):
        sock, server = lab.pair(eplb, backend)
        assert len(read_exactly(server, 28)) == 28
        sock.close()
        server.close()


def unix_client(lab, path):
    sock = lab.keep(socket.socket(socket.AF_UNIX))
    sock.connect(str(path))
    return sock


@pytest.mark.parametrize("header", ["v1 TCP4", "v1 TCP6", "v1 UNKNOWN", "v2 TCP4", "v2 LOCAL"])
@pytest.mark.parametrize("over", ["tcp", "unix"])
def test_a_header_that_is_passed_on_is_not_kept_back_for_what_may_follow(lab, header, over):
    """A server that speaks first would wait for it as long as the kernel keeps a segment: 200 ms."""
    backend, listen, path = lab.backend(), lab.reserve(), lab.folder / "l"
    text = service(listen, [backend], ACCEPT + 'send_proxy = "v1"').replace(
        f'["{listen}"]', f'["{listen}", "unix:{path}"]'
    )
    eplb = lab.configured(text, listen=[listen])
    eplb.counting = False
    with eplb.inject("sendto") as trace:
        sock = lab.client(eplb) if over == "tcp" else unix_client(lab, path)
        sock.sendall(HEADERS[header][0])
        server = lab.keep(backend.accept())
        assert server.recv(1000).endswith(b"\r\n")
        sock.sendall(b"hello")
        assert read_exactly(server, 5) == b"hello"
        wait_until(lambda: len(trace.calls("sendto")) == 2, "both were seen")
    assert not [line for line in trace.calls("sendto") if "MSG_MORE" in line], trace.calls()
    sock.close()
    server.close()


@pytest.mark.parametrize("header", ["v1 TCP4", "v2 TCP4"])
@pytest.mark.parametrize("over", ["tcp", "unix"])
def test_a_header_that_is_passed_on_goes_with_what_was_behind_it(lab, header, over):
    backend, listen, path = lab.backend(), lab.reserve(), lab.folder / "l"
    text = service(listen, [backend], ACCEPT + 'send_proxy = "v1"').replace(
        f'["{listen}"]', f'["{listen}", "unix:{path}"]'
    )
    eplb = lab.configured(text, listen=[listen])
    eplb.counting = False
    sock = lab.client(eplb) if over == "tcp" else unix_client(lab, path)
    sock.sendall(HEADERS[header][0] + b"hello")
    server = lab.keep(backend.accept())
    assert read_exactly(server, len(v1()) + 5) == v1() + b"hello"
    assert data_segments(server) == 1
    sock.close()
    server.close()


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_who_the_client_is_survives_a_unix_socket(lab, version):
    backend, path = lab.backend(), lab.folder / "l"
    tlvs = 'proxy_tlvs = ["unique_id", "authority"]\n' if version == "v2" else ""
    extra = ACCEPT + f'send_proxy = "{version}"\n{tlvs}'
    eplb = lab.configured(service(f"unix:{path}", [backend], extra), listen=[])
    eplb.counting = False
    sock = unix_client(lab, path)
    sock.sendall(v1() if version == "v1" else v2(tlvs=b"\x05\x00\x02id\x02\x00\x0bexample.com"))
    server = lab.keep(backend.accept())
    if version == "v1":
        assert read_exactly(server, len(v1())) == v1()
    else:
        source, destination, ports, found, _ = parsed_v2(server.recv(1000))
        assert (source, destination, ports) == ("192.0.2.7", "198.51.100.1", (4711, 3306))
        assert (found[5], found[2]) == (b"id", b"example.com")
    sock.close()
    server.close()
    session = eplb.next_session()
    assert session["client"] == "192.0.2.7:4711"
    assert session["proxy"] == "unix:"


@pytest.mark.parametrize("header", ["v1 UNKNOWN", "v2 LOCAL", "nothing"])
@pytest.mark.parametrize("balance", ["source_hash", "consistent"])
def test_clients_of_unix_sockets_get_each_backend_in_turn_and_have_no_limit(lab, header, balance):
    servers, path = [lab.greeter(name) for name in "abc"], lab.folder / "l"
    accept = ACCEPT if header != "nothing" else ""
    extra = accept + f'balance = "{balance}"\nmax_connections_per_source = 1'
    eplb = lab.configured(service(f"unix:{path}", servers, extra), listen=[])
    eplb.counting = False
    names = []
    for _ in range(9):
        sock = unix_client(lab, path)
        if accept:
            sock.sendall(HEADERS[header][0])
        names.append(read_exactly(sock, 1))  # and it stays
    assert sorted(names) == [b"a"] * 3 + [b"b"] * 3 + [b"c"] * 3


def data_segments(sock):
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    return struct.unpack_from("=I", info, 152)[0]  # tcpi_data_segs_in


def test_a_header_and_what_the_client_sent_go_in_one_segment(lab):
    backend, listen = lab.backend(), lab.reserve()
    eplb = lab.configured(service(listen, [backend], 'send_proxy = "v1"'), listen=[listen])
    eplb.process.send_signal(signal.SIGSTOP)
    sock = lab.client(eplb)
    sock.sendall(b"hello")
    eplb.process.send_signal(signal.SIGCONT)
    server = lab.keep(backend.accept())
    header = expected_v1(sock, listen)
    assert read_exactly(server, len(header) + 5) == header + b"hello"
    assert data_segments(server) == 1
