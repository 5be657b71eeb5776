"""redis-servers, and Ringroad in front of them, on their own address."""

import os
import random
import shutil
import socket
import subprocess
import tempfile
import time

PROXY, STATS, SERVERS = 6400, 6401, 6410
POOL = """fleet:
  listen: {listen}
  hash: murmur
  hash_tag: "{hash_tag}"
  redis: true
  server_parameters: true
  keyless_scripts: true
  servers:
"""


class Fleet:
    """One redis-server (`servers` is 0), or Ringroad in front of that many. Clients connect to `host` and
    `port`; the servers listen at `ports` of the same host."""

    def __init__(self, servers, ringroad, hash_tag="{}"):
        self.servers = servers
        self.ringroad = ringroad
        self.hash_tag = hash_tag

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="ringroad-fleet-")
        self.processes = []
        self.host = ".".join(["127", *(str(random.randint(2, 250)) for _ in range(3))])
        self.ports = [self.start_server(SERVERS + nth) for nth in range(max(self.servers, 1))]
        self.port = self.start_proxy() if self.servers else self.ports[0]
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def start_server(self, port):
        own = os.path.join(self.dir, str(port))
        os.mkdir(own)
        self.start(port, "redis-server", "--bind", self.host, "--port", str(port), "--save", "", "--dir", own,
                   "--enable-debug-command", "yes")
        return port

    def start_proxy(self):
        conf = os.path.join(self.dir, "pool.yml")
        with open(conf, "w", encoding="utf-8") as file:
            file.write(POOL.format(listen=f"{self.host}:{PROXY}", hash_tag=self.hash_tag))
            file.writelines(f"    - {self.host}:{port}:1 s{nth}\n" for nth, port in enumerate(self.ports))
        self.start(PROXY, self.ringroad, "-c", conf, "-a", self.host, "-s", str(STATS))
        return PROXY

    def start(self, port, *command):
        with open(os.path.join(self.dir, f"{port}.log"), "wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        self.processes.append(process)
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection((self.host, port), 1).close()
                return
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    with open(os.path.join(self.dir, f"{port}.log"), encoding="utf-8", errors="replace") as log:
                        raise SystemExit(f"{command[0]} does not start: {log.read()}") from None
                time.sleep(0.01)

