/**
 * Whether two values are the same as JSON: a field that is absent and one that is undefined are the same to the API
 * server. Copies nothing: this is asked of every status that is computed, and most are the same as before.
 */
export function isSameJson(one: unknown, other: unknown): boolean {
  if (one === other) return true;
  if (typeof one !== "object" || typeof other !== "object" || one === null || other === null) return false;
  if (Array.isArray(one) !== Array.isArray(other)) return false;
  const [left, right] = [one, other] as [Record<string, unknown>, Record<string, unknown>];
  for (const name of Object.keys(left)) if (!isSameJson(left[name], right[name])) return false;
  for (const name of Object.keys(right))
    if (left[name] === undefined && right[name] !== undefined) return false;
  return true;
}
