import { copyFile, mkdir, rm, symlink } from "node:fs/promises";
import { totalmem } from "node:os";
import { disk, machine, testMachines, type Place } from "./workshop.ts";

/** As much of a Linux kernel as QEMU looks at before it starts one. */
const aKernel = Buffer.alloc(16_384);
aKernel.write("HdrS", 0x202);
aKernel.writeUInt16LE(0x20a, 0x206);
aKernel.writeUInt8(1, 0x211);
aKernel.writeUInt32LE(0x7fff_ffff, 0x22c);

const uuid = "3a1b2c3d-0000-4000-8000-000000000001";

const secret = (of: string, usage: string, usageName = "volume") =>
  `<secret ephemeral='no' private='no'><uuid>${of}</uuid><usage type='${usage}'><${usageName}>x-${of}</${usageName}></usage></secret>`;

/** A secret with a value. */
async function defineSecret(place: Place, of: string, usage: string, usageName = "volume"): Promise<void> {
  await place.define("secret-define", secret(of, usage, usageName));
  await place.libvirtd.virsh("secret-set-value", of, Buffer.from("letmein").toString("base64"));
}

/** A disk on an encrypted image. */
async function encrypted(place: Place, by: string): Promise<string> {
  await place.encryptedImage("e", "qcow2");
  return disk(
    "vda",
    place.path("e"),
    "qcow2",
    `<encryption format='luks'><secret type='passphrase' ${by}/></encryption>`,
  );
}

