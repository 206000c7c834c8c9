"""Every byte arrives, once, in order, on the right connection, and the end of the stream behind the last."""

import contextlib
import random
import socket

import pytest

from harness import Peer, Stalled, drive, drive_until_stalled, every_way, pattern, read_exactly, read_to_end, reset


@every_way(quick=True)
def test_random_sizes_arrive_whole_in_both_directions_at_once(lab, way):
    backend = lab.backend()
    eplb = lab.eplb([backend], **way)
    dice = random.Random(2601)
    for _ in range(8):
        up, down = (pattern(int(2 ** dice.uniform(0, 23)), key=dice.random()) for _ in range(2))
        lab.transfer(eplb, backend, up, down)


@every_way()
def test_sizes_around_page_pipe_and_buffer_limits_arrive_whole(lab, way):
    backend = lab.backend()
    eplb = lab.eplb([backend], **way)
    for limit in (1, 4096, 65536, 262144):
        for size in (limit - 1, limit, limit + 1):
            lab.transfer(eplb, backend, up=pattern(size, "up"), down=pattern(size, "down"))


@every_way()
def test_a_dribble_of_single_bytes_arrives_whole(lab, way):
    backend = lab.backend()
    eplb = lab.eplb([backend], **way)
    client, server = lab.pair(eplb, backend)
    up, down = pattern(20_000, "up"), pattern(20_000, "down")
    peers = [Peer(client, up, expect=down, write_size=1), Peer(server, down, expect=up, write_size=1)]
    drive(peers)
    assert all(peer.complete for peer in peers)


@every_way()
def test_a_slow_reader_with_a_tiny_window_gets_everything(lab, way):
    backend = lab.backend(rcvbuf=2048)
    eplb = lab.eplb([backend], **way)
    client, server = lab.pair(eplb, backend, rcvbuf=2048)
    up, down = pattern(150_000, "up"), pattern(150_000, "down")
    peers = [Peer(client, up, expect=down, read_size=700), Peer(server, down, expect=up, read_size=700)]
    drive(peers)
    assert all(peer.complete for peer in peers)


@every_way()
def test_a_stalled_receiver_costs_nothing_and_gets_everything_when_it_resumes(lab, narrow, way):
    backend = lab.backend()
    eplb = lab.eplb([backend], namespace=narrow, **way)
    data = pattern(6 << 20)
    for up in (True, False):
        client, server = lab.pair(eplb, backend)
        sender, receiver = (client, server) if up else (server, client)
        peers = [Peer(sender, data, expect=b""), Peer(receiver, expect=data, reading=False, fin=False)]
        drive_until_stalled(peers, eplb)
        assert peers[0].sent < len(data), "the buffers took everything: nothing is stalled"
        eplb.check_no_spin_while_stalled()
        peers[1].reading = peers[1].fin = True
        drive(peers)
        assert all(peer.complete for peer in peers)


@every_way()
def test_saturated_both_ways_with_no_reader_it_rests_and_then_finishes(lab, narrow, way):
    """Two full pipes per session once drove another proxy into a livelock that only kill -9 ended."""
    backend = lab.backend()
    eplb = lab.eplb([backend], namespace=narrow, **way)
    up, down = pattern(6 << 20, "up"), pattern(6 << 20, "down")
    pairs = [lab.pair(eplb, backend) for _ in range(20)]
    clients = [Peer(client, up, expect=down, reading=False) for client, _ in pairs]
    servers = [Peer(server, down, expect=up, reading=False) for _, server in pairs]
    everyone = clients + servers

    drive_until_stalled(everyone, eplb)
    assert not any(peer.all_sent for peer in everyone)
    eplb.check_no_spin_while_stalled()
    for client in clients:  # only one side reads: the other direction stays stuck meanwhile
        client.reading = True
    drive(everyone, until=lambda: all(client.fin_received for client in clients))
    assert not any(server.received for server in servers)
    for server in servers:
        server.reading = True
    drive(everyone)
    assert all(peer.complete for peer in everyone)


@every_way(quick=True)
def test_a_sender_that_is_gone_long_before_the_receiver_reads_loses_nothing(lab, narrow, way):
    """The FIN must wait behind full pipes and buffers: forwarded early, it cuts the stream."""
    backend = lab.backend(rcvbuf=16384, sndbuf=4 << 20)
    eplb = lab.eplb([backend], namespace=narrow, **way)
    for size in (65535, 65536, 65537, 262143, 262144, 262145, 500_000, 1_000_000):
        for up in (True, False):
            client, server = lab.pair(eplb, backend, rcvbuf=16384, sndbuf=4 << 20)
            sender, receiver = (client, server) if up else (server, client)
            data = pattern(size, key=(size, up))
            sender.sendall(data)
            sender.close()
            eplb.wait_until_settled()
            assert read_to_end(receiver) == data
            receiver.close()
            session = eplb.next_session()
            assert session["up" if up else "down"] == size
            assert session["end"] == ("client_fin" if up else "server_fin")


