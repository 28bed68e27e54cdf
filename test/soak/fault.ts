import { setTimeout as delay } from "node:timers/promises";
import {
  apiServerKilled,
  guestKilled,
  guestStopped,
  killed,
  stopped,
  type Undo,
} from "../faults/server-faults.ts";
import type { Random } from "../simulation/random.ts";
import type { Libvirtd } from "../support/libvirtd.ts";
import { apiRequest, type ApiFate, type ApiRequest } from "../support/proxies/api-proxy.ts";
import type { Matches } from "../support/proxies/faults.ts";
import { isEvent, isReply, type LibvirtMessage } from "../support/proxies/libvirt-proxy.ts";
import type { Fleet } from "./fleet.ts";

/** Something that goes wrong. */
export interface Fault {
  name: string;
  /**
   * For which fleet: that of QEMU's guests alone, either, or both at once. libvirt's test driver forgets its domains when
   * its libvirtd ends. And what one process holds after an hour can only be seen of a controller that lives so long.
   */
  on: "qemu" | "either" | "both";
  /** Lets it happen, and resolves once it is over: what was ended runs again. */
  strike: (fleet: Fleet, random: Random) => Promise<unknown>;
}

/** All of them. */
export const faults: readonly Fault[] = [
  {
    name: "controller killed",
    on: "qemu",
    strike: async (fleet) => {
      await fleet.controller.kill();
      await fleet.startController();
    },
  },
  {
    name: "controller restarted",
    on: "qemu",
    strike: async (fleet) => {
      await fleet.controller.stop();
      await fleet.startController();
    },
  },
  lasting("controller stopped for seconds", "either", async ({ controller: { pid } }) => {
    process.kill(pid, "SIGSTOP");
    return async () => process.kill(pid, "SIGCONT");
  }),
  {
    name: "connections to libvirt cut",
    on: "either",
    strike: async ({ libvirtProxy }) => libvirtProxy.cut(),
  },
  {
    name: "connections to libvirt silent for good",
    on: "either",
    strike: async ({ libvirtProxy }) => libvirtProxy.stall(),
  },
  libvirtHolds("replies of libvirt late by seconds", isReply),
  libvirtHolds("events of libvirt late by seconds", isEvent),
  lasting("libvirtd killed", "qemu", async ({ libvirtd, libvirtProxy }) => {
    const start = await killed(libvirtd);
    return async () => {
      await start();
      libvirtProxy.touch();
    };
  }),
  {
    name: "libvirtd restarted",
    on: "qemu",
    strike: async ({ libvirtd, libvirtProxy }) => {
      await libvirtd.restart();
      libvirtProxy.touch();
    },
  },
  lasting("libvirtd stopped for seconds", "either", ({ libvirtd }) => stopped(libvirtd)),
  lasting("API server killed", "both", ({ api }) => apiServerKilled(api)),
  { name: "API server restarted", on: "both", strike: ({ api }) => api.restart() },
  lasting("API server stopped for seconds", "both", ({ api }) => stopped(api.apiServer)),
  lasting("etcd killed", "both", ({ api }) => killed(api.etcd)),
  lasting("etcd stopped for seconds", "both", ({ api }) => stopped(api.etcd)),
  {
    name: "connections to the API server cut",
    on: "either",
    strike: async ({ apiProxy }) => apiProxy.cut(() => true),
  },
  lasting("watches silent for seconds", "either", async ({ apiProxy }) => {
    const over = Promise.withResolvers<void>();
    const through = async (line: string) => {
      await over.promise;
      return [line];
    };
    apiProxy.faults.always(({ verb }) => verb === "Watch", { kind: "Lines", through });
    apiProxy.cut(({ verb }) => verb === "Watch");
    return async () => {
      over.resolve();
      apiProxy.faults.heal();
    };
  }),
  apiDoes("writes refused for seconds", ({ verb }) => verb === "Write", {
    kind: "Refuse",
    code: 503,
    reason: "ServiceUnavailable",
  }),
  apiDoes("API server too busy for seconds", () => true, {
    kind: "Refuse",
    code: 429,
    reason: "TooManyRequests",
    retryAfterSeconds: 1,
  }),
  apiDoes("answers to statuses lost for seconds", apiRequest("Write", "virtualmachines/status"), {
    kind: "LoseAnswer",
  }),
  guestIs("QEMU killed", guestKilled),
  guestIs("QEMU stopped for good", guestStopped),
];

/** Shorter than what a client takes for the end of a silent daemon: the soak's own sessions must not miss an event. */
const longestMs = 10_000;

/** The time itself is the fault: nothing tells of its end. */
async function aWhile(random: Random): Promise<void> {
  await delay(500 + random.below(longestMs));
}

function lasting(name: string, on: Fault["on"], begin: (fleet: Fleet) => Promise<Undo>): Fault {
  return {
    name,
    on,
    strike: async (fleet, random) => {
      const end = await begin(fleet);
      await aWhile(random);
      await end();
    },
  };
}

function libvirtHolds(name: string, matches: Matches<LibvirtMessage>): Fault {
  return lasting(name, "either", async ({ libvirtProxy: { faults: held } }) => {
    const over = Promise.withResolvers<void>();
    held.always(matches, { kind: "Hold", until: over.promise });
    return async () => {
      over.resolve();
      held.heal();
    };
  });
}

function apiDoes(name: string, matches: Matches<ApiRequest>, fate: ApiFate): Fault {
  return lasting(name, "either", async ({ apiProxy }) => {
    apiProxy.faults.always(matches, fate);
    return async () => apiProxy.faults.heal();
  });
}

/** It stays so until a restart ends it. */
function guestIs(name: string, strike: (libvirtd: Libvirtd, guest: string) => Promise<unknown>): Fault {
  return {
    name,
    on: "qemu",
    strike: async ({ libvirtd, machines }, random) => {
      const machine = machines[random.below(machines.length)];
      if (machine === undefined) return;
      await machine.hurt();
      await strike(libvirtd, machine.name);
    },
  };
}
