import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { AddressError, parseUri } from "libvirt";

const env = { XDG_RUNTIME_DIR: "/run/user/1000" };

/** Surroundings in which only these paths exist. */
function having(...paths: readonly string[]) {
  return { env, exists: (path: string) => paths.includes(path) };
}

describe("a URI", () => {
  const right: Record<string, { uri: string; paths?: string[]; socketPath: string; driverUri: string }> = {
    "of the system's QEMU leads to libvirtd": {
      uri: "qemu:///system",
      paths: ["/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock"],
      socketPath: "/run/libvirt/libvirt-sock",
      driverUri: "qemu:///system",
    },
    "leads to the driver's own daemon where there is no libvirtd": {
      uri: "qemu:///system",
      paths: ["/run/libvirt/virtqemud-sock"],
      socketPath: "/run/libvirt/virtqemud-sock",
      driverUri: "qemu:///system",
    },
    "leads to the driver's own daemon, whichever driver it is": {
      uri: "xen:///system",
      paths: ["/run/libvirt/virtxend-sock"],
      socketPath: "/run/libvirt/virtxend-sock",
      driverUri: "xen:///system",
    },
    "leads to libvirtd where neither is there yet": {
      uri: "qemu:///system",
      socketPath: "/run/libvirt/libvirt-sock",
      driverUri: "qemu:///system",
    },
    "of the test driver leads to libvirtd": {
      uri: "test:///default",
      paths: ["/run/libvirt/virtqemud-sock"],
      socketPath: "/run/libvirt/libvirt-sock",
      driverUri: "test:///default",
    },
    "of a session leads to the user's own daemon": {
      uri: "qemu:///session",
      paths: ["/run/libvirt/libvirt-sock"],
      socketPath: "/run/user/1000/libvirt/libvirt-sock",
      driverUri: "qemu:///session",
    },
    "of a session leads to the driver's own daemon": {
      uri: "qemu:///session",
      paths: ["/run/user/1000/libvirt/virtqemud-sock"],
      socketPath: "/run/user/1000/libvirt/virtqemud-sock",
      driverUri: "qemu:///session",
    },
    "may name its transport and its socket": {
      uri: "qemu+unix:///system?socket=/tmp/a%20b/sock",
      socketPath: "/tmp/a b/sock",
      driverUri: "qemu:///system",
    },
    "may name its socket without the transport": {
      uri: "test:///default?socket=/tmp/sock",
      socketPath: "/tmp/sock",
      driverUri: "test:///default",
    },
    "passes what belongs to the driver on to it": {
      uri: "test+unix:///etc/test.xml?socket=/tmp/sock&a=1",
      socketPath: "/tmp/sock",
      driverUri: "test:///etc/test.xml?a=1",
    },
    "names its driver in any case": {
      uri: "QEMU+UNIX:///system?socket=/tmp/sock",
      socketPath: "/tmp/sock",
      driverUri: "qemu:///system",
    },
  };
  for (const [name, { uri, paths = [], socketPath, driverUri }] of Object.entries(right)) {
    it(name, () => {
      assert.deepEqual(parseUri(uri, having(...paths)), { transport: "unix", socketPath, driverUri, uri });
    });
  }

  const wrong: Record<string, readonly [uri: string, message: RegExp]> = {
    "that is empty": ["", /not a libvirt URI; use qemu:\/\/\/system/],
    "that is only a path": ["/run/libvirt/libvirt-sock", /not a libvirt URI/],
    "without slashes": ["qemu:system", /not a libvirt URI/],
    "with a bad port": ["qemu://host:99999/system", /not a valid URI/],
    "over TLS": ["qemu+tls://host/system", /transport tls is not supported, only unix/],
    "over TCP": ["qemu+tcp://host/system", /transport tcp is not supported, only unix/],
    "over SSH": ["qemu+ssh://root@host/system", /transport ssh is not supported, only unix/],
    "with a host, which means TLS": ["qemu://host/system", /transport tls is not supported/],
    "with a transport that is none": ["qemu+carrier-pigeon:///system", /not a libvirt URI/],
    "with a transport that nobody knows": ["qemu+pigeon:///system", /"pigeon" is not a transport/],
    "over a UNIX socket on another host": ["qemu+unix://host/system", /has no host/],
    "without a path": ["qemu://", /path such as \/system is missing/],
    "with nothing but a slash": ["qemu:///", /path such as \/system is missing/],
    "with a relative socket": ["qemu:///system?socket=sock", /not an absolute path/],
    "with an empty socket": ["qemu:///system?socket=", /not an absolute path/],
    "with a socket that the kernel does not take": [`qemu:///system?socket=/${"x".repeat(107)}`, /108 bytes/],
    "with a parameter of libvirt's own client": [
      "qemu:///system?mode=direct",
      /parameter mode is not supported/,
    ],
  };
  for (const [name, [uri, message]] of Object.entries(wrong)) {
    it(`${name} is an error that says what is wrong`, () => {
      assert.throws(
        () => parseUri(uri, having()),
        (error: unknown) => {
          assert.ok(error instanceof AddressError);
          assert.equal(error.uri, uri);
          assert.match(error.message, message);
          return true;
        },
      );
    });
  }

  it("of a session without XDG_RUNTIME_DIR says what is missing", () => {
    assert.throws(
      () => parseUri("qemu:///session", { env: {}, exists: () => false }),
      /XDG_RUNTIME_DIR is not set/,
    );
    assert.equal(
      parseUri("qemu:///session?socket=/tmp/sock", { env: {}, exists: () => false }).socketPath,
      "/tmp/sock",
    );
  });
});