@every_way()
def test_bytes_never_stray_into_another_connection_when_connections_are_killed(lab, narrow, way):
    """A pipe that goes back to the pool with bytes in it would hand them to a stranger."""
    backend = lab.backend(rcvbuf=16384, sndbuf=65536)
    eplb = lab.eplb([backend], namespace=narrow, **way)
    dice = random.Random(77)
    block = pattern(8 << 20)
    alive = []

    def start(key):
        client, server = lab.pair(eplb, backend, rcvbuf=16384, sndbuf=65536)
        up, down = (memoryview(block)[key * n : key * n + 600_000] for n in (4001, 7013))
        alive.append((Peer(client, up, expect=down), Peer(server, down, expect=up)))
        # Some only start to read when others are dead: their bytes wait in pipes.
        alive[-1][0].reading = dice.random() < 0.5
        alive[-1][1].reading = dice.random() < 0.5

    for key in range(250):
        start(key)
        target = dice.randrange(400_000)
        peers = [peer for pair in alive for peer in pair]
        moved = sum(peer.sent for peer in peers)
        with contextlib.suppress(Stalled):
            drive(peers, until=lambda: sum(peer.sent for peer in peers) >= moved + target, timeout=0.05)
        if len(alive) > 12:
            victim = alive.pop(dice.randrange(len(alive)))
            for peer in dice.sample(victim, 2):
                reset(peer.sock) if dice.random() < 0.5 else peer.sock.close()
    for pair in alive:
        for peer in pair:
            peer.reading = True
    survivors = [peer for pair in alive for peer in pair]
    drive(survivors)
    assert all(peer.complete for peer in survivors)


@every_way()
def test_tiny_segments_fill_a_pipe_by_slots_and_still_arrive_whole(lab, way):
    """Over a link with an MTU of 576 and no offloads, sixteen segments fill the slots of a 64 KiB pipe with
    9 KiB: then splice(2) says EAGAIN although the socket has more, and no edge will come for it."""
    middle, outside = lab.namespace(), lab.namespace()
    middle.run("ip", "link", "add", "inner", "type", "veth", "peer", "name", "outer", "netns", outside.name)
    for namespace, device, address in ((middle, "inner", "192.0.2.1/24"), (outside, "outer", "192.0.2.2/24")):
        namespace.run("ip", "address", "add", address, "dev", device)
        namespace.run("ip", "link", "set", device, "mtu", "576", "gso_max_segs", "1", "up")
        namespace.bound_buffers()

    with outside.entered():
        backend = lab.backend("192.0.2.2:0")
    with middle.entered():
        listen = [lab.reserve("192.0.2.1")]
    eplb = lab.eplb([backend], listen=listen, namespace=middle, **way)
    with outside.entered():
        lab.transfer(eplb, backend, up=pattern(2 << 20, "up"), down=pattern(2 << 20, "down"))

        # The same with a reader that lets the pipe fill up first.
        client, server = lab.pair(eplb, backend)
        data = pattern(6 << 20)
        peers = [Peer(server, data), Peer(client, expect=data, reading=False)]
        drive_until_stalled(peers)  # eplb does not rest: for a while the kernel opens the window byte by byte
        assert not peers[0].all_sent
        peers[1].reading = True
        drive(peers)
        assert all(peer.complete for peer in peers)


@every_way()
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_one_urgent_byte_does_not_stall_a_direction(lab, way, place):
    """splice(2) stops at the urgent mark and says EAGAIN for ever."""
    before = b"" if place == "first" else pattern(100_000, "before")
    after = b"" if place == "last" else pattern(100_000, "after")
    backend = lab.backend()
    eplb = lab.eplb([backend], **way)
    for up in (True, False):
        client, server = lab.pair(eplb, backend)
        sender, receiver = (client, server) if up else (server, client)
        sender.sendall(before)
        sender.send(b"!", socket.MSG_OOB)
        sender.sendall(after)
        sender.shutdown(socket.SHUT_WR)
        # Whether the urgent byte itself is dropped or becomes ordinary is the proxy's choice.
        received = read_to_end(receiver)
        assert len(received) - len(before + after) in (0, 1)
        assert received in (before + after, before + b"!" + after)


