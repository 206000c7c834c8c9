#!/usr/bin/env python3
"""Records what TLS clients say first: `record.py` for all that are installed, `record.py NAME...` for some.

Each client is pointed at a socket on 127.0.0.1; the bytes of its ClientHello are written to NAME.bin, and nobody
answers. README.md says which versions wrote the files that are here.
"""

import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent

PYTHON = """
import socket, ssl, sys
context = ssl.create_default_context()
context.set_alpn_protocols(["h2", "http/1.1"])
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as plain:
    context.wrap_socket(plain, server_hostname="python.example")
"""

GO = """
package main

import (
    "crypto/tls"
    "os"
)

func main() {
    tls.Dial("tcp", "127.0.0.1:" + os.Args[1], &tls.Config{ServerName: "go.example", NextProtos: []string{"h2"}})
}
"""

NODE = """
require("tls").connect({host: "127.0.0.1", port: process.argv[1], servername: "node.example",
                        ALPNProtocols: ["http/1.1"]}).on("error", () => {})
"""


def openssl(*options):
    return ["openssl", "s_client", "-connect", "127.0.0.1:{port}", *options]


def curl(url, *options):
    return ["curl", "-q", "-s", "-k", "--noproxy", "*", *options, url]


def chromium(url):
    return [
        *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir={folder}", "--no-proxy-server"),
        *("--host-resolver-rules=MAP * 127.0.0.1", url),
    ]


# Letters beyond ASCII, in the form in which they are asked for.
IDNA = "xn--bcher-kva.example"
LONG_LIST = ",".join(f"protocol-{i:02}" for i in range(24))

CLIENTS = {
    "openssl-default": openssl("-servername", "www.example.com", "-alpn", "h2,http/1.1"),
    "openssl-no-sni": openssl("-noservername"),
    "openssl-tls1.0": openssl("-servername", "old.example", "-tls1", "-cipher", "DEFAULT@SECLEVEL=0"),
    "openssl-tls1.2": openssl("-servername", "www.example.com", "-tls1_2"),
    "openssl-tls1.3": openssl("-servername", "www.example.com", "-tls1_3"),
    "openssl-postgresql": openssl("-servername", "db.example.com", "-alpn", "postgresql"),
    "openssl-upper-case-dot": openssl("-servername", "WWW.Example.COM."),
    "openssl-idna": openssl("-servername", IDNA),
    "openssl-ipv4": openssl("-servername", "192.0.2.7"),
    "openssl-many-records": openssl("-servername", "pieces.example", "-alpn", LONG_LIST, "-max_send_frag", "512"),
    "curl-http1.1": curl("https://curl.example:{port}/", "--http1.1", "--resolve", "curl.example:{port}:127.0.0.1"),
    "curl-http2": curl("https://curl.example:{port}/", "--http2", "--resolve", "curl.example:{port}:127.0.0.1"),
    "curl-address": curl("https://127.0.0.1:{port}/"),
    "python": ["/usr/bin/python3", "-c", PYTHON, "{port}"],
    "go": ["go", "run", "{folder}/main.go", "{port}"],
    "gnutls": ["gnutls-cli", "--insecure", "--sni-hostname=gnutls.example", "--alpn=h2", "--port={port}", "127.0.0.1"],
    "node": ["node", "-e", NODE, "{port}"],
    "chromium": chromium("https://chromium.example:{port}/"),
}


def hello_of(client):
    """The records of its ClientHello, as they came."""
    stream, message = b"", b""

    def read(size):
        nonlocal stream
        part = b""
        while len(part) < size:
            more = client.recv(size - len(part))
            if not more:
                raise EOFError(f"it ended within its hello: {(stream + part).hex()}")
            part += more
        stream += part
        return part

    while len(message) < 4 or len(message) < 4 + int.from_bytes(message[1:4], "big"):
        header = read(5)
        if header[0] != 22:
            raise ValueError(f"no record of a handshake: {header.hex()}")
        message += read(int.from_bytes(header[3:], "big"))
    return stream


def record(name, command):
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as listener:
        (pathlib.Path(folder) / "main.go").write_text(GO)
        port = listener.getsockname()[1]
        command = [part.replace("{port}", str(port)).replace("{folder}", folder) for part in command]
        listener.settimeout(60)
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command, **quiet)
        try:
            client, _ = listener.accept()
            with client:
                client.settimeout(60)
                hello = hello_of(client)
        finally:
            process.terminate()
            process.wait()
    (HERE / f"{name}.bin").write_bytes(hello)
    print(f"{name}: {len(hello)} bytes")


def main():
    for name in sys.argv[1:] or CLIENTS:
        if shutil.which(CLIENTS[name][0]):
            record(name, CLIENTS[name])
        else:
            print(f"{name}: there is no {CLIENTS[name][0]} here")


if __name__ == "__main__":
    main()
