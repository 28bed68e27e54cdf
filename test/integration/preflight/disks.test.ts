import { mkdir, readFile, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { disk, machine, testMachines, type Broken, type Expected, type Place } from "./workshop.ts";

/** A machine that boots from a healthy disk and has another one. */
async function withSecond(
  place: Place,
  second: string,
  finding: Omit<Expected, "path" | "disk">,
  mend: () => Promise<unknown>,
): Promise<Broken> {
  const devices = disk("vda", await place.image("boot")) + second;
  return {
    xml: machine(place, devices),
    findings: [{ path: "devices/disk[2]/source", disk: "vdb", ...finding }],
    mend,
  };
}

const removable = (device: string, target: string, bus: string, source: string) =>
  `<disk type='file' device='${device}'><driver name='qemu' type='raw'/>${source}<target dev='${target}' bus='${bus}'/></disk>`;

testMachines("a machine whose disk", {
  "is there starts": async (place) => ({
    xml: machine(place, disk("vda", await place.image("a")) + disk("vdb", await place.file("b"), "raw")),
    findings: [],
  }),
  "is a raw file that is missing": (place) =>
    withSecond(
      place,
      disk("vdb", place.path("gone"), "raw"),
      { reason: "DiskMissing", says: `disk vdb: ${place.path("gone")} does not exist` },
      () => place.file("gone"),
    ),
  "is a qcow2 image that is missing": (place) =>
    withSecond(
      place,
      disk("vdb", place.path("gone")),
      { reason: "DiskMissing", says: `disk vdb: ${place.path("gone")} does not exist` },
      () => place.image("gone"),
    ),
  "is what it boots from and missing cannot be spared": async (place) => ({
    xml: machine(place, disk("vda", place.path("gone")) + disk("vdb", await place.image("b"))),
    findings: [{ reason: "DiskMissing", path: "devices/disk[1]/source", says: "disk vda" }],
    mend: () => place.image("gone"),
  }),
  "comes first by its boot order and is missing cannot be spared": async (place) => {
    const first = disk("vda", await place.image("a"), "qcow2", "<boot order='2'/>");
    return {
      xml: machine(place, first + disk("vdb", place.path("gone"), "qcow2", "<boot order='1'/>")),
      findings: [{ reason: "DiskMissing", path: "devices/disk[2]/source", says: "disk vdb" }],
      mend: () => place.image("gone"),
    };
  },
  "is missing, and another one as well": async (place) => ({
    xml: machine(
      place,
      disk("vda", await place.image("a")) +
        disk("vdb", place.path("b")) +
        disk("vdc", await place.image("c")) +
        disk("vdd", await place.file("d")),
    ),
    findings: [
      { reason: "DiskMissing", path: "devices/disk[2]/source", says: "disk vdb", disk: "vdb" },
      { reason: "DiskFormatMismatch", path: "devices/disk[4]/source", says: "disk vdd", disk: "vdd" },
    ],
    mend: async () => {
      await place.image("b");
      await place.image("d");
    },
  }),
  "is a link to nothing": async (place) => {
    await symlink("nothing", place.path("link"));
    return withSecond(
      place,
      disk("vdb", place.path("link")),
      { reason: "DiskMissing", says: place.path("link") },
      () => place.image("nothing"),
    );
  },
  "is a link to itself": async (place) => {
    await symlink("loop", place.path("loop"));
    return withSecond(
      place,
      disk("vdb", place.path("loop")),
      { reason: "DiskUnreadable", says: place.path("loop") },
      async () => {
        await rm(place.path("loop"));
        await place.image("loop");
      },
    );
  },
  "is below a file": async (place) => {
    await place.file("plain");
    return withSecond(
      place,
      disk("vdb", place.path("plain/disk")),
      { reason: "DiskMissing", says: place.path("plain/disk") },
      async () => {
        await rm(place.path("plain"));
        await mkdir(place.path("plain"));
        await place.image("plain/disk");
      },
    );
  },
  "is a directory": async (place) => {
    await mkdir(place.path("d"));
    return withSecond(
      place,
      disk("vdb", place.path("d"), "raw"),
      { reason: "DiskUnreadable", says: "is a directory" },
      async () => {
        await rm(place.path("d"), { recursive: true });
        await place.file("d");
      },
    );
  },
  "is a device of the host that is missing": async (place) => {
    const device = `<disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='/dev/warmboot-none'/>
      <target dev='vdb' bus='virtio'/></disk>`;
    return {
      ...(await withSecond(
        place,
        device,
        { reason: "DiskMissing", says: "disk vdb: /dev/warmboot-none does not exist" },
        () => Promise.resolve(),
      )),
      mend: () => place.libvirtd.virsh("detach-disk", place.name, "vdb", "--config"),
    };
  },
  "is a directory of files that is missing": async (place) => {
    const files = `<disk type='dir' device='disk'><driver name='qemu' type='fat'/><source dir='${place.path("files")}'/>
      <target dev='vdb' bus='virtio'/><readonly/></disk>`;
    return withSecond(place, files, { reason: "DiskMissing", says: place.path("files") }, () =>
      mkdir(place.path("files")),
    );
  },
  "is said to be qcow2 and is raw": async (place) => {
    await place.file("raw");
    return withSecond(
      place,
      disk("vdb", place.path("raw")),
      { reason: "DiskFormatMismatch", says: "is said to have format qcow2, and its header says raw" },
      () => place.image("raw"),
    );
  },
  "is said to be qed and is qcow2": async (place) => {
    await place.image("one");
    return withSecond(
      place,
      disk("vdb", place.path("one"), "qed"),
      { reason: "DiskFormatMismatch", says: "header says qcow2" },
      () => place.image("one", ["-f", "qed"]),
    );
  },
  "is said to be vmdk and is vdi": async (place) => {
    await place.image("one", ["-f", "vdi"]);
    return withSecond(
      place,
      disk("vdb", place.path("one"), "vmdk"),
      { reason: "DiskFormatMismatch", says: "header says vdi" },
      () => place.image("one", ["-f", "vmdk"]),
    );
  },
  "is empty and said to be qcow2": async (place) => {
    await place.file("empty", "");
    return withSecond(
      place,
      disk("vdb", place.path("empty")),
      { reason: "DiskFormatMismatch", says: "header says raw" },
      () => place.image("empty"),
    );
  },
  "ends in the middle of its header": async (place) => {
    await truncate(await place.image("cut"), 50);
    return withSecond(
      place,
      disk("vdb", place.path("cut")),
      { reason: "DiskUnreadable", says: "damaged header" },
      () => place.image("cut"),
    );
  },
  "is marked as corrupt": async (place) => {
    const image = await place.image("bad");
    const bytes = await readFile(image);
    bytes.writeUInt8(bytes.readUInt8(79) | 2, 79);
    await writeFile(image, bytes);
    return withSecond(
      place,
      disk("vdb", image),
      { reason: "DiskCorrupt", says: "is marked as corrupt" },
      () => place.image("bad"),
    );
  },
  "is small, with clusters of 512 bytes, starts": async (place) => ({
    xml: machine(place, disk("vda", await place.image("a", ["-f", "qcow2", "-o", "cluster_size=512"]))),
    findings: [],
  }),
  "is of any format that QEMU writes starts": async (place) => {
    const formats = ["qcow2", "qed", "vmdk", "vdi", "vpc"];
    const disks = await Promise.all(
      formats.map(async (format, index) =>
        disk(`vd${"abcde"[index]}`, await place.image(format, ["-f", format]), format),
      ),
    );
    const fixed = await place.image("fixed", ["-f", "vpc", "-o", "subformat=fixed"]);
    const flat = await place.image("flat.vmdk", ["-f", "vmdk", "-o", "subformat=monolithicFlat"]);
    const old = await place.image("old", ["-f", "qcow2", "-o", "compat=0.10"]);
    const others = disk("vdg", fixed, "vpc") + disk("vdh", flat, "vmdk") + disk("vdi", old);
    return { xml: machine(place, disks.join("") + others), findings: [] };
  },
  "is a CD-ROM whose medium is missing": async (place) => ({
    xml: machine(
      place,
      disk("vda", await place.image("a")) +
        removable("cdrom", "hda", "ide", `<source file='${place.path("cd.iso")}'/>`),
    ),
    findings: [{ reason: "DiskMissing", path: "devices/disk[2]/source", says: "disk hda", disk: "hda" }],
    mend: () => place.file("cd.iso"),
  }),
  "is a CD-ROM that it boots from, whose medium is missing": async (place) => ({
    xml: machine(
      place,
      disk("vda", await place.image("a")) +
        removable("cdrom", "hda", "ide", `<source file='${place.path("cd.iso")}'/>`),
      { os: "<boot dev='cdrom'/>" },
    ),
    findings: [{ reason: "DiskMissing", path: "devices/disk[2]/source", says: "disk hda" }],
    mend: () => place.file("cd.iso"),
  }),
  "is a floppy whose medium is missing": async (place) => ({
    xml: machine(
      place,
      disk("vda", await place.image("a")) +
        removable("floppy", "fda", "fdc", `<source file='${place.path("floppy")}'/>`),
    ),
    findings: [{ reason: "DiskMissing", path: "devices/disk[2]/source", says: "disk fda", disk: "fda" }],
    mend: () => place.file("floppy", "x".repeat(1_474_560)),
  }),
  "is a CD-ROM whose medium is missing, and required at a boot": async (place) => ({
    xml: machine(
      place,
      disk("vda", await place.image("a")) +
        removable("cdrom", "hda", "ide", `<source file='${place.path("cd")}' startupPolicy='requisite'/>`),
    ),
    findings: [{ reason: "DiskMissing", path: "devices/disk[2]/source", says: "disk hda", disk: "hda" }],
    mend: () => place.file("cd"),
  }),
  "is a drive without a medium, or with an optional one that is missing, starts": async (place) => ({
    xml: machine(
      place,
      disk("vda", await place.image("a")) +
        removable("cdrom", "hda", "ide", "") +
        removable("cdrom", "hdb", "ide", `<source file='${place.path("cd")}' startupPolicy='optional'/>`),
    ),
    findings: [],
  }),
  "is optional and missing, or lacks its backing file, starts": async (place) => {
    const optional = (target: string, file: string) =>
      disk(target, file).replace("<source ", "<source startupPolicy='optional' ");
    const overlay = await place.overlay("overlay", "gone");
    return {
      xml: machine(
        place,
        disk("vda", await place.image("a")) +
          optional("vdb", place.path("missing")) +
          optional("vdc", overlay),
      ),
      findings: [],
    };
  },
});