@every_way(quick=True)
def test_the_server_may_speak_first(lab, way):
    eplb = lab.eplb([lab.greeter("hello from the server")], **way)
    client = lab.client(eplb)
    assert read_exactly(client, 21) == b"hello from the server"
    client.sendall(b"and back")
    assert read_exactly(client, 8) == b"and back"


@every_way()
def test_three_hundred_connections_at_once(lab, way):
    backend = lab.backend()
    eplb = lab.eplb([backend], **way)
    block = pattern(4 << 20)
    pairs = [lab.pair(eplb, backend) for _ in range(300)]
    peers = []
    for key, (client, server) in enumerate(pairs):
        up, down = (memoryview(block)[key * n : key * n + 5000 + 300 * key] for n in (1009, 5003))
        peers += [Peer(client, up, expect=down), Peer(server, down, expect=up)]
    drive(peers)
    assert all(peer.complete for peer in peers)


@every_way()
@pytest.mark.parametrize("backend_kind", ["path", "abstract", "tcp"])
@pytest.mark.parametrize("listener_kind", ["path", "abstract"])
def test_unix_sockets_listen_and_serve(lab, way, listener_kind, backend_kind):
    unique = lab.folder.name
    places = {
        "path": f"unix:{lab.folder}/{{}}",
        "abstract": f"unix:@{unique}-{{}}",
        "tcp": "127.0.0.1:0",
    }
    backend = lab.backend(places[backend_kind].format("backend"))
    listen = places[listener_kind].format("listener")
    eplb = lab.eplb([backend], listen=[listen], **way)
    session = lab.transfer(eplb, backend, up=pattern(500_000, "up"), down=pattern(700_000, "down"))
    assert session["listener"] == listen
    assert session["backend"] == backend.address
    assert session["client"].startswith("unix:")


@every_way()
def test_ipv6_listens_and_serves(lab, way):
    backend = lab.backend("[::1]:0")
    eplb = lab.eplb([backend], listen=[lab.reserve("[::1]")], **way)
    session = lab.transfer(eplb, backend, up=pattern(500_000, "up"), down=pattern(700_000, "down"))
    assert session["client"].startswith("[::1]:")
    assert session["backend"] == backend.address


@pytest.mark.quick
def test_a_bare_port_listens_on_ipv6_and_ipv4(lab):
    backend = lab.backend()
    port = lab.reserve("[::]").rsplit(":", 1)[1]
    eplb = lab.eplb([backend], listen=[f":{port}"])
    for host in ("127.0.0.1", "[::1]"):
        eplb.listeners = [f"{host}:{port}"]
        session = lab.transfer(eplb, backend, up=pattern(1000), down=pattern(2000))
        assert session["client"].startswith(f"{host}:"), "an IPv4 client is shown as one"


def test_a_link_local_address_with_its_scope_listens_and_serves(lab):
    namespace = lab.namespace()
    namespace.run("ip", "address", "add", "fe80::1/64", "dev", "lo", "nodad")
    with namespace.entered():
        backend = lab.backend("[fe80::1%lo]:0")
        listen = lab.reserve("[fe80::1%lo]")
        eplb = lab.eplb([backend], listen=[listen], namespace=namespace)
        session = lab.transfer(eplb, backend, up=pattern(1000), down=pattern(2000))
    assert session["listener"] == listen


@every_way()
def test_thousands_of_round_trips_of_all_sizes_keep_their_order(lab, way):
    eplb = lab.eplb([lab.greeter("")], **way)
    client = lab.client(eplb)
    dice = random.Random(5)
    block = pattern(1 << 16)
    for _ in range(3000):
        size = dice.choice((1, 2, 64, 512, 4096, 20_000))
        start = dice.randrange(len(block) - size)
        client.sendall(block[start : start + size])
        assert read_exactly(client, size) == block[start : start + size]


@pytest.mark.parametrize("relay", ["auto", "splice", "copy"])
def test_bulk_is_spliced_with_the_right_flags_unless_told_to_copy(lab, relay):
    backend = lab.backend()
    eplb = lab.eplb([backend], relay=relay)
    with eplb.inject("splice", "pipe2") as trace:
        lab.transfer(eplb, backend, up=pattern(4 << 20), down=b"")
    splices = trace.calls("splice")
    assert bool(splices) == (relay != "copy")
    for call in splices:
        assert "SPLICE_F_NONBLOCK" in call, call  # O_NONBLOCK governs the socket, this flag the pipe
        assert "SPLICE_F_MORE" not in call, call  # holds the last segment back for 200 ms
        length = int(call.split(", ")[4])
        assert length <= 1 << 30, call  # the kernel refuses more than SSIZE_MAX with EINVAL
    assert len(trace.calls("pipe2")) <= 8, "pipes are pooled, not made for every chunk"
