import type { Session } from "libvirt";

/** What calls to libvirt need of a session; they reject as Session.call does. */
export type Caller = Pick<Session, "call">;
