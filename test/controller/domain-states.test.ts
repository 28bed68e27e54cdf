/**
 * What a requested restart does in each state of the domain, in each mode: the table of docs/reference.md, cell by
 * cell. What the policy changes about it follows each state.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { RestartMode } from "../../crds/restart.ts";
import { operator, type Guest, type ModelHypervisor } from "../simulation/domain.ts";
import type { World } from "../simulation/world.ts";
import { condition, effects, ends, lastRestart, settledWorld } from "./settled-world.ts";

type Arrange = (hypervisor: ModelHypervisor) => void;

const modes = ["Soft", "Hard", "Auto"] as const satisfies readonly RestartMode[];

/** A world with a domain in a state, and a request in a mode. */
async function requested(
  mode: RestartMode,
  arrange: Arrange,
  { policy = {}, guest }: { policy?: Record<string, unknown>; guest?: Guest | undefined } = {},
): Promise<World> {
  const options = guest === undefined ? {} : { guest };
  const world = await settledWorld({ restartPolicy: { mode, ...policy } }, options);
  arrange(world.hypervisor);
  await world.settle(1000);
  world.api.apply({ restartGeneration: 1 });
  return world;
}

const nothing: Arrange = () => {};
const obeys: Guest = { kind: "Obeys", afterMs: 200 };
const deaf: Guest = { kind: "Deaf" };
const asked = "Mark Shutdown";
const askedOften = "Mark Shutdown Shutdown Shutdown Shutdown";
const softly = "Mark Shutdown Start Settle";
const hard = "Mark Destroy Start Settle";
const started = "Mark Start Settle";
const givenUp = `${askedOften} Release Settle`;

/** What is done to a domain, how that ends, and how long after the request, in milliseconds. */
type Cell = readonly [effects: string, end: string, afterMs: number];

interface State {
  when: string;
  arrange: Arrange;
  guest?: Guest;
  policy?: Record<string, unknown>;
  /** A mode that has no cell is refused by the schema beside such a policy. */
  cells: Partial<Record<RestartMode, Cell>>;
}

const all = (cell: Cell): State["cells"] => ({ Soft: cell, Hard: cell, Auto: cell });
const likeRunning: State["cells"] = {
  Soft: [softly, "Succeeded Soft", 200],
  Hard: [hard, "Succeeded Hard", 0],
  Auto: [softly, "Succeeded Soft", 200],
};