testMachines("a machine with a file of the host that", {
  "is its kernel and missing": async (place) => ({
    xml: machine(place, disk("vda", await place.image("a")), {
      os: `<kernel>${place.path("kernel")}</kernel>`,
    }),
    findings: [
      {
        reason: "KernelMissing",
        path: "os/kernel",
        says: `the kernel ${place.path("kernel")} does not exist`,
      },
    ],
    mend: () => place.file("kernel", aKernel),
  }),
  "is its kernel and a directory": async (place) => {
    await mkdir(place.path("kernel"));
    return {
      xml: machine(place, disk("vda", await place.image("a")), {
        os: `<kernel>${place.path("kernel")}</kernel>`,
      }),
      findings: [{ reason: "KernelMissing", path: "os/kernel", says: "is a directory" }],
      mend: async () => {
        await rm(place.path("kernel"), { recursive: true });
        await place.file("kernel", aKernel);
      },
    };
  },
  "is its initial RAM disk and missing": async (place) => ({
    xml: machine(place, disk("vda", await place.image("a")), {
      os: `<kernel>${await place.file("kernel", aKernel)}</kernel><initrd>${place.path("initrd")}</initrd>`,
    }),
    findings: [{ reason: "KernelMissing", path: "os/initrd", says: place.path("initrd") }],
    mend: () => place.file("initrd"),
  }),
  "is its firmware and missing": async (place) => ({
    xml: machine(place, disk("vda", await place.image("a")), {
      os: `<loader readonly='yes' type='rom'>${place.path("bios")}</loader>`,
    }),
    findings: [{ reason: "FirmwareMissing", path: "os/loader", says: `the firmware ${place.path("bios")}` }],
    mend: () => copyFile("/usr/share/seabios/bios-256k.bin", place.path("bios")),
  }),
  "is the template of its NVRAM and missing": async (place) => ({
    xml: machine(place, disk("vda", await place.image("a")), {
      machine: "q35",
      more: "<features><acpi/></features>",
      os: `<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>
        <nvram template='${place.path("vars")}'>${place.path("nvram")}</nvram>`,
    }),
    findings: [
      { reason: "FirmwareMissing", path: "os/nvram/@template", says: `the template ${place.path("vars")}` },
    ],
    mend: () => copyFile("/usr/share/OVMF/OVMF_VARS_4M.fd", place.path("vars")),
  }),
  "is the template of an NVRAM that is there starts without it": async (place) => {
    await copyFile("/usr/share/OVMF/OVMF_VARS_4M.fd", place.path("nvram"));
    return {
      xml: machine(place, disk("vda", await place.image("a")), {
        machine: "q35",
        more: "<features><acpi/></features>",
        os: `<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>
          <nvram template='${place.path("vars")}'>${place.path("nvram")}</nvram>`,
      }),
      findings: [],
    };
  },
  "is its ACPI table and missing": async (place) => ({
    xml: machine(place, disk("vda", await place.image("a")), {
      os: `<acpi><table type='slic'>${place.path("slic")}</table></acpi>`,
      more: "<features><acpi/></features>",
    }),
    findings: [
      { reason: "FileMissing", path: "os/acpi/table[1]", says: `the ACPI table ${place.path("slic")}` },
    ],
    // A header of 36 bytes that says how long the table is.
    mend: () =>
      place.file("slic", Buffer.concat([Buffer.from("SLIC"), Buffer.from([36, 0, 0, 0]), Buffer.alloc(28)])),
  }),
  "is a directory for the guest and missing": async (place) => ({
    xml: machine(
      place,
      `${disk("vda", await place.image("a"))}<filesystem type='mount' accessmode='passthrough'>
        <source dir='${place.path("shared")}'/><target dir='shared'/></filesystem>`,
    ),
    findings: [
      {
        reason: "FileMissing",
        path: "devices/filesystem[1]/source",
        says: `file system shared ${place.path("shared")}`,
      },
    ],
    mend: () => mkdir(place.path("shared")),
  }),
  "is an interface's ROM and missing": async (place) => ({
    xml: machine(
      place,
      `${disk("vda", await place.image("a"))}<interface type='user'><model type='virtio'/>
        <rom file='${place.path("rom")}'/></interface>`,
    ),
    findings: [{ reason: "FileMissing", path: "devices/interface[1]/rom", says: place.path("rom") }],
    mend: () => place.file("rom"),
  }),
  "is its emulator and gone": async (place) => {
    const emulator = place.path("emulator");
    await symlink("/usr/bin/qemu-system-x86_64", emulator);
    return {
      xml: machine(place, `<emulator>${emulator}</emulator>${disk("vda", await place.image("a"))}`),
      breakDefined: () => rm(emulator),
      findings: [{ reason: "EmulatorMissing", path: "devices/emulator", says: emulator }],
      mend: () => symlink("/usr/bin/qemu-system-x86_64", emulator),
    };
  },
  "is its emulator and gone, while its disk and its kernel are, too": async (place) => {
    const emulator = place.path("emulator");
    await symlink("/usr/bin/qemu-system-x86_64", emulator);
    return {
      xml: machine(place, `<emulator>${emulator}</emulator>${disk("vda", place.path("a"))}`, {
        os: `<kernel>${place.path("kernel")}</kernel>`,
      }),
      breakDefined: () => rm(emulator),
      findings: [
        { reason: "EmulatorMissing", path: "devices/emulator", says: emulator },
        { reason: "DiskMissing", path: "devices/disk[1]/source", says: place.path("a") },
        { reason: "KernelMissing", path: "os/kernel", says: place.path("kernel") },
      ],
      mend: async () => {
        await symlink("/usr/bin/qemu-system-x86_64", emulator);
        await place.image("a");
        await place.file("kernel", aKernel);
      },
    };
  },
});

