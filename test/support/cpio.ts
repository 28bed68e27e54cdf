/** One file of an initramfs. */
export interface ArchiveFile {
  readonly path: string;
  readonly mode: number;
  readonly content: Uint8Array;
}

const DIRECTORY = 0o040_755;
const REGULAR = 0o100_000;

/**
 * The files, and empty directories to mount on, as a cpio archive in the "newc"
 * form that the kernel unpacks (Documentation/driver-api/early-userspace/buffer-format.rst).
 * Uncompressed: an emulated processor unpacks nothing faster than it reads it.
 */
export function cpioArchive(directories: readonly string[], files: readonly ArchiveFile[]): Buffer {
  const empty = new Uint8Array();
  let inode = 0;
  return Buffer.concat([
    ...directories.map((path) => entry(path, DIRECTORY, empty, ++inode)),
    ...files.map((file) => entry(file.path, REGULAR | file.mode, file.content, ++inode)),
    entry("TRAILER!!!", 0, empty, 0),
  ]);
}

function entry(path: string, mode: number, content: Uint8Array, inode: number): Buffer {
  const name = Buffer.from(`${path}\0`);
  // inode, mode, uid, gid, links, mtime, size, device and special device (major, minor), name size, checksum
  const fields = [inode, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, name.length, 0];
  const header = `070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}`;
  return Buffer.concat([padded(Buffer.concat([Buffer.from(header), name])), padded(content)]);
}

/** Header and content each end on a multiple of four bytes. */
function padded(bytes: Uint8Array): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)]);
}
