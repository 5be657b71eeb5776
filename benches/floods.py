#!/usr/bin/env python3
"""Floods, of Ringroad with one worker and of a plain server, in one run.

Clients that pipeline one request again and again, and read all replies; and clients that ask for large values and read
nothing. Next to them one client writes a value and reads it back, with pauses: how long does it wait? The requests are
those that the proxy answers itself: whatever it costs to answer them is not limited by a server. Nothing is pinned to a
core: all processes share them. The tables are Markdown.

Only the ratio to the plain server says something: both get the same flood, one after the other, round after round."""

import argparse
import os
import socket
import statistics
import time

from racing.flooding import MEMCACHED, REDIS, Exchange, flooded, request
from racing.machine import ROOT, Machine, Target, memory_mb, table

PASSWORD = "secret"
VALUE_BYTES = 1_000_000
SETTLED = 0.5


def main():
    options = arguments()
    os.environ["PATH"] += ":/usr/sbin"
    cpus = ",".join(str(cpu) for cpu in sorted(os.sched_getaffinity(0)))
    for protocol, floods in [("redis", REDIS), ("memcached", MEMCACHED)]:
        with Machine(protocol, None, 0.0, cpus, cpus) as machine:
            report_floods(machine, [flood for flood in floods if options.only in flood.what], options)
    if not options.only:
        with Machine("redis", None, 0.0, cpus, cpus) as machine:
            report_unread(machine, options)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each flood")
    parser.add_argument("--clients", type=int, default=20, help="that flood and read")
    parser.add_argument("--unread-clients", type=int, default=40, help="that do not read")
    values = "of 1 MB that each of them asks for; a plain redis-server keeps all of them in memory"
    parser.add_argument("--values", type=int, default=200, help=values)
    parser.add_argument("--only", default="", help="only floods whose name contains this")
    parser.add_argument("--ringroad", default=str(ROOT / "target/release/ringroad"), help="the binary to benchmark")
    return parser.parse_args()


def pair(machine, ringroad, password):
    """A plain server, and Ringroad in front of it."""
    wants = ["--requirepass", PASSWORD] if password else []
    server = machine.server(wants)
    directives = f"  redis_auth: {PASSWORD}\n" if password else ""
    name = f"ringroad-{server[0]}"
    proxy = machine.proxy(name, ringroad, ["--workers", "1"], [server], directives)
    return [Target(machine.protocol, server), Target("ringroad", proxy.address, proxy.process)]


def report_floods(machine, floods, options):
    if not floods:
        return
    pairs = {wants: pair(machine, options.ringroad, wants) for wants in {flood.before_auth for flood in floods}}
    rows = {}
    for _ in range(options.rounds):
        for flood in floods:
            password = PASSWORD.encode() if flood.before_auth else None
            for target in pairs[flood.before_auth]:
                single = Exchange(target.address, machine.protocol, password)
                single.settle()
                with flooded(target.address, flood, options.clients):
                    time.sleep(SETTLED)
                    waits = single.waits(options.seconds)
                rows.setdefault(flood.what, {}).setdefault(target.name, []).append(sorted(waits))
    print(f"\n{options.clients} clients that flood and read, {machine.protocol}: waits of another client\n")
    columns = ["flood", *(f"{name} {what} ms" for name in (machine.protocol, "ringroad") for what in ("p50", "p99", "worst"))]
    table([*columns, "p50 ratio", "p99 ratio"], [row(what, *found.values()) for what, found in rows.items()])


def row(what, plain, ringroad):
    """Medians of the rounds, the worst of all, and the medians of the rounds' own ratios."""
    shares = (0.5, 0.99)
    cells = [what]
    for runs in (plain, ringroad):
        cells += [f"{statistics.median(at(waits, share) for waits in runs) * 1000:.1f}" for share in shares]
        cells.append(f"{max(waits[-1] for waits in runs) * 1000:.0f}")
    for share in shares:
        ratios = [at(mine, share) / at(theirs, share) for mine, theirs in zip(ringroad, plain)]
        cells.append(f"{statistics.median(ratios):.2f}")
    return cells


def at(waits, share):
    return waits[min(int(len(waits) * share), len(waits) - 1)]


def report_unread(machine, options):
    targets = pair(machine, options.ringroad, False)
    value = b"x" * VALUE_BYTES
    Exchange(targets[0].address, "redis").ask(request(b"SET", b"large", value), b"+OK\r\n")
    rows = {target.name: [] for target in targets}
    for _ in range(options.rounds):
        for target in targets:
            single = Exchange(target.address, "redis")
            single.settle()
            clients = [socket.create_connection(target.address, 10) for _ in range(options.unread_clients)]
            for client in clients:
                client.sendall(request(b"GET", b"large") * options.values)
            waits = single.waits(options.seconds)
            held = memory_mb(target.process, "VmRSS")
            for client in clients:
                client.close()
            # What they have left behind may delay others too.
            waits += single.waits(1.0)
            rows[target.name].append((max(waits) * 1000, at(sorted(waits), 0.99) * 1000, held))
    print(f"\n{options.unread_clients} clients, each with {options.values} values of 1 MB unread: waits of another client\n")
    columns = ["target", "worst ms, median of the rounds", "worst ms of all", "p99 ms", "proxy's memory MB"]
    cells = []
    for target in targets:
        worst, p99, held = zip(*rows[target.name])
        memory = f"{max(held):.0f}" if target.process else ""
        cells.append([target.name, f"{statistics.median(worst):.0f}", f"{max(worst):.0f}", f"{statistics.median(p99):.1f}", memory])
    table(columns, cells)


if __name__ == "__main__":
    main()