const states: readonly State[] = [
  { when: "running", arrange: nothing, cells: likeRunning },
  {
    when: "running, and deaf",
    arrange: nothing,
    guest: deaf,
    cells: {
      Soft: [givenUp, "Failed Soft GuestShutdownTimedOut", 120_000],
      Hard: [hard, "Succeeded Hard", 0],
      Auto: [`${askedOften} Destroy Start Settle`, "Succeeded Hard", 120_000],
    },
  },
  {
    when: "running, and answers by rebooting itself",
    arrange: nothing,
    guest: { kind: "Reboots", afterMs: 200 },
    cells: likeRunning,
  },
  { when: "blocked (Xen's idle)", arrange: (domain) => domain.enter("Blocked"), cells: likeRunning },
  {
    when: "paused by a user, with whenPaused: Force",
    arrange: (domain) => domain.pause(),
    policy: { whenPaused: "Force" },
    cells: { Hard: [hard, "Succeeded Hard", 0], Auto: [hard, "Succeeded Hard", 0] },
  },
  {
    when: "paused by a user",
    arrange: (domain) => domain.pause(),
    cells: { Hard: [hard, "Succeeded Hard", 0] },
  },
  {
    when: "paused on an I/O error, and its storage is well again",
    arrange: (domain) => domain.pause("IOError"),
    cells: {
      Hard: [hard, "Succeeded Hard", 0],
      Auto: ["Mark Resume Shutdown Start Settle", "Succeeded Soft", 200],
    },
  },
  ...(
    [
      ["shutting down", (domain) => domain.enter("Shutdown")],
      ["shutting down, and paused for it", (domain) => domain.enter("Paused", "ShuttingDown")],
    ] as const satisfies [string, Arrange][]
  ).flatMap(([when, arrange]): State[] => [
    {
      // Never created early: the effects are the same as those of a domain that is off.
      when: `${when}, and off after 50 s`,
      arrange: (domain) => {
        arrange(domain);
        domain.after(50_000, () => domain.stop("Shutdown"));
      },
      cells: all(["Mark Start Settle", "Succeeded Start", 49_000]),
    },
    {
      when: `${when}, and never off`,
      arrange,
      cells: {
        Soft: ["Mark Release Settle", "Failed Start GuestShutdownTimedOut", 120_000],
        Hard: [hard, "Succeeded Hard", 120_000],
        Auto: [hard, "Succeeded Hard", 120_000],
      },
    },
  ]),
  // Each reason is a boot that is over; FromSnapshot: somebody reverted to a snapshot of a domain that was off.
  ...(["Shutdown", "Destroyed", "Crashed", "Failed", "Daemon", "FromSnapshot"] as const).map(
    (reason): State => ({
      when: `off (${reason})`,
      arrange: (domain) => void domain.stop(reason),
      cells: all([started, "Succeeded Start", 0]),
    }),
  ),
  {
    when: "off, and libvirtd was restarted since, which forgets the reason",
    arrange: (domain) => {
      domain.stop("Shutdown");
      domain.restartDaemon();
    },
    cells: all([started, "Succeeded Start", 0]),
  },
  {
    // The table would start it in any case. We do not unless the policy says so: with the saved image an old boot
    // lives on disk, and whoever saved it did so in order to go on with it.
    when: "off with its memory saved, with whenSaved: Discard",
    arrange: (domain) => void domain.stop("Saved"),
    policy: { whenSaved: "Discard" },
    cells: all([started, "Succeeded Start", 0]),
  },
  ...(
    [
      ["crashed, and kept for a look at it", (domain) => domain.panic()],
      ["crashed, and paused by that", (domain) => domain.enter("Paused", "Crashed")],
    ] as const satisfies [string, Arrange][]
  ).map(([when, arrange]): State => ({
    when,
    arrange,
    cells: {
      Soft: ["", "Failed GuestCrashed", 0],
      Hard: [hard, "Succeeded Hard", 0],
      Auto: [hard, "Succeeded Hard", 0],
    },
  })),
  {
    when: "asleep",
    arrange: (domain) => domain.sleep(),
    cells: {
      Soft: ["Mark Wake Shutdown Start Settle", "Succeeded Soft", 200],
      Hard: [hard, "Succeeded Hard", 0],
      Auto: ["Mark Wake Shutdown Start Settle", "Succeeded Soft", 200],
    },
  },
  {
    when: "asleep, and does not wake up",
    arrange: (domain) => domain.sleep(),
    guest: { ...obeys, sleepsOn: true },
    cells: {
      Soft: ["Mark Wake Release Settle", "Failed Start GuestDidNotWake", 10_000],
      Hard: [hard, "Succeeded Hard", 0],
      Auto: ["Mark Wake Destroy Start Settle", "Succeeded Hard", 10_000],
    },
  },
  {
    when: "under a backup, with whenBusy: Force",
    arrange: (domain) => domain.setJob({ kind: "Other", what: "Backup" }),
    policy: { whenBusy: "Force" },
    cells: { Hard: [hard, "Succeeded Hard", 0] },
  },
  {
    when: "under a backup that begins while the guest is asked, with whenBusy: Force",
    arrange: (domain) => domain.after(1500, () => domain.setJob({ kind: "Other", what: "Backup" })),
    guest: deaf,
    policy: { whenBusy: "Force", soft: { timeoutSeconds: 10 } },
    // The guest's time does not run while the request is blocked, so an Auto attempt never comes to force here.
    cells: { Hard: [hard, "Succeeded Hard", 0] },
  },
  {
    // The marks need a configuration that outlives the boot: it is defined from its own XML.
    when: "transient",
    arrange: (domain) => {
      domain.persistent = false;
    },
    cells: {
      Soft: [`Define ${softly}`, "Succeeded Soft", 200],
      Hard: [`Define ${hard}`, "Succeeded Hard", 0],
      Auto: [`Define ${softly}`, "Succeeded Soft", 200],
    },
  },
  {
    when: "running with on_reboot=destroy",
    arrange: (domain) => reconfigured(domain, { onReboot: "destroy", onPoweroff: "destroy" }),
    cells: likeRunning,
  },
  {
    when: "running with on_reboot=destroy, and answers by rebooting itself",
    arrange: (domain) => reconfigured(domain, { onReboot: "destroy", onPoweroff: "destroy" }),
    guest: { kind: "Reboots", afterMs: 200 },
    cells: likeRunning,
  },
  {
    when: "running with on_reboot=destroy, with soft.via: Reboot: it stops, and is started",
    arrange: (domain) => reconfigured(domain, { onReboot: "destroy", onPoweroff: "destroy" }),
    policy: { soft: { via: "Reboot" } },
    cells: {
      Soft: ["Mark Reboot Start Settle", "Succeeded Soft", 200],
      Hard: [hard, "Succeeded Hard", 0],
      Auto: ["Mark Reboot Start Settle", "Succeeded Soft", 200],
    },
  },
  {
    // The table expects a REBOOT event under the same ID. We make the poweroff of this one boot end in off, together
    // with its reboot: so the marks prove the restart as they do everywhere, and the new configuration is applied.
    // on_poweroff=preserve needs no cell: QEMU's driver refuses to define it, and the mark would end it in off, too.
    when: "running with on_poweroff=restart",
    arrange: (domain) => reconfigured(domain, { onReboot: "restart", onPoweroff: "restart" }),
    cells: likeRunning,
  },
  {
    when: "running with on_poweroff=restart, with soft.via: Reboot: the REBOOT event is the proof",
    arrange: (domain) => reconfigured(domain, { onReboot: "restart", onPoweroff: "restart" }),
    policy: { soft: { via: "Reboot" } },
    cells: {
      Soft: ["Mark Reboot Settle", "Succeeded Soft", 200],
      Hard: [hard, "Succeeded Hard", 0],
      Auto: ["Mark Reboot Settle", "Succeeded Soft", 200],
    },
  },
  {
    when: "running, with soft.via: Reboot",
    arrange: nothing,
    policy: { soft: { via: "Reboot" } },
    cells: {
      Soft: ["Mark Reboot Settle", "Succeeded Soft", 200],
      Hard: [hard, "Succeeded Hard", 0],
      Auto: ["Mark Reboot Settle", "Succeeded Soft", 200],
    },
  },
  {
    when: "running and deaf, with soft.via: Reboot",
    arrange: nothing,
    guest: deaf,
    policy: { soft: { via: "Reboot" } },
    cells: {
      // Nothing was changed on the boot, so nothing has to be put back.
      Soft: ["Mark Reboot Reboot Reboot Reboot Settle", "Failed Soft GuestShutdownTimedOut", 120_000],
      Auto: ["Mark Reboot Reboot Reboot Reboot Destroy Start Settle", "Succeeded Hard", 120_000],
    },
  },
  {
    when: "running and deaf, with hard.via: Reset: the boot may keep its mark before it is reset",
    arrange: nothing,
    guest: deaf,
    policy: { hard: { via: "Reset" } },
    cells: {
      Soft: [givenUp, "Failed Soft GuestShutdownTimedOut", 120_000],
      Hard: ["Mark Reset Settle", "Succeeded Hard", 0],
      Auto: [`${askedOften} Mark Reset Settle`, "Succeeded Hard", 120_000],
    },
  },
  {
    when: "blocked (Xen's idle), with hard.via: Reset",
    arrange: (domain) => domain.enter("Blocked"),
    policy: { hard: { via: "Reset" } },
    cells: { Hard: ["Mark Reset Settle", "Succeeded Hard", 0] },
  },
  {
    // A reset leaves a paused or crashed guest standing still: only a power cycle makes it run again.
    when: "paused by a user, with hard.via: Reset",
    arrange: (domain) => domain.pause(),
    policy: { hard: { via: "Reset" }, whenPaused: "Force" },
    cells: { Hard: [hard, "Succeeded Hard", 0], Auto: [hard, "Succeeded Hard", 0] },
  },
  {
    when: "crashed, with hard.via: Reset",
    arrange: (domain) => domain.panic(),
    policy: { hard: { via: "Reset" } },
    cells: { Hard: [hard, "Succeeded Hard", 0], Auto: [hard, "Succeeded Hard", 0] },
  },
];

