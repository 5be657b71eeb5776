// The pictures in docs/screenshots: `node screenshots.js PROGRAM FOLDER`. Redis-servers, load, and what operators want to see.

'use strict';

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { Browser, DESKTOP, PHONE } = require('./browser.js');
const { Site, until, SECOND_PORT } = require('./site.js');

const IP = '127.0.0.1';
const WARM_MS = Number(process.env.WARM_SECONDS || 100) * 1000;

const servers = (site, numbers) => numbers.map((n) => `    - ${site.server(n)}:1 node-${n + 1}`).join('\n');

const file = (site, moved) => `cache:
  listen: PROXY
  redis: true
  hash: murmur
  auto_eject_hosts: true
  server_failure_limit: 2
  server_retry_timeout: 5000
  timeout: 300
  servers:
${servers(site, [0, 1, 2, 3])}
sessions:
  listen: SECOND
  redis: true
  hash: murmur
  placement_guard: true
  servers:
${servers(site, moved ? [4, 5, 6] : [4, 5])}
`;

// An application with its habits: hot keys, large values, commands that many servers cannot do, slow ones.
async function habits(site) {
  const client = site.client({ connectionName: 'shop-web-1' });
  await client.config('SET', 'slowlog-log-slower-than', '30000');
  const once = async () => {
    await client.set('report:2026-11', 'r'.repeat(3 << 20));
    await client.get('report:2026-11');
    await client.rpush('queue:mail', ...Array.from({ length: 2000 }, (_, n) => `job-${n}`));
    await client.lrange('queue:mail', 0, -1);
    await client.ltrim('queue:mail', 0, 0);
    for (const refused of [['RENAME', 'user:1', 'user:2'], ['SUNIONSTORE', 'a', 'b', 'c'], ['MIGRATE', 'h', '1', 'k', '0', '5'], ['HGETEXX', 'cart:7']]) {
      await client.call(...refused).catch(() => {});
    }
    await client.call('EVAL', 'local t = 0 for i = 1, 600000 do t = t + i end return t', '1', 'user:9').catch(() => {});
  };
  await once();
  const timer = setInterval(() => once().catch(() => {}), 9000);
  return () => clearInterval(timer);
}

async function main() {
  const [program, folder] = process.argv.slice(2).map((one) => path.resolve(one));
  fs.mkdirSync(folder, { recursive: true });
  const site = new Site(program, IP);
  const browser = await Browser.start();
  const shoot = async (page, name, { whole = false } = {}) => {
    const to = path.join(folder, `${name}.png`);
    await page.evaluate(() => { document.activeElement?.blur(); window.scrollTo(0, 0); });
    await page.mouse.move(0, 0);
    await page.screenshot({ path: to, fullPage: whole });
    execFileSync('pngquant', ['--force', '--ext', '.png', '--strip', '--speed', '1', '96', to]);
    console.log(`${name}.png: ${Math.round(fs.statSync(to).size / 1024)} KiB`);
  };
  try {
    // The second pool has servers of its own: 'reshard' refuses those that clients of others write to.
    for (const n of [0, 1, 2, 3, 4, 5, 6]) await site.startServer(n);
    await site.startProxy(file(site, false), ['--show-keys']);
    const stops = [site.load({ perTurn: 40 }), site.load({ perTurn: 25 }), site.load({ perTurn: 12, port: SECOND_PORT })];
    const leave = await habits(site);
    const cache = '#/pool/cache';
    const light = await browser.open(site.page + cache);
    const dark = await browser.open(site.page + cache, { colorScheme: 'dark', viewport: { width: DESKTOP.width, height: 1100 } });
    const phone = await browser.open(site.page + cache, { viewport: PHONE });
    const all = await browser.open(site.page, { colorScheme: 'dark', viewport: PHONE });
    const pages = [light, dark, phone, all];
    await new Promise((done) => setTimeout(done, WARM_MS));
    await dark.keyboard.press('1');
    await shoot(dark, 'pool-dark', { whole: true });
    await shoot(phone, 'pool-phone');
    await shoot(all, 'pools-phone-dark');

    await site.kill('redis-2');
    for (const page of [light, all]) await page.locator('#problems', { hasText: 'node-3 is ejected' }).waitFor();
    await new Promise((done) => setTimeout(done, 12000));
    await shoot(light, 'server-down', { whole: true });
    await shoot(all, 'server-down-phone-dark');
    await site.startServer(2);
    await light.locator('#problems', { hasText: 'node-3 is' }).waitFor({ state: 'hidden' });

    const tab = async (page, name) => {
      await page.getByRole('tab', { name, exact: true }).click();
      await page.locator('#panel tbody tr').first().waitFor();
    };
    for (const [name, to] of [['Refused', 'refused'], ['Slow log', 'slow-log'], ['Hot keys', 'hot-keys']]) {
      await tab(light, name);
      await light.locator('#panels-section').screenshot({ path: path.join(folder, `${to}.png`) });
      execFileSync('pngquant', ['--force', '--ext', '.png', '--strip', '96', path.join(folder, `${to}.png`)]);
    }

    const second = site.client({ port: SECOND_PORT });
    for (let n = 0; n < 6000; n += 200) await second.mset(Object.fromEntries(Array.from({ length: 200 }, (_, k) => [`session:${n + k}`, 'v'.repeat(80)])));
    const next = path.join(site.dir, 'next.yml');
    const current = path.join(site.dir, 'now.yml');
    const text = fs.readFileSync(site.conf, 'utf8');
    const only = (whole) => whole.slice(whole.indexOf('sessions:'));
    fs.writeFileSync(current, only(text));
    site.write(file(site, true));
    fs.writeFileSync(next, only(fs.readFileSync(site.conf, 'utf8')));
    fs.writeFileSync(site.conf, text);
    site.run('reshard', program, ['reshard', 'start', '-c', current, '--to', next, '--yes', '--rate', '250']);
    const move = await browser.open(`${site.page}#/pool/sessions/moves`, { viewport: { width: DESKTOP.width, height: 1000 } });
    pages.push(move);
    await until('buckets have moved', async () => (await site.api('/moves?pool=sessions')).moves[0].sources?.some((source) => source.moved > 100), 120000);
    await move.locator('.move').waitFor();
    // The rest takes less time than the page from one question to the next.
    const coordinator = site.processes.get('reshard');
    coordinator.kill('SIGSTOP');
    await new Promise((done) => setTimeout(done, 4000));
    await shoot(move, 'move', { whole: true });
    coordinator.kill('SIGCONT');

    leave();
    for (const stop of stops) await stop();
    await site.kill('proxy');
    await dark.locator('#gone').waitFor();
    await shoot(dark, 'proxy-gone-dark');
    console.log(pages.flatMap((page) => page.faults).filter((fault) => !fault.includes('Failed to load')));
  } finally {
    await browser.stop();
    await site.stop();
  }
}

main();
