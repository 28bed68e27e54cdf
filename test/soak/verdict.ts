import type { RestartMode, RestartRecord } from "../../crds/restart.ts";
import { counted, methodOf, unheard, type Fault, type Heard } from "../faults/account.ts";

/** What is known of a machine from one request to the next: none of it is the controller's own word but the records. */
export interface Account {
  requestedAtMs: number;
  mode: RestartMode;
  /** What libvirt told of the machine, also before. */
  heard: readonly Heard[];
  /** The records of this request in the status. */
  records: readonly RestartRecord[];
  /** Whether the domain runs, as libvirt answers. */
  runs: boolean;
  /** How many boots the guest has told itself since the request; absent where it tells of none. */
  boots?: number | undefined;
  /** Whether the soak itself has killed or stopped the guest: then a boot more may have ended and begun. */
  isHurt: boolean;
  /** Whether nobody owes it a start, if it is off for that. */
  mayBeOff: boolean;
  /** Whether the guest may leave a request to shut down unanswered. */
  isDeaf: boolean;
}

/** What is wrong with how a request was served, in words; empty where nothing is. */
export function verdictOf(account: Account): [Fault, string][] {
  const { boots, records, runs, isHurt, mayBeOff } = account;
  const { stops, starts } = counted(account);
  const began = Math.max(starts, boots ?? 0);
  const most = isHurt ? 2 : 1;
  const faults: [Fault, string][] = [];
  if (stops.length > most || began > most)
    faults.push(["doubled", `${stops.length} boots ended and ${began} began`]);
  if (!runs && !mayBeOff) faults.push(["left off", "the domain is off"]);
  const [record] = records;
  if (record === undefined) faults.push(["lost", "the history does not have it"]);
  if (records.length > 1) faults.push(["told wrong", `the history has it ${records.length} times`]);
  if (record === undefined || isHurt) return faults;
  const { result, method, reason, message } = record;
  if (result === "Succeeded") {
    // A stop that libvirtd did not live to tell of is known by the boot that came after it.
    if (began === 0 || (stops.length === 0 && boots === undefined))
      faults.push(["lost", `Succeeded, and ${stops.length} boots ended and ${began} began`]);
    // Nobody but the controller ends a boot here.
    if (method === "Start") faults.push(["told wrong", "Start, and somebody has ended the boot before"]);
    if (boots === 0) faults.push(["left off", "the guest has told of no new boot"]);
    else if (stops.length > 0 && !stops.includes(unheard) && method !== methodOf(stops))
      faults.push(["told wrong", `${method}, and libvirt heard ${stops.join(", ")}`]);
  } else if (!mayFail(account)) faults.push(["told wrong", `${result}, ${reason}: ${message}`]);
  return faults;
}

function mayFail({ mode, isDeaf }: Account): boolean {
  return mode === "Soft" && isDeaf;
}
