// The prompt beside a live machine: what is typed and what comes of it, and buttons for what is about time.
//
// Invariant: text of the machine becomes text of elements, never markup.

import type { LiveSaid, LiveState } from '../live_format.ts';
import { timeText } from './canvas.ts';
import { element } from './panel.ts';

/** Lines that are kept on the page. */
const MOST_LINES = 2000;
const MODES: Readonly<Record<LiveState['mode'], string>> = {
  playing: 'time passes',
  paused: 'stands still',
  command: 'carries out a command',
  'going back': 'goes back',
};

/** What the machine is asked. */
type Ask = (asked: object) => Promise<unknown>;

export class Prompt {
  readonly #ask: Ask;
  readonly #output = element('div', 'output');
  readonly #input = element('input') as HTMLInputElement;
  readonly #status = element('p', 'status');
  readonly #cpus = element('pre', 'cpus');
  readonly #play = element('button', 'play', 'pause');
  readonly #history: string[] = [];
  #at = 0;

  /** @param moment that is looked at */
  constructor(into: HTMLElement, ask: Ask, moment: () => number) {
    this.#ask = ask;
    this.#output.setAttribute('role', 'log');
    this.#output.tabIndex = 0;
    this.#output.setAttribute('aria-label', 'what was typed, and what came of it');
    this.#status.setAttribute('role', 'status');
    const button = (text: string, title: string, asked: () => object): HTMLElement => {
      const made = element('button', '', text);
      made.title = title;
      made.addEventListener('click', () => void ask(asked()));
      return made;
    };
    this.#play.title = 'space';
    this.#play.addEventListener('click', () => this.toggle());
    const bar = element('div', 'bar');
    bar.append(
      this.#play,
      button('step', 's: one instruction', () => ({ do: 'step', count: 1 })),
      button('next event', 'e: a switch, a line of dmesg, a byte of text', () => ({ do: 'next' })),
      button('back', 'to before what was typed last', () => ({ do: 'back' })),
      button('back to the moment', 'b: that is looked at', () => ({ do: 'back', to: { now: moment() } })),
      this.#speed(),
      this.#status,
    );
    into.append(bar, this.#cpus, this.#output, this.#form());
  }

  #speed(): HTMLElement {
    const label = element('label', '', 'speed ');
    const select = element('select') as HTMLSelectElement;
    for (const speed of ['0.001', '0.01', '0.1', '1', '10', '100']) {
      const option = element('option', '', `${speed} s in a second`) as HTMLOptionElement;
      option.value = speed;
      option.selected = speed === '1';
      select.append(option);
    }
    select.addEventListener('change', () => void this.#ask({ do: 'speed', speed: Number(select.value) }));
    label.append(select);
    return label;
  }

  #form(): HTMLElement {
    const form = element('form');
    const label = element('label', '', '#');
    this.#input.setAttribute('aria-label', 'command');
    this.#input.autocomplete = 'off';
    this.#input.spellcheck = false;
    this.#input.placeholder = 'modprobe klpdemo_target, help, pause, step, back 1.2s';
    label.append(this.#input);
    form.append(label);
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      const line = this.#input.value;
      if (line.trim() === '') return;
      this.#history.push(line);
      this.#at = this.#history.length;
      this.#input.value = '';
      void this.#ask({ line });
    });
    this.#input.addEventListener('keydown', (event) => this.#key(event));
    return form;
  }

  #key(event: KeyboardEvent): void {
    const { key, ctrlKey } = event;
    const { selectionStart, selectionEnd } = this.#input;
    if (key === 'Escape') this.#input.blur();
    else if (key === 'c' && ctrlKey && selectionStart === selectionEnd) void this.#ask({ do: 'interrupt' });
    else if (key === 'ArrowUp' || key === 'ArrowDown') this.#recall(key === 'ArrowUp' ? -1 : 1);
    else if (key === 'Tab' && this.#input.value !== '' && !event.shiftKey) void this.#complete();
    else return;
    event.preventDefault();
  }

  #recall(by: 1 | -1): void {
    this.#at = Math.max(0, Math.min(this.#history.length, this.#at + by));
    this.#input.value = this.#history[this.#at] ?? '';
  }

  async #complete(): Promise<void> {
    const line = this.#input.value;
    const { words, word } = (await this.#ask({ complete: line })) as { words: string[]; word: string };
    if (this.#input.value !== line || words.length === 0) return;
    const [first, ...more] = words;
    let length = first.length;
    for (const other of more) while (!other.startsWith(first.slice(0, length))) length--;
    this.#input.value = line.slice(0, line.length - word.length) + first.slice(0, length);
    if (more.length > 0) this.#print('words', words.join('  '));
  }

  focus(): void {
    this.#input.focus();
  }

  /** Plays where it stands still, and the other way round. */
  toggle(): void {
    void this.#ask({ do: this.#play.textContent });
  }

  said({ line, stdout, stderr, status, clear }: LiveSaid): void {
    if (clear) this.#output.replaceChildren();
    if (line !== undefined) this.#print('typed', `# ${line}`);
    if (stdout !== '') this.#print('out', stdout);
    if (stderr !== '') this.#print(status === 0 ? 'err' : 'err failed', stderr);
  }

  #print(className: string, text: string): void {
    this.#output.append(element('pre', className, text.replace(/\n$/, '')));
    while (this.#output.childElementCount > MOST_LINES) this.#output.firstElementChild?.remove();
    this.#output.scrollTop = this.#output.scrollHeight;
  }

  state({ mode, now, instructions, cpus, failure }: LiveState): void {
    this.#play.textContent = mode === 'paused' ? 'play' : 'pause';
    const text = `${MODES[mode]}: ${timeText(now, 1e6)}, instruction ${instructions.toLocaleString('en-US')}`;
    this.#status.textContent = failure === undefined ? text : `${text}; ${failure}`;
    this.#status.classList.toggle('failed', failure !== undefined);
    const lines = cpus.map(
      ({ task, at, insn, isNext }, cpu) => `${isNext ? '>' : ' '} CPU ${cpu}  ${task}  ${at}  ${insn}`,
    );
    this.#cpus.textContent = lines.join('\n');
  }

  lost(): void {
    this.#status.textContent = 'the machine is gone: klpemu serve was ended';
    this.#status.classList.add('failed');
  }
}
