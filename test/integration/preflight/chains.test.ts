import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { longestChain } from "../../../src/hypervisor/preflight/image-chain.ts";
import { disk, machine, testMachines, type Broken, type Expected, type Place } from "./workshop.ts";

/** A machine with one disk, on which it boots. */
function onDisk(
  place: Place,
  one: string,
  finding: Omit<Expected, "path">,
  mend: () => Promise<unknown>,
): Broken {
  return {
    xml: machine(place, one),
    findings: [{ path: "devices/disk[1]/source", ...finding }],
    mend,
  };
}

/** An image whose header names an overlay's format of its backing file nowhere. */
async function forgetFormat(image: string): Promise<void> {
  const bytes = await readFile(image);
  const at = bytes.indexOf(Buffer.from("e2792aca", "hex"));
  // An extension of a type that means nothing.
  bytes.writeUInt32BE(0x1234_5678, at);
  await writeFile(image, bytes);
}

testMachines("a machine whose disk is an overlay", {
  "of an overlay of a raw file starts": async (place) => {
    await place.file("base");
    await place.overlay("middle", "base", "raw");
    return {
      xml: machine(place, disk("vda", await place.overlay("top", place.path("middle")))),
      findings: [],
    };
  },
  "of a missing file": async (place) =>
    onDisk(
      place,
      disk("vda", await place.overlay("top", place.path("base"))),
      {
        reason: "BackingFileMissing",
        says: `disk vda: the backing file ${place.path("base")} of ${place.path("top")} does not exist`,
      },
      () => place.image("base"),
    ),
  "that has no boot disk below it can be spared": async (place) => ({
    xml: machine(
      place,
      disk("vda", await place.image("boot")) + disk("vdb", await place.overlay("top", place.path("base"))),
    ),
    findings: [
      { reason: "BackingFileMissing", path: "devices/disk[2]/source", says: "disk vdb", disk: "vdb" },
    ],
    mend: () => place.image("base"),
  }),
  "with a missing file five images below": async (place) => {
    for (const level of [4, 3, 2, 1]) await place.overlay(`l${level}`, place.path(`l${level + 1}`));
    return onDisk(
      place,
      disk("vda", place.path("l1")),
      { reason: "BackingFileMissing", says: `the backing file ${place.path("l5")} of ${place.path("l4")}` },
      () => place.image("l5"),
    );
  },
  "of a missing file in another directory, by a relative name": async (place) => {
    await mkdir(place.path("sub"));
    const top = await place.overlay("sub/top", "../bases/base");
    return onDisk(
      place,
      disk("vda", top),
      { reason: "BackingFileMissing", says: `${place.directory}/sub/../bases/base of ${top}` },
      async () => {
        await mkdir(place.path("bases"));
        await place.image("bases/base");
      },
    );
  },
  "of a missing file, by a name in JSON": async (place) => {
    const file = { driver: "file", filename: place.path("base") };
    return onDisk(
      place,
      disk("vda", await place.overlay("top", `json:${JSON.stringify(file)}`)),
      { reason: "BackingFileMissing", says: `the backing file ${place.path("base")}` },
      () => place.image("base"),
    );
  },
  "of a missing file, by a nested name in JSON": async (place) => {
    const file = { file: { driver: "file", filename: place.path("base") } };
    return onDisk(
      place,
      disk("vda", await place.overlay("top", `json:${JSON.stringify(file)}`)),
      { reason: "BackingFileMissing", says: `the backing file ${place.path("base")}` },
      () => place.image("base"),
    );
  },
  "of a missing file, by a flat name in JSON": async (place) => {
    const file = { "file.driver": "file", "file.filename": place.path("base") };
    return onDisk(
      place,
      disk("vda", await place.overlay("top", `json:${JSON.stringify(file)}`)),
      { reason: "BackingFileMissing", says: `the backing file ${place.path("base")}` },
      () => place.image("base"),
    );
  },
  "of a missing raw file, by a name in JSON": async (place) => {
    const file = { driver: "raw", file: { driver: "file", filename: place.path("base") } };
    return onDisk(
      place,
      disk("vda", await place.overlay("top", `json:${JSON.stringify(file)}`, "raw")),
      { reason: "BackingFileMissing", says: `the backing file ${place.path("base")}` },
      () => place.file("base"),
    );
  },
  "of a file that is said to have another format": async (place) => {
    await place.file("base");
    return onDisk(
      place,
      disk("vda", await place.overlay("top", place.path("base"))),
      {
        reason: "DiskFormatMismatch",
        says: `the backing file ${place.path("base")} of ${place.path("top")}`,
      },
      () => place.image("base"),
    );
  },
  "of itself": async (place) => {
    await place.overlay("middle", place.path("top"));
    return onDisk(
      place,
      disk("vda", await place.overlay("top", place.path("middle"))),
      { reason: "BackingChainInvalid", says: "is above it in the same chain" },
      () => place.image("middle"),
    );
  },
  "of an image whose format nobody says, and that has a backing file": async (place) => {
    await place.image("base");
    await place.overlay("middle", place.path("base"));
    const top = await place.overlay("top", place.path("middle"));
    await forgetFormat(top);
    return onDisk(
      place,
      disk("vda", top),
      { reason: "BackingChainInvalid", says: "no image says that its format is qcow2" },
      () => place.overlay("top", place.path("middle")),
    );
  },
  "of an image whose format nobody says, and that stands alone, starts": async (place) => {
    await place.image("base");
    const top = await place.overlay("top", place.path("base"));
    await forgetFormat(top);
    return { xml: machine(place, disk("vda", top)), findings: [] };
  },
  "of more images than libvirt follows": async (place) => {
    await place.image("i0");
    for (let level = 1; level <= longestChain + 1; level += 1) {
      // A copy of the first overlay with another name in its header, which has as many letters.
      const [name, below] = [level, level - 1].map((one) => `i${String(one).padStart(4, "0")}`);
      if (name === undefined || below === undefined) throw new Error("no names");
      if (level === 1) await place.image(below);
      if (level <= 2) await place.overlay(name, place.path(below));
      else {
        const bytes = await readFile(place.path(`i${String(level - 1).padStart(4, "0")}`));
        const at = bytes.indexOf(place.path(`i${String(level - 2).padStart(4, "0")}`));
        bytes.write(place.path(below), at);
        await writeFile(place.path(name), bytes);
      }
    }
    const top = place.path(`i${String(longestChain + 1).padStart(4, "0")}`);
    return onDisk(
      place,
      disk("vda", top),
      { reason: "BackingChainInvalid", says: `the ${longestChain} images that libvirt follows` },
      () => place.image("i0150"),
    );
  },
  "in the format qed of a missing file": async (place) => {
    await place.image("base");
    await place.image("top", ["-f", "qed", "-b", place.path("base"), "-F", "qcow2"]);
    await rm(place.path("base"));
    return onDisk(
      place,
      disk("vda", place.path("top"), "qed"),
      { reason: "BackingFileMissing", says: `the backing file ${place.path("base")}` },
      () => place.image("base"),
    );
  },
  "in the format vmdk of a missing file": async (place) => {
    await place.image("base", ["-f", "vmdk"]);
    await place.image("top", ["-f", "vmdk", "-b", place.path("base"), "-F", "vmdk"]);
    const base = await readFile(place.path("base"));
    await rm(place.path("base"));
    return onDisk(
      place,
      disk("vda", place.path("top"), "vmdk"),
      { reason: "BackingFileMissing", says: `the backing file ${place.path("base")}` },
      () => place.file("base", base),
    );
  },
  "as its XML says, of a missing file that its header does not name": async (place) => {
    await place.image("base");
    const backing = `<backingStore type='file'><format type='qcow2'/><source file='${place.path("other")}'/>
      <backingStore/></backingStore>`;
    const one = disk("vda", await place.overlay("top", place.path("base")), "qcow2", backing);
    return onDisk(
      place,
      one,
      { reason: "BackingFileMissing", says: `the backing file ${place.path("other")}` },
      () => place.image("other"),
    );
  },
  "as its header says, and not as its XML does, starts": async (place) => ({
    xml: machine(
      place,
      disk("vda", await place.overlay("top", place.path("gone")), "qcow2", "<backingStore/>"),
    ),
    findings: [],
  }),
  "in its file and raw in its XML starts": async (place) => ({
    xml: machine(place, disk("vda", await place.overlay("top", place.path("gone")), "raw")),
    findings: [],
  }),
  "of a server's disk claims nothing": async (place) => ({
    xml: machine(
      place,
      disk("vda", await place.image("a")) +
        disk("vdb", await place.overlay("top", "nbd://127.0.0.1:1/x", "raw")),
    ),
    findings: [],
    twinCannotStart: "there is no such server",
  }),
  "or not, with its data in another file that is missing": async (place) => {
    const options = ["-f", "qcow2", "-o", `data_file=${place.path("data")}`];
    const image = await place.image("top", options);
    await rm(place.path("data"));
    return onDisk(
      place,
      disk("vda", image),
      { reason: "BackingFileMissing", says: `the data file ${place.path("data")} of ${image}` },
      () => place.file("data", new Uint8Array(2 ** 20)),
    );
  },
});
