import { procedures } from "libvirt";
import type { VirtualMachine } from "../../crds/virtual-machine.ts";
import type { Driver } from "../support/libvirtd.ts";
import type { Expectation } from "./account.ts";
import type { Place } from "./place.ts";

/** A way that a request can take through the controller. */
export interface Path extends Expectation {
  name: string;
  driver: Driver;
  /** The resource's spec; `xml` is the domain's. */
  spec: (name: string) => object;
  /** What of the spec changes with the request. */
  requestSpec?: (name: string) => object;
  /** The domain's XML. */
  xml: (name: string) => string;
  /** Whether the domain runs when the request is made. */
  runs: boolean;
  /** What happens on the host between the resource's first sight and the request. */
  disturb?: (place: Place, name: string) => Promise<void>;
  /** What is awaited beyond the request's result. */
  until?: (resource: VirtualMachine) => boolean;
}

/** A guest of libvirt's test driver, which shuts down whenever it is asked. */
const testXml =
  (memoryMiB: number, devices = "") =>
  (name: string) =>
    `<domain type='test'><name>${name}</name><memory unit='MiB'>${memoryMiB}</memory>` +
    `<os><type>hvm</type></os><devices>${devices}</devices></domain>`;

/** Firmware without an operating system: it takes no notice of its power button. */
const deafXml = (memoryMiB: number) => (name: string) =>
  `<domain type='qemu'><name>${name}</name><memory unit='MiB'>${memoryMiB}</memory>` +
  `<os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features>` +
  `<devices><controller type='usb' model='none'/><memballoon model='none'/></devices></domain>`;

const restarts = { ends: 1, inPlace: false, results: ["Succeeded"], runs: true } as const;
const hard = { mode: "Hard" };

/** The network that comes with libvirt's test driver. */
const network = "default";

/** All of them. */
export const paths: readonly Path[] = [
  { ...restarts, name: "soft", driver: "test", xml: testXml(64), spec: () => ({}) },
  {
    ...restarts,
    name: "hard",
    driver: "test",
    xml: testXml(64),
    spec: () => ({ restartPolicy: hard }),
  },
  {
    ...restarts,
    name: "start",
    ends: 0,
    runs: false,
    driver: "test",
    xml: testXml(64),
    spec: () => ({}),
  },
  {
    ...restarts,
    name: "repair",
    driver: "test",
    xml: testXml(64, `<interface type='network'><source network='${network}'/></interface>`),
    spec: () => ({ restartPolicy: hard }),
    disturb: async (place) => {
      const { session } = place.witness("test");
      const { net } = await session.call(procedures.networkLookupByName, { name: network });
      const { active } = await session.call(procedures.networkIsActive, { net });
      if (active === 1) await place.libvirtd.virshTest("net-destroy", network);
    },
  },
  {
    ...restarts,
    name: "define",
    driver: "test",
    xml: testXml(64),
    spec: () => ({ restartPolicy: hard }),
    requestSpec: (name) => ({ definition: { xml: testXml(128)(name) } }),
  },
  {
    ...restarts,
    name: "soft-then-hard",
    driver: "qemu",
    xml: deafXml(32),
    spec: () => ({ restartPolicy: { soft: { timeoutSeconds: 1 } } }),
  },
  {
    ...restarts,
    name: "reset",
    inPlace: true,
    results: ["Succeeded", "Unverified"],
    driver: "qemu",
    xml: deafXml(32),
    spec: () => ({ restartPolicy: { ...hard, hard: { via: "Reset" } } }),
  },
];