/** Somebody changes the actions of the configuration, and boots the guest with them. */
function reconfigured(domain: ModelHypervisor, actions: ModelHypervisor["actions"]): void {
  domain.stop("Destroyed");
  domain.actions = actions;
  domain.start();
}

describe("a domain that is", () => {
  for (const { when, arrange, cells, ...options } of states) {
    for (const mode of modes) {
      const cell = cells[mode];
      if (cell === undefined) continue;
      const [expected, end, afterMs] = cell;
      test(`${when} | ${mode}: ${expected || "nothing is done"}: ${end}`, async () => {
        const world = await requested(mode, arrange, options);
        await world.settle(600_000);
        assert.equal(effects(world), expected);
        assert.equal(lastRestart(world), end);
        const record = world.status.lastRestart;
        assert.ok(record !== undefined);
        assert.equal(Date.parse(record.endedAt) - Date.parse(record.startedAt), afterMs);
        assert.equal(condition(world, "Reconciling"), "absent");
        assert.equal(world.status.observedRestartGeneration, 1);
      });
    }
  }
});

/** Something that a request waits for, however long. */
interface Obstruction {
  what: string;
  modes: readonly RestartMode[];
  reason: string;
  begin: (world: World) => void;
  /** An event tells of it. */
  end: (world: World) => void;
  policy?: Record<string, unknown>;
  /** Whether the end may come without an event, such as a saved image that is removed: it is looked for each minute. */
  isSilent?: true;
}

