// node-redis: connect, set, get, pipeline, MGET; in its default configuration, or with RESP2 when the third argument is 2.
// Over TLS if TLS_CA names a file, with the certificate in TLS_CERT and the key in TLS_KEY if there are any.
const assert = require('node:assert');
const fs = require('node:fs');
const { createClient } = require(`${process.env.CLIENTS}/redis`);

const [host, port, protocol] = process.argv.slice(2);

function options() {
  const { TLS_CA: ca, TLS_CERT: cert, TLS_KEY: key } = process.env;
  if (!ca) return { url: `redis://${host}:${port}` };
  const files = { ca, cert, key };
  const read = Object.entries(files).map(([name, file]) => [name, file && fs.readFileSync(file)]);
  return { url: `rediss://${host}:${port}`, socket: { tls: true, ...Object.fromEntries(read) } };
}

async function main() {
  const client = createClient({ ...options(), ...(protocol === '2' && { RESP: 2 }) });
  client.on('error', (error) => {
    console.error(error);
    process.exit(1);
  });
  await client.connect();
  assert.equal(await client.ping(), 'PONG');
  assert.equal(await client.set('greeting', 'hello'), 'OK');
  assert.equal(await client.get('greeting'), 'hello');

  const numbers = Array.from({ length: 100 }, (_, n) => n);
  const names = numbers.map((n) => `key-${n}`);
  // Requests of one tick travel as one pipeline.
  await Promise.all(numbers.map((n) => client.set(`key-${n}`, String(n))));
  assert.deepEqual(await Promise.all(names.map((name) => client.get(name))), numbers.map(String));
  const batch = client.multi();
  for (const name of names) batch.get(name);
  assert.deepEqual(await batch.execAsPipeline(), numbers.map(String));

  assert.deepEqual(await client.mGet([...names, 'none']), [...numbers.map(String), null]);
  assert.equal(await client.del([...names.slice(0, 10), 'none']), 10);
  assert.equal((await client.keys('*')).length, await client.dbSize());
  await assert.rejects(client.bgSave(), /bgsave/i);
  assert.equal(await client.get('greeting'), 'hello');
  await client.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
