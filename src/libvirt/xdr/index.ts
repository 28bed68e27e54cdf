/** The codecs to declare further procedures with. */
export {
  bool,
  charVector,
  double,
  fixedOpaque,
  hyper,
  int,
  opaque,
  string,
  uhyper,
  uint,
} from "./primitives.ts";
export { array, optional, struct, union } from "./compound.ts";
export { domain, text, typedParam, uuid } from "../protocol/types.ts";
