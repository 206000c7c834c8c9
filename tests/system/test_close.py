"""How sessions end: FIN stays FIN, RST stays RST, and whoever waits for ever is not waited for."""

import contextlib
import signal
import socket
import time

import pytest

from harness import (
    Peer, drive, drive_until_stalled, ends_with_reset, every_way, pattern, read_exactly, read_to_end, reset,
    wait_for_reset, wait_until, wait_until_acknowledged,
)  # fmt: skip


@every_way(quick=True)
def test_the_answer_to_a_client_that_half_closed_still_comes(lab, way):
    backend = lab.backend()
    eplb = lab.eplb([backend], **way)
    client, server = lab.pair(eplb, backend)
    request, answer = pattern(300_000, "request"), pattern(3_000_000, "answer")
    client.sendall(request)
    client.shutdown(socket.SHUT_WR)
    assert read_to_end(server) == request
    eplb.check_no_spin()  # half-closed, and the server takes its time
    peers = [Peer(server, answer, expect=b""), Peer(client, expect=answer, fin=False)]
    drive(peers, until=lambda: peers[0].all_sent and peers[1].fin_received)
    assert peers[1].complete
    assert eplb.next_session()["end"] == "client_fin"


@every_way()
def test_a_client_goes_on_sending_to_a_backend_that_half_closed(lab, way):
    backend = lab.backend()
    eplb = lab.eplb([backend], **way)
    client, server = lab.pair(eplb, backend)
    server.sendall(b"that is all from me")
    server.shutdown(socket.SHUT_WR)
    assert read_to_end(client) == b"that is all from me"
    eplb.check_no_spin()
    data = pattern(3_000_000)
    peers = [Peer(client, data, expect=b"", reading=False), Peer(server, expect=data, fin=False)]
    drive(peers, until=lambda: peers[0].all_sent and peers[1].fin_received)
    assert peers[1].complete
    assert eplb.next_session()["end"] == "server_fin"


@every_way(quick=True)
@pytest.mark.parametrize("who", ["client", "server"])
def test_a_reset_is_passed_on_as_a_reset_behind_the_data_before_it(lab, way, who):
    """As a FIN, it would make a cut stream look whole."""
    backend = lab.backend()
    eplb = lab.eplb([backend], **way)
    for size in (0, 1, 5000, 60_000):
        client, server = lab.joined_pair(eplb, backend)
        sender, receiver = (client, server) if who == "client" else (server, client)
        data = pattern(size, size)
        sender.sendall(data)
        wait_until_acknowledged(sender)
        reset(sender)
        assert read_exactly(receiver, size) == data
        with pytest.raises(ConnectionResetError):
            receiver.recv(1)
        session = eplb.next_session()
        assert session["end"] == f"{who}_rst"
        assert (session["up"], session["down"]) == ((size, 1) if who == "client" else (0, size + 1))


@every_way()
@pytest.mark.parametrize("who", ["client", "server"])
def test_a_reset_after_a_half_close_is_passed_on_too(lab, way, who):
    backend = lab.backend()
    eplb = lab.eplb([backend], **way)
    client, server = lab.joined_pair(eplb, backend)
    one, other = (client, server) if who == "client" else (server, client)
    other.sendall(b"last words")
    other.shutdown(socket.SHUT_WR)
    assert read_to_end(one) == b"last words"
    reset(one)
    with pytest.raises(ConnectionResetError):
        other.recv(1)
    assert eplb.next_session()["end"] == f"{who}_rst"


@every_way(quick=True)
@pytest.mark.parametrize("who", ["client", "server"])
def test_a_receiver_that_resets_with_full_buffers_takes_the_sender_with_it(lab, narrow, way, who):
    backend = lab.backend()
    eplb = lab.eplb([backend], namespace=narrow, **way)
    client, server = lab.joined_pair(eplb, backend)
    receiver, sender = (client, server) if who == "client" else (server, client)
    peer = Peer(sender, pattern(6 << 20))
    drive_until_stalled([peer], eplb)
    assert not peer.all_sent
    reset(receiver)
    drive([peer])
    assert peer.was_reset
    assert eplb.next_session()["end"] == f"{who}_rst"
    wait_until(lambda: eplb.sockets() == eplb.baseline, "both sockets are closed")


@every_way()
@pytest.mark.parametrize("who", ["client", "server"])
def test_a_sender_that_resets_behind_full_buffers_cuts_the_stream_with_a_reset(lab, narrow, way, who):
    backend = lab.backend()
    eplb = lab.eplb([backend], namespace=narrow, **way)
    client, server = lab.joined_pair(eplb, backend)
    sender, receiver = (client, server) if who == "client" else (server, client)
    data = pattern(6 << 20)
    drive_until_stalled([Peer(sender, data)], eplb)
    reset(sender)
    eplb.wait_until_settled()
    # What arrives is right as far as it goes, and its end cannot be mistaken for the end of the stream.
    peer = Peer(receiver, expect=data, fin=False)
    drive([peer], until=lambda: peer.was_reset or peer.fin_received)
    assert peer.was_reset
    assert eplb.next_session()["end"] == f"{who}_rst"


@every_way()
def test_a_receiver_that_closes_with_unread_data_resets_the_sender(lab, narrow, way):
    """close(2) with unread input sends an RST: the sender must learn that not everything was taken."""
    backend = lab.backend()
    eplb = lab.eplb([backend], namespace=narrow, **way)
    client, server = lab.pair(eplb, backend)
    peer = Peer(client, pattern(6 << 20))
    drive_until_stalled([peer], eplb)
    server.close()
    drive([peer])
    assert peer.was_reset


