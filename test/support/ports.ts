import { once } from "node:events";
import { createServer } from "node:net";

/**
 * A free port of 127.0.0.1 that stays free: below the range from which the kernel
 * takes the ports of outgoing connections, so that a server that is restarted on
 * it finds it again.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 15_000 + Math.floor(Math.random() * 17_000);
    const probe = createServer().listen(port, "127.0.0.1");
    const free = await once(probe, "listening").then(
      () => true,
      () => false,
    );
    probe.close();
    if (free) return port;
  }
}
