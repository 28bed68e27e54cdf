import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as fc from "fast-check";
import { resolveName } from "../../../../src/hypervisor/preflight/backing-name.ts";
import type { FileLook } from "../../../../src/hypervisor/preflight/file-reader.ts";
import { imageOf, neededBy } from "../../../../src/hypervisor/preflight/image-chain.ts";
import { parseXml } from "../../../../src/hypervisor/xml/parse.ts";

describe("the name of a backing file", () => {
  for (const [name, path] of [
    ["/b", "/b"],
    ["b", "/d/b"],
    ["./b", "/d/b"],
    ["../b", "/d/../b"],
    ["x//y/./b", "/d/x/y/b"],
    ["a b", "/d/a b"],
    ["./a:b", "/d/a:b"],
    ["/x:y", "/x:y"],
    ['json:{"driver":"file","filename":"/b"}', "/b"],
    ['json:{"driver":"file","filename":"b:c"}', "/d/b:c"],
    ['json:{"file":{"driver":"file","filename":"/b"}}', "/b"],
    ['json:{"file.driver":"file","file.filename":"/b"}', "/b"],
    ['json:{"driver":"raw","file":{"driver":"host_device","filename":"/dev/b"}}', "/dev/b"],
  ] as const) {
    test(`${name} leads to ${path}`, () => {
      const found = resolveName("/d/top", name);
      assert.equal(found.kind === "File" ? found.path : found.kind, path);
    });
  }

  for (const name of [
    "nbd://host/x",
    "rbd:pool/image",
    "nbd:unix:/socket",
    "json:",
    "json:{",
    "json:[]",
    'json:{"driver":"nbd","host":"h"}',
    'json:{"file":"node0"}',
    'json:{"driver":"rbd","filename":"x"}',
  ]) {
    test(`${name} leads elsewhere`, () => {
      assert.equal(resolveName("/d/top", name).kind, "Elsewhere");
    });
  }

  test("whatever it is leads somewhere", () => {
    const json = fc.oneof(fc.json(), fc.string()).map((text) => `json:${text}`);
    fc.assert(
      fc.property(fc.oneof(fc.string(), json), (name) => {
        const found = resolveName("/d/top", name);
        if (found.kind === "File") assert.ok(found.path.startsWith("/"));
      }),
    );
  });
});

describe("an image", () => {
  const at = (xml: string, format = "qcow2") => imageOf(parseXml(xml), "/top", format);

  test("has the backing file that its XML says, to the end that this says", () => {
    const image = at(`<disk><backingStore type='file'><format type='qcow2'/><source file='/b'/>
      <backingStore type='block'><format type='raw'/><source dev='/dev/c'/><backingStore/></backingStore></backingStore></disk>`);
    const [first] = neededBy(image ?? assert.fail(), new Map());
    assert.equal(first?.image.path, "/b");
    const [second] = neededBy(first?.image ?? assert.fail(), new Map());
    assert.deepEqual([second?.image.path, second?.image.format], ["/dev/c", "raw"]);
    assert.deepEqual(neededBy(second?.image ?? assert.fail(), new Map()), []);
  });

  test("whose chain the XML leads to a server needs nothing of this host", () => {
    const image = at(
      "<disk><backingStore type='network'><format type='raw'/><source protocol='nbd'/></backingStore></disk>",
    );
    assert.deepEqual(neededBy(image ?? assert.fail(), new Map()), []);
  });

  test("that begins within its file has no header to go by", () => {
    const image = at("<disk><source><slices><slice type='storage' offset='1'/></slices></source></disk>");
    const bytes = Buffer.alloc(512);
    bytes.write("QFI\xfb\0\0\0\x02", "latin1");
    const looks = new Map<string, FileLook>([["/top", { kind: "Read", bytes }]]);
    assert.deepEqual(neededBy(image ?? assert.fail(), looks), []);
  });

  test("without an absolute path is none that can be looked at", () => {
    assert.equal(imageOf(parseXml("<disk/>"), "relative", "raw"), undefined);
    assert.equal(imageOf(parseXml("<disk/>"), undefined, "raw"), undefined);
  });
});
