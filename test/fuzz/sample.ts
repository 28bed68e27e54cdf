import type { Shape } from "../../src/libvirt/xdr/codec.ts";
import type { Random } from "../simulation/random.ts";

/** A value of this shape. It is plain: what is unusual about a message is left to its damage. */
export function sample(shape: Shape, random: Random): unknown {
  switch (shape.type) {
    case "int":
    case "uint":
    case "domainId":
      return random.below(1000);
    case "hyper":
    case "uhyper":
      return BigInt(random.below(1_000_000)) * 1_000_003n;
    case "double":
      return random.next();
    case "bool":
      return random.chance(0.5);
    case "uuid":
      return "6695eb01-f6a4-8304-79aa-97f2502e193f";
    case "string":
    case "charVector":
      return random.pick(["", "vda", "state.state", "Björn", "🚀🚀"]);
    case "fixedOpaque":
      return new Uint8Array(shape.length);
    case "opaque":
      return new Uint8Array(random.below(20));
    case "optional":
      return random.chance(0.5) ? sample(shape.of, random) : undefined;
    case "array":
      return Array.from({ length: random.below(Math.min(shape.max, 5) + 1) }, () => sample(shape.of, random));
    case "struct":
      return Object.fromEntries([...shape.fields].map(([name, of]) => [name, sample(of, random)]));
    case "union": {
      const [type, of] = [...shape.cases][random.below(shape.cases.size)] ?? ["", { type: "int" }];
      return { type, value: sample(of, random) };
    }
    default:
      return shape satisfies never;
  }
}
