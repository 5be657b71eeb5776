#!/usr/bin/env python3
"""What clients notice of the death of a primary, in one run: the time without service, and the requests that fail.

Three sentinels watch a primary with two replicas. Two clients write all the time: one through Ringroad, which knows nothing of
Sentinel, and one that is redis-py's own Sentinel client. The primary is killed (kill -9); each client goes on until it has
written again. A client's time without service is that from its last acknowledged write to its next one.

The second table: reads at two replicas of which one is slow (it stalls for 50 ms of each 100), without and with
`read_hedge_limit`, and at the primary.

The tables are Markdown. Needs redis-py (`make setup` installs it into target/clients/venv)."""

import argparse
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(path) for path in ROOT.glob("target/clients/venv/lib/python*/site-packages")]

import redis  # noqa: E402
from redis.sentinel import Sentinel  # noqa: E402

HOST = "127.0.0.1"


def main():
    options = arguments()
    results = {"Ringroad": [], "redis-py, Sentinel": []}
    for round_number in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            for name, result in Round(pathlib.Path(folder), options).run().items():
                results[name].append(result)
        print(f"round {round_number + 1} of {options.rounds}", file=sys.stderr)
    print(f"\nkill -9 of a primary, down-after {options.down_after} ms, {options.rounds} rounds\n")
    print("| client | without service, ms, median | longest, ms | requests that failed, a round |")
    print("|---|---:|---:|---:|")
    for name, rounds in results.items():
        gaps, failures = zip(*rounds)
        print(f"| {name} | {statistics.median(gaps):,.0f} | {max(gaps):,.0f} | {statistics.mean(failures):.1f} |")


    measure_reads(options)


def measure_reads(options):
    print(f"\nreads for {options.seconds:g} s by 8 clients, one of two replicas slow\n")
    print("| `read_from` | `read_hedge_limit` | reads a second | p50 ms | p99 ms | p99.9 ms |")
    print("|---|---:|---:|---:|---:|---:|")
    for source, limit in (("primary", 0), ("replica", 0), ("replica", 5)):
        with tempfile.TemporaryDirectory() as folder:
            times = Reads(pathlib.Path(folder), options).measure_with(source, limit)
        times.sort()
        quantiles = [times[int(len(times) * share)] * 1000 for share in (0.5, 0.99, 0.999)]
        row = [source, limit, f"{len(times) / options.seconds:,.0f}", *(f"{quantile:.2f}" for quantile in quantiles)]
        print("| " + " | ".join(str(cell) for cell in row) + " |")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--down-after", type=int, default=1000, help="ms; of the sentinels")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each run of the second table")
    parser.add_argument("--ringroad", default=str(ROOT / "target/release/ringroad"), help="the binary to measure")
    return parser.parse_args()


