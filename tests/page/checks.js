// What the page must do, in Chromium, against a real proxy: `node checks.js NAME PROGRAM ADDRESS`. Exits with 0, or says what is wrong.

'use strict';

const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { Browser, PHONE, assertAccessible, assertFits } = require('./browser.js');
const { Site, until, SECOND_PORT } = require('./site.js');

// A pool that ejects, with names for its servers.
function pool(site, count, more = '') {
  const servers = Array.from({ length: count }, (_, n) => `    - ${site.server(n)}:${n === 0 ? 2 : 1} s${n}`).join('\n');
  return `cache:\n  listen: PROXY\n  redis: true\n  hash: murmur\n  auto_eject_hosts: true\n  server_failure_limit: 2\n  timeout: 300\n${more}  servers:\n${servers}\n`;
}

// A pool whose keys can be moved, on these servers.
function guarded(site, name, listen, numbers) {
  const servers = numbers.map((n) => `    - ${site.server(n)}:1 s${n}`).join('\n');
  return `${name}:\n  listen: ${listen}\n  redis: true\n  hash: murmur\n  timeout: 300\n  placement_guard: true\n  servers:\n${servers}\n`;
}

// Moves keys of such a pool to other servers, by the process `reshard-NAME`.
function reshard(site, name, listen, from, to, rate = 150) {
  const [current, next] = [from, to].map((numbers, at) => {
    const file = path.join(site.dir, `${name}-${at}.yml`);
    site.write(guarded(site, name, listen, numbers), file);
    return file;
  });
  site.run(`reshard-${name}`, site.program, ['reshard', 'start', '-c', current, '--to', next, '--yes', '--rate', String(rate)]);
}

async function fill(client) {
  for (let n = 0; n < 2000; n += 100) await client.mset(Object.fromEntries(Array.from({ length: 100 }, (_, k) => [`key:${n + k}`, 'value'])));
}

// The labels of the axis of each chart, the lowest first, if the highest value is this.
function axes(page, top) {
  return page.evaluate(async (most) => {
    const { CHARTS, Charts } = await import('/page/charts.js');
    const parent = document.createElement('div');
    const charts = new Charts(parent);
    const now = Date.now();
    const values = Object.fromEntries(CHARTS.flatMap((chart) => chart.series.map(([name]) => [name, [most, most]])));
    charts.draw({ times: [now - 2000, now], values }, now, []);
    return CHARTS.map((chart, at) => [chart.title, [...parent.children[at].querySelectorAll('.axis .y')].map((label) => label.textContent)]);
  }, top);
}

const percent = (share) => `${(share * 100).toFixed(1)} %`;

// The rows of a table, as texts by the titles of its columns.
function rows(page, table) {
  return page.locator(`${table} table`).evaluate((element) => {
    const titles = [...element.querySelectorAll('thead th')].map((head) => head.textContent);
    return [...element.querySelectorAll('tbody tr')].map((row) => Object.fromEntries([...row.children].map((cell, at) => [titles[at], cell.textContent])));
  });
}

const problems = (page) => page.locator('#problems').innerText();

async function says(page, text, patience) {
  await page.locator('#problems', { hasText: text }).waitFor({ timeout: patience });
}

