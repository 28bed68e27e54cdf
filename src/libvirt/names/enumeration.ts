/** One of libvirt's enumerations: its numbers by name. */
export type Enumeration = Readonly<Record<string, number>>;

/** The name of one of its values; `Unknown` for a number that a later libvirt added. */
export type NameOf<E extends Enumeration> = (keyof E & string) | "Unknown";

/** Names a number. */
export function nameOf<E extends Enumeration>(enumeration: E, number: number): NameOf<E> {
  return Object.keys(enumeration).find((name) => enumeration[name] === number) ?? "Unknown";
}