@every_way()
@pytest.mark.parametrize("who", ["client", "server"])
def test_a_half_closed_session_without_progress_ends(lab, way, who):
    backend = lab.backend()
    eplb = lab.eplb([backend], "--half-close-timeout", "300ms", **way)
    client, server = lab.pair(eplb, backend)
    closer, other = (client, server) if who == "client" else (server, client)
    closer.sendall(b"bye")
    closer.shutdown(socket.SHUT_WR)
    assert read_exactly(other, 3) == b"bye"
    # Neither answers. Both must see that it was no regular end.
    assert ends_with_reset(closer)
    session = eplb.next_session()
    assert session["end"] == "half_close"
    assert session["ms"] >= 300
    wait_for_reset(other)


@pytest.mark.quick
def test_a_half_closed_session_that_makes_progress_lives_on(lab):
    keeps_alive_against(lab, "--half-close-timeout", half_close=True, end="client_fin")


@pytest.mark.quick
def test_activity_in_one_direction_postpones_the_idle_timeout(lab):
    keeps_alive_against(lab, "--idle-timeout", half_close=False, end="client_fin")


def keeps_alive_against(lab, option, half_close, end):
    """Something moves every now and then, from server to client only, for longer than the timeout."""
    timeout = 1.5
    backend = lab.backend()
    for _ in range(5):
        eplb = lab.eplb([backend], option, f"{int(timeout * 1000)}ms")
        start = last = time.monotonic()
        client, server = lab.pair(eplb, backend)
        with contextlib.suppress(ConnectionError):
            if half_close:
                client.shutdown(socket.SHUT_WR)
            while time.monotonic() < start + 2.2 * timeout:
                server.sendall(b"tick")
                assert read_exactly(client, 4) == b"tick"
                last = time.monotonic()
                time.sleep(0.1)  # the rhythm of the traffic, not a wait for anything
        gap = time.monotonic() - last
        client.close()
        server.close()
        ended = eplb.next_session()["end"]
        if gap < timeout / 2:  # or this machine was too busy to show anything
            assert ended == end
            return
    raise AssertionError("the machine was too busy in each of five attempts")


@every_way(quick=True)
def test_an_idle_session_ends_after_its_timeout_with_a_reset_to_both(lab, way):
    backend = lab.backend()
    eplb = lab.eplb([backend], "--idle-timeout", "300ms", **way)
    eplb.process.send_signal(signal.SIGSTOP)  # the client is in time, however busy this machine is
    client = lab.client(eplb)
    client.sendall(b"once")
    eplb.process.send_signal(signal.SIGCONT)
    server = lab.keep(backend.accept())
    assert read_exactly(server, 4) == b"once"
    assert ends_with_reset(client)
    assert ends_with_reset(server)
    session = eplb.next_session()
    assert session["end"] == "idle"
    assert session["ms"] >= 300


@every_way()
def test_a_session_stuck_on_a_stalled_receiver_counts_as_idle(lab, narrow, way):
    """Bytes that wait in eplb are not progress."""
    backend = lab.backend()
    eplb = lab.eplb([backend], "--idle-timeout", "700ms", namespace=narrow, **way)
    client, server = lab.pair(eplb, backend)
    peer = Peer(client, pattern(6 << 20))
    drive([peer], until=lambda: peer.was_reset)
    assert eplb.next_session()["end"] == "idle"
    assert ends_with_reset(server)


@every_way()
def test_without_an_idle_timeout_a_silent_session_stays(lab, way):
    backend = lab.backend()
    eplb = lab.eplb([backend], "--half-close-timeout", "200ms", "--connect-timeout", "200ms", **way)
    client, server = lab.pair(eplb, backend)
    eplb.check_no_spin()  # longer than either of the other timeouts, which are none of its business
    client.sendall(b"still there?")
    assert read_exactly(server, 12) == b"still there?"


@every_way()
def test_connections_reset_before_they_are_accepted_do_no_harm(lab, way):
    backend = lab.backend()
    eplb = lab.eplb([backend], **way)
    eplb.process.send_signal(signal.SIGSTOP)  # the resets arrive while the clients wait in the backlog
    for _ in range(30):
        client = eplb.connect()
        client.sendall(b"gone")
        reset(client)
    eplb.process.send_signal(signal.SIGCONT)
    wait_until(lambda: len(eplb.sessions()) == 30, "all are logged")
    while backend.pending():
        backend.accept().close()
    eplb.forget_sessions()
    lab.transfer(eplb, backend, up=pattern(1000), down=pattern(1000))


@every_way()
def test_thousands_of_short_sessions_leave_nothing_behind(lab, way):
    backend = lab.greeter("hi")
    eplb = lab.eplb([backend], **way)
    sizes = []
    for block in range(8):
        for _ in range(400):
            client = eplb.connect()
            client.sendall(b"x" * 100)
            assert read_exactly(client, 102)
            client.close()
        wait_until(lambda: len(eplb.sessions()) == (block + 1) * 400, "all are logged")
        sizes.append(eplb.memory("VmRSS"))
    assert sizes[-1] - sizes[3] < 1 << 20, f"it grows: {sizes}"
