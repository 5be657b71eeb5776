// What frameworks do with node-redis: transactions, scripts, iterators, publish and subscribe, blocking commands, pools,
// large values. Arguments: host, port, the protocol ("-": the default), and the names of the features to try; without
// names, all of them.
const assert = require('node:assert');
const { createClient, createClientPool, defineScript, WatchError, RESP_TYPES } = require(`${process.env.CLIENTS}/redis`);

const [host, port, protocol, ...chosen] = process.argv.slice(2);
const join = defineScript({
  SCRIPT: "return redis.call('get', KEYS[1]) .. ARGV[1]",
  NUMBER_OF_KEYS: 1,
  FIRST_KEY_INDEX: 1,
  parseCommand(parser, key, text) {
    parser.pushKey(key);
    parser.push(text);
  },
  transformReply: (reply) => reply,
});
const options = {
  url: `redis://${host}:${port}`,
  scripts: { join },
  ...(protocol && protocol !== '-' && { RESP: Number(protocol) }),
};
const clients = [];
const connect = async (more = {}) => {
  const client = createClient({ ...options, ...more });
  clients.push(client);
  client.on('error', (error) => {
    console.error(error);
    process.exit(1);
  });
  return client.connect();
};
const range = (count) => Array.from({ length: count }, (_, n) => n);

async function transactions(client) {
  assert.deepEqual(await client.multi().set('{t}a', '1').incr('{t}a').get('{t}a').exec(), ['OK', 2, '2']);
  await client.watch('{t}w');
  await (await connect()).set('{t}w', 'changed');
  await assert.rejects(client.multi().set('{t}w', 'lost').exec(), WatchError);
  assert.equal(await client.get('{t}w'), 'changed');
  await client.watch('{t}w');
  await client.unwatch();
  assert.deepEqual(await client.multi().get('{t}w').exec(), ['changed']);
}

async function scripts(client) {
  for (const n of range(40)) {
    await client.set(`script-${n}`, String(n));
    assert.equal(await client.join(`script-${n}`, '!'), `${n}!`);
  }
  assert.deepEqual(
    await Promise.all(range(40).map((n) => client.join(`script-${n}`, '?'))),
    range(40).map((n) => `${n}?`),
  );
  assert.equal(await client.eval('return ARGV[1]', { keys: ['anywhere'], arguments: ['x'] }), 'x');
}

async function iterators(client) {
  const wanted = range(2000).map((n) => `scan-${n}`);
  await client.mSet(wanted.map((name) => [name, '1']));
  const found = [];
  for await (const names of client.scanIterator({ MATCH: 'scan-*', COUNT: 100 })) found.push(...names);
  assert.equal(found.length, 2000);
  assert.deepEqual(new Set(found), new Set(wanted));
  await client.zAdd('scores', range(1500).map((n) => ({ score: n, value: `m${n}` })));
  let scores = 0;
  for await (const some of client.zScanIterator('scores')) scores += some.length;
  assert.equal(scores, 1500);
}

async function pubsub(client) {
  const subscriber = await connect();
  const heard = [];
  let done;
  const all = new Promise((resolve) => { done = resolve; });
  const hear = (message, channel) => { if (heard.push(`${channel} ${message}`) === 31) done(); };
  await subscriber.subscribe(range(20).map((n) => `channel-${n}`), hear);
  await subscriber.pSubscribe('channel-1*', hear);
  for (const n of range(20)) await client.publish(`channel-${n}`, String(n));
  await all;
  const expected = [...range(20), 1, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19].map((n) => `channel-${n} ${n}`);
  assert.deepEqual(heard.sort(), expected.sort());
  await subscriber.unsubscribe();
  await subscriber.pUnsubscribe();
  assert.equal(await subscriber.ping(), 'PONG');
}

async function blocking(client) {
  const popping = await connect();
  assert.equal(await popping.blPop('{b}none', 0.05), null);
  const popped = popping.blPop(['{b}other', '{b}list'], 20);
  await client.rPush('{b}list', 'first');
  assert.deepEqual({ ...await popped }, { key: '{b}list', element: 'first' });
  const least = popping.bzPopMin('{b}zset', 20);
  await client.zAdd('{b}zset', { score: 1.5, value: 'm' });
  assert.deepEqual({ ...await least }, { key: '{b}zset', value: 'm', score: 1.5 });
}

async function pools() {
  const pool = await createClientPool(options, { minimum: 2, maximum: 8 }).connect();
  await Promise.all(range(500).map((n) => pool.incr(`pool-${n % 50}`)));
  assert.deepEqual(await pool.mGet(range(50).map((n) => `pool-${n}`)), range(50).map(() => '10'));
  await pool.close();
}

async function large(client) {
  const value = Buffer.alloc(10 * 1024 * 1024, 'abcdefg\r\n');
  const bytes = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
  for (const n of range(4)) await client.set(`large-${n}`, value);
  for (const n of range(4)) assert(value.equals(await bytes.get(`large-${n}`)));
  const names = range(10_000).map((n) => `many-${n}`);
  await client.mSet(names.map((name, n) => [name, String(n)]));
  assert.deepEqual(await client.mGet(names), range(10_000).map(String));
}

async function admin(client) {
  assert.match(await client.info(), /redis_version:7/);
  const other = await connect({ database: 3, name: 'named' });
  await other.set('of db 3', '1');
  assert.equal(await other.clientGetName(), 'named');
  assert.equal(await client.get('of db 3'), null);
  assert.equal(await other.dbSize(), 1);
  await other.flushDb();
  assert.equal(await other.dbSize(), 0);
}

async function main() {
  for (const feature of [transactions, scripts, iterators, pubsub, blocking, pools, large, admin]) {
    if (chosen.length === 0 || chosen.includes(feature.name)) await feature(await connect());
  }
  await Promise.all(clients.map((client) => client.close()));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
