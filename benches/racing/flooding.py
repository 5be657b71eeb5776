"""Clients that flood a target, and one that sends single requests next to them."""

import contextlib
import dataclasses
import multiprocessing
import select
import socket
import time

# What a flooding client sends again and again. As long as a large write, so that its own cost is small.
BODY_BYTES = 1 << 20
READ_BYTES = 1 << 18
PAUSE = 0.002


def request(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


QUEUED = [request(b"MULTI"), *[request(b"SET", b"k", b"v")] * 998, request(b"DISCARD")]
LONG_KEY = b"get " + b"k" * 251 + b"\r\n"


@dataclasses.dataclass
class Flood:
    """Requests of one kind. `before_auth`: the client has sent no password to a target that wants one."""

    what: str
    requests: bytes
    before_auth: bool = False


REDIS = [
    Flood("PING", request(b"PING")),
    Flood("PING, inline", b"PING\r\n"),
    Flood("SET within MULTI, DISCARD", b"".join(QUEUED)),
    Flood("empty lines", b"\r\n"),
    Flood("unknown command", request(b"NOSUCH", b"k")),
    Flood("GET without a key", request(b"GET")),
    Flood("SELECT", request(b"SELECT", b"0")),
    Flood("PING before AUTH", request(b"PING"), before_auth=True),
    Flood("empty lines before AUTH", b"\r\n", before_auth=True),
    Flood("AUTH with a wrong password", request(b"AUTH", b"wrong"), before_auth=True),
    Flood("for comparison, forwarded: GET", request(b"GET", b"k")),
]
MEMCACHED = [
    Flood("version", b"version\r\n"),
    Flood("mn", b"mn\r\n"),
    Flood("unknown command", b"nonsense\r\n"),
    Flood("key of 251 bytes", LONG_KEY),
    Flood("for comparison, forwarded: get", b"get k\r\n"),
]


class Exchange:
    """A connection that writes a value and reads it back, and fails if it reads another."""

    def __init__(self, address, protocol, password=None):
        self.socket = socket.create_connection(address, 60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.protocol = protocol
        self.count = 0
        if password:
            self.ask(request(b"AUTH", password), b"+OK\r\n")

    def ask(self, sent, expected):
        self.socket.sendall(sent)
        found = b""
        while len(found) < len(expected):
            piece = self.socket.recv(4096)
            if not piece:
                raise SystemExit(f"closed after {found!r}")
            found += piece
        if found != expected:
            raise SystemExit(f"{found!r} instead of {expected!r}")

    def seconds(self):
        """The time that it takes."""
        self.count += 1
        value = b"%08d" % self.count
        began = time.monotonic()
        if self.protocol == "redis":
            sent = request(b"SET", b"single", value) + request(b"GET", b"single")
            self.ask(sent, b"+OK\r\n$8\r\n" + value + b"\r\n")
        else:
            sent = b"set single 0 0 8\r\n" + value + b"\r\nget single\r\n"
            self.ask(sent, b"STORED\r\nVALUE single 0 8\r\n" + value + b"\r\nEND\r\n")
        return time.monotonic() - began

    def waits(self, seconds):
        """The times of exchanges, with pauses, for so long."""
        until = time.monotonic() + seconds
        found = []
        while time.monotonic() < until:
            found.append(self.seconds())
            time.sleep(PAUSE)
        return found

    def settle(self):
        """Returns when the target is idle again after a flood."""
        quick = 0
        while quick < 20:
            quick = quick + 1 if self.seconds() < 0.005 else 0
            time.sleep(PAUSE)


@contextlib.contextmanager
def flooded(address, flood, clients):
    """Floods the target meanwhile, from a process of its own."""
    sent = multiprocessing.Value("Q", 0)
    process = multiprocessing.Process(target=send_for_ever, args=(address, flood.requests, clients, sent), daemon=True)
    process.start()
    try:
        while sent.value < clients * BODY_BYTES:
            if not process.is_alive():
                raise SystemExit(f"{flood.what}: the flood has ended")
            time.sleep(0.01)
        yield
    finally:
        alive = process.is_alive()
        process.kill()
        process.join()
    if not alive:
        raise SystemExit(f"{flood.what}: the flood has ended")


def send_for_ever(address, requests, clients, sent):
    """Sends over all connections, and reads all replies. One that is closed is opened again: a plain redis-server closes
    clients that have not authenticated and pipeline."""
    body = memoryview(requests * max(BODY_BYTES // len(requests), 1))
    poll = select.epoll()
    opened = {}

    def connect():
        client = socket.create_connection(address, 60)
        client.setblocking(False)
        opened[client.fileno()] = [client, 0]
        poll.register(client, select.EPOLLIN | select.EPOLLOUT)

    for _ in range(clients):
        connect()
    while True:
        for descriptor, events in poll.poll():
            entry = opened[descriptor]
            client, at = entry
            try:
                if events & select.EPOLLOUT:
                    length = client.send(body[at:])
                    entry[1] = (at + length) % len(body)
                    sent.value += length
                if events & ~select.EPOLLOUT and not client.recv(READ_BYTES):
                    raise ConnectionError
            except BlockingIOError:
                continue
            except ConnectionError:
                del opened[descriptor]
                client.close()
                connect()
