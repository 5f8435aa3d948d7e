// klpemu schema: what the shape of a scenario is, for other programs.

import { scenarioJsonSchema } from '../../scenario/json_schema.ts';
import { print } from '../terminal.ts';

export function schema(): void {
  print(`${JSON.stringify(scenarioJsonSchema(), null, 2)}\n`);
}
