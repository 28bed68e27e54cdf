import { mkdir, rename, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { procedures } from "libvirt";
import type { VirtualMachine } from "../../crds/virtual-machine.ts";
import { boots, domainXml, guestReady, type GuestOptions } from "../support/guest.ts";
import { kvmBoots } from "../support/kvm.ts";
import type { Driver } from "../support/libvirtd.ts";
import type { Expectation } from "./account.ts";
import type { Place } from "./place.ts";
import { patient } from "../support/warmboot.ts";

/** A way that a request can take through the controller. What is asked of a machine is asked with its name. */
export interface Path extends Expectation {
  name: string;
  driver: Driver;
  /** Makes what the domain needs, and gives its XML. */
  xml: (name: string, place: Place) => string | Promise<string>;
  /** Whether the domain runs when the request is made. */
  runs: boolean;
  /** Resolves when a guest that was started has come so far that it hears what it is asked. */
  ready?: (name: string, place: Place) => Promise<unknown>;
  /** The resource's spec. */
  spec: object;
  /** What of the spec changes with the request. */
  requestSpec?: (name: string) => object;
  /** What happens on the host between the resource's first sight and the request. */
  disturb?: (name: string, place: Place) => Promise<unknown>;
  /** What happens on the host once the request has its result, and what the status says then in the end. */
  afterwards?: {
    happens: (name: string, place: Place) => Promise<unknown>;
    until: (resource: VirtualMachine) => boolean;
  };
  /** IDs of the boots that a real guest has told itself, once all are there. */
  boots?: (name: string, place: Place) => Promise<string[]>;
  /** Takes away what was made on the host beside the domain. */
  cleanUp?: (name: string, place: Place) => Promise<unknown>;
}

const cold = { ends: 1, inPlace: false, results: ["Succeeded"], startsAtOnce: true, runs: true } as const;
const hard = { restartPolicy: { mode: "Hard" } };

/** Guests of libvirt's test driver, which shut down whenever they are asked. */
const onTestDriver: readonly Path[] = [
  { ...cold, name: "soft", driver: "test", xml: testXml(64), spec: {} },
  { ...cold, name: "hard", driver: "test", xml: testXml(64), spec: hard },
  { ...cold, name: "start", driver: "test", xml: testXml(64), spec: {}, ends: 0, runs: false },
  {
    ...cold,
    name: "repair",
    driver: "test",
    // The network that comes with the driver.
    xml: testXml(64, "<interface type='network'><source network='default'/></interface>"),
    spec: hard,
    disturb: (_name, place) => stopNetwork(place, "default"),
  },
  {
    ...cold,
    name: "define",
    driver: "test",
    xml: testXml(64),
    spec: hard,
    requestSpec: (name) => ({ definition: { xml: testXml(128)(name) } }),
  },
];

/** Firmware without an operating system: it takes no notice of its power button. */
const withoutSystem: readonly Path[] = [
  {
    ...cold,
    name: "soft-then-hard",
    driver: "qemu",
    xml: deafXml(),
    spec: { restartPolicy: { soft: { timeoutSeconds: 1 } } },
  },
  {
    ...cold,
    name: "reset",
    inPlace: true,
    // What proves a reset does not survive a crash where there is no agent.
    results: ["Succeeded", "Unverified"],
    driver: "qemu",
    xml: deafXml(),
    spec: { restartPolicy: { mode: "Hard", hard: { via: "Reset" } } },
  },
  {
    ...cold,
    name: "roll-back",
    results: ["Failed"],
    startsAtOnce: false,
    driver: "qemu",
    xml: deafXml(),
    spec: hard,
    requestSpec: (name) => ({
      definition: { xml: deafXml("<serial type='file'><source path='/nowhere/serial.log'/></serial>")(name) },
    }),
  },
  {
    ...cold,
    name: "detach",
    driver: "qemu",
    xml: async (name, place) => {
      await Promise.all([imageOf(name, place), dataOf(name, place)].map(makeImage));
      const disks = [diskXml("sda", imageOf(name, place)), diskXml("sdb", dataOf(name, place))];
      return deafXml(`<controller type='scsi' index='0' model='virtio-scsi'/>${disks.join("")}`)(name);
    },
    spec: { restartPolicy: { mode: "Hard", onUnavailableVolume: "Detach" } },
    disturb: (name, place) => rename(dataOf(name, place), `${dataOf(name, place)}.away`),
    afterwards: {
      happens: async (name, place) => {
        await rename(`${dataOf(name, place)}.away`, dataOf(name, place));
        const target = join(place.libvirtd.directory, `${name}.pool`);
        await mkdir(target);
        // libvirt tells of a pool, and of no file: what waits for its host is looked at again.
        await place.libvirtd.virsh("pool-create-as", name, "dir", "--target", target);
      },
      until: ({ status }) => status.detachedVolumes === undefined,
    },
    cleanUp: (name, place) => place.libvirtd.virsh("pool-destroy", name).catch(() => {}),
  },
];

/** A kernel that says which boot it is. */
const realGuests: readonly Path[] = [
  {
    ...cold,
    name: "soft-guest",
    driver: "qemu",
    xml: guestXml({ behaviour: "obey" }),
    ready: (name, place) => guestReady(serialLogOf(name, place)),
    spec: { restartPolicy: patient },
    boots: twoBoots,
  },
  {
    ...cold,
    name: "reboot",
    inPlace: true,
    driver: "qemu",
    xml: guestXml({ behaviour: "obey", agent: "running" }),
    ready: agentReady,
    spec: { restartPolicy: { soft: { ...patient.soft, via: "Reboot", signals: ["ACPI"] } } },
    boots: twoBoots,
  },
];

/** All of them. */
export const paths: readonly Path[] = [...onTestDriver, ...withoutSystem, ...realGuests];

/** The one of a name. */
export function pathNamed(name: string): Path {
  const found = paths.find((one) => one.name === name);
  if (found === undefined) throw new Error(`there is no path ${name}`);
  return found;
}

function testXml(memoryMiB: number, devices = ""): (name: string) => string {
  return (name) =>
    `<domain type='test'><name>${name}</name><memory unit='MiB'>${memoryMiB}</memory>` +
    `<os><type>hvm</type></os><devices>${devices}</devices></domain>`;
}

/** The XML of a domain with firmware alone, which takes no notice of its power button, and with these devices. */
export function deafXml(devices = ""): (name: string) => string {
  return (name) =>
    `<domain type='qemu'><name>${name}</name><memory unit='MiB'>32</memory>` +
    "<os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features>" +
    `<devices><controller type='usb' model='none'/><memballoon model='none'/>${devices}</devices></domain>`;
}

function guestXml(
  options: Pick<GuestOptions, "behaviour" | "agent">,
): (name: string, place: Place) => Promise<string> {
  return async (name, place) =>
    domainXml({ ...options, name, kvm: await kvmBoots(), serialLog: serialLogOf(name, place) });
}

function serialLogOf(name: string, { libvirtd }: Place): string {
  return join(libvirtd.directory, `${name}.log`);
}

async function twoBoots(name: string, place: Place): Promise<string[]> {
  const log = serialLogOf(name, place);
  await guestReady(log, 2);
  return boots(log);
}

async function agentReady(name: string, place: Place): Promise<void> {
  await guestReady(serialLogOf(name, place));
  await place.witness("qemu").until(name, "Agent Connected");
}

function imageOf(name: string, { libvirtd }: Place): string {
  return join(libvirtd.directory, `${name}.img`);
}

function dataOf(name: string, { libvirtd }: Place): string {
  return join(libvirtd.directory, `${name}-data.img`);
}

async function makeImage(path: string): Promise<void> {
  await writeFile(path, "");
  await truncate(path, 2 ** 20);
}

function diskXml(target: string, path: string): string {
  return (
    `<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='${path}'/>` +
    `<target dev='${target}' bus='scsi'/></disk>`
  );
}

/** It may have been stopped by the case before, whose controller died before it mended that. */
async function stopNetwork(place: Place, name: string): Promise<void> {
  const { session } = place.witness("test");
  const { net } = await session.call(procedures.networkLookupByName, { name });
  const { active } = await session.call(procedures.networkIsActive, { net });
  if (active === 1) await place.libvirtd.virshTest("net-destroy", name);
}