const withBackup: Pick<Obstruction, "begin" | "end" | "reason" | "isSilent"> = {
  reason: "JobRunning",
  begin: ({ hypervisor }) => hypervisor.setJob({ kind: "Other", what: "Backup" }),
  end: ({ hypervisor }) => hypervisor.setJob(undefined),
  isSilent: true,
};
const running = ({ hypervisor }: World) => hypervisor.enter("Running", "Unpaused");

const obstructions: readonly Obstruction[] = [
  ...["User", "Watchdog", "Unknown", "FromSnapshot"].map((reason): Obstruction => ({
    what: `paused (${reason})`,
    modes: ["Soft", "Auto"],
    reason: "GuestPaused",
    begin: ({ hypervisor }) => hypervisor.pause(reason),
    end: ({ hypervisor }) => void hypervisor.resume(),
  })),
  {
    what: "paused on an I/O error, and its storage is well again",
    modes: ["Soft"],
    reason: "GuestPaused",
    begin: ({ hypervisor }) => hypervisor.pause("IOError"),
    end: ({ hypervisor }) => void hypervisor.resume(),
  },
  {
    what: "paused on an I/O error",
    modes,
    reason: "StorageFailing",
    begin: ({ hypervisor }) => {
      hypervisor.storageProblem = "no such file";
      hypervisor.pause("IOError");
    },
    end: ({ hypervisor }) => {
      hypervisor.storageProblem = undefined;
      hypervisor.resume();
    },
    isSilent: true,
  },
  { what: "under a backup", modes, ...withBackup },
  {
    what: "under a backup that only a hard restart may break off (whenBusy: Force)",
    modes: ["Soft", "Auto"],
    ...withBackup,
    policy: { whenBusy: "Force" },
  },
  ...["Save", "Dump", "Snapshot", "StartingUp"].map((reason): Obstruction => ({
    what: `paused for a moment (${reason})`,
    modes,
    reason: "JobRunning",
    begin: ({ hypervisor }) => hypervisor.enter("Paused", reason),
    end: running,
    isSilent: true,
  })),
  ...(["Block", "Force"] as const).map((whenBusy): Obstruction => ({
    what: `migrating, with whenBusy: ${whenBusy}`,
    modes,
    reason: "Migrating",
    begin: ({ hypervisor }) => hypervisor.setJob({ kind: "Migration", what: "MigrationOut" }),
    end: ({ hypervisor }) => hypervisor.setJob(undefined),
    policy: { whenBusy },
    isSilent: true,
  })),
  ...(
    [
      ["Paused", "Migration"],
      ["Paused", "PostCopy"],
      ["Paused", "PostCopyFailed"],
      ["Running", "PostCopy"],
      ["Running", "PostCopyFailed"],
    ] as const
  ).map(([state, reason]): Obstruction => ({
    what: `migrating as its state tells (${state}, ${reason})`,
    modes,
    reason: "Migrating",
    begin: ({ hypervisor }) => hypervisor.enter(state, reason),
    end: running,
    policy: { whenBusy: "Force" },
    isSilent: true,
  })),
  {
    what: "off with its memory saved",
    modes,
    reason: "DomainSaved",
    begin: ({ hypervisor }) => void hypervisor.stop("Saved"),
    end: ({ hypervisor }) => void hypervisor.start(),
    isSilent: true,
  },
  {
    // The host that has it now is another hypervisor's, and so another resource's.
    what: "off, and migrated away",
    modes,
    reason: "DomainMigrated",
    begin: ({ hypervisor }) => void hypervisor.stop("Migrated"),
    end: ({ hypervisor }) => void hypervisor.start(),
    isSilent: true,
  },
  {
    what: "suspended by its resource",
    modes,
    reason: "Suspended",
    begin: ({ api }) => api.apply({ suspend: true }),
    end: ({ api }) => api.apply({ suspend: false }),
  },
];

