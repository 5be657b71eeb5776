// Real redis-servers, a real proxy and load, for the tests of the page and its screenshots.

'use strict';

const { spawn, execFileSync } = require('node:child_process');
const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');

const CLIENTS = process.env.CLIENTS;
const Redis = require(path.join(CLIENTS, 'ioredis'));

const PROXY_PORT = 16121;
const SECOND_PORT = 16122;
const STATS_PORT = 16222;
// A browser reaches the admin socket here, as through `ssh -L`.
const PAGE_PORT = 16223;
const SERVER_PORT = 16131;

// Calls until it returns something true.
async function until(what, check, patience = 20000) {
  const end = Date.now() + patience;
  for (;;) {
    const found = await check();
    if (found) return found;
    if (Date.now() > end) throw new Error(`not within ${patience} ms: ${what}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

function listens(ip, port) {
  return new Promise((done) => {
    const socket = net.connect(port, ip);
    socket.once('connect', () => { socket.destroy(); done(true); });
    socket.once('error', () => done(false));
  });
}

class Site {
  constructor(program, ip) {
    this.program = program;
    this.ip = ip;
    this.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'ringroad-page-'));
    this.socket = path.join(this.dir, 'ctl.sock');
    this.conf = path.join(this.dir, 'pool.yml');
    this.processes = new Map();
    this.clients = [];
    this.loads = [];
    this.stats = `http://${ip}:${STATS_PORT}/`;
    this.page = `http://${ip}:${PAGE_PORT}/`;
  }

  run(name, program, args) {
    const log = fs.openSync(path.join(this.dir, `${name}.log`), 'a');
    const child = spawn(program, args, { stdio: ['ignore', log, log], cwd: this.dir });
    child.ended = new Promise((done) => child.once('exit', done));
    this.processes.set(name, child);
    return child;
  }

  async kill(name, signal = 'SIGKILL') {
    const child = this.processes.get(name);
    this.processes.delete(name);
    child.kill(signal);
    await child.ended;
  }

  server(number) {
    return `${this.ip}:${SERVER_PORT + number}`;
  }

  async startServer(number) {
    const port = String(SERVER_PORT + number);
    this.run(`redis-${number}`, 'redis-server', ['--bind', this.ip, '--port', port, '--save', '', '--appendonly', 'no', '--dir', this.dir]);
    await until(`redis-server ${number} listens`, () => listens(this.ip, port));
  }

  // `pools` is the text of the file, in which PROXY and SECOND are addresses for clients.
  async startProxy(pools, options = []) {
    this.write(pools);
    this.run('proxy', this.program, ['-c', this.conf, '-a', this.ip, '-s', String(STATS_PORT), '--admin', this.socket, '--workers', '2', ...options]);
    await until('the proxy listens', () => fs.existsSync(this.socket) && listens(this.ip, STATS_PORT));
    await this.forward();
  }

  write(pools, file = this.conf) {
    fs.writeFileSync(file, pools.replaceAll('PROXY', `${this.ip}:${PROXY_PORT}`).replaceAll('SECOND', `${this.ip}:${SECOND_PORT}`));
  }

  // What `ssh -L PORT:SOCKET` does.
  forward() {
    if (this.forwarder) return undefined;
    this.forwarder = net.createServer((near) => {
      const far = net.connect(this.socket);
      for (const [one, other] of [[near, far], [far, near]]) {
        one.on('error', () => other.destroy());
        one.pipe(other);
      }
    });
    return new Promise((done) => this.forwarder.listen(PAGE_PORT, this.ip, done));
  }

  // An answer of the admin API.
  async api(target) {
    return JSON.parse(await new Promise((done, fail) => {
      http.get({ socketPath: this.socket, path: target, headers: { Host: 'proxy' } }, (response) => {
        let text = '';
        response.on('data', (data) => { text += data; });
        response.on('end', () => done(text));
      }).on('error', fail);
    }));
  }

  ctl(...args) {
    return execFileSync(this.program, ['ctl', '--admin', this.socket, ...args], { encoding: 'utf8' });
  }

  client(options = {}) {
    const client = new Redis({ host: this.ip, port: PROXY_PORT, maxRetriesPerRequest: 0, retryStrategy: () => 100, ...options });
    client.on('error', () => {});
    this.clients.push(client);
    return client;
  }

  // Requests at an even pace, until the result is called.
  load({ perTurn = 20, port = PROXY_PORT } = {}) {
    const client = this.client({ port });
    let isOn = true;
    let turn = 0;
    const work = async () => {
      while (isOn) {
        turn += 1;
        const requests = [];
        for (let n = 0; n < perTurn; n += 1) {
          // Some keys are asked for more often than others.
          const key = `user:${Math.floor(1000 * Math.random() ** 3)}`;
          requests.push(n % 4 === 0 ? client.set(key, 'x'.repeat(50 + (turn % 100))) : client.get(key));
        }
        await Promise.allSettled(requests);
        await new Promise((done) => setTimeout(done, 10));
      }
    };
    const worked = work();
    const end = async () => {
      isOn = false;
      await worked;
    };
    this.loads.push(end);
    return end;
  }

  async stop() {
    const ended = this.loads.map((end) => end());
    for (const client of this.clients) client.disconnect();
    await Promise.all(ended);
    this.forwarder?.close();
    for (const name of [...this.processes.keys()]) await this.kill(name);
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}

module.exports = { Site, until, CLIENTS, PROXY_PORT, SECOND_PORT };
