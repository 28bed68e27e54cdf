import { setTimeout as delay } from "node:timers/promises";
import type { Random } from "../simulation/random.ts";
import { apiRequest, type ApiFate, type ApiRequest } from "../support/proxies/api-proxy.ts";
import type { Matches } from "../support/proxies/faults.ts";
import { isEvent, isReply, type LibvirtMessage } from "../support/proxies/libvirt-proxy.ts";
import type { SignalName } from "../support/supervised.ts";
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
  {
    name: "controller stopped for seconds",
    on: "either",
    strike: async ({ controller: { pid } }, random) => {
      process.kill(pid, "SIGSTOP");
      await aWhile(random);
      process.kill(pid, "SIGCONT");
    },
  },
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
  {
    name: "libvirtd killed",
    on: "qemu",
    strike: async ({ libvirtd, libvirtProxy }, random) => {
      await libvirtd.signal("KILL");
      await libvirtd.exited();
      await aWhile(random);
      await libvirtd.start();
      libvirtProxy.touch();
    },
  },
  {
    name: "libvirtd restarted",
    on: "qemu",
    strike: async ({ libvirtd, libvirtProxy }) => {
      await libvirtd.restart();
      libvirtProxy.touch();
    },
  },
  {
    name: "libvirtd stopped for seconds",
    on: "either",
    strike: ({ libvirtd }, random) => stoppedAWhile((signal) => libvirtd.signal(signal), random),
  },
  {
    name: "API server killed",
    on: "both",
    strike: async ({ api }, random) => {
      await api.kill();
      await api.apiServer.exited();
      await aWhile(random);
      await api.startApiServer();
    },
  },
  { name: "API server restarted", on: "both", strike: ({ api }) => api.restart() },
  {
    name: "API server stopped for seconds",
    on: "both",
    strike: ({ api }, random) => stoppedAWhile((signal) => api.apiServer.signal(signal), random),
  },
  {
    name: "etcd killed",
    on: "both",
    strike: async ({ api: { etcd } }, random) => {
      await etcd.signal("KILL");
      await etcd.exited();
      await aWhile(random);
      await etcd.start();
    },
  },
  {
    name: "etcd stopped for seconds",
    on: "both",
    strike: ({ api: { etcd } }, random) => stoppedAWhile((signal) => etcd.signal(signal), random),
  },
  {
    name: "connections to the API server cut",
    on: "either",
    strike: async ({ apiProxy }) => apiProxy.cut(() => true),
  },
  {
    name: "watches silent for seconds",
    on: "either",
    strike: async ({ apiProxy }, random) => {
      const over = aWhile(random);
      const through = async (line: string) => {
        await over;
        return [line];
      };
      apiProxy.faults.always(({ verb }) => verb === "Watch", { kind: "Lines", through });
      apiProxy.cut(({ verb }) => verb === "Watch");
      await over;
      apiProxy.faults.heal();
    },
  },
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
  guestIs("QEMU killed", "SIGKILL"),
  guestIs("QEMU stopped for good", "SIGSTOP"),
];

/** Shorter than what a client takes for the end of a silent daemon: the soak's own sessions must not miss an event. */
const longestMs = 10_000;

/** The time itself is the fault: nothing tells of its end. */
async function aWhile(random: Random): Promise<void> {
  await delay(500 + random.below(longestMs));
}

async function stoppedAWhile(signal: (name: SignalName) => Promise<void>, random: Random): Promise<void> {
  await signal("STOP");
  await aWhile(random);
  await signal("CONT");
}

function libvirtHolds(name: string, matches: Matches<LibvirtMessage>): Fault {
  return {
    name,
    on: "either",
    strike: async ({ libvirtProxy }, random) => {
      const until = aWhile(random);
      libvirtProxy.faults.always(matches, { kind: "Hold", until });
      await until;
      libvirtProxy.faults.heal();
    },
  };
}

function apiDoes(name: string, matches: Matches<ApiRequest>, fate: ApiFate): Fault {
  return {
    name,
    on: "either",
    strike: async ({ apiProxy }, random) => {
      apiProxy.faults.always(matches, fate);
      await aWhile(random);
      apiProxy.faults.heal();
    },
  };
}

/** It stays so until a restart ends it. */
function guestIs(name: string, signal: "SIGKILL" | "SIGSTOP"): Fault {
  return {
    name,
    on: "qemu",
    strike: async ({ libvirtd, machines }, random) => {
      const machine = machines[random.below(machines.length)];
      if (machine === undefined) return;
      await machine.hurt();
      try {
        process.kill(await libvirtd.qemuPid(machine.name), signal);
      } catch {
        // It is off at this moment.
      }
    },
  };
}
