// A job queue of BullMQ, in its default configuration: four queues, each with a hash tag of its own, so that each lives
// on one server; one worker process' worth of workers takes jobs from them. Some jobs are delayed, some fail once and are
// tried again, some have children in a flow. Arguments: host, port, the number of jobs, and `untagged` for the default
// prefix.
const assert = require('node:assert');
const { Queue, Worker, QueueEvents, FlowProducer } = require(`${process.env.CLIENTS}/bullmq`);

const [host, port, jobs, untagged] = process.argv.slice(2);
const connection = { host, port: Number(port) };
const JOBS = Number(jobs);
const BATCH = 500;
const range = (count) => Array.from({ length: count }, (_, n) => n);
const names = range(4).map((n) => `jobs-${n}`);
const prefix = (name) => (untagged ? {} : { prefix: `{${name}}` });
const options = (name) => ({ connection, ...prefix(name) });

async function main() {
  const started = Date.now();
  const done = new Map();
  const completed = new Set();
  let sum = 0;
  const open = [];
  const fail = (error) => {
    console.error(error);
    process.exit(1);
  };
  const queues = names.map((name) => new Queue(name, options(name)));
  const events = names.map((name) => new QueueEvents(name, options(name)));
  await Promise.all(events.map((one) => one.waitUntilReady()));
  names.forEach((name, n) => {
    events[n].on('completed', ({ jobId }) => completed.add(`${name}:${jobId}`));
    events[n].on('error', fail);
  });
  const workers = names.map((name) => new Worker(name, async (job) => {
    const id = `${name}:${job.id}`;
    done.set(id, (done.get(id) ?? 0) + 1);
    if (job.data.failsOnce && job.attemptsMade === 0) throw new Error('once');
    sum += job.data.n;
    return job.data.n * 2;
  }, { ...options(name), concurrency: 20 }));
  workers.forEach((worker) => worker.on('error', fail));
  open.push(...queues, ...events, ...workers);

  for (let from = 0; from < JOBS; from += BATCH) {
    const some = range(Math.min(BATCH, JOBS - from)).map((n) => from + n);
    await Promise.all(queues.map((queue, nth) => queue.addBulk(some.filter((n) => n % 4 === nth).map((n) => ({
      name: 'job',
      data: { n, failsOnce: n % 50 === 0 },
      opts: { attempts: 2, ...(n % 100 === 1 && { delay: 20 }) },
    })))));
  }
  const flow = new FlowProducer(options('jobs-0'));
  open.push(flow);
  const parents = await Promise.all(range(10).map((n) => flow.add({
    name: 'parent',
    queueName: 'jobs-0',
    data: { n: 0 },
    children: range(3).map(() => ({ name: 'child', queueName: 'jobs-0', data: { n: 0 } })),
  })));
  const total = JOBS + 40;
  while (completed.size < total) await new Promise((resolve) => { setTimeout(resolve, 5); });

  assert.equal(sum, (JOBS * (JOBS - 1)) / 2);
  assert.equal(done.size, total);
  const retried = [...done.values()].filter((times) => times === 2).length;
  assert.equal(retried, Math.ceil(JOBS / 50));
  for (const [n, queue] of queues.entries()) {
    const counts = await queue.getJobCounts();
    assert.equal(counts.completed, Math.ceil((JOBS - n) / 4) + (n === 0 ? 40 : 0), JSON.stringify(counts));
    assert.equal(counts.failed + counts.waiting + counts.active + counts.delayed, 0, JSON.stringify(counts));
  }
  const values = await parents[0].job.getChildrenValues();
  assert.deepEqual(Object.values(values), [0, 0, 0]);
  await Promise.all(open.map((one) => one.close()));
  const seconds = (Date.now() - started) / 1000;
  console.log(`BullMQ: ${total} jobs in ${seconds.toFixed(1)} s, ${Math.round(total / seconds)} jobs a second`);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