/** When the obstruction begins: before the request, or in the middle of the attempt. */
const beginnings = [
  ["before the request", ["Soft", "Hard", "Auto"], "", "Queued"],
  ["once the domain is marked", ["Soft", "Hard", "Auto"], "Mark", "Preparing"],
  ["once the guest is asked", ["Soft", "Auto"], asked, "ShuttingDown"],
] as const;
type Beginning = (typeof beginnings)[number];

/** A world in which the obstruction has begun, and its request is made. */
async function obstructed(
  { begin, policy }: Obstruction,
  mode: RestartMode,
  [when]: Beginning,
  deadlineSeconds?: number,
): Promise<World> {
  const restartPolicy = { mode, ...policy, ...(deadlineSeconds === undefined ? {} : { deadlineSeconds }) };
  const world = await settledWorld({ restartPolicy }, { guest: deaf });
  switch (when) {
    case "before the request":
      begin(world);
      await world.settle(1000);
      world.api.apply({ restartGeneration: 1 });
      break;
    case "once the domain is marked":
      afterMark(world, () => begin(world));
      world.api.apply({ restartGeneration: 1 });
      break;
    case "once the guest is asked":
      world.api.apply({ restartGeneration: 1 });
      await world.settle(1000);
      begin(world);
      break;
    default:
      when satisfies never;
  }
  await world.settle(1000);
  return world;
}

function afterMark({ hypervisor }: World, happen: () => void): void {
  const perform = hypervisor.perform.bind(hypervisor);
  hypervisor.perform = async (domain, effect) => {
    const outcome = await perform(domain, effect);
    hypervisor.perform = perform;
    happen();
    return outcome;
  };
}

