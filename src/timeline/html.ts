// A run as a page: one file with its data, its style and its program, which needs nothing from outside.
//
// Invariant: text of the run is data of the page, never part of its markup.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../guest/package_root.ts';
import type { PageFile } from './page_format.ts';

/** Made by the build, of src/timeline/page. */
const PROGRAM = 'dist/timeline/page.js';
const STYLE = 'dist/timeline/page.css';

/** @throws Error of the system where the build has not made the page's program */
export function* html(file: PageFile): Generator<string> {
  yield* page(file.runs[0]?.data.title ?? '', file);
}

function* page(title: string, data: PageFile): Generator<string> {
  const read = (path: string): string => readFileSync(join(packageRoot(), path), 'utf8');
  yield `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>${escaped(title)} - klpemu</title>
<style>
${read(STYLE)}</style>
</head>
<body>
<noscript>This page draws a run of klpemu by its own program, which is switched off.</noscript>
<script type="application/json" id="run">`;
  yield inScript(JSON.stringify(data));
  yield `</script>
<script>
${read(PROGRAM)}</script>
</body>
</html>
`;
}

/** The page beside a live machine: its program and its style are files beside it. */
export const livePage = (): string => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>a live machine - klpemu</title>
<link rel="stylesheet" href="live.css">
</head>
<body class="live">
<noscript>This page draws a machine of klpemu by its own program, which is switched off.</noscript>
<script src="live.js"></script>
</body>
</html>
`;

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
const escaped = (text: string): string => text.replace(/[&<>"]/g, (char) => ENTITIES[char]);
/** No text of the run ends the element that it is in, or begins a comment. */
const inScript = (json: string): string => json.replace(/</g, '\\u003c');
