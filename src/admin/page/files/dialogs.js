// The one dialog of the page. A native one: it keeps the focus inside, and Escape closes it.

import { byId, h } from './dom.js';

const dialog = byId('dialog');
let opener = null;

dialog.addEventListener('close', () => {
  dialog.replaceChildren();
  opener?.focus();
  opener = null;
});
// A click beside it.
dialog.addEventListener('click', (event) => {
  if (event.target === dialog) dialog.close();
});

export const isOpen = () => dialog.open;
export const close = () => dialog.close();

export function open(title, ...content) {
  if (!dialog.open) opener = document.activeElement;
  dialog.replaceChildren(h('h2', { id: 'dialog-title', tabindex: '-1' }, title), ...content);
  if (!dialog.open) dialog.showModal();
  const first = dialog.querySelector('[data-first]') || dialog.querySelector('h2');
  first.focus();
}

export function buttons(...list) {
  return h('p', { class: 'buttons' }, ...list);
}

export function button(text, onclick, attributes = {}) {
  return h('button', { type: 'button', onclick, ...attributes }, text);
}

// The same on the command line.
export function command(text) {
  const copy = button('Copy', async () => {
    try {
      await navigator.clipboard.writeText(text);
      copy.textContent = 'Copied';
    } catch {
      copy.textContent = 'Not copied';
    }
  }, { class: 'small' });
  return h('p', { class: 'command' }, h('span', { class: 'quiet' }, 'The same on the command line: '), h('code', {}, text), ' ', copy);
}

// Asks, does, and shows what has come of it. `run` returns lines.
export function confirm({ title, says, line, verb, run, danger = true }) {
  const result = h('div', { role: 'status' });
  const go = button(verb, async () => {
    go.disabled = true;
    result.replaceChildren(h('p', { class: 'quiet' }, 'Waiting for the proxy…'));
    try {
      const lines = await run();
      result.replaceChildren(h('p', { class: 'done' }, lines[0]), list(lines.slice(1)));
      cancel.textContent = 'Close';
      go.hidden = true;
      cancel.focus();
    } catch (error) {
      result.replaceChildren(h('p', { class: 'failed' }, `Refused: ${error.message}`), list(error.details || []));
      go.disabled = false;
      cancel.focus();
    }
  }, { class: danger ? 'danger' : '' });
  const cancel = button('Cancel', close, { 'data-first': true });
  open(title, ...says.map((text) => h('p', {}, text)), command(line), result, buttons(cancel, go));
}

export function list(lines) {
  return lines.length ? h('ul', { class: 'lines' }, ...lines.map((line) => h('li', {}, line))) : '';
}
