// Where messages are written: text, and files that are chosen, pasted or dropped.

import { button, byId, element } from './elements.js';
import { FileError, prepare, sizeInWords } from './files.js';
import { SayingError } from './session.js';
import { harmlessName } from './text.js';

const form = byId('composer');
const text = byId('text');
const chooser = byId('chooser');
const staged = byId('staged');

let files = []; // {file, row}: prepared, and to be sent with the next message

/**
 * Begin to take messages.
 *
 * @param {object} actions `say(text)` and `sendFile(file)`, which may throw a `SayingError`;
 *   `problem(sentence)` shows one, '' none
 */
export function compose({ say, sendFile, problem }) {
  const attempt = (action) => {
    try {
      action();
      return true;
    } catch (error) {
      if (!(error instanceof SayingError)) throw error;
      problem(error.message);
      return false;
    }
  };

  async function stage(chosen) {
    problem('');
    for (const file of chosen) {
      try {
        add(await prepare(file));
      } catch (error) {
        if (!(error instanceof FileError)) throw error;
        problem(error.message);
      }
    }
    text.focus();
  }

  function add(file) {
    const note = `${sizeInWords(file.bytes.length)}${file.isSmaller ? ', made smaller' : ''}`;
    const row = element('li', '', '', element('span', 'file-name', harmlessName(file.name)), element('span', 'file-size', note));
    const entry = { file, row };
    const remove = button('×', () => {
      unstage(entry);
      text.focus();
    });
    remove.setAttribute('aria-label', `Do not send ${harmlessName(file.name)}`);
    row.append(remove);
    files.push(entry);
    staged.append(row);
    staged.hidden = false;
  }

  function unstage(entry) {
    files = files.filter((other) => other !== entry);
    entry.row.remove();
    staged.hidden = files.length === 0;
  }

  form.addEventListener('submit', (event) => {
    event.preventDefault();
    problem('');
    if (text.value.trim() && attempt(() => say(text.value))) text.value = '';
    for (const entry of [...files]) {
      if (attempt(() => sendFile(entry.file))) unstage(entry);
    }
    text.focus();
  });

  text.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      form.requestSubmit();
    }
  });

  text.addEventListener('paste', (event) => {
    if (event.clipboardData.files.length === 0) return;
    event.preventDefault();
    stage([...event.clipboardData.files]);
  });

  byId('attach').addEventListener('click', () => chooser.click());
  chooser.addEventListener('change', () => {
    stage([...chooser.files]).finally(() => { chooser.value = ''; });
  });

  const hasFiles = (event) => event.dataTransfer?.types.includes('Files');
  addEventListener('dragover', (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    document.body.classList.add('dropping');
  });
  addEventListener('dragleave', (event) => {
    if (event.relatedTarget === null) document.body.classList.remove('dropping');
  });
  addEventListener('drop', (event) => {
    document.body.classList.remove('dropping');
    if (!hasFiles(event)) return;
    event.preventDefault();
    stage([...event.dataTransfer.files]);
  });
}
