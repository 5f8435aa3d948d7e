// Before each test file: V8 compiles no more of the program than it does for the commands, which is a tenth of a worker's time.

import { raiseBytecodeBudget } from '../src/guest/v8_budgets.ts';

raiseBytecodeBudget(false);
