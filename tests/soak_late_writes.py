#!/usr/bin/env python3
"""Writes of 70 KB to 1 MB, through a proxy to servers that hang for a moment again and again, longer than the pool's
timeout. Each key has one writer, which numbers its values. No client may read a value with a lower number than one that
was acknowledged before it asked: a write that timed out would have been executed after a newer one.

docs/reliability.md has the figures. For comparison: --proxy nutcracker, --protocol memcached."""

import argparse
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TIMEOUT = 0.3
SIZES = (70_000, 150_000, 300_000, 600_000, 1_000_000)
CONF = """pool:
  listen: {host}:6400
  hash: murmur
  redis: {redis}
  timeout: {timeout}
  server_connections: {connections}
  servers:
"""


class Broken(Exception):
    """The connection to the proxy is lost, or its reply is no reply."""


class Client:
    """A connection, with the two requests that the soak uses."""

    def __init__(self, host, protocol):
        self.protocol = protocol
        self.socket = socket.create_connection((host, 6400), 30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def line(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise Broken(line)
        return line[:-2]

    def set(self, key, value):
        """Returns whether the write was acknowledged."""
        if self.protocol == "redis":
            head, done = b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n" % (len(key), key, len(value)), b"+OK"
        else:
            head, done = b"set %s 0 0 %d\r\n" % (key, len(value)), b"STORED"
        self.socket.sendall(head + value + b"\r\n")
        return self.line() == done

    def get(self, key):
        """Returns the value; an empty one if there is none, and `None` for an error."""
        if self.protocol == "redis":
            self.socket.sendall(b"*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n" % (len(key), key))
            head = self.line()
            if head.startswith(b"-"):
                return None
            length = int(head[1:])
            return self.file.read(length + 2)[:-2] if length >= 0 else b""
        self.socket.sendall(b"get %s\r\n" % key)
        head = self.line()
        if head == b"END":
            return b""
        if not head.startswith(b"VALUE "):
            return None
        value = self.file.read(int(head.split()[3]) + 2)[:-2]
        self.line()
        return value


class Key:
    """A key with its writer's counts."""

    def __init__(self, name):
        self.name = name
        self.sent = 0
        self.acknowledged = 0


class Soak:
    def __init__(self, options):
        self.options = options
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.counts = dict.fromkeys(("acknowledged", "failed", "read", "read failed", "stops", "stale"), 0)
        self.keys = [Key(b"key-%d" % nth) for nth in range(options.writers * 4)]
        self.host = ".".join(["127", *(str(random.randint(2, 250)) for _ in range(3))])

    def count(self, what):
        with self.lock:
            self.counts[what] += 1

    def clients(self):
        """Several connections each, so that a write and the next one use different ones to the server."""
        return [Client(self.host, self.options.protocol) for _ in range(3)]

    def write(self, keys):
        clients = self.clients()
        key, done = None, True
        while not self.stop.is_set():
            # What failed is overwritten at once, before the server has gone on, and with a value that it reads sooner.
            key = random.choice(keys) if done else key
            size = random.choice(SIZES) if done else min(SIZES)
            key.sent += 1
            try:
                done = random.choice(clients).set(key.name, b"%d " % key.sent + b"x" * size)
            except (Broken, OSError):
                clients, done = self.clients(), False
            if done:
                key.acknowledged = key.sent
            self.count("acknowledged" if done else "failed")
            if done:
                time.sleep(random.random() * 0.02)

    def read(self):
        clients = self.clients()
        while not self.stop.is_set():
            key = random.choice(self.keys)
            least = key.acknowledged
            try:
                value = random.choice(clients).get(key.name)
            except (Broken, OSError):
                clients, value = self.clients(), None
            if value is None:
                self.count("read failed")
                continue
            self.count("read")
            number = int(value.split(b" ", 1)[0] or 0)
            if number < least:
                self.count("stale")
                print(f"{key.name.decode()}: read number {number} after {least} was acknowledged", flush=True)
            time.sleep(random.random() * 0.01)

    def hang(self, servers):
        """Stops one server after another, for less or more than the timeout."""
        while not self.stop.is_set():
            server = random.choice(servers)
            server.send_signal(signal.SIGSTOP)
            self.count("stops")
            time.sleep(TIMEOUT * random.uniform(0.5, 3))
            server.send_signal(signal.SIGCONT)
            time.sleep(random.uniform(0.1, 0.6))

    def run(self):
        directory = tempfile.mkdtemp(prefix="ringroad-soak-")
        processes = []

        def start(port, *command):
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            processes.append(process)
            for _ in range(1000):
                try:
                    return socket.create_connection((self.host, port), 1).close() or process
                except OSError:
                    time.sleep(0.01)
            sys.exit(f"{command[0]} does not start")

        try:
            self.run_with(start, directory)
        finally:
            self.stop.set()
            for process in processes:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()
            shutil.rmtree(directory, ignore_errors=True)

    def run_with(self, start, directory):
        options = self.options
        redis = options.protocol == "redis"
        ports = [6410 + nth for nth in range(options.servers)]
        servers = []
        for port in ports:
            command = (["redis-server", "--bind", self.host, "--port", str(port), "--save", "", "--dir", directory]
                       if redis else
                       ["memcached", "-u", "nobody", "-l", self.host, "-p", str(port), "-t", "4", "-m", "512"])
            servers.append(start(port, *command))
        conf = os.path.join(directory, "pool.yml")
        with open(conf, "w", encoding="utf-8") as file:
            file.write(CONF.format(host=self.host, redis=str(redis).lower(), timeout=int(TIMEOUT * 1000),
                                   connections=options.server_connections))
            file.writelines(f"    - {self.host}:{port}:1 s{port}\n" for port in ports)
        if options.proxy == "ringroad":
            start(6400, options.ringroad, "-c", conf, "-a", self.host, "-s", "6401",
                  "--workers", str(options.workers))
        else:
            start(6400, "nutcracker", "-c", conf, "-a", self.host, "-s", "6401")
        threads = [threading.Thread(target=self.write, args=(self.keys[nth::options.writers],))
                   for nth in range(options.writers)]
        threads += [threading.Thread(target=self.read) for _ in range(options.readers)]
        threads.append(threading.Thread(target=self.hang, args=(servers,)))
        for thread in threads:
            thread.start()
        time.sleep(options.seconds)
        self.stop.set()
        for thread in threads:
            thread.join()
        # What is still in the sockets is executed by now, if ever.
        time.sleep(1)
        client = self.clients()[0]
        for key in self.keys:
            found = re.match(rb"\d+", client.get(key.name) or b"0")
            if int(found[0]) < key.acknowledged:
                self.count("stale")
        print(f"{options.proxy}, {options.protocol}, {options.seconds} s: "
              + ", ".join(f"{what} {number}" for what, number in self.counts.items()))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--servers", type=int, default=2)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--readers", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--server-connections", type=int, default=2)
    parser.add_argument("--protocol", choices=["redis", "memcached"], default="redis")
    parser.add_argument("--proxy", choices=["ringroad", "nutcracker"], default="ringroad")
    parser.add_argument("--ringroad", default=os.path.join(ROOT, "target/release/ringroad"))
    soak = Soak(parser.parse_args())
    soak.run()
    sys.exit(soak.counts["stale"] > 0)


if __name__ == "__main__":
    main()