describe("a request is blocked, and says why, while the domain is", () => {
  for (const obstruction of obstructions) {
    const { what, modes: blockedModes, reason, isSilent } = obstruction;
    for (const mode of blockedModes) {
      for (const beginning of beginnings) {
        const [when, inModes, before, stage] = beginning;
        if (!inModes.some((one) => one === mode)) continue;
        test(`${what} | ${mode}, ${when}: nothing is done, nobody polls, and its end is noticed`, async () => {
          const world = await obstructed(obstruction, mode, beginning);
          assert.equal(condition(world, "Ready"), `False ${reason}`);
          assert.equal(condition(world, "Reconciling"), `True ${reason}`);
          assert.equal(condition(world, "Stalled"), "absent");
          assert.equal(world.status.attempt?.stage, stage);
          const passes = world.trace.length;
          await world.settle(3_600_000);
          assert.equal(effects(world), before);
          assert.equal(world.trace.length - passes, isSilent === true ? 60 : 0);
          const told = world.api.notices.filter((notice) => notice.reason === "RestartBlocked");
          assert.equal(told.length, 1);
          world.hypervisor.guest = obeys;
          obstruction.end(world);
          await world.settle(300_000);
          assert.equal(world.status.lastRestart?.result, "Succeeded");
          // The guest's time did not run meanwhile: it is asked anew.
          if (mode !== "Hard") assert.notEqual(world.status.lastRestart.method, "Hard");
          const byUs = world.hypervisor.boots.filter(({ end, endedBy }) => end && endedBy !== operator);
          assert.ok(byUs.length <= 1);
        });

        test(`${what} | ${mode}, ${when}: it fails at its deadline, to the millisecond`, async () => {
          const world = await obstructed(obstruction, mode, beginning, 600);
          const message = world.status.conditions?.find(({ type }) => type === "Ready")?.message;
          await world.settle(3_600_000);
          const record = world.status.lastRestart;
          assert.equal(record?.reason, "DeadlineExceeded");
          assert.equal(record.message, `it could not be done within 600 s: ${message}`);
          assert.equal(Date.parse(record.endedAt) - Date.parse(record.request.requestedAt), 600_000);
          assert.equal(world.status.observedRestartGeneration, 1);
          assert.equal(condition(world, "Stalled"), "True RestartFailed");
          assert.equal(world.hypervisor.running?.onReboot ?? "restart", "restart");
          assert.equal(ends(world).length, 1);
        });
      }
    }
  }
});

// The table would go on to force after one resume. We do not: a guest that stops at once again shows that its storage is
// not well, whatever can be read of it, and a domain that is destroyed then might not start again.
test("a guest paused on an I/O error again whenever it is resumed | Auto: resumed once a minute, and fails at its deadline", async () => {
  const arrange: Arrange = (domain) => {
    domain.pause("IOError");
    domain.resume = () => {
      domain.enter("Running", "Unpaused");
      domain.enter("Paused", "IOError");
      return { kind: "Done" };
    };
  };
  const world = await requested("Auto", arrange, { policy: { deadlineSeconds: 150 } });
  await world.settle(140_000);
  assert.equal(effects(world), "Mark Resume Resume Resume");
  assert.equal(condition(world, "Reconciling"), "True StorageFailing");
  await world.settle(3_600_000);
  assert.equal(effects(world), "Mark Resume Resume Resume Release Settle");
  assert.equal(lastRestart(world), "Failed Start DeadlineExceeded");
});

describe("a domain that is not there", () => {
  for (const mode of modes) {
    test(`${mode}: somebody has to define it; that is noticed by its event`, async () => {
      const world = await requested(mode, (domain) => {
        domain.stop("Destroyed");
        domain.undefine();
      });
      await world.settle(1000);
      assert.equal(condition(world, "Bound"), "False DomainNotFound");
      assert.equal(condition(world, "Stalled"), "True DomainNotFound");
      const passes = world.trace.length;
      await world.settle(3_600_000);
      assert.equal(world.trace.length, passes);
      world.hypervisor.define();
      await world.settle();
      assert.equal(effects(world), started);
      assert.equal(lastRestart(world), "Succeeded Start");
    });

    test(`${mode}: the request fails at its deadline`, async () => {
      const arrange: Arrange = (domain) => {
        domain.stop("Destroyed");
        domain.undefine();
      };
      const world = await requested(mode, arrange, { policy: { deadlineSeconds: 600 } });
      await world.settle();
      assert.equal(lastRestart(world), "Failed DeadlineExceeded");
    });
  }
});

