import { disk, machine, testMachines, type Place } from "./workshop.ts";

const nic = (network: string, more = "") =>
  `<interface type='network'><source network='${network}'/><model type='virtio'/>${more}</interface>`;

/** Defines a network without addresses, which needs nothing but its bridge. */
async function network(place: Place): Promise<string> {
  const name = `net-${place.name}`;
  await place.define(
    "net-define",
    `<network><name>${name}</name><bridge name='wb-${place.name}'/></network>`,
  );
  return name;
}

testMachines("a machine on a network", {
  "that is active starts": async (place) => {
    const name = await network(place);
    await place.libvirtd.virsh("net-start", name);
    return { xml: machine(place, disk("vda", await place.image("a")) + nic(name)), findings: [] };
  },
  "that does not exist": async (place) => ({
    xml: machine(place, disk("vda", await place.image("a")) + nic(`net-${place.name}`)),
    findings: [
      {
        reason: "NetworkMissing",
        path: "devices/interface[1]/source",
        says: `network net-${place.name} does not exist`,
      },
    ],
    mend: async () => place.libvirtd.virsh("net-start", await network(place)),
  }),
  "that is not active": async (place) => {
    const name = await network(place);
    return {
      xml: machine(place, disk("vda", await place.image("a")) + nic(name)),
      findings: [
        {
          reason: "NetworkInactive",
          path: "devices/interface[1]/source",
          says: `network ${name} is not active`,
          repair: "StartNetwork",
        },
      ],
    };
  },
  "that is not active, with a disk in a pool that is not, either, and a volume that is to be created": async (
    place,
  ) => {
    const name = await network(place);
    const { pool } = await place.pool();
    await place.libvirtd.virsh("pool-destroy", pool);
    const volume = { pool, name: "v", capacity: "1Mi", format: "qcow2" } as const;
    const source = `<source pool='${pool}' volume='v'/>`;
    return {
      xml: machine(
        place,
        `<disk type='volume' device='disk'><driver name='qemu' type='qcow2'/>${source}<target dev='vda' bus='virtio'/></disk>
         ${nic(name)}`,
      ),
      volumes: [volume],
      findings: [
        { reason: "PoolInactive", path: "devices/disk[1]/source", says: pool, repair: "StartPool" },
        {
          reason: "NetworkInactive",
          path: "devices/interface[1]/source",
          says: name,
          repair: "StartNetwork",
        },
      ],
    };
  },
  "with a filter that does not exist": async (place) => {
    const name = await network(place);
    await place.libvirtd.virsh("net-start", name);
    const filter = `filter-${place.name}`;
    return {
      xml: machine(place, disk("vda", await place.image("a")) + nic(name, `<filterref filter='${filter}'/>`)),
      findings: [
        {
          reason: "FilterMissing",
          path: "devices/interface[1]/filterref",
          says: `network filter ${filter} does not exist`,
        },
      ],
      mend: () => place.define("nwfilter-define", `<filter name='${filter}'/>`),
    };
  },
});
