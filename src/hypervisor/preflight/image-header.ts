/** The first bytes of an image that are read before anything is known of it. */
export const firstBytes = 4096;

/** No header of an image that is looked at is longer: the longest cluster of qcow2. */
const longestHeader = 2 ** 21;

/** What the header of a disk image says of the files that it needs. */
export interface ImageHeader {
  /** In libvirt's words; "raw" is what has no header that is known here. */
  readonly format: string;
  /** The image that this one is an overlay of, as its name stands in the header. */
  readonly backing?: { readonly name: string; readonly format?: string | undefined } | undefined;
  /** The file that holds the guest's data, where it is not this one. */
  readonly dataFile?: string | undefined;
  /** Whether it cannot be read without a key. */
  readonly encrypted?: boolean;
  /** Whether it says itself that it must not be written to before it is repaired. */
  readonly corrupt?: boolean;
}

/** What the first bytes of an image tell. */
export type HeaderReading =
  | { readonly kind: "Header"; readonly header: ImageHeader }
  /** So many of the first bytes are needed, which are more than there were. */
  | { readonly kind: "More"; readonly bytes: number }
  /** It begins as this format, and goes on as none. */
  | { readonly kind: "Damaged"; readonly format: string };

interface Format {
  readonly name: string;
  /** What it begins with. */
  readonly magic: string | Buffer;
  readonly read?: (bytes: Buffer) => HeaderReading;
}

/** Formats that are known by their first bytes. The others, such as a VHD of fixed size, look like raw ones. */
const formats: readonly Format[] = [
  { name: "qcow2", magic: Buffer.from("QFI\xfb\0\0\0\x02", "latin1"), read: readQcow2 },
  { name: "qcow2", magic: Buffer.from("QFI\xfb\0\0\0\x03", "latin1"), read: readQcow2 },
  { name: "qcow", magic: Buffer.from("QFI\xfb\0\0\0\x01", "latin1"), read: readQcow },
  { name: "qed", magic: "QED\0", read: readQed },
  { name: "vmdk", magic: "KDMV", read: readVmdk },
  { name: "vmdk", magic: "COWD" },
  { name: "vmdk", magic: "# Disk DescriptorFile", read: readVmdkDescriptor },
  { name: "vpc", magic: "conectix" },
  { name: "luks", magic: Buffer.from("LUKS\xba\xbe", "latin1") },
];

/** VDI has its signature behind a text for people. */
const vdi = { offset: 64, signature: 0xbeda_107f } as const;

const recognized = new Set([...formats.map(({ name }) => name), "vdi"]);

/** Whether an image of a format is known by its header, so that one without that header is not of the format. */
export function isRecognized(format: string): boolean {
  // A VHD of fixed size has its header at its end.
  return recognized.has(format) && format !== "vpc";
}

/** Reads what the first bytes of an image say, whoever wrote them: it takes no length from them on trust. */
export function readImageHeader(first: Uint8Array): HeaderReading {
  const bytes = Buffer.from(first.buffer, first.byteOffset, first.byteLength);
  const format = formats.find(({ magic }) => startsWith(bytes, magic));
  if (format !== undefined) return format.read?.(bytes) ?? header({ format: format.name });
  const isVdi = bytes.length >= vdi.offset + 4 && bytes.readUInt32LE(vdi.offset) === vdi.signature;
  return header({ format: isVdi ? "vdi" : "raw" });
}

function header(of: ImageHeader): HeaderReading {
  return { kind: "Header", header: of };
}

function startsWith(bytes: Buffer, magic: string | Buffer): boolean {
  const wanted = typeof magic === "string" ? Buffer.from(magic, "latin1") : magic;
  return bytes.subarray(0, wanted.length).equals(wanted);
}

/** A part of a header; "Damaged" where it would be where no header reaches. */
function part(
  bytes: Buffer,
  format: string,
  offset: bigint | number,
  length: number,
): Buffer | HeaderReading {
  const end = BigInt(offset) + BigInt(length);
  if (end > BigInt(longestHeader)) return { kind: "Damaged", format };
  if (end > BigInt(bytes.length)) return { kind: "More", bytes: Number(end) };
  return bytes.subarray(Number(offset), Number(end));
}

/** QEMU's own bound for the name of a backing file. */
const longestName = 1023;

const qcow2 = {
  v2Length: 72,
  v3Length: 104,
  corrupt: 0b10n,
  externalData: 0b100n,
  extension: { end: 0, backingFormat: 0xe279_2aca, dataFile: 0x4441_5441 },
} as const;

