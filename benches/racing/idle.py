"""Memory of clients that have sent one request and are idle."""

import resource
import socket
import time

from .machine import memory_mb, table

CROWDS = (1_000, 10_000)
QUESTION = {"redis": b"*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000001\r\n", "memcached": b"get key:000000000001\r\n"}
END = {"redis": b"\r\n", "memcached": b"END\r\n"}


def measure(machine, targets):
    """By target: resident MB before, with each number of clients, and after."""
    room = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (room, room))
    if room < CROWDS[-1] + 100:
        raise SystemExit(f"only {room} file descriptors; raise the limit (ulimit -n)")
    found = {}
    for target in targets:
        if target.process is None:
            continue
        ask(machine, target, 1)
        sizes = [memory_mb(target.process, "VmRSS")]
        for crowd in CROWDS:
            clients = ask(machine, target, crowd)
            sizes.append(memory_mb(target.process, "VmRSS"))
            for client in clients:
                client.close()
        # The proxy must notice that they are gone, and its allocator must release their pages.
        time.sleep(3)
        sizes.append(memory_mb(target.process, "VmRSS"))
        found[target.name] = sizes
    return found


def ask(machine, target, count):
    """Clients that have each sent one request and read the reply."""
    clients = [socket.create_connection(target.address, 10) for _ in range(count)]
    for client in clients:
        client.sendall(QUESTION[machine.protocol])
    for client in clients:
        reply = b""
        while not reply.endswith(END[machine.protocol]) or len(reply) < 64:
            piece = client.recv(4096)
            if not piece:
                raise SystemExit(f"{target.name} closed a connection after {reply!r}")
            reply += piece
    return clients


def report(found):
    print("\nMemory with idle clients, each of which has sent one request\n")
    rows = []
    for name, (before, *with_crowds, after) in found.items():
        each = [f"{(size - before) * 2**20 / crowd:.0f}" for size, crowd in zip(with_crowds, CROWDS)]
        sizes = [f"{size:.1f}" for size in (before, *with_crowds, after)]
        rows.append([name, *sizes, *each])
    columns = [f"MB with {crowd:,}" for crowd in CROWDS]
    table(["target", "MB before", *columns, "MB after", *(f"bytes each of {crowd:,}" for crowd in CROWDS)], rows)
