// Chromium, driven over its protocol; and what is wrong with a page in it.

'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { CLIENTS } = require('./site.js');

const { chromium } = require(path.join(CLIENTS, 'playwright-core'));
const AXE = fs.readFileSync(path.join(CLIENTS, 'axe-core', 'axe.min.js'), 'utf8');

const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
  '--disable-dev-shm-usage',
];

const PHONE = { width: 390, height: 844 };
const DESKTOP = { width: 1280, height: 900 };

class Browser {
  static async start() {
    const browser = new Browser();
    browser.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'ringroad-chromium-'));
    browser.browser = await chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', headless: true, args: FLAGS, env: { ...process.env, HOME: browser.dir } });
    return browser;
  }

  // A page at `url`, of which every fault is kept.
  async open(url, { viewport = DESKTOP, colorScheme = 'light' } = {}) {
    const context = await this.browser.newContext({ viewport, colorScheme, reducedMotion: 'reduce', locale: 'en-GB' });
    const page = await context.newPage();
    page.faults = [];
    const { host } = new URL(url);
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) page.faults.push(`console: ${message.text()}`);
    });
    page.on('pageerror', (error) => page.faults.push(`error: ${error.stack}`));
    page.on('request', (request) => {
      if (new URL(request.url()).host !== host) page.faults.push(`a request to elsewhere: ${request.url()}`);
    });
    page.setDefaultTimeout(20000);
    await page.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
    });
    await page.goto(url);
    await page.locator('body[data-state="live"]').waitFor();
    return page;
  }

  async stop() {
    await this.browser.close();
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}

// No violation of WCAG 2.2 AA that axe can find. Evaluated by the debugger, which no policy of the page concerns.
async function assertAccessible(page, what) {
  await page.evaluate(AXE);
  const found = await page.evaluate(() => window.axe.run(document, {
    runOnly: { type: 'tag', values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] },
  }));
  const said = found.violations.map((one) => `${one.id}: ${one.help}\n${one.nodes.slice(0, 3).map((node) => `    ${node.html}\n    ${node.failureSummary}`).join('\n')}`);
  assert.equal(said.length, 0, `${what}:\n${said.join('\n')}`);
}

async function assertFits(page, what) {
  const [wide, shown] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert.ok(wide <= shown, `${what}: ${wide} pixels in ${shown}`);
}

module.exports = { Browser, DESKTOP, PHONE, assertAccessible, assertFits };