function readQcow2(bytes: Buffer): HeaderReading {
  const format = "qcow2";
  const fixed = part(bytes, format, 0, bytes.readUInt32BE(4) === 2 ? qcow2.v2Length : qcow2.v3Length);
  if (!Buffer.isBuffer(fixed)) return fixed;
  const isV2 = fixed.length === qcow2.v2Length;
  const backingOffset = fixed.readBigUInt64BE(8);
  const backingLength = fixed.readUInt32BE(16);
  const features = isV2 ? 0n : fixed.readBigUInt64BE(72);
  const clusterSize = 2 ** Math.min(fixed.readUInt32BE(20), 64);
  if (clusterSize > longestHeader || backingLength > longestName) return { kind: "Damaged", format };
  const hasBacking = backingOffset !== 0n && backingLength > 0;
  const name = hasBacking ? part(bytes, format, backingOffset, backingLength) : undefined;
  if (name !== undefined && !Buffer.isBuffer(name)) return name;
  const extensions = readExtensions(bytes, {
    start: isV2 ? qcow2.v2Length : fixed.readUInt32BE(100),
    end: Math.min(backingOffset === 0n ? clusterSize : Number(backingOffset), clusterSize),
  });
  if (!(extensions instanceof Map)) return extensions;
  return header({
    format,
    backing: name && { name: text(name), format: extensions.get(qcow2.extension.backingFormat) },
    dataFile: (features & qcow2.externalData) === 0n ? undefined : extensions.get(qcow2.extension.dataFile),
    encrypted: fixed.readUInt32BE(32) !== 0,
    corrupt: (features & qcow2.corrupt) !== 0n,
  });
}

/** The texts among the extensions of a qcow2 header, by their types. Each one takes its eight bytes, so that it ends. */
function readExtensions(
  bytes: Buffer,
  { start, end }: { start: number; end: number },
): Map<number, string> | HeaderReading {
  const found = new Map<number, string>();
  let offset = start;
  while (offset + 8 <= end) {
    const head = part(bytes, "qcow2", offset, 8);
    if (!Buffer.isBuffer(head)) return head;
    const type = head.readUInt32BE(0);
    const length = head.readUInt32BE(4);
    if (type === qcow2.extension.end) return found;
    if (offset + 8 + length > end) return { kind: "Damaged", format: "qcow2" };
    if (type === qcow2.extension.backingFormat || type === qcow2.extension.dataFile) {
      const content = part(bytes, "qcow2", offset + 8, Math.min(length, longestName));
      if (!Buffer.isBuffer(content)) return content;
      found.set(type, text(content));
    }
    offset += 8 + Math.ceil(length / 8) * 8;
  }
  return found;
}

function readQcow(bytes: Buffer): HeaderReading {
  const format = "qcow";
  const fixed = part(bytes, format, 0, 40);
  if (!Buffer.isBuffer(fixed)) return fixed;
  const name = readName(bytes, format, fixed.readBigUInt64BE(8), fixed.readUInt32BE(16));
  return typeof name === "object" ? name : header({ format, backing: backingOf(name) });
}

const qedFeature = { backing: 0b1n, backingIsRaw: 0b100n } as const;

function readQed(bytes: Buffer): HeaderReading {
  const format = "qed";
  const fixed = part(bytes, format, 0, 64);
  if (!Buffer.isBuffer(fixed)) return fixed;
  const features = fixed.readBigUInt64LE(16);
  if ((features & qedFeature.backing) === 0n) return header({ format });
  const name = readName(bytes, format, BigInt(fixed.readUInt32LE(56)), fixed.readUInt32LE(60));
  if (typeof name === "object") return name;
  return header({
    format,
    backing: backingOf(name, (features & qedFeature.backingIsRaw) === 0n ? undefined : "raw"),
  });
}

const vmdk = { sector: 512, fixedLength: 512, longestDescriptor: 65_536 } as const;

function readVmdk(bytes: Buffer): HeaderReading {
  const format = "vmdk";
  const fixed = part(bytes, format, 0, vmdk.fixedLength);
  if (!Buffer.isBuffer(fixed)) return fixed;
  const offset = fixed.readBigUInt64LE(28) * BigInt(vmdk.sector);
  const sectors = fixed.readBigUInt64LE(36);
  if (offset === 0n || sectors === 0n) return header({ format });
  const most = BigInt(vmdk.longestDescriptor / vmdk.sector);
  const length = Number(sectors > most ? most : sectors) * vmdk.sector;
  const descriptor = part(bytes, format, offset, length);
  return Buffer.isBuffer(descriptor) ? readVmdkDescriptor(descriptor) : descriptor;
}

/** A text of lines such as `parentFileNameHint="base.vmdk"`. */
function readVmdkDescriptor(bytes: Buffer): HeaderReading {
  const descriptor = bytes.toString("latin1", 0, vmdk.longestDescriptor);
  const [, name] = /^parentFileNameHint="([^"\r\n]{1,1023})"/m.exec(descriptor) ?? [];
  return header({ format: "vmdk", backing: backingOf(name && text(Buffer.from(name, "latin1"))) });
}

function readName(
  bytes: Buffer,
  format: string,
  offset: bigint,
  length: number,
): string | undefined | HeaderReading {
  if (offset === 0n || length === 0) return undefined;
  if (length > longestName) return { kind: "Damaged", format };
  const name = part(bytes, format, offset, length);
  return Buffer.isBuffer(name) ? text(name) : name;
}

function backingOf(name: string | undefined, format?: string): ImageHeader["backing"] {
  return name === undefined ? undefined : { name, format };
}

/** A name as text; its own end is at the first NUL. */
function text(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString("utf8", 0, end === -1 ? bytes.length : end);
}