testMachines("a machine that needs of its host", {
  "a machine type that is not supported": async (place) => {
    const disks = disk("vda", await place.image("a"));
    return {
      xml: machine(place, disks, { machine: "pc-i440fx-99.0" }),
      twin: machine(place, disks),
      findings: [
        { reason: "MachineUnsupported", path: "os/type/@machine", says: "machine type pc-i440fx-99.0" },
      ],
    };
  },
  "virtualisation that is not supported": async (place) => {
    const disks = disk("vda", await place.image("a"));
    return {
      xml: machine(place, disks, { attributes: "type='hvf'" }),
      twin: machine(place, disks),
      findings: [{ reason: "VirtualizationUnsupported", path: "@type", says: "type hvf" }],
    };
  },
  "firmware of a type that is not installed": async (place) => {
    const disks = disk("vda", await place.image("a"));
    const xml = machine(place, disks, { more: "<features><acpi/></features>" });
    return {
      xml: xml.replace("<os>", "<os firmware='bios'>"),
      twin: xml.replace("<os>", "<os firmware='efi'>").replace("machine='pc'", "machine='q35'"),
      findings: [{ reason: "FirmwareMissing", path: "os/@firmware", says: "no firmware of type bios" }],
    };
  },
  "more memory than it has": async (place) => {
    const disks = disk("vda", await place.image("a"));
    return {
      xml: machine(place, disks, { memory: String(2 * Math.ceil(totalmem() / 2 ** 20)) }),
      twin: machine(place, disks),
      findings: [{ reason: "MemoryShort", path: "memory", says: "and the host can give" }],
    };
  },
  "more memory than it has, all of it at once": async (place) => {
    const disks = disk("vda", await place.image("a"));
    const at = { more: "<memoryBacking><allocation mode='immediate'/></memoryBacking>" };
    return {
      xml: machine(place, disks, { ...at, memory: String(2 * Math.ceil(totalmem() / 2 ** 20)) }),
      twin: machine(place, disks, at),
      findings: [{ reason: "MemoryShort", path: "memory", says: "and the host can give" }],
    };
  },
  "a secret that is not defined, by its UUID": async (place) => ({
    xml: machine(place, await encrypted(place, `uuid='${uuid}'`)),
    findings: [
      {
        reason: "SecretMissing",
        path: "devices/disk[1]/encryption/secret",
        says: `disk vda: the secret of UUID ${uuid} does not exist`,
      },
    ],
    mend: () => defineSecret(place, uuid, "volume"),
  }),
  "a secret that is not defined, by what it is for": async (place) => {
    const other = uuid.replace(/1$/, "2");
    return {
      xml: machine(place, await encrypted(place, `usage='x-${other}'`)),
      findings: [
        {
          reason: "SecretMissing",
          path: "devices/disk[1]/encryption/secret",
          says: `the secret for usage x-${other}`,
        },
      ],
      mend: () => defineSecret(place, other, "volume"),
    };
  },
  "a secret for an encrypted image, and names none": async (place) => {
    const other = uuid.replace(/1$/, "3");
    await defineSecret(place, other, "volume");
    const disks = await encrypted(place, `uuid='${other}'`);
    return {
      xml: machine(place, disks.replace(/<encryption.*<\/encryption>/, "")),
      twin: machine(place, disks),
      findings: [{ reason: "SecretMissing", path: "devices/disk[1]/source", says: "is encrypted" }],
    };
  },
  "an encrypted image and finds one that is not": async (place) => {
    const other = uuid.replace(/1$/, "4");
    await defineSecret(place, other, "volume");
    const encryption = `<encryption format='luks'><secret type='passphrase' uuid='${other}'/></encryption>`;
    await place.file("plain");
    return {
      xml: machine(place, disk("vda", place.path("plain"), "raw", encryption)),
      findings: [{ reason: "DiskFormatMismatch", path: "devices/disk[1]/source", says: "have format luks" }],
      mend: () => place.encryptedImage("plain", "luks"),
    };
  },
  "a secret for its TPM that is not defined": async (place) => {
    const other = uuid.replace(/1$/, "6");
    const tpm = `<tpm model='tpm-crb'><backend type='emulator' version='2.0'><encryption secret='${other}'/></backend></tpm>`;
    return {
      xml: machine(place, disk("vda", await place.image("a")) + tpm),
      findings: [
        {
          reason: "SecretMissing",
          path: "devices/tpm[1]/backend/encryption",
          says: `the TPM: the secret of UUID ${other}`,
        },
      ],
      mend: () => defineSecret(place, other, "vtpm", "name"),
    };
  },
  "a secret for a server that is not defined": async (place) => {
    const other = uuid.replace(/1$/, "5");
    const server = `<disk type='network' device='disk'><driver name='qemu' type='raw'/>
      <source protocol='iscsi' name='iqn.2026-01.example:t/1'><host name='127.0.0.1'/>
        <auth username='u'><secret type='iscsi' uuid='${other}'/></auth></source><target dev='vdb' bus='virtio'/></disk>`;
    return {
      xml: machine(place, disk("vda", await place.image("a")) + server),
      findings: [
        {
          reason: "SecretMissing",
          path: "devices/disk[2]/source/auth/secret",
          says: `disk vdb: the secret of UUID ${other}`,
          disk: "vdb",
        },
      ],
      mend: () => defineSecret(place, other, "iscsi", "target"),
      twinCannotStart: "there is no such server",
    };
  },
});
