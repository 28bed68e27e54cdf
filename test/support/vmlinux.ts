const LZ4_LEGACY_MAGIC = 0x184c2102;
const ELF_MAGIC = 0x7f454c46;

/**
 * Takes the kernel proper out of a bzImage: an ELF file that QEMU starts directly
 * (the PVH entry), so that an emulated guest is spared unpacking it. That is most
 * noticed in a reboot in place, which takes 4 s less. Undefined if the bzImage is
 * not packed with LZ4, as Debian's kernel for clouds is.
 */
export function vmlinuxOf(bzImage: Buffer): Buffer | undefined {
  // Offsets of Documentation/arch/x86/boot.rst: setup_sects, payload_offset, payload_length.
  const start = (bzImage.readUInt8(0x1f1) + 1) * 512 + bzImage.readUInt32LE(0x248);
  const payload = bzImage.subarray(start, start + bzImage.readUInt32LE(0x24c));
  if (payload.readUInt32LE(0) !== LZ4_LEGACY_MAGIC) return undefined;
  // The build appends the unpacked size.
  const vmlinux = Buffer.alloc(payload.readUInt32LE(payload.length - 4));
  let written = 0;
  let at = 4;
  while (at < payload.length - 4) {
    const end = at + 4 + payload.readUInt32LE(at);
    written = unpackBlock(payload.subarray(at + 4, end), vmlinux, written);
    at = end;
  }
  if (written !== vmlinux.length || vmlinux.readUInt32BE(0) !== ELF_MAGIC) {
    throw new Error(`the kernel unpacks to ${written} bytes instead of an ELF file of ${vmlinux.length}`);
  }
  return vmlinux;
}

/**
 * Unpacks one LZ4 block (lz4_Block_format.md) behind what `out` holds already and
 * returns the new end. A block is a row of: literal bytes, then a copy of bytes
 * that lie `distance` back, which may overlap what it writes.
 */
function unpackBlock(block: Buffer, out: Buffer, from: number): number {
  let at = 0;
  let to = from;
  // A length of 15 goes on in the bytes that follow, up to the first that is not 255.
  const length = (nibble: number): number => {
    let total = nibble;
    let more = nibble === 15;
    while (more) {
      const byte = block.readUInt8(at++);
      total += byte;
      more = byte === 255;
    }
    return total;
  };
  while (at < block.length) {
    const token = block.readUInt8(at++);
    const literals = length(token >> 4);
    block.copy(out, to, at, at + literals);
    at += literals;
    to += literals;
    if (at >= block.length) break;
    const distance = block.readUInt16LE(at);
    at += 2;
    for (let rest = length(token & 15) + 4; rest > 0; rest -= distance) {
      out.copy(out, to, to - distance, to - distance + Math.min(rest, distance));
      to += Math.min(rest, distance);
    }
  }
  return to;
}
