#!/usr/bin/env python3
"""A flood of TLS handshakes beside a client of the same worker.

One process makes new TLS connections at a fixed rate, and closes each after its handshake. Next to them one client
writes a value and reads it back, with pauses: how long does it wait? Three times in turn, round after round: alone; with
the flood at another proxy, which takes the machine's time as well; and with the flood at its own worker. Nothing is
pinned to a core. The tables are Markdown."""

import argparse
import contextlib
import multiprocessing
import os
import socket
import ssl
import statistics
import time

from racing.flooding import Exchange
from racing.machine import ROOT, Machine, cpu_seconds, table
from racing.tls import certificates

SETTLED = 0.5
WHERE = ["alone", "elsewhere", "beside"]


def main():
    options = arguments()
    cpus = ",".join(str(cpu) for cpu in sorted(os.sched_getaffinity(0)))
    for key in options.keys.split(","):
        with Machine("redis", None, 0.0, cpus, cpus) as machine:
            report(machine, key, options)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each part of a round")
    parser.add_argument("--per-minute", type=int, default=10_000, help="handshakes")
    parser.add_argument("--keys", default="ecdsa,rsa", help="of the certificate: ecdsa (P-256), rsa (2048 bits)")
    parser.add_argument("--ringroad", default=str(ROOT / "target/release/ringroad"), help="the binary to benchmark")
    return parser.parse_args()


def report(machine, key, options):
    ca, cert, private, _ = certificates(machine.folder, key)
    server = machine.server()
    proxies = {where: proxy(machine, options.ringroad, where, server, cert, private) for where in WHERE[1:]}
    own = proxies["beside"]
    context = ssl.create_default_context(cafile=str(ca))
    waits = {(where, client): [] for where in WHERE for client in ("plain", "TLS")}
    made, spent = [], []
    for _ in range(options.rounds):
        for where in WHERE:
            clients = {"plain": Exchange(own.address, "redis"), "TLS": Exchange(encrypted(own), "redis")}
            clients["TLS"].socket = context.wrap_socket(clients["TLS"].socket, server_hostname="race.test")
            flood = contextlib.nullcontext()
            if where != "alone":
                flood = flooded(encrypted(proxies[where]), ca, options.per_minute / 60)
            with flood as count:
                for name, client in clients.items():
                    client.settle()
                    time.sleep(SETTLED)
                    before, began, cpu = count and count.value, time.monotonic(), cpu_seconds(own.process)
                    waits[where, name].append(sorted(client.waits(options.seconds / 2)))
                    if where == "beside":
                        made.append((count.value - before) / (time.monotonic() - began))
                        spent.append((cpu_seconds(own.process) - cpu) / (time.monotonic() - began))
    rate = f"{statistics.median(made):.0f} handshakes a second were made, {statistics.median(spent):.2f} s of CPU time a second spent"
    print(f"\n{key}: {rate}\n")
    rows = []
    for name in ("plain", "TLS"):
        for where in WHERE:
            runs, alone, control = (waits[place, name] for place in (where, "alone", "elsewhere"))
            figures = [f"{statistics.median(at(run, share) for run in runs) * 1000:.2f}" for share in (0.5, 0.99)]
            rows.append([name, where, *figures, f"{ratio(runs, alone):.2f}", f"{ratio(runs, control):.2f}"])
    table(["client", "flood", "p50 ms", "p99 ms", "p99 to alone", "p99 to elsewhere"], rows)


def proxy(machine, ringroad, name, server, cert, key):
    target = machine.proxy(name, ringroad, ["--workers", "1"], [server])
    # The listener for TLS has the same address, and another port.
    conf = machine.folder / f"{name}.yml"
    host, port = encrypted(target)
    more = f"  tls_listen: {host}:{port}\n  tls_cert: {cert}\n  tls_key: {key}\n"
    conf.write_text(conf.read_text().replace("  hash: ", f"{more}  hash: ", 1))
    target.process.send_signal(1)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            socket.create_connection((host, port), 1).close()
            return target
        time.sleep(0.02)
    raise SystemExit(f"{name} does not listen for TLS")


def encrypted(target):
    return target.address[0], 22122


@contextlib.contextmanager
def flooded(address, ca, per_second):
    """Makes so many handshakes meanwhile, from a process of its own; yields their count."""
    count = multiprocessing.Value("Q", 0)
    process = multiprocessing.Process(target=shake_hands, args=(address, ca, per_second, count), daemon=True)
    process.start()
    try:
        yield count
    finally:
        alive = process.is_alive()
        process.kill()
        process.join()
    if not alive:
        raise SystemExit("the flood has ended")


def shake_hands(address, ca, per_second, count):
    context = ssl.create_default_context(cafile=str(ca))
    due = time.monotonic()
    while True:
        due += 1 / per_second
        time.sleep(max(due - time.monotonic(), 0))
        client = socket.create_connection(address, 60)
        context.wrap_socket(client, server_hostname="race.test").close()
        count.value += 1


def at(waits, share):
    return waits[min(int(len(waits) * share), len(waits) - 1)]


def ratio(runs, others):
    """The median of the rounds' own ratios."""
    return statistics.median(at(one, 0.99) / at(other, 0.99) for one, other in zip(runs, others))


if __name__ == "__main__":
    main()