const checks = {
  // The figures are those of the JSON.
  async figures({ site, open }) {
    for (const n of [0, 1, 2]) await site.startServer(n);
    await site.startProxy(pool(site, 3));
    const stop = site.load();
    const page = await open(site.page);
    await until('the page counts requests', async () => (await rows(page, '#servers')).every((row) => Number(row['Requests/s'].replaceAll(',', '')) > 0));
    const overview = await site.api('/overview');
    const [ring] = (await site.api('/ring')).pools;
    const shown = await rows(page, '#servers');
    assert.deepEqual(shown.map((row) => row.Server.replace(/127.*/, '')), ['s0', 's1', 's2']);
    for (const [at, server] of overview.pools[0].servers.entries()) {
      assert.equal(shown[at].Keys, percent(server.key_share));
      assert.equal(shown[at].Connections, String(server.connections));
      assert.match(shown[at].State, /up/);
    }
    const legend = await page.locator('.ring-legend li').allInnerTexts();
    assert.deepEqual(legend.map((text) => text.split(/\s*\n\s*/).at(-1)), ring.servers.map((server) => percent(server.key_share)));
    assert.equal(await page.locator('.ring .middle').first().textContent(), `${ring.points} points`);
    // Rates by the page's own answers, which the test sees too.
    const answers = [];
    page.on('response', async (response) => {
      if (response.url().endsWith('/overview')) answers.push(await response.json());
    });
    const drawn = () => page.locator('#chart-requests >> xpath=../dl >> dd').first().textContent();
    await until('two answers', async () => answers.length >= 2);
    await until('the rate between two answers is shown', async () => {
      const told = await drawn();
      const pairs = answers.slice(1).map((now, at) => [answers[at], now]);
      return pairs.some(([before, now]) => {
        const rate = ((now.pools[0].requests - before.pools[0].requests) * 1000) / (now.now_ms - before.now_ms);
        return told.replaceAll(',', '') === (rate < 9.95 ? rate.toFixed(1) : String(Math.round(rate)));
      });
    });
    await stop();
    for (const top of [0, 0.02, 0.07, 0.3, 1, 1.4, 2, 2.9, 7, 999, 1500, 30e6]) {
      for (const [title, labels] of await axes(page, top)) {
        const what = `${title} of up to ${top}: ${labels}`;
        assert.equal(new Set(labels).size, labels.length, what);
        // Latencies are drawn by decades, and bytes have units.
        if (top > 999 || title.startsWith('Latency') || title.startsWith('Bytes')) continue;
        const values = labels.map((label) => Number(label.replaceAll(',', '')));
        values.forEach((value, at) => assert.ok(Math.abs(value - at * values[1]) < 1e-9, what));
      }
    }
    const clients = await site.api('/clients');
    await page.getByRole('tab', { name: 'Clients' }).click();
    await page.locator('#panel tbody tr').first().waitFor();
    assert.equal((await rows(page, '#panel')).length, clients.clients.length);
    await page.locator('#figures summary').click();
    await page.locator('#figures-table tbody tr').first().waitFor();
    await until('the load has ended', async () => (await problems(page)).includes('There is no load'));
  },

  // Keyboard, screen readers, phones, themes.
  async access({ site, open }) {
    for (const n of [0, 1]) await site.startServer(n);
    await site.startProxy(pool(site, 2));
    const stop = site.load();
    for (const colorScheme of ['light', 'dark']) {
      const page = await open(site.page, { colorScheme });
      await page.locator('#panel tbody tr').first().waitFor();
      await page.locator('#figures summary').click();
      await assertAccessible(page, colorScheme);
      await page.keyboard.press('?');
      await page.locator('dialog[open]').waitFor();
      await assertAccessible(page, `${colorScheme}, help`);
      await page.close();
    }
    const phone = await open(site.page, { viewport: PHONE });
    await assertFits(phone, 'a phone');
    await assertAccessible(phone, 'a phone');
    for (const tab of await phone.getByRole('tab').all()) {
      await tab.click();
      await assertFits(phone, await tab.innerText());
    }
    const page = await open(site.page);
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to the pools');
    await page.keyboard.press('Enter');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
    // Each part that takes the focus shows it.
    for (let n = 0; n < 30; n += 1) {
      await page.keyboard.press('Tab');
      const [name, outline] = await page.evaluate(() => [document.activeElement.outerHTML.slice(0, 120), getComputedStyle(document.activeElement).outlineStyle]);
      if (name.startsWith('<body')) break;
      assert.notEqual(outline, 'none', name);
    }
    const tabs = page.getByRole('tab');
    await page.keyboard.press('1');
    assert.equal(await tabs.nth(0).getAttribute('aria-selected'), 'true');
    await page.keyboard.press('ArrowRight');
    assert.equal(await tabs.nth(1).getAttribute('aria-selected'), 'true');
    assert.equal(await page.evaluate(() => document.activeElement.id), await tabs.nth(1).getAttribute('id'));
    // A chart by keyboard: the figures of another time, in words.
    await until('the charts have a past', async () => (await page.locator('#chart-requests >> xpath=../../div[@role="slider"]').getAttribute('aria-valuetext')) !== null);
    const plot = page.locator('figure:has(#chart-latency) [role=slider]');
    await plot.focus();
    await until('an earlier time', async () => {
      await page.keyboard.press('ArrowLeft');
      return (await plot.getAttribute('aria-valuetext')).startsWith('at ');
    });
    assert.match(await plot.getAttribute('aria-valuetext'), /^at .*p50 .*p99 .*p99\.9 /);
    await page.keyboard.press('t');
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'light');
    await page.keyboard.press('p');
    assert.equal(await page.locator('#link-text').innerText(), 'paused');
    await stop();
  },

  // A server dies and returns, then the proxy.
  async troubles({ site, open }) {
    for (const n of [0, 1, 2]) await site.startServer(n);
    await site.startProxy(pool(site, 3, '  server_retry_timeout: 500\n'));
    const stop = site.load();
    const page = await open(site.page);
    await says(page, 'All 3 servers of pool cache are up');
    await site.kill('redis-1');
    await says(page, 'cache / s1 is ejected');
    const [first] = await rows(page, '#servers');
    assert.match(first.Server, /^s1/, 'what is wrong comes first');
    assert.match(first.State, /ejected/);
    assert.match(await page.title(), /^\(\d\)/);
    await page.locator('#events', { hasText: 'ejected until it answers' }).waitFor();
    await page.locator('#news', { hasText: 'ejected' }).waitFor();
    assert.ok(await page.locator('.marks path').count() > 0, 'the charts mark it');
    await page.locator('.ring-legend', { hasText: 'ejected' }).waitFor();
    await site.startServer(1);
    // Errors are told for 20 s.
    await says(page, 'are up', 60000);
    await page.locator('#events', { hasText: 'back in the ring' }).waitFor();
    for (const n of [0, 1, 2]) await site.kill(`redis-${n}`);
    await says(page, 'No server of pool cache is up');
    await stop();
    await site.kill('proxy', 'SIGTERM');
    await page.locator('#gone', { hasText: 'has not answered since' }).waitFor();
    assert.equal(await page.evaluate(() => document.body.dataset.state), 'gone');
    await assertAccessible(page, 'without a proxy');
    assert.equal((await rows(page, '#servers')).length, 3, 'the last figures stay');
    for (const n of [0, 1, 2]) await site.startServer(n);
    await site.startProxy(pool(site, 3));
    await page.locator('body[data-state="live"]').waitFor();
    assert.ok(await page.locator('#gone').isHidden());
    // A proxy that was well is not said to be well when it is gone.
    const again = site.load();
    await says(page, 'are up', 60000);
    await again();
    await site.kill('proxy', 'SIGTERM');
    await page.locator('body[data-state="gone"]').waitFor();
    const isOfThePast = async () => {
      assert.match(await page.locator('#problems').textContent(), /^○Not known since \d\d:\d\d:\d\d\.$/);
      for (const row of await rows(page, '#servers')) assert.match(row.State, /^○ up as of \d\d:\d\d:\d\d$/);
      assert.equal(await page.title(), 'No answer: Ringroad');
      const ends = await page.locator('.axis .x3').allTextContents();
      assert.ok(ends.length > 0 && ends.every((end) => /^\d\d:\d\d:\d\d$/.test(end)), `the axes end at ${ends}`);
    };
    await isOfThePast();
    await page.getByRole('tab', { name: 'Clients' }).click();
    await isOfThePast();
    await assertAccessible(page, 'without a proxy that was well');
    await page.setViewportSize(PHONE);
    await assertFits(page, 'a phone without a proxy');
    // The requests that failed meanwhile are all that the console has.
    page.faults = page.faults.filter((fault) => !fault.includes('Failed to load resource'));
  },

  // Files of TLS that are faulty or out of date soon.
  async tls({ site, open }) {
    await site.startServer(0);
    const key = path.join(site.dir, 'key.pem');
    const words = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 5 -subj /CN=page -keyout key.pem -out cert.pem';
    execFileSync('openssl', words.split(' '), { cwd: site.dir, stdio: 'ignore' });
    await site.startProxy(pool(site, 1, '  tls_listen: SECOND\n  tls_cert: cert.pem\n  tls_key: key.pem\n'));
    const page = await open(site.page);
    await says(page, "cache: 'tls_cert': ");
    await says(page, 'expires in 4 days');
    const good = fs.readFileSync(key);
    fs.writeFileSync(key, 'no key');
    await says(page, "cache: a changed file is faulty, and the old one is in use: 'tls_key': ");
    await assertAccessible(page, 'with a faulty file');
    fs.writeFileSync(key, good);
    await page.locator('#problems', { hasText: 'faulty' }).waitFor({ state: 'hidden' });
    await says(page, 'expires in 4 days');
  },

  // What changes something asks first, and does as it says.
  async actions({ site, open }) {
    for (const n of [0, 1]) await site.startServer(n);
    await site.startProxy(pool(site, 2));
    const client = site.client();
    await client.set('key', 'value');
    const page = await open(site.page);
    const dialog = page.locator('dialog[open]');
    const act = async (title) => {
      await page.getByRole('button', { name: 'Actions for server s1' }).click();
      await dialog.getByRole('button', { name: title }).click();
    };
    await act('Drain…');
    assert.match(await dialog.innerText(), /leaves the ring at once/);
    assert.match(await dialog.innerText(), /ringroad ctl drain s1 --pool cache/);
    await assertAccessible(page, 'a confirmation');
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'hidden' });
    assert.equal((await site.api('/servers')).servers[1].state, 'live', 'nothing was confirmed');
    assert.equal(await page.evaluate(() => document.activeElement.getAttribute('aria-label')), 'Actions for server s1');
    await act('Drain…');
    await dialog.getByRole('button', { name: 'Drain s1' }).click();
    await dialog.getByText('Server s1 of pool cache is drained now.').waitFor();
    assert.equal((await site.api('/servers')).servers[1].state, 'drained');
    await dialog.getByRole('button', { name: 'Close' }).click();
    await says(page, 's1 is drained');
    await page.locator('#events', { hasText: 'drained by an operator' }).waitFor();
    await act('Admit…');
    await dialog.getByRole('button', { name: 'Admit s1' }).click();
    await dialog.getByText('is live now').waitFor();
    await page.keyboard.press('Escape');
    assert.equal((await site.api('/servers')).servers[1].state, 'live');

    await page.getByRole('button', { name: 'Proxy…' }).click();
    await dialog.getByRole('button', { name: 'Check the file' }).click();
    await dialog.getByText('The file says what the proxy does already.').waitFor();
    await page.keyboard.press('Escape');
    site.write(pool(site, 2).replace('timeout: 300', 'timeout: 301'));
    await page.getByRole('button', { name: 'Proxy…' }).click();
    await dialog.getByRole('button', { name: 'Check the file' }).click();
    await dialog.getByText('timeout').waitFor();
    await dialog.getByRole('button', { name: 'Reload…' }).click();
    await dialog.getByRole('button', { name: 'Reload', exact: true }).click();
    await dialog.getByText('The file was applied.').waitFor();
    await page.keyboard.press('Escape');
    await page.locator('#events', { hasText: 'the configuration file was applied' }).waitFor();
    site.write('cache: nonsense');
    await page.getByRole('button', { name: 'Proxy…' }).click();
    await dialog.getByRole('button', { name: 'Reload…' }).click();
    await dialog.getByRole('button', { name: 'Reload', exact: true }).click();
    await dialog.getByText('Refused: the configuration file is invalid').waitFor();
    await page.keyboard.press('Escape');
    await page.locator('#events', { hasText: 'the configuration file is invalid' }).waitFor();

    await page.getByRole('tab', { name: 'Clients' }).click();
    const killed = new Promise((done) => client.once('close', done));
    await page.getByRole('button', { name: /^Kill client/ }).first().click();
    await dialog.getByRole('button', { name: 'Kill the client' }).click();
    await dialog.getByText('1 client killed.').waitFor();
    await killed;
    await page.keyboard.press('Escape');
    // The reload that was refused is a failed request, and is meant to be one.
    page.faults = page.faults.filter((fault) => !fault.includes('422'));
  },

  // The stats port changes nothing, and keeps keys and clients to itself.
  async readonly({ site, open }) {
    await site.startServer(0);
    await site.startProxy(pool(site, 1));
    const client = site.client({ connectionName: 's3cret' });
    await client.set('s3cret', 'x');
    const page = await open(site.stats);
    await page.locator('#foot', { hasText: '--show-keys' }).waitFor();
    for (const tab of await page.getByRole('tab').all()) {
      await tab.click();
      await page.locator('#panel').waitFor();
    }
    await page.getByRole('tab', { name: 'Clients' }).click();
    await page.locator('#panel tbody tr').first().waitFor();
    await page.locator('#panel', { hasText: '--show-keys' }).waitFor();
    const text = await page.locator('body').innerText();
    assert.ok(!text.includes('s3cret'), text);
    assert.equal(await page.getByRole('button', { name: /Actions|Kill|Proxy…/ }).count(), 0);
    await assertAccessible(page, 'the stats port');
    const index = await (await fetch(site.stats)).text();
    assert.match(index, /^Ringroad\n/, 'a program gets the list of paths');
  },

  // Two hundred pools, with names that are markup or very long.
  async many({ site, open }) {
    const odd = '<img src=x onerror=alert(1)>';
    const long = `long-${'x'.repeat(180)}`;
    const names = [odd, long, 'quo"ted & \'so\'', ...Array.from({ length: 197 }, (_, n) => `pool-${String(n).padStart(3, '0')}`)];
    const text = names.map((name, n) => `${JSON.stringify(name)}:\n  listen: ${site.ip}:${17000 + n}\n  redis: true\n  servers:\n${[0, 1, 2, 3].map((s) => `    - ${site.ip}:${18000 + s}:1 server-${s}`).join('\n')}\n`);
    await site.startProxy(text.join(''));
    const page = await open(site.page);
    await page.locator('#pools tbody tr').first().waitFor();
    assert.equal(await page.locator('#pools tbody tr').count(), 20);
    await assertFits(page, 'many pools');
    await assertAccessible(page, 'many pools');
    await page.getByRole('button', { name: 'Show all 200 pools' }).click();
    assert.equal(await page.locator('#pools tbody tr').count(), 200);
    await page.keyboard.press('/');
    await page.keyboard.type('onerror');
    await page.locator('#pools tbody tr').waitFor();
    await page.getByRole('link', { name: odd }).click();
    await page.getByRole('heading', { name: odd, level: 1 }).waitFor();
    assert.equal(await page.locator('img').count(), 0, 'names are text');
    await page.keyboard.press('g');
    await page.getByRole('heading', { name: 'All pools' }).waitFor();
    await page.locator('#filter').fill('long-');
    await page.getByRole('link', { name: long }).click();
    await page.getByRole('heading', { name: long, level: 1 }).waitFor();
    await assertFits(page, 'a long name');
    await page.setViewportSize(PHONE);
    await assertFits(page, 'a long name on a phone');
    const size = JSON.stringify(await site.api('/overview')).length;
    assert.ok(size < 700000, `${size} bytes`);
  },

  // A move of keys, from where to where.
  async moves({ site, open }) {
    for (const n of [0, 1]) await site.startServer(n);
    await site.startProxy(guarded(site, 'cache', 'PROXY', [0]));
    await fill(site.client());
    const page = await open(site.page);
    reshard(site, 'cache', 'PROXY', [0], [0, 1]);
    await says(page, 'keys are being moved');
    await page.getByRole('tab', { name: 'Resharding' }).click();
    const move = page.locator('.move');
    await move.locator('tbody tr', { hasText: 's1' }).first().waitFor();
    const [told] = (await site.api('/moves')).moves;
    assert.ok((await move.innerText()).includes(told.move));
    await assertAccessible(page, 'a move');
    await page.locator('#events', { hasText: 'has begun: from 1 server to 2' }).waitFor();
    await site.kill('reshard-cache');
    await says(page, 'the move of keys stands still: no coordinator is at work');
    assert.equal(await move.locator('.next code').first().innerText(), 'ringroad reshard run');
  },

  // Two moves at once, and then a server that hangs: what is not known is said, and the rest goes on.
  async hangs({ site, open }) {
    for (const n of [0, 1, 2, 3]) await site.startServer(n);
    await site.startProxy(guarded(site, 'cache', 'PROXY', [0]) + guarded(site, 'other', 'SECOND', [2]));
    await fill(site.client());
    await fill(site.client({ port: SECOND_PORT }));
    const page = await open(site.page);
    await page.evaluate(() => {
      window.seen = { gone: 0, asked: 0, most: 0 };
      const watch = () => { window.seen.gone += document.body.dataset.state === 'gone' ? 1 : 0; };
      new MutationObserver(watch).observe(document.body, { attributeFilter: ['data-state'] });
      const { seen, fetch } = window;
      window.fetch = async (url, ...options) => {
        const isMoves = /(^|\/)moves(\?|$)/.test(url);
        if (isMoves) seen.most = Math.max(seen.most, seen.asked += 1);
        try {
          return await fetch(url, ...options);
        } finally {
          if (isMoves) seen.asked -= 1;
        }
      };
    });
    // So slow that they do not end.
    reshard(site, 'cache', 'PROXY', [0], [0, 1], 20);
    reshard(site, 'other', 'SECOND', [2], [2, 3], 20);
    for (const name of ['cache', 'other']) await says(page, `${name}: keys are being moved`);
    await page.getByRole('tab', { name: 'Commands' }).click();
    for (const name of ['cache', 'other']) await site.kill(`reshard-${name}`);
    for (const name of ['cache', 'other']) await says(page, `${name}: the move of keys stands still`);
    await page.getByRole('tab', { name: 'Resharding' }).click();
    site.processes.get('redis-0').kill('SIGSTOP');
    await says(page, '1 server does not answer', 60000);
    // An answer that does not come.
    const isOfCache = (url) => /\/moves\?pool=cache/.test(url);
    await page.route(isOfCache, () => {});
    await says(page, 'cache: the state of the move could not be read: the proxy asks servers for it', 60000);
    await says(page, 'other: the move of keys stands still');
    const move = page.locator('.move', { hasText: 'cache' });
    await move.locator('.failed', { hasText: 'could not be read' }).waitFor();
    assert.match(await move.locator('h3').innerText(), /not read/);
    await assertAccessible(page, 'a move that is not read');
    await page.getByRole('tab', { name: 'Commands' }).click();
    await page.locator('#panel tbody tr').first().waitFor();
    site.processes.get('redis-0').kill('SIGCONT');
    await page.unroute(isOfCache);
    await until('the move is read again', async () => !(await problems(page)).includes('could not be read'), 60000);
    const { gone, most } = await page.evaluate(() => window.seen);
    assert.equal(gone, 0, 'the proxy answered all the time');
    assert.equal(most, 1, 'requests for moves at once');
  },
};

async function main() {
  const [name, program, ip] = process.argv.slice(2);
  const site = new Site(program, ip);
  const browser = await Browser.start();
  const pages = [];
  const open = async (url, options) => {
    const page = await browser.open(url, options);
    pages.push(page);
    return page;
  };
  try {
    await checks[name]({ site, open });
    const faults = pages.flatMap((page) => page.faults);
    assert.deepEqual(faults, []);
  } catch (error) {
    console.error(error.stack);
    for (const page of pages.filter((one) => !one.isClosed())) console.error(page.faults, (await page.locator('main').innerText().catch(() => '')).slice(0, 3000));
    process.exitCode = 1;
  } finally {
    await browser.stop();
    await site.stop();
  }
}

main();
