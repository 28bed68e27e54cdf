import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as fc from "fast-check";
import {
  firstBytes,
  isRecognized,
  readImageHeader,
  type ImageHeader,
} from "../../../../src/hypervisor/preflight/image-header.ts";

interface Qcow2 {
  version?: 2 | 3;
  backing?: string;
  backingOffset?: bigint;
  backingLength?: number;
  clusterBits?: number;
  features?: bigint;
  crypt?: number;
  extensions?: readonly (readonly [type: number, content: string])[];
  length?: number;
}

const backingFormat = 0xe279_2aca;
const dataFile = 0x4441_5441;

/** A header as QEMU writes it, except for what is told otherwise. */
function qcow2({ version = 3, backing = "", extensions = [], ...of }: Qcow2): Buffer {
  const bytes = Buffer.alloc(of.length ?? firstBytes);
  bytes.write("QFI\xfb", "latin1");
  bytes.writeUInt32BE(version, 4);
  bytes.writeUInt32BE(of.clusterBits ?? 16, 20);
  bytes.writeUInt32BE(of.crypt ?? 0, 32);
  let at = version === 2 ? 72 : 104;
  if (version === 3) {
    bytes.writeBigUInt64BE(of.features ?? 0n, 72);
    bytes.writeUInt32BE(104, 100);
  }
  for (const [type, content] of [...extensions, [0, ""] as const]) {
    bytes.writeUInt32BE(type, at);
    bytes.writeUInt32BE(Buffer.byteLength(content), at + 4);
    bytes.write(content, at + 8);
    at += 8 + Math.ceil(Buffer.byteLength(content) / 8) * 8;
  }
  if (backing !== "") bytes.write(backing, at);
  bytes.writeBigUInt64BE(of.backingOffset ?? (backing === "" ? 0n : BigInt(at)), 8);
  bytes.writeUInt32BE(of.backingLength ?? Buffer.byteLength(backing), 16);
  return bytes;
}

function header(bytes: Uint8Array): ImageHeader {
  const reading = readImageHeader(bytes);
  assert.equal(reading.kind, "Header", JSON.stringify(reading));
  return (reading as { header: ImageHeader }).header;
}

describe("the header of a qcow2 image", () => {
  for (const version of [2, 3] as const) {
    test(`of version ${version} tells its backing file and the format of that`, () => {
      const bytes = qcow2({ version, backing: "/a/bäse.qcow2", extensions: [[backingFormat, "qcow2"]] });
      assert.deepEqual(header(bytes).backing, { name: "/a/bäse.qcow2", format: "qcow2" });
    });
    test(`of version ${version} tells no format where none is said`, () => {
      assert.deepEqual(header(qcow2({ version, backing: "b" })).backing, { name: "b", format: undefined });
      assert.equal(header(qcow2({ version })).backing, undefined);
    });
  }

  test("tells its data file only where it has one", () => {
    const extensions = [[dataFile, "/data.raw"]] as const;
    assert.equal(header(qcow2({ extensions, features: 4n })).dataFile, "/data.raw");
    assert.equal(header(qcow2({ extensions })).dataFile, undefined);
  });

  test("tells whether it is encrypted, and whether it is corrupt", () => {
    assert.equal(header(qcow2({ crypt: 2 })).encrypted, true);
    assert.equal(header(qcow2({ features: 2n })).corrupt, true);
    assert.equal(header(qcow2({})).corrupt, false);
  });

  test("skips extensions that it does not know", () => {
    const extensions = [
      [0x6803_f857, "features, and not a multiple of eight"],
      [backingFormat, "raw"],
    ] as const;
    assert.equal(header(qcow2({ backing: "b", extensions })).backing?.format, "raw");
  });

  for (const [sentence, damage] of [
    ["a backing file's name that is too long", { backing: "b", backingLength: 1024 }],
    ["a backing file's name beyond every cluster", { backing: "b", backingOffset: 2n ** 63n }],
    ["clusters that are too large", { clusterBits: 22 }],
    ["clusters without end", { clusterBits: 0xffff_ffff }],
  ] as const) {
    test(`with ${sentence} is damaged`, () => {
      assert.deepEqual(readImageHeader(qcow2(damage)), { kind: "Damaged", format: "qcow2" });
    });
  }

  test("with an extension that ends behind the header is damaged", () => {
    const bytes = qcow2({});
    bytes.writeUInt32BE(backingFormat, 104);
    bytes.writeUInt32BE(0xffff_fff0, 108);
    assert.equal(readImageHeader(bytes).kind, "Damaged");
  });

  test("that goes on behind the first bytes says how many it needs", () => {
    const bytes = qcow2({ backing: "b", backingOffset: 60_000n });
    assert.deepEqual(readImageHeader(bytes), { kind: "More", bytes: 60_001 });
  });

  test("is not read behind the end of its file", () => {
    for (let length = 8; length < 112; length += 1) {
      const reading = readImageHeader(qcow2({}).subarray(0, length));
      if (reading.kind === "More") assert.ok(reading.bytes > length);
    }
  });
});

