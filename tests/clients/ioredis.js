// ioredis in its default configuration: connect, set, get, pipeline, MGET.
const assert = require('node:assert');
const Redis = require(`${process.env.CLIENTS}/ioredis`);

const [host, port] = process.argv.slice(2);
const client = new Redis(Number(port), host);

async function main() {
  assert.equal(await client.ping(), 'PONG');
  assert.equal(await client.set('greeting', 'hello'), 'OK');
  assert.equal(await client.get('greeting'), 'hello');

  const numbers = Array.from({ length: 100 }, (_, n) => n);
  const pipeline = client.pipeline();
  for (const n of numbers) pipeline.set(`key-${n}`, n).get(`key-${n}`);
  const replies = await pipeline.exec();
  assert.deepEqual(replies.filter((_, n) => n % 2).map(([, value]) => value), numbers.map(String));

  const names = numbers.map((n) => `key-${n}`);
  assert.deepEqual(await client.mget(...names, 'none'), [...numbers.map(String), null]);
  assert.equal(await client.del(...names.slice(0, 10), 'none'), 10);
  assert.equal((await client.keys('*')).length, await client.dbsize());
  await assert.rejects(client.bgsave(), /bgsave/i);
  assert.equal(await client.get('greeting'), 'hello');
}

main().then(() => client.quit()).catch((error) => {
  console.error(error);
  process.exit(1);
});
