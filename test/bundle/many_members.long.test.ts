import { expect, it } from 'vitest';
import { adoptAll, numbers } from './many_members.ts';

it('puts each member in its place on the list with the same work, however many there are', async () => {
  const few = await adoptAll(60);
  const many = await adoptAll(600);
  expect(few.adopted).toBe(60);
  expect(many.adopted).toBe(600);
  expect(many.order).toEqual(numbers(600));
  expect(many.most).toBe(few.most);
}, 1_800_000);
