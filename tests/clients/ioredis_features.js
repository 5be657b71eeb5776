// What frameworks do with ioredis: transactions, scripts, iterators, publish and subscribe, blocking commands, large
// values. Arguments: host, port, and the names of the features to try; without names, all of them.
const assert = require('node:assert');
const Redis = require(`${process.env.CLIENTS}/ioredis`);

const [host, port, ...chosen] = process.argv.slice(2);
const clients = [];
const connect = (options = {}) => {
  const client = new Redis({ host, port: Number(port), ...options });
  clients.push(client);
  return client;
};
const range = (count) => Array.from({ length: count }, (_, n) => n);

async function transactions(client) {
  assert.deepEqual(
    await client.multi().set('{t}a', 1).incr('{t}a').get('{t}a').exec(),
    [[null, 'OK'], [null, 2], [null, '2']],
  );
  // Without a pipeline each command of the transaction is a request of its own.
  await client.multi({ pipeline: false });
  assert.equal(await client.set('{t}b', 'x'), 'QUEUED');
  assert.equal(await client.get('{t}b'), 'QUEUED');
  assert.deepEqual(await client.exec(), [[null, 'OK'], [null, 'x']]);

  await client.watch('{t}w');
  await connect().set('{t}w', 'changed');
  assert.equal(await client.multi().set('{t}w', 'lost').exec(), null);
  assert.equal(await client.get('{t}w'), 'changed');

  const broken = await client.multi().set('{t}s', 'text').incr('{t}s').get('{t}s').exec();
  assert.match(broken[1][0].message, /not an integer/);
  assert.equal(broken[2][1], 'text');
  await assert.rejects(client.multi().set('{t}s').exec(), /EXECABORT/);
}

async function scripts(client) {
  client.defineCommand('join', { numberOfKeys: 1, lua: "return redis.call('get', KEYS[1]) .. ARGV[1]" });
  for (const n of range(40)) {
    await client.set(`script-${n}`, n);
    assert.equal(await client.join(`script-${n}`, '!'), `${n}!`);
  }
  const pipeline = client.pipeline();
  for (const n of range(40)) pipeline.join(`script-${n}`, '?');
  assert.deepEqual((await pipeline.exec()).map(([, value]) => value), range(40).map((n) => `${n}?`));
  assert.equal(await client.eval('return ARGV[1]', 1, 'anywhere', 'x'), 'x');
}

async function iterators(client) {
  const wanted = range(2000).map((n) => `scan-${n}`);
  await client.mset(...wanted.flatMap((name) => [name, 1]));
  const found = [];
  for await (const names of client.scanStream({ match: 'scan-*', count: 100 })) found.push(...names);
  assert.equal(found.length, 2000);
  assert.deepEqual(new Set(found), new Set(wanted));
  await client.sadd('members', range(3000));
  const members = new Set();
  for await (const some of client.sscanStream('members')) some.forEach((member) => members.add(Number(member)));
  assert.equal(members.size, 3000);
}

async function pubsub(client) {
  const subscriber = connect();
  const heard = [];
  let done;
  const all = new Promise((resolve) => { done = resolve; });
  const hear = (text) => { if (heard.push(text) === 31) done(); };
  subscriber.on('message', (channel, message) => hear(`${channel} ${message}`));
  subscriber.on('pmessage', (pattern, channel, message) => hear(`${pattern} ${channel} ${message}`));
  const channels = range(20).map((n) => `channel-${n}`);
  assert.equal(await subscriber.subscribe(...channels), 20);
  assert.equal(await subscriber.psubscribe('channel-1*'), 21);
  for (const n of range(20)) await client.publish(`channel-${n}`, n);
  await all;
  const expected = [
    ...range(20).map((n) => `channel-${n} ${n}`),
    ...[1, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19].map((n) => `channel-1* channel-${n} ${n}`),
  ];
  assert.deepEqual(heard.sort(), expected.sort());
  assert.equal(await subscriber.unsubscribe(...channels), 1);
  assert.equal(await subscriber.punsubscribe('channel-1*'), 0);
  assert.equal(await subscriber.ping(), 'PONG');
}

async function blocking(client) {
  const popping = connect();
  assert.equal(await popping.blpop('{b}none', 0.05), null);
  const popped = popping.blpop('{b}other', '{b}list', 20);
  const moved = popping.duplicate();
  clients.push(moved);
  const move = moved.blmove('{b}from', '{b}to', 'LEFT', 'RIGHT', 20);
  await client.rpush('{b}list', 'first');
  assert.deepEqual(await popped, ['{b}list', 'first']);
  await client.rpush('{b}from', 'moved');
  assert.equal(await move, 'moved');
  const read = popping.xread('BLOCK', 20000, 'STREAMS', '{b}stream', '$');
  let answer = null;
  read.then((streams) => { answer = streams; });
  while (answer === null) {
    await client.xadd('{b}stream', '*', 'f', 'v');
    await new Promise((resolve) => { setTimeout(resolve, 10); });
  }
  assert.equal(answer[0][0], '{b}stream');
}

async function large(client) {
  const value = Buffer.alloc(10 * 1024 * 1024, 'abcdefg\r\n');
  for (const n of range(4)) await client.set(`large-${n}`, value);
  for (const n of range(4)) assert(value.equals(await client.getBuffer(`large-${n}`)));
  const names = range(10_000).map((n) => `many-${n}`);
  await client.mset(...names.flatMap((name, n) => [name, n]));
  assert.deepEqual(await client.mget(...names), range(10_000).map(String));
}

async function admin(client) {
  assert.match(await client.info(), /redis_version:7/);
  const other = connect({ db: 3, connectionName: 'named' });
  await other.set('of db 3', 1);
  assert.equal(await other.client('GETNAME'), 'named');
  assert.equal(await other.get('of db 3'), '1');
  assert.equal(await client.get('of db 3'), null);
  assert.equal(await other.dbsize(), 1);
  await other.flushdb();
  assert.equal(await other.dbsize(), 0);
}

async function main() {
  for (const feature of [transactions, scripts, iterators, pubsub, blocking, large, admin]) {
    if (chosen.length === 0 || chosen.includes(feature.name)) await feature(connect());
  }
}

main().then(() => clients.forEach((client) => client.disconnect())).catch((error) => {
  console.error(error);
  process.exit(1);
});
