import { existsSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../../support/run.ts";
import { disk, machine, testMachines, volumeDisk } from "./workshop.ts";
import { declaredVolume } from "../../../crds/machine.ts";

/** A volume as a resource declares it. */
const declare = (volume: object) => declaredVolume.parse(volume);

const create = (path: string, ...options: string[]) =>
  run("qemu-img", ["create", "-q", "-f", "qcow2", ...options, path, "1M"]);

testMachines("a machine on volumes", {
  "that are there starts": async (place) => {
    const { pool } = await place.pool();
    await place.libvirtd.virsh("vol-create-as", pool, "v", "1M", "--format", "qcow2");
    const volumes = [declare({ pool, name: "v", capacity: "1Mi" })];
    return { xml: machine(place, volumeDisk("vda", pool, "v")), findings: [], volumes };
  },
  "of a pool that does not exist": (place) =>
    Promise.resolve({
      xml: machine(place, volumeDisk("vda", "none", "v")),
      findings: [
        { reason: "PoolMissing", path: "devices/disk[1]/source", says: "disk vda: pool none of volume v" },
      ],
      mend: async () => {
        const { pool } = await place.pool("none");
        await place.libvirtd.virsh("vol-create-as", pool, "v", "1M", "--format", "qcow2");
      },
    }),
  "of a pool that is not active": async (place) => {
    const { pool } = await place.pool();
    await place.libvirtd.virsh("vol-create-as", pool, "v", "1M", "--format", "qcow2");
    await place.libvirtd.virsh("pool-destroy", pool);
    return {
      xml: machine(place, volumeDisk("vda", pool, "v")),
      findings: [
        {
          reason: "PoolInactive",
          path: "devices/disk[1]/source",
          says: `pool ${pool} of volume v is not active`,
          repair: "StartPool",
        },
      ],
    };
  },
  "two of which are in a pool that is not active": async (place) => {
    const { pool } = await place.pool();
    for (const name of ["a", "b"])
      await place.libvirtd.virsh("vol-create-as", pool, name, "1M", "--format", "qcow2");
    await place.libvirtd.virsh("pool-destroy", pool);
    const inactive = { reason: "PoolInactive", says: `pool ${pool}`, repair: "StartPool" } as const;
    return {
      xml: machine(place, volumeDisk("vda", pool, "a") + volumeDisk("vdb", pool, "b")),
      findings: [
        { ...inactive, path: "devices/disk[1]/source" },
        { ...inactive, path: "devices/disk[2]/source", disk: "vdb" },
      ],
    };
  },
  "that do not exist": async (place) => {
    const { pool } = await place.pool();
    return {
      xml: machine(place, volumeDisk("vda", pool, "v")),
      findings: [
        {
          reason: "VolumeMissing",
          path: "devices/disk[1]/source",
          says: `disk vda: volume v of pool ${pool} does not exist`,
        },
      ],
      mend: () => place.libvirtd.virsh("vol-create-as", pool, "v", "1M", "--format", "qcow2"),
    };
  },
  "that exist and that the pool does not list": async (place) => {
    const { pool, directory } = await place.pool();
    await create(join(directory, "v"));
    return {
      xml: machine(place, volumeDisk("vda", pool, "v")),
      findings: [
        {
          reason: "VolumeMissing",
          path: "devices/disk[1]/source",
          says: `volume v is not listed by pool ${pool}, though ${directory}/v exists`,
          repair: "RefreshPool",
        },
      ],
    };
  },
  "that the pool lists and that are gone": async (place) => {
    const { pool, directory } = await place.pool();
    await place.libvirtd.virsh("vol-create-as", pool, "v", "1M", "--format", "qcow2");
    await rm(join(directory, "v"));
    return {
      xml: machine(place, volumeDisk("vda", pool, "v")),
      findings: [
        {
          reason: "DiskMissing",
          path: "devices/disk[1]/source",
          says: `disk vda: ${directory}/v does not exist`,
        },
      ],
      mend: () => create(join(directory, "v")),
    };
  },
  "whose backing file is missing": async (place) => {
    const { pool, directory } = await place.pool();
    const base = place.path("base");
    await create(join(directory, "v"), "-u", "-b", base, "-F", "qcow2");
    await place.libvirtd.virsh("pool-refresh", pool);
    return {
      xml: machine(place, volumeDisk("vda", pool, "v")),
      findings: [
        {
          reason: "BackingFileMissing",
          path: "devices/disk[1]/source",
          says: `the backing file ${base} of ${directory}/v`,
        },
      ],
      mend: () => create(base),
    };
  },
  "that are said to have another format": async (place) => {
    const { pool } = await place.pool();
    await place.libvirtd.virsh("vol-create-as", pool, "v", "1M", "--format", "raw");
    return {
      xml: machine(place, volumeDisk("vda", pool, "v")),
      findings: [
        { reason: "DiskFormatMismatch", path: "devices/disk[1]/source", says: "its header says raw" },
      ],
      mend: async () => {
        await place.libvirtd.virsh("vol-delete", "v", "--pool", pool);
        await place.libvirtd.virsh("vol-create-as", pool, "v", "1M", "--format", "qcow2");
      },
    };
  },
  "that are optional and missing starts": async (place) => {
    const { pool } = await place.pool();
    const optional = volumeDisk("vdb", pool, "none").replace("<source ", "<source startupPolicy='optional' ");
    return { xml: machine(place, disk("vda", await place.image("a")) + optional), findings: [] };
  },
});

/** A pool on a file system of its own needs a loop device. */
const withoutLoopDevices = existsSync("/dev/loop-control") ? false : "this machine has no loop devices";
testMachines(
  "a machine on a file",
  {
    "that is there only while its pool has it mounted": async (place) => {
      const [image, target, pool] = [place.path("fs"), place.path("mount"), `mounted-${place.name}`];
      await run("truncate", ["--size=8M", image]);
      await run("mkfs.ext4", ["-q", "-F", image]);
      await mkdir(target);
      const source = ["--source-dev", image, "--source-format", "ext4", "--target", target];
      await place.libvirtd.virsh("pool-define-as", pool, "fs", ...source);
      await place.libvirtd.virsh("pool-start", pool);
      await place.libvirtd.virsh("vol-create-as", pool, "v", "1M", "--format", "qcow2");
      const leave = async () => {
        await place.libvirtd.virsh("pool-destroy", pool);
        // libvirt does not find its mount by the name of the loop device.
        await run("nsenter", ["--target", String(place.libvirtd.pid), "--mount", "umount", target]);
      };
      await leave();
      return {
        xml: machine(place, disk("vda", join(target, "v"))),
        findings: [
          {
            reason: "PoolInactive",
            path: "devices/disk[1]/source",
            says: `disk vda: ${target}/v does not exist while pool ${pool} is not active`,
            repair: "StartPool",
          },
        ],
        cleanUp: leave,
      };
    },
  },
  withoutLoopDevices,
);

testMachines("a machine on a file of a pool", {
  "that is missing, beside a pool whose start would not make it appear": async (place) => {
    const { pool, directory } = await place.pool();
    await place.libvirtd.virsh("pool-destroy", pool);
    return {
      xml: machine(place, disk("vda", join(directory, "v"))),
      findings: [{ reason: "DiskMissing", path: "devices/disk[1]/source", says: "does not exist" }],
      mend: () => create(join(directory, "v")),
    };
  },
});

testMachines("a machine with a declared volume", {
  "that does not exist, by its names": async (place) => {
    const { pool } = await place.pool();
    return {
      xml: machine(place, volumeDisk("vda", pool, "v")),
      volumes: [declare({ pool, name: "v", capacity: "1Mi" })],
      findings: [
        {
          reason: "VolumeMissing",
          path: "devices/disk[1]/source",
          says: `volume v of pool ${pool} does not exist`,
          repair: "CreateVolume",
        },
      ],
    };
  },
  "that does not exist, by its path": async (place) => {
    const { pool, directory } = await place.pool();
    return {
      xml: machine(place, disk("vda", await place.image("a")) + disk("vdb", join(directory, "v"), "raw")),
      volumes: [declare({ pool, name: "v", capacity: "1M", format: "raw" })],
      findings: [
        {
          reason: "DiskMissing",
          path: "devices/disk[2]/source",
          says: `disk vdb: ${directory}/v does not exist`,
          disk: "vdb",
          repair: "CreateVolume",
        },
      ],
    };
  },
  "that no disk is on": async (place) => {
    const { pool } = await place.pool();
    const overlay = await place.overlay("top", place.path(`pool-${place.name}/base`));
    return {
      xml: machine(place, disk("vda", overlay)),
      volumes: [
        declare({ pool, name: "base", capacity: "1Mi" }),
        declare({ pool, name: "spare", capacity: "1Mi" }),
      ],
      findings: [
        {
          reason: "BackingFileMissing",
          path: "devices/disk[1]/source",
          says: "the backing file",
          repair: "CreateVolume",
        },
        {
          reason: "VolumeMissing",
          path: "spec.volumes[1]",
          says: `volume spare of pool ${pool} does not exist`,
          repair: "CreateVolume",
        },
      ],
    };
  },
  "that is created over another one": async (place) => {
    const { pool } = await place.pool();
    await place.libvirtd.virsh("vol-create-as", pool, "base", "2M", "--format", "qcow2");
    return {
      xml: machine(place, volumeDisk("vda", pool, "v")),
      volumes: [declare({ pool, name: "v", source: { backing: { name: "base" } } })],
      findings: [
        {
          reason: "VolumeMissing",
          path: "devices/disk[1]/source",
          says: "volume v",
          repair: "CreateVolume",
        },
      ],
    };
  },
  "that is a copy of one in another pool": async (place) => {
    const { pool } = await place.pool();
    await place.pool(`other-${place.name}`);
    await place.libvirtd.virsh("vol-create-as", `other-${place.name}`, "golden", "2M", "--format", "qcow2");
    const source = { clone: { pool: `other-${place.name}`, name: "golden" } };
    return {
      xml: machine(place, volumeDisk("vda", pool, "v")),
      volumes: [declare({ pool, name: "v", source })],
      findings: [
        {
          reason: "VolumeMissing",
          path: "devices/disk[1]/source",
          says: "volume v",
          repair: "CreateVolume",
        },
      ],
    };
  },
  "in a pool that is not active": async (place) => {
    const { pool } = await place.pool();
    await place.libvirtd.virsh("pool-destroy", pool);
    return {
      xml: machine(place, volumeDisk("vda", pool, "v")),
      volumes: [declare({ pool, name: "v", capacity: "1Mi" })],
      findings: [
        {
          reason: "PoolInactive",
          path: "devices/disk[1]/source",
          says: `pool ${pool}`,
          repair: "StartPool",
        },
      ],
    };
  },
  "that the pool lists and that is gone": async (place) => {
    const { pool, directory } = await place.pool();
    await place.libvirtd.virsh("vol-create-as", pool, "v", "1M", "--format", "qcow2");
    await rm(join(directory, "v"));
    return {
      xml: machine(place, volumeDisk("vda", pool, "v")),
      volumes: [declare({ pool, name: "v", capacity: "1Mi" })],
      findings: [
        {
          reason: "VolumeMissing",
          path: "devices/disk[1]/source",
          says: `volume v is listed by pool ${pool}, but ${directory}/v does not exist`,
          repair: "RefreshPool",
        },
      ],
    };
  },
  "whose file is there and that the pool does not list keeps its content": async (place) => {
    const { pool, directory } = await place.pool();
    await create(join(directory, "v"));
    return {
      xml: machine(place, volumeDisk("vda", pool, "v")),
      volumes: [declare({ pool, name: "v", capacity: "1Mi" })],
      findings: [
        {
          reason: "VolumeMissing",
          path: "devices/disk[1]/source",
          says: "is not listed",
          repair: "RefreshPool",
        },
      ],
    };
  },
  "that begins as an overlay of a missing one": async (place) => {
    const { pool } = await place.pool();
    return {
      xml: machine(place, volumeDisk("vda", pool, "v")),
      volumes: [declare({ pool, name: "v", source: { backing: { name: "base" } } })],
      findings: [
        {
          reason: "VolumeMissing",
          path: "devices/disk[1]/source",
          says: `volume v of pool ${pool} does not exist, and cannot be created: volume base of pool`,
        },
      ],
      mend: async () => {
        await place.libvirtd.virsh("vol-create-as", pool, "base", "1M", "--format", "qcow2");
        const backing = ["--backing-vol", "base", "--backing-vol-format", "qcow2"];
        await place.libvirtd.virsh("vol-create-as", pool, "v", "1M", "--format", "qcow2", ...backing);
      },
    };
  },
  "that begins as an overlay of another declared one, both of them missing": async (place) => {
    const { pool } = await place.pool();
    return {
      xml: machine(place, volumeDisk("vda", pool, "v")),
      volumes: [
        declare({ pool, name: "v", source: { backing: { name: "base" } } }),
        declare({ pool, name: "base", capacity: "1Mi" }),
      ],
      findings: [
        {
          reason: "VolumeMissing",
          path: "devices/disk[1]/source",
          says: "volume base",
          repair: "CreateVolume",
        },
      ],
    };
  },
  "that no disk is on and that begins as an overlay of a missing one": async (place) => {
    const { pool } = await place.pool();
    return {
      xml: machine(place, disk("vda", await place.image("a"))),
      volumes: [declare({ pool, name: "v", source: { clone: { name: "golden" } } })],
      findings: [
        { reason: "VolumeMissing", path: "spec.volumes[0]", says: `cannot be created: volume golden` },
      ],
      startsBroken: "the domain itself needs no such volume",
      mend: () => place.libvirtd.virsh("vol-create-as", pool, "v", "1M", "--format", "qcow2"),
    };
  },
  "two of which begin as overlays of one another": async (place) => {
    const { pool } = await place.pool();
    return {
      xml: machine(place, volumeDisk("vda", pool, "v")),
      volumes: [
        declare({ pool, name: "v", source: { backing: { name: "w" } } }),
        declare({ pool, name: "w", source: { backing: { name: "v" } } }),
      ],
      findings: [
        { reason: "VolumeMissing", path: "devices/disk[1]/source", says: "cannot be created" },
        { reason: "VolumeMissing", path: "spec.volumes[1]", says: "cannot be created" },
      ],
      mend: async () => {
        for (const name of ["v", "w"])
          await place.libvirtd.virsh("vol-create-as", pool, name, "1M", "--format", "qcow2");
      },
    };
  },
  "in a pool that does not exist": async (place) => ({
    xml: machine(place, disk("vda", join(place.path("pool-late"), "v"))),
    volumes: [declare({ pool: "pool-late", name: "v", capacity: "1Mi" })],
    findings: [
      { reason: "DiskMissing", path: "devices/disk[1]/source", says: "does not exist" },
      { reason: "PoolMissing", path: "spec.volumes[0]", says: "pool pool-late of volume v does not exist" },
    ],
    mend: async () => {
      await place.pool("pool-late");
      await place.libvirtd.virsh("vol-create-as", "pool-late", "v", "1M", "--format", "qcow2");
    },
  }),
});