describe("the guest agent is asked first", () => {
  const agents = {
    "is connected": { connectedAfterMs: 500, answers: true, obeys: true },
    "is connected and deaf": { connectedAfterMs: 500, answers: true, obeys: false },
    "is gone with its guest before libvirt has answered": {
      connectedAfterMs: 500,
      answers: true,
      obeys: true,
      goesFirst: true,
    },
    "never connects": { connectedAfterMs: undefined, answers: false, obeys: false },
  };
  /** The agent, soft.signals, how the guest is asked, how long it takes. */
  const cells = [
    ["is connected", undefined, ["Agent"], 200],
    ["is connected", ["Agent", "ACPI"], ["Agent"], 200],
    ["is connected", ["ACPI", "Agent"], ["ACPI"], 200],
    ["is connected", ["ACPI"], ["ACPI"], 200],
    ["is connected and deaf", ["Agent", "ACPI"], ["Agent", "ACPI"], 30_200],
    ["is gone with its guest before libvirt has answered", ["Agent", "ACPI"], ["Agent"], 0],
    ["never connects", ["Agent", "ACPI"], ["ACPI"], 200],
  ] as const;
  for (const [agent, signals, expected, afterMs] of cells) {
    test(`an agent that ${agent}, soft.signals ${signals?.join(", ") ?? "not given"}: asked by ${expected.join(", then ")}`, async () => {
      const guest: Guest = { ...obeys, agent: agents[agent] };
      const policy = signals === undefined ? {} : { soft: { signals } };
      const world = await requested("Soft", nothing, { policy, guest });
      const by: string[] = [];
      world.hypervisor.beforePerform = (effect) => {
        if (effect.kind === "Shutdown") by.push(effect.signal);
      };
      await world.settle();
      assert.deepEqual(by, expected);
      assert.equal(lastRestart(world), "Succeeded Soft");
      const record = world.status.lastRestart;
      assert.ok(record !== undefined);
      assert.equal(Date.parse(record.endedAt) - Date.parse(record.startedAt), afterMs);
    });
  }

  test("with soft.signals of Agent alone, and none connected, the guest is not asked; it is when one connects", async () => {
    const guest: Guest = { ...obeys, agent: { connectedAfterMs: 100_000, answers: true, obeys: true } };
    const world = await settledWorld(
      { restartPolicy: { mode: "Soft", soft: { signals: ["Agent"] } } },
      { guest },
    );
    world.api.apply({ restartGeneration: 1 });
    await world.settle(30_000);
    assert.equal(effects(world), "Mark");
    await world.settle();
    assert.equal(effects(world), softly);
  });
});

describe("verifyGuest", () => {
  /** How long the agent of the new boot takes, how the restart ends, when. */
  const cells = [
    [2000, true, "Succeeded Soft", 2200],
    [2000, false, "Failed Soft GuestNotReady", 60_200],
    [undefined, true, "Failed Soft GuestNotReady", 60_200],
  ] as const;
  for (const [connectedAfterMs, answers, end, afterMs] of cells) {
    const how = connectedAfterMs === undefined ? "never connects" : `connects after ${connectedAfterMs} ms`;
    test(`an agent that ${how} and ${answers ? "answers" : "does not answer"}: ${end}`, async () => {
      const guest: Guest = { ...obeys, agent: { connectedAfterMs, answers, obeys: true } };
      const policy = { verifyGuest: { timeoutSeconds: 60 } };
      const world = await requested("Auto", nothing, { policy, guest });
      await world.settle(1000);
      assert.equal(condition(world, "Reconciling"), "True Verifying");
      assert.equal(condition(world, "GuestReady"), "Unknown Restarting");
      await world.settle();
      assert.equal(lastRestart(world), end);
      const record = world.status.lastRestart;
      assert.ok(record !== undefined);
      assert.equal(record.evidence.includes("AgentReady"), record.result === "Succeeded");
      assert.equal(Date.parse(record.endedAt) - Date.parse(record.startedAt), afterMs);
      assert.deepEqual(ends(world), ["Shutdown", undefined]);
    });
  }
});
