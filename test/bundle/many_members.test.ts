import { expect, it } from 'vitest';
import { adoptAll, numbers } from './many_members.ts';

it('puts each member in its place on the list with the same work, however many there are', async () => {
  const few = await adoptAll(8);
  const many = await adoptAll(80);
  expect(few.adopted).toBe(8);
  expect(many.adopted).toBe(80);
  expect(many.order).toEqual(numbers(80));
  expect(many.most).toBe(few.most);
});
