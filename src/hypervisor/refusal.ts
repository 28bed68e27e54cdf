import { LibvirtError, type ErrorCodeName } from "libvirt";

/** Whether libvirt has answered that it failed, with one of these codes. */
export function isRefusal(error: unknown, ...codes: ErrorCodeName[]): error is LibvirtError {
  return error instanceof LibvirtError && codes.includes(error.code);
}