describe("other formats are told by how they begin", () => {
  const begin = (text: string) => Buffer.concat([Buffer.from(text, "latin1"), Buffer.alloc(firstBytes)]);
  for (const [format, bytes] of [
    ["raw", Buffer.alloc(0)],
    ["raw", Buffer.alloc(firstBytes)],
    ["raw", begin("QFI\xfb\0\0\0\x09")],
    ["qcow", begin("QFI\xfb\0\0\0\x01")],
    ["qed", begin("QED\0")],
    ["vmdk", begin("# Disk DescriptorFile")],
    ["vmdk", begin("COWD")],
    ["vpc", begin("conectix")],
    ["luks", begin("LUKS\xba\xbe")],
  ] as const) {
    test(`${format}: ${JSON.stringify(bytes.toString("latin1", 0, 8))}`, () => {
      assert.equal(header(bytes).format, format);
    });
  }

  test("a VDI has its signature behind a text", () => {
    const bytes = begin("<<< Oracle VM VirtualBox Disk Image >>>\n");
    bytes.writeUInt32LE(0xbeda_107f, 64);
    assert.equal(header(bytes).format, "vdi");
  });

  test("a VHD of fixed size looks raw, so that no VHD is recognized", () => {
    assert.deepEqual(["qcow2", "qed", "vmdk", "vdi", "luks", "vpc", "raw", "iso"].filter(isRecognized), [
      "qcow2",
      "qed",
      "vmdk",
      "vdi",
      "luks",
    ]);
  });
});

describe("bytes that mean harm", () => {
  const magics = [
    "QFI\xfb\0\0\0\x01",
    "QFI\xfb\0\0\0\x02",
    "QFI\xfb\0\0\0\x03",
    "QED\0",
    "KDMV",
    "# Disk DescriptorFile",
  ];
  const hostile = fc
    .tuple(fc.constantFrom(...magics), fc.uint8Array({ maxLength: 1024, size: "max" }))
    .map(([magic, rest]) => Buffer.concat([Buffer.from(magic, "latin1"), rest]));

  test("are read without a throw, and never ask for more than a header can have", () => {
    fc.assert(
      fc.property(hostile, (bytes) => {
        const reading = readImageHeader(bytes);
        if (reading.kind === "More") {
          assert.ok(reading.bytes > bytes.length);
          assert.ok(reading.bytes <= 2 ** 21);
        }
        if (reading.kind === "Header") {
          assert.ok((reading.header.backing?.name.length ?? 0) <= 1023);
          assert.ok((reading.header.dataFile?.length ?? 0) <= 1023);
        }
      }),
      { numRuns: 2000 },
    );
  });

  test("with small numbers in every place are read as well", () => {
    const small = fc
      .tuple(fc.constantFrom(...magics), fc.array(fc.nat({ max: 200 }), { maxLength: 200 }))
      .map(([magic, numbers]) => {
        const bytes = Buffer.alloc(8 + numbers.length * 4);
        for (const [index, number] of numbers.entries()) bytes.writeUInt32BE(number, 8 + index * 4);
        bytes.write(magic, "latin1");
        return bytes;
      });
    fc.assert(
      fc.property(small, (bytes) => void readImageHeader(bytes)),
      { numRuns: 2000 },
    );
  });

  test("that are all extensions come to an end", () => {
    const bytes = qcow2({ clusterBits: 21, length: 2 ** 21 });
    for (let at = 104; at + 8 <= bytes.length; at += 8) bytes.writeUInt32BE(1, at);
    assert.equal(readImageHeader(bytes).kind, "Header");
  });
});
