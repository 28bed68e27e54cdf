// Starts every part with a guest, tells the pids and directories, and waits to be killed.
import { writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { startApiServer } from "./apiserver.ts";
import { domainXml } from "./guest.ts";
import { startLibvirtd } from "./libvirtd.ts";

const server = await startApiServer();
const libvirtd = await startLibvirtd();
const xml = join(libvirtd.directory, "guest.xml");
const serialLog = join(libvirtd.directory, "guest.log");
await writeFile(xml, await domainXml({ name: "guest", behaviour: "deaf", serialLog }));
await libvirtd.virsh("create", xml);
const pids = [server.apiServer.pid, server.etcd.pid, libvirtd.pid, await libvirtd.qemuPid("guest")];
console.log(JSON.stringify({ pids, directories: [dirname(server.kubeconfig), libvirtd.directory] }));
