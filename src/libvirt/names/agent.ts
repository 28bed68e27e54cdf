import type { NameOf } from "./enumeration.ts";

/** Whether something in the guest holds the agent's channel open (virConnectDomainEventAgentLifecycleState). */
export const AgentState = { Connected: 1, Disconnected: 2 } as const;
/** Whether something in the guest holds the agent's channel open. It need not answer. */
export type AgentState = NameOf<typeof AgentState>;

/** What changed the guest agent's state (virConnectDomainEventAgentLifecycleReason). */
export const AgentReason = { DomainStarted: 1, Channel: 2 } as const;
/** What changed the guest agent's state. */
export type AgentReason = NameOf<typeof AgentReason>;

/**
 * Special values for the timeout of qemuDomainAgentCommand and domainAgentSetResponseTimeout, otherwise in seconds
 * (virDomainAgentResponseTimeoutValues). Default is 5 s for an answer, and 60 s for the end of a guest that its agent
 * shuts down.
 */
export const AgentTimeout = { Block: -2, Default: -1, NoWait: 0 } as const;
