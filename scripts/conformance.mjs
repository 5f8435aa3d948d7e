// npm run conformance: the kernel's own livepatch selftests on the emulated machine.
//
//   node scripts/conformance.mjs [machine options of klpemu up]
//
// The test scripts run as they are, but for the places where they reach for their machine (conformance/rewrite.mjs); the
// modules are those of lib/livepatch, built by kbuild untouched. Each test compares the kernel log with what it expects.

import { spawn, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rewrite, testNames } from './conformance/rewrite.mjs';
import { ensureSources } from './conformance/sources.mjs';
import { run } from './setup/run.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const cache = join(root, '.cache/conformance');
const cli = join(root, 'dist/cli/main.js');
const log = (line) => console.error(`klpemu: ${line}`);

async function main(args) {
  const { modules, tests } = ensureSources(cache, { run, log });
  const scripts = join(cache, 'scripts');
  const expected = rewriteAll(tests, scripts);
  const started = performance.now();
  const name = `conformance-${process.pid}`;
  klpemu(['up', '--name', name, '--dir', modules, ...args]);
  let results;
  try {
    results = await runScripts(scripts, name);
  } finally {
    klpemu(['down', '--name', name]);
  }
  report(expected, results, performance.now() - started);
}

/** Writes the rewritten scripts. @returns names of the tests by script */
function rewriteAll(from, to) {
  rmSync(to, { recursive: true, force: true });
  mkdirSync(to, { recursive: true });
  const expected = new Map();
  for (const name of readdirSync(from)
    .filter((file) => file.endsWith('.sh'))
    .sort()) {
    const text = readFileSync(join(from, name), 'utf8');
    writeFileSync(join(to, name), rewrite(name, text));
    if (name.startsWith('test-')) expected.set(name, testNames(text));
  }
  cpSync(join(root, 'scripts/conformance/guest.sh'), join(to, 'guest.sh'));
  return expected;
}

function klpemu(args) {
  const { status, error } = spawnSync(process.execPath, [cli, ...args], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  if (error) throw error;
  if (status !== 0) throw new Error(`klpemu ${args[0]} failed`);
}

/**
 * Runs all scripts.
 * @returns by script its exit status, what it printed, and its tests with their verdicts and times
 */
async function runScripts(dir, name) {
  const args = [join(root, 'scripts/conformance/run.sh'), dir, process.execPath, cli];
  const child = spawn('bash', [...args, 'exec', '--pipe', '--name', name], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const results = new Map();
  let script = newScript();
  let since = performance.now();
  let buffer = '';
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text) => {
    errors += text;
  });
  child.stdout.setEncoding('utf8').on('data', (text) => {
    buffer += text;
    for (let end = buffer.indexOf('\n'); end >= 0; end = buffer.indexOf('\n')) {
      const line = buffer.slice(0, end);
      buffer = buffer.slice(end + 1);
      const exit = /^EXIT (\S+) (\d+)$/.exec(line);
      const test = /^TEST: (.*) \.\.\. (ok|not ok|.*)$/.exec(line);
      if (exit) {
        results.set(exit[1], { ...script, status: Number(exit[2]), errors });
        script = newScript();
        errors = '';
      } else if (test) {
        const now = performance.now();
        script.tests.push({ name: test[1], ok: test[2] === 'ok', ms: now - since });
        since = now;
      }
      if (!exit) script.output += `${line}\n`;
    }
  });
  await new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  return results;
}

const newScript = () => ({ tests: [], output: '' });

function report(expected, results, ms) {
  let passed = 0;
  let count = 0;
  for (const [script, names] of expected) {
    const result = results.get(script) ?? { tests: [], output: '', errors: 'did not run\n', status: -1 };
    console.log(script);
    for (const name of names) {
      const test = result.tests.find((each) => each.name === name);
      const verdict = test ? (test.ok ? 'ok' : 'NOT OK') : 'NOT RUN';
      const time = test ? `${test.ms.toFixed(0).padStart(5)} ms` : '';
      console.log(`  ${verdict.padEnd(8)}${time.padStart(8)}  ${name}`);
      count++;
      if (test?.ok) passed++;
    }
    const failed = result.status !== 0 || result.tests.filter((test) => test.ok).length < names.length;
    if (failed) {
      console.log(indent(result.output));
      console.log(indent(result.errors));
      console.log(`  exit status ${result.status}`);
      process.exitCode = 1;
    }
  }
  console.log(
    `${passed} of ${count} tests passed in ${(ms / 1000).toFixed(1)} s, start of the machine included`,
  );
  if (passed < count) process.exitCode = 1;
}

function indent(text) {
  return text
    .split('\n')
    .map((line) => `    ${line}`)
    .join('\n');
}

main(process.argv.slice(2)).catch((error) => {
  log(error.message);
  process.exitCode = 1;
});
