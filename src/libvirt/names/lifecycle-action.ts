/** What domainSetLifecycleAction reacts to (virDomainLifecycle). */
export const LifecycleTrigger = { PowerOff: 0, Reboot: 1, Crash: 2 } as const;

/** What domainSetLifecycleAction does then (virDomainLifecycleAction). */
export const LifecycleAction = {
  Destroy: 0,
  Restart: 1,
  RestartRename: 2,
  Preserve: 3,
  CoredumpDestroy: 4,
  CoredumpRestart: 5,
} as const;