class Round:
    """One death of a primary, with servers, sentinels and a proxy of its own."""

    def __init__(self, folder, options):
        self.folder, self.options = folder, options
        self.processes = []

    def run(self):
        try:
            return self.measure()
        finally:
            for process in self.processes:
                process.kill()
            for process in self.processes:
                process.wait()

    def measure(self):
        ports = [free_port() for _ in range(7)]
        servers, sentinels, listen = ports[:3], ports[3:6], ports[6]
        primary = self.start(["redis-server", "--port", servers[0], "--save", ""])
        for port in servers[1:]:
            self.start(["redis-server", "--port", port, "--save", "", "--replicaof", HOST, servers[0]])
        await_info(servers[0], "connected_slaves", "2")
        for port in sentinels:
            file = self.folder / f"{port}.conf"
            file.write_text(
                f"port {port}\nsentinel monitor shard {HOST} {servers[0]} 2\n"
                f"sentinel down-after-milliseconds shard {self.options.down_after}\n"
            )
            self.start(["redis-server", file, "--sentinel"])
        for port in sentinels:
            await_info(port, "master0", "status=ok", "slaves=2", "sentinels=3")
        pool = self.folder / "pool.yml"
        listed = ", ".join(f"'{HOST}:{port}'" for port in sentinels)
        pool.write_text(
            f"p:\n  listen: {HOST}:{listen}\n  redis: true\n  servers: ['{HOST}:{servers[0]}:1 shard']\n"
            f"  sentinels: [{listed}]\n  server_failover_timeout: 30000\n"
        )
        self.start([self.options.ringroad, "-c", pool, "-s", free_port()])
        await_port(listen)
        proxied = redis.Redis(HOST, listen, socket_timeout=60)
        aware = Sentinel([(HOST, port) for port in sentinels], socket_timeout=0.5).master_for("shard", socket_timeout=0.5)
        writers = {"Ringroad": Writer(proxied, "a"), "redis-py, Sentinel": Writer(aware, "b")}
        time.sleep(1)
        primary.kill()
        died = time.monotonic()
        return {name: writer.end(died) for name, writer in writers.items()}

    def start(self, command):
        words = [str(word) for word in command]
        process = subprocess.Popen(words, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.processes.append(process)
        return process


class Reads(Round):
    """Reads at a primary and two replicas, one of which is slow."""

    def measure_with(self, source, limit):
        try:
            return self.read(source, limit)
        finally:
            for process in self.processes:
                process.kill()
            for process in self.processes:
                process.wait()

    def read(self, source, limit):
        *servers, listen = [free_port() for _ in range(4)]
        debug = ["--save", "", "--enable-debug-command", "yes"]
        self.start(["redis-server", "--port", servers[0], *debug])
        for port in servers[1:]:
            self.start(["redis-server", "--port", port, *debug, "--replicaof", HOST, servers[0]])
        await_info(servers[0], "connected_slaves", "2")
        pool = self.folder / "pool.yml"
        replicas = ", ".join(f"'{HOST}:{port} shard'" for port in servers[1:])
        lines = "" if source == "primary" else f"  read_from: {source}\n  read_hedge_limit: {limit}\n"
        pool.write_text(
            f"p:\n  listen: {HOST}:{listen}\n  redis: true\n  servers: ['{HOST}:{servers[0]}:1 shard']\n"
            f"  replicas: [{replicas}]\n{lines}"
        )
        self.start([self.options.ringroad, "-c", pool, "-s", free_port()])
        await_port(listen)
        redis.Redis(HOST, listen).set("key", "value")
        is_over = threading.Event()
        slow = threading.Thread(target=self.stall, args=(servers[1], is_over))
        slow.start()
        time.sleep(2)
        times = []
        clients = [threading.Thread(target=self.ask, args=(listen, times, is_over)) for _ in range(8)]
        for client in clients:
            client.start()
        time.sleep(self.options.seconds)
        is_over.set()
        for thread in [slow, *clients]:
            thread.join()
        return times

    def stall(self, port, is_over):
        client = redis.Redis(HOST, port)
        while not is_over.is_set():
            client.execute_command("DEBUG", "SLEEP", "0.05")
            time.sleep(0.05)

    def ask(self, port, times, is_over):
        client = redis.Redis(HOST, port)
        while not is_over.is_set():
            begun = time.perf_counter()
            assert client.get("key") == b"value"
            times.append(time.perf_counter() - begun)


class Writer:
    """A client that writes all the time, from another thread."""

    def __init__(self, client, key):
        self.client, self.key = client, key
        self.acked, self.failures = [], 0
        self.is_over = False
        self.thread = threading.Thread(target=self.write)
        self.thread.start()

    def write(self):
        number = 0
        while not self.is_over:
            number += 1
            try:
                self.client.set(self.key, number)
                self.acked.append(time.monotonic())
            except (redis.RedisError, OSError):
                self.failures += 1
            time.sleep(0.005)

    def end(self, died):
        """Waits until it has written for a while after the death; returns the longest gap in ms, and the failures."""
        limit = died + 60
        while not any(at > died + 0.5 for at in self.acked[-50:]) or self.acked[-1] < self.resumed(died) + 1:
            if time.monotonic() > limit:
                self.is_over = True
                raise SystemExit("a client did not come back")
            time.sleep(0.05)
        self.is_over = True
        self.thread.join()
        return self.longest_gap() * 1000, self.failures

    def resumed(self, died):
        return next((at for at in self.acked if at > died + 0.5), died)

    def longest_gap(self):
        return max(after - before for before, after in zip(self.acked, self.acked[1:]))


def free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def await_port(port):
    for _ in range(1000):
        try:
            return socket.create_connection((HOST, port), 1).close()
        except OSError:
            time.sleep(0.01)
    raise SystemExit(f"nothing listens on {port}")


def await_info(port, field, *texts):
    """Waits until a line of INFO has all these texts."""
    await_port(port)
    for _ in range(300):
        info = subprocess.run(["redis-cli", "-p", str(port), "INFO"], capture_output=True, text=True, check=True)
        lines = info.stdout.splitlines()
        found = next((line for line in lines if line.startswith(f"{field}:")), "")
        if all(text in found for text in texts):
            return
        time.sleep(0.1)
    raise SystemExit(f"{field} of port {port}: {found}")


if __name__ == "__main__":
    os.umask(0o077)
    main()
