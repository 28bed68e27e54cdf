/** What is changed in a domain's inactive XML, and what is to be said of it. */
export interface Plant {
  readonly from: string | RegExp;
  readonly to: string;
  readonly says: readonly string[];
}

function plant(from: string | RegExp, to: string, ...says: string[]): Plant {
  return { from, to, says };
}

/** A device more. */
function added(device: string, ...says: string[]): Plant {
  return plant("</devices>", `${device}</devices>`, ...says);
}

/** A device less: the one of this kind that contains this text. */
function removed(kind: string, text: string, ...says: string[]): Plant {
  const inside = `(?:(?!</${kind}>)[^])*?`;
  const escaped = text.replaceAll(/[.*+?()]/g, "\\$&");
  return plant(
    new RegExp(
      `<${kind} [^>]*?(?:${escaped}[^>]*/>|${escaped}${inside}</${kind}>|[^/]>${inside}${escaped}${inside}</${kind}>)`,
    ),
    "",
    ...says,
  );
}

/** By the names of the domains' files. */
export const plants: Readonly<Record<string, readonly Plant[]>> = {
  "pc-minimal": [
    plant("<memory unit='KiB'>65536<", "<memory unit='KiB'>131072<", "memory 64 MiB -> 128 MiB"),
    plant(/65536(.*\n.*)65536/, "131072$1131072", "memory 64 MiB -> 128 MiB"),
    plant(/65536(.*\n.*)65536/, "65537$165537", "memory 64 MiB -> 65 MiB"),
    plant("unit='KiB'>65536<", "unit='MiB'>64<"),
    plant("<vcpu placement='static'>1<", "<vcpu placement='static'>2<", "vCPUs 1 -> 2"),
    plant("<domain type='qemu'", "<domain type='kvm'", "domain type qemu -> kvm"),
    plant(/(<os>)/, "<iothreads>1</iothreads>$1", "iothreads 1 added"),
    plant("</os>", "</os><features><acpi/><apic/></features>", "features/acpi added", "features/apic added"),
    plant("<on_crash>destroy", "<on_crash>preserve", "on_crash destroy -> preserve"),
    plant(
      /qemu-system-x86_64</,
      "qemu-system-x86_64-new<",
      "emulator /usr/bin/qemu-system-x86_64 -> /usr/bin/qemu-system-x86_64-new",
    ),
    added(
      "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/a.img'/><target dev='vda' bus='virtio'/></disk>",
      "disk vda added",
    ),
    added("<rng model='virtio'><backend model='random'>/dev/random</backend></rng>", "rng added"),
    added("<video><model type='vga'/></video>", "video added"),
    removed("memballoon", "virtio", "memballoon removed"),
    plant("</domain>", "<description>Moved</description><title>Least</title></domain>"),
    plant("</domain>", "<metadata><a:b xmlns:a='urn:a'>c</a:b></metadata></domain>"),
    plant("</domain>", "<keywrap><cipher name='aes' state='on'/></keywrap></domain>", "keywrap added"),
  ],
  "pc-windows-2008": [
    plant("pc-i440fx-7.2", "pc-q35-7.2", "machine type pc-i440fx-7.2 -> pc-q35-7.2"),
    plant("arch='x86_64'", "arch='i686'", "architecture x86_64 -> i686"),
    plant(
      /<boot dev='hd'\/>\s*<boot dev='cdrom'\/>/,
      "<boot dev='cdrom'/><boot dev='hd'/>",
      "boot order hd, cdrom, fd -> cdrom, hd, fd",
    ),
    plant("timeout='3000'", "timeout='5000'", "os/bootmenu timeout 3000 -> 5000"),
    plant("<pae/>", "", "features/pae removed"),
    plant("offset='localtime'", "offset='utc'", "clock offset localtime -> utc"),
    plant("name='hpet' present='no'", "name='hpet' present='yes'", "clock/timer hpet present no -> yes"),
    plant(/<timer name='pit'.*>/, "", "clock/timer pit tickpolicy delay removed"),
    plant(
      "/images/win2008.iso",
      "/images/tools.iso",
      "disk hdc: source /var/lib/libvirt/images/win2008.iso -> /var/lib/libvirt/images/tools.iso",
    ),
    plant(
      /<source file='[^']*win2008.iso'\/>/,
      "",
      "disk hdc: source /var/lib/libvirt/images/win2008.iso removed",
    ),
    plant("cache='writeback'", "cache='none'", "disk hda: driver cache writeback -> none"),
    removed("disk", "dev='fda'", "disk fda removed"),
    plant(
      "<model type='e1000'/>",
      "<model type='virtio'/>",
      "interface 52:54:00:10:00:01: model e1000 -> virtio",
    ),
    plant(
      "52:54:00:10:00:01",
      "52:54:00:10:00:99",
      "interface 52:54:00:10:00:01 removed",
      "interface 52:54:00:10:00:99 added",
    ),
    plant("keymap='de'", "keymap='fr'", "graphics vnc: keymap de -> fr"),
    plant("<sound model='ich6'>", "<sound model='ac97'>", "sound: model ich6 -> ac97"),
    plant(
      "type='cirrus' vram='16384'",
      "type='vga' vram='32768'",
      "video: model cirrus -> vga",
      "video: model vram 16384 -> 32768",
    ),
    removed("input", "type='tablet'", "input tablet usb removed"),
  ],
  "q35-virt-install": [
    plant(
      "<cpu mode='host-model' check='partial'/>",
      "<cpu mode='host-passthrough'/>",
      "cpu mode custom -> host-passthrough",
    ),
    plant("<cpu mode='host-model' check='partial'/>", "<cpu mode='maximum'/>"),
    plant("<cpu mode='host-model' check='partial'/>", ""),
    plant(
      "<cpu mode='host-model' check='partial'/>",
      "<cpu mode='host-model'><topology sockets='1' dies='1' cores='2' threads='1'/></cpu>",
      "cpu topology added",
    ),
    plant("discard='unmap'", "discard='ignore'", "disk vda: driver discard unmap -> ignore"),
    plant(" discard='unmap'", "", "disk vda: driver discard unmap removed"),
    plant(
      "debian12.qcow2",
      "debian13.qcow2",
      "disk vda: source /var/lib/libvirt/images/debian12.qcow2 -> /var/lib/libvirt/images/debian13.qcow2",
    ),
    plant("<vmport state='off'/>", "<vmport state='on'/>", "features/vmport state off -> on"),
    plant(
      "<suspend-to-mem enabled='no'/>",
      "<suspend-to-mem enabled='yes'/>",
      "pm/suspend-to-mem enabled no -> yes",
    ),
    removed("rng", "virtio", "rng removed"),
    removed("channel", "org.qemu.guest_agent.0", "channel org.qemu.guest_agent.0 removed"),
    added(
      "<channel type='unix'><target type='virtio' name='org.libguestfs.channel.0'/></channel>",
      "channel org.libguestfs.channel.0 added",
    ),
    plant("/dev/urandom", "/dev/hwrng", "rng: backend /dev/urandom -> /dev/hwrng"),
    added(
      "<controller type='pci' index='15' model='pcie-root-port'/>",
      "controller pci pcie-root-port #15 added",
    ),
    added(
      "<controller type='pci' index='15' model='pcie-root-port'/><interface type='user'><mac address='52:54:00:00:00:01'/><address type='pci' bus='0x0f'/></interface>",
      "interface 52:54:00:00:00:01 added",
    ),
    plant("http://debian.org/debian/12", "http://debian.org/debian/13"),
  ],
  "q35-uefi-explicit": [
    plant(
      "OVMF_CODE.fd",
      "OVMF_CODE_4M.fd",
      "loader /usr/share/OVMF/OVMF_CODE.fd -> /usr/share/OVMF/OVMF_CODE_4M.fd",
    ),
    plant(
      /<nvram.*<\/nvram>/,
      "<nvram>/srv/vars.fd</nvram>",
      "NVRAM /var/lib/libvirt/qemu/nvram/uefi-explicit_VARS.fd -> /srv/vars.fd",
    ),
    plant(/<loader.*\s*<nvram.*<\/nvram>/, "", "loader /usr/share/OVMF/OVMF_CODE.fd removed"),
  ],
  "q35-uefi-nvram-path": [
    plant(
      "uefi-path-vars.fd",
      "other-vars.fd",
      "NVRAM /var/lib/libvirt/images/uefi-path-vars.fd -> /var/lib/libvirt/images/other-vars.fd",
    ),
    plant(" type='pflash'", " type='rom'", "loader type pflash -> rom"),
  ],
  "q35-uefi-auto": [
    plant(" firmware='efi'", "", "loader /usr/share/OVMF/OVMF_CODE_4M.fd removed"),
    plant(
      "enabled='no' name='secure-boot'",
      "enabled='yes' name='secure-boot'",
      "os/firmware/feature secure-boot enabled no -> yes",
    ),
  ],
  "q35-windows-11": [
    plant("<smm state='on'/>", "", "features/smm state on removed"),
    plant("<boot order='1'/>", "<boot order='3'/>", "disk sda: boot order 1 -> 3"),
    removed("tpm", "tpm-crb", "tpm removed"),
    plant("model='tpm-crb'", "model='tpm-tis'", "tpm: model tpm-crb -> tpm-tis"),
    plant(
      "Skylake-Client-noTSX-IBRS",
      "Skylake-Client",
      "cpu model Skylake-Client-noTSX-IBRS -> Skylake-Client",
    ),
    plant("cores='2'", "cores='1'", "cpu topology cores 2 -> 1"),
    plant("action='reset'", "action='poweroff'", "watchdog: action reset -> poweroff"),
  ],
  "pc-tpm-tis": [
    plant("persistent_state='yes'", "persistent_state='no'", "tpm: backend persistent_state yes -> no"),
    plant("<sha256/>", "<sha256/><sha512/>", "tpm: backend/active_pcr_banks/sha512 added"),
  ],
  "scsi-virtio": [
    plant("unit='5'", "unit='6'", "disk sdb: address unit 5 -> 6"),
    plant("<shareable/>", "", "disk sdb: shareable removed"),
    plant("ROOT0001", "ROOT0002", "disk sda: serial ROOT0001 -> ROOT0002"),
    plant("queues='2'", "queues='4'", "controller scsi 0: driver queues 2 -> 4"),
    plant("iothread='1'", "iothread='2'", "controller scsi 0: driver iothread 1 -> 2"),
    plant("<iothreads>2", "<iothreads>3", "iothreads 2 -> 3"),
    plant(
      "index='1' model='virtio-scsi'",
      "index='1' model='lsilogic'",
      "controller scsi 1: model virtio-scsi -> lsilogic",
    ),
    plant(
      "<target dev='sdc' bus='scsi'/>",
      "<source file='/var/lib/libvirt/images/x.iso'/><target dev='sdc' bus='scsi'/>",
      "disk sdc: source /var/lib/libvirt/images/x.iso added",
    ),
  ],
  "scsi-lsilogic": [
    plant("type='vmxnet3'", "type='e1000'", "interface 00:50:56:aa:bb:cc: model vmxnet3 -> e1000"),
    plant("dev='sda' bus='scsi'", "dev='sda' bus='sata'", "disk sda: target bus scsi -> sata"),
  ],
  "sata-cdroms": [
    plant("device='floppy'", "device='disk'", "disk fda: device floppy -> disk"),
    plant(
      "/images/tools.iso",
      "/images/new.iso",
      "disk sdb: source /var/lib/libvirt/images/tools.iso -> /var/lib/libvirt/images/new.iso",
    ),
    removed("disk", "dev='sdc'", "disk sdc removed"),
  ],
  "qcow2-backing-chain": [
    plant(
      /<backingStore type='file'>[^]*?golden/,
      "<backingStore type='file'><format type='qcow2'/><source file='/var/lib/libvirt/images/silver",
      "disk vdb: backingStore/source file /var/lib/libvirt/images/golden.qcow2 -> /var/lib/libvirt/images/silver.qcow2",
    ),
    plant(
      "thin.overlay",
      "fat.overlay",
      "disk vda: source /var/lib/libvirt/images/thin.overlay.qcow2 -> /var/lib/libvirt/images/fat.overlay.qcow2",
    ),
  ],
  "disk-volume": [
    plant(
      "volume='pooled.qcow2'",
      "volume='other.qcow2'",
      "disk vda: source default/pooled.qcow2 -> default/other.qcow2",
    ),
    plant(
      /type='volume'([^]*?)<source [^>]*>/,
      "type='file'$1<source file='/a.qcow2'/>",
      "disk vda: source default/pooled.qcow2 -> /a.qcow2",
    ),
  ],
  "disk-tuning": [
    plant("<total_iops_sec>400", "<total_iops_sec>800", "disk vda: iotune/total_iops_sec 400 -> 800"),
    plant("io='native'", "io='io_uring'", "disk vda: driver io native -> io_uring"),
    plant(
      "tuned-chs.img",
      "tuned-new.img",
      "disk sda: source /var/lib/libvirt/images/tuned-chs.img -> /var/lib/libvirt/images/tuned-new.img",
    ),
    plant("<transient/>", "", "disk sda: transient removed"),
    plant(/<iotune>\s*<total_bytes[^]*?<\/iotune>/, "", "disk vdb: iotune removed"),
    plant("thread_pool_max='8'", "thread_pool_max='16'", "iothreadids/iothread 8 thread_pool_max 8 -> 16"),
    plant(
      "<iothread id='2'/>",
      "<iothread id='3'/>",
      "iothreadids/iothread 2 removed",
      "iothreadids/iothread 3 added",
    ),
    plant(
      "physical_block_size='4096'",
      "physical_block_size='512'",
      "disk vda: blockio physical_block_size 4096 -> 512",
    ),
  ],
  "disk-block": [
    plant("/dev/vg0/on-lvm", "/dev/vg1/on-lvm", "disk vda: source /dev/vg0/on-lvm -> /dev/vg1/on-lvm"),
    plant("device='lun'", "device='disk'", "disk sda: device lun -> disk"),
    plant(
      "namespace='1'",
      "namespace='2'",
      "disk vdb: source NVMe 0000:01:00.0 namespace 1 -> NVMe 0000:01:00.0 namespace 2",
    ),
  ],
  "disk-network": [
    plant(
      "port='6789'",
      "port='3300'",
      "disk vda: source rbd:vms/on-ceph_disk at 10.0.0.11:6789, 10.0.0.12:6789 -> rbd:vms/on-ceph_disk at 10.0.0.11:3300, 10.0.0.12:6789",
    ),
    plant(
      "457eb676-33da-42ec-9a8c-9293d545c337",
      "557eb676-33da-42ec-9a8c-9293d545c337",
      "disk vda: auth/secret uuid 457eb676-33da-42ec-9a8c-9293d545c337 -> 557eb676-33da-42ec-9a8c-9293d545c337",
    ),
    plant("<snapshot name='daily'/>", "", "disk vda: source/snapshot name daily removed"),
    plant("query='a=1'", "query='a=2'", "disk sda: source query changed"),
    plant("<ssl verify='no'/>", "<ssl verify='yes'/>", "disk sda: source/ssl verify no -> yes"),
    plant(
      "name='export'",
      "name='other'",
      "disk vdc: source nbd:export at nbd.example.com:10809 -> nbd:other at nbd.example.com:10809",
    ),
  ],
  "disk-nbd-socket": [
    plant(
      "/run/nbd/export.sock",
      "/run/nbd/other.sock",
      "disk vda: source nbd at /run/nbd/export.sock -> nbd at /run/nbd/other.sock",
    ),
    plant(
      "/run/vhost/blk.sock",
      "/run/vhost/other.sock",
      "disk vdb: source /run/vhost/blk.sock -> /run/vhost/other.sock",
    ),
    plant("timeout='10'", "timeout='20'", "disk vdb: source/reconnect timeout 10 -> 20"),
  ],
  "memory-hugepages": [
    plant(
      "size='2048' unit='KiB'",
      "size='1048576' unit='KiB'",
      "memoryBacking/hugepages/page 1 size 2 MiB -> 1 GiB",
    ),
    plant("<locked/>", "", "memoryBacking/locked removed"),
    plant("memAccess='shared'", "memAccess='private'", "NUMA/cell 0 memAccess shared -> private"),
    plant(
      "cellid='0' mode='strict'",
      "cellid='0' mode='preferred'",
      "numatune/memnode 0 mode strict -> preferred",
    ),
    plant(/<memoryBacking>[^]*<\/memoryBacking>/, "", "memoryBacking removed"),
  ],
  "memory-memfd": [
    plant(
      "<access mode='shared'/>",
      "<access mode='private'/>",
      "memoryBacking/access mode shared -> private",
    ),
    plant("<discard/>", "", "memoryBacking/discard removed"),
  ],
  "memory-balloon": [
    plant("<currentMemory unit='KiB'>524288", "<currentMemory unit='KiB'>786432"),
    plant(
      "unit='KiB'>1048576",
      "unit='KiB'>2097152",
      "memory 1 GiB -> 2 GiB",
      "current memory 1 GiB -> 512 MiB",
    ),
    plant("period='10'", "period='5'", "memballoon: stats period 10 -> 5"),
    plant("autodeflate='on'", "autodeflate='off'", "memballoon: autodeflate on -> off"),
    plant("dumpCore='off'", "dumpCore='on'", "memory dumpCore off -> on"),
  ],
  "memory-no-balloon": [
    plant("<memballoon model='none'/>", "<memballoon model='virtio'/>", "memballoon: model none -> virtio"),
  ],
  "memory-odd": [
    plant(
      ">195313<",
      ">200000<",
      "memory 479 MiB -> 483 MiB",
      "current memory 479 MiB -> 292970 KiB",
      "memory device dimm: target/size 192 MiB -> 196 MiB",
    ),
    plant(
      "memory='292970'",
      "memory='300000'",
      "memory 479 MiB -> 485 MiB",
      "current memory 479 MiB -> 292970 KiB",
      "NUMA/cell 0 memory 287 MiB -> 293 MiB",
    ),
  ],
  "memory-odd-alone": [plant(/100001(.*\n.*)100001/, "200001$1200001", "memory 98 MiB -> 196 MiB")],
  "memory-dimms": [
    removed("memory", "access='private'", "memory 1296 MiB -> 1040 MiB", "memory device dimm #1 removed"),
    plant("slots='8'", "slots='16'", "maximum memory slots 8 -> 16"),
    plant(">8388608<", ">16777216<", "maximum memory 8 GiB -> 16 GiB"),
    plant(
      "<requested unit='KiB'>131072",
      "<requested unit='KiB'>262144",
      "memory device virtio-mem: target/requested 128 MiB -> 256 MiB",
    ),
  ],
  numa: [
    plant(
      "cpus='2-3' memory='524288'",
      "cpus='2-3' memory='1048576'",
      "memory 1 GiB -> 1536 MiB",
      "NUMA/cell 1 memory 512 MiB -> 1 GiB",
    ),
    plant("id='1' value='21'", "id='1' value='30'", "NUMA/cell 0/distances/sibling 1 value 21 -> 30"),
    plant("Nehalem", "Westmere", "cpu model Nehalem -> Westmere"),
    plant("sockets='2'", "sockets='4'", "cpu topology sockets 2 -> 4"),
  ],
  "cpu-host-model": [
    plant("policy='disable' name='svm'", "policy='force' name='svm'"),
    plant("<feature policy='disable' name='svm'/>", ""),
    plant("</cpu>", "<feature policy='disable' name='smep'/></cpu>", "cpu feature smep policy disable added"),
    plant("mode='host-model'", "mode='host-passthrough'", "cpu mode custom -> host-passthrough"),
  ],
  "cpu-custom": [
    plant("Haswell-noTSX", "Broadwell", "cpu model Haswell-noTSX -> Broadwell"),
    plant(
      "vendor_id='GenuineIntel'",
      "vendor_id='AuthenticAMD'",
      "cpu model vendor_id GenuineIntel -> AuthenticAMD",
    ),
    plant(
      "policy='force' name='adx'",
      "policy='disable' name='adx'",
      "cpu feature adx policy force -> disable",
    ),
    plant("</cpu>", "<feature policy='require' name='vmx'/></cpu>", "cpu feature vmx policy require added"),
    plant("threads='2'", "threads='4'", "cpu topology threads 2 -> 4"),
    plant("mode='emulate'", "mode='disable'", "cpu/cache mode emulate -> disable"),
  ],
  "cpu-partial-check": [plant("match='minimum'", "match='exact'", "cpu model EPYC -> Westmere")],
  "cpu-maximum": [
    plant("mode='maximum'", "mode='host-passthrough'", "cpu mode maximum -> host-passthrough"),
    plant(
      /<cpu [^]*<\/cpu>/,
      "<cpu mode='custom'><model>Nehalem</model></cpu>",
      "cpu mode maximum -> custom",
      "cpu feature la57 policy disable removed",
      "cpu model Nehalem added",
    ),
    plant(
      "name='la57'",
      "name='vmx'",
      "cpu feature la57 policy disable removed",
      "cpu feature vmx policy disable added",
    ),
  ],
  "cpu-host-passthrough": [
    plant("retries='8191'", "retries='4095'", "features/hyperv/spinlocks retries 8191 -> 4095"),
    plant("migratable='off'", "migratable='on'", "cpu migratable off -> on"),
    plant(
      "frequency='2000000000'",
      "frequency='2500000000'",
      "clock/timer tsc frequency 2000000000 -> 2500000000",
    ),
    plant("cpuset='0-1'", "cpuset='0'", "vCPUs' cpuset 0-1 -> 0"),
    plant(
      "<cpu mode='host-passthrough' check='none' migratable='off'>",
      "<cpu mode='host-model'>",
      "cpu mode host-passthrough -> host-model",
    ),
  ],
  "vcpus-hotplug": [plant("id='2' enabled='no'", "id='2' enabled='yes'", "vcpus/vcpu 2 enabled no -> yes")],
  "vcpus-current": [
    plant("current='1'", "current='2'", "current vCPUs 1 -> 2"),
    plant(" current='1'", "", "current vCPUs 1 -> 2"),
    plant(" current='1'>2<", ">4<", "vCPUs 2 -> 4", "current vCPUs 1 -> 4"),
  ],
  "nova-instance": [
    plant("27.1.0</entry>", "28.0.0</entry>", "sysinfo smbios/system/entry version changed"),
    plant('<nova:package version="27.1.0"/>', '<nova:package version="28.0.0"/>'),
    plant("append='off'", "append='on'", "serial 0: log append off -> on"),
    plant("<vmcoreinfo state='on'/>", "<vmcoreinfo state='off'/>", "features/vmcoreinfo state on -> off"),
    plant("<smbios mode='sysinfo'/>", "<smbios mode='host'/>", "os/smbios mode sysinfo -> host"),
  ],
  "nova-ovs": [
    plant("bridge='br-int'", "bridge='br-ex'", "interface fa:16:3e:5c:11:0f: bridge br-int -> bridge br-ex"),
    plant(
      "dev='tap6c1f4a3a-74'",
      "dev='tap6c1f4a3a-75'",
      "interface fa:16:3e:5c:11:0f: target dev tap6c1f4a3a-74 -> tap6c1f4a3a-75",
    ),
    plant("peak='5000'", "peak='6000'", "interface fa:16:3e:5c:11:0f: bandwidth/inbound peak 5000 -> 6000"),
    plant("<shares>2048", "<shares>1024", "cputune/shares 2048 -> 1024"),
    plant(
      "<vcpupin vcpu='0' cpuset='2'/>",
      "<vcpupin vcpu='0' cpuset='4'/>",
      "cputune/vcpupin 0 cpuset 2 -> 4",
    ),
    plant(/<vcpupin vcpu='1'.*>/, "", "cputune/vcpupin 1 cpuset 3 removed"),
  ],
  "vagrant-box": [
    plant("type='qcow2'", "type='qcow2' cache='directsync'", "disk vda: driver cache directsync added"),
    removed("disk", "vda", "disk vda removed"),
  ],
  "kubevirt-launcher": [
    plant("socket='/var/lib/libvirt/images/kubevirt-vnc'>", "socket='/var/lib/libvirt/images/other-vnc'>"),
    plant(
      "<listen type='socket' socket='/var/lib/libvirt/images/kubevirt-vnc'/>",
      "<listen type='socket' socket='/other'/>",
      "graphics vnc: listen socket /var/lib/libvirt/images/kubevirt-vnc -> /other",
    ),
    plant("ua-containerdisk", "ua-rootdisk", "disk vda: alias name ua-containerdisk -> ua-rootdisk"),
    plant(
      "kubevirt-serial0'",
      "kubevirt-serial1'",
      "serial 0: source path /var/lib/libvirt/images/kubevirt-serial0 -> /var/lib/libvirt/images/kubevirt-serial1",
    ),
    plant("adjustment='reset'", "adjustment='3600'", "clock adjustment reset -> 3600"),
  ],
  "cloud-init-seed": [
    plant("s=http://10.0.2.2/", "s=http://10.0.2.3/", "sysinfo smbios/system/entry serial changed"),
    plant("3.0.0", "3.1.0", "sysinfo fwcfg/entry opt/com.coreos/config changed"),
    plant("motd=hello", "motd=s3cr3t", "sysinfo smbios/oemStrings/entry 1 changed"),
    plant("rebootTimeout='1000'", "rebootTimeout='0'", "os/bios rebootTimeout 1000 -> 0"),
    plant("e9392370-2917", "e9392370-2918"),
  ],
  "kernel-direct": [
    plant("ro quiet", "ro quiet debug", "kernel command line changed"),
    plant(/<cmdline>.*<\/cmdline>/, "", "kernel command line removed"),
    plant(
      "/vmlinuz",
      "/vmlinuz-6.12",
      "kernel /var/lib/libvirt/images/vmlinuz -> /var/lib/libvirt/images/vmlinuz-6.12",
    ),
    plant(
      "/initrd.img",
      "/initrd.img-6.12",
      "initrd /var/lib/libvirt/images/initrd.img -> /var/lib/libvirt/images/initrd.img-6.12",
    ),
  ],
  "serial-ports": [
    plant(
      "ports-1.log",
      "ports-9.log",
      "serial 1: source path /var/lib/libvirt/images/ports-1.log -> /var/lib/libvirt/images/ports-9.log",
    ),
    plant("service='24555'", "service='24599'", "serial 3: source service 24555 -> 24599"),
    plant("type='telnet'", "type='raw'", "serial 3: protocol type telnet -> raw"),
    removed("parallel", "file", "parallel 0 removed"),
    plant(
      "ports-2.sock",
      "ports-9.sock",
      "serial 2: source path /var/lib/libvirt/images/ports-2.sock -> /var/lib/libvirt/images/ports-9.sock",
    ),
  ],
  "serial-others": [
    plant("service='24557'", "service='24597'", "serial 1: source 2 service 24557 -> 24597"),
    plant("timeout='10'", "timeout='20'", "serial 2: source/reconnect timeout 10 -> 20"),
    plant("<serial type='null'>", "<serial type='pty'>", "serial 0: type null -> pty"),
  ],
  channels: [
    plant(
      "/channel.sock",
      "/other.sock",
      "channel com.example.bus: source path /var/lib/libvirt/images/channel.sock -> /var/lib/libvirt/images/other.sock",
    ),
    plant(/<source mode='bind' path='[^']*channel.sock'\/>/, "", "channel com.example.bus: source removed"),
    plant(
      "port='4600'",
      "port='4700'",
      "channel guestfwd 10.0.2.1 4600 removed",
      "channel guestfwd 10.0.2.1 4700 added",
    ),
    plant("ports='31'", "ports='16'", "controller virtio-serial 0: ports 31 -> 16"),
  ],
  "graphics-vnc-fixed": [
    plant("port='5977'", "port='5988'", "graphics vnc: port 5977 -> 5988"),
    plant("autoport='no'", "autoport='yes'", "graphics vnc: autoport no -> yes"),
    plant(
      "<listen type='address' address='127.0.0.1'/>",
      "<listen type='address' address='0.0.0.0'/>",
      "graphics vnc: listen address 127.0.0.1 -> 0.0.0.0",
    ),
    plant(
      "sharePolicy='force-shared'",
      "sharePolicy='ignore'",
      "graphics vnc: sharePolicy force-shared -> ignore",
    ),
    plant("vgamem='8192'", "vgamem='16384'", "video 1: model vgamem 8192 -> 16384"),
    plant("websocket='-1'", "websocket='5799'", "graphics vnc: websocket 5700 -> 5799"),
    plant("autoport='no'", "autoport='no' passwd='n3w-s3cr'"),
  ],
  "graphics-vnc-socket": [
    plant(
      "<listen type='socket'/>",
      "<listen type='address' address='127.0.0.1'/>",
      "graphics vnc: listen address 127.0.0.1 added",
      "graphics vnc: listen type socket -> address",
    ),
    removed("sound", "es1370", "sound 3 removed"),
    plant("<codec type='micro'/>", "<codec type='duplex'/>", "sound 2: codec type micro -> duplex"),
    plant("<audio id='1' type='none'/>", "<audio id='1' type='file'/>", "audio 1: type none -> file"),
  ],
  "graphics-spice": [
    plant("compression='off'", "compression='auto_glz'", "graphics spice: image compression off -> auto_glz"),
    plant(
      "type='spice' autoport='yes'",
      "type='vnc' autoport='yes'",
      "graphics spice removed",
      "graphics vnc added",
    ),
    plant(
      "<master startport='2'/>",
      "<master startport='3'/>",
      "controller usb 0 #3: master startport 2 -> 3",
    ),
    removed("redirdev", "spicevmc", "redirdev 2 removed"),
  ],
  "graphics-headless": [
    plant(
      "<model type='none'/>",
      "<model type='virtio' heads='1'/>",
      "video: model heads 1 added",
      "video: model none -> virtio",
    ),
    plant(
      "index='0' model='none'",
      "index='0' model='qemu-xhci'",
      "controller usb 0: model none -> qemu-xhci",
    ),
    plant("address='127.0.0.1'/>", "address='::1'/>", "graphics vnc: listen address 127.0.0.1 -> ::1"),
  ],
  "usb-devices": [
    removed("hub", "usb", "hub removed"),
    plant("removable='on'", "removable='off'", "disk sda: target removable on -> off"),
    removed("input", "type='mouse' bus='virtio'", "input mouse virtio removed"),
    plant("ports='4'", "ports='8'", "controller usb 0: ports 4 -> 8"),
    plant(
      "stick.img",
      "other.img",
      "disk sda: source /var/lib/libvirt/images/stick.img -> /var/lib/libvirt/images/other.img",
    ),
  ],
  "watchdog-panic-pm": [
    plant("<on_reboot>destroy", "<on_reboot>restart", "on_reboot destroy -> restart"),
    plant("period='2000'", "period='1000'", "rng 1: rate period 2000 -> 1000"),
    removed("rng", "builtin", "rng 2 removed"),
    removed("rng", "random", "rng 1 removed"),
    removed("panic", "isa", "panic removed"),
    plant("<on_lockfailure>pause", "<on_lockfailure>ignore", "on_lockfailure pause -> ignore"),
  ],
  "filesystem-9p": [
    plant("<source dir='/tmp'/>", "<source dir='/var/tmp'/>", "filesystem tmp: source dir /tmp -> /var/tmp"),
    plant("<readonly/>", "", "filesystem tmp: readonly removed"),
    plant(
      "<target dir='images'/>",
      "<target dir='disks'/>",
      "filesystem disks added",
      "filesystem images removed",
    ),
  ],
  "filesystem-virtiofs": [
    plant("queue='1024'", "queue='512'", "filesystem data: driver queue 1024 -> 512"),
    plant(
      "<cache mode='always'/>",
      "<cache mode='none'/>",
      "filesystem data: binary/cache mode always -> none",
    ),
    plant(
      "/run/virtiofsd.sock",
      "/run/other.sock",
      "filesystem external: source socket /run/virtiofsd.sock -> /run/other.sock",
    ),
  ],
  vsock: [plant("address='7'", "address='8'", "vsock: cid address 7 -> 8")],
  "vsock-auto": [
    plant("auto='yes'", "auto='no' address='9'", "vsock: cid address 9 added", "vsock: cid auto yes -> no"),
    plant(/<vsock[^]*<\/vsock>/, "", "vsock removed"),
  ],
  hostdev: [
    plant(
      "function='0x1'/>\n      </source>",
      "function='0x2'/></source>",
      "hostdev pci 0000:65:00.1 removed",
      "hostdev pci 0000:65:00.2 added",
    ),
    plant(
      "c2177883-f1bb",
      "c2177883-f1bc",
      "hostdev mdev c2177883-f1bb-47f0-914d-32a22e3a8804 removed",
      "hostdev mdev c2177883-f1bc-47f0-914d-32a22e3a8804 added",
    ),
    plant(
      "managed='yes'>\n      <source startupPolicy",
      "managed='no'><source startupPolicy",
      "hostdev usb 0x1234:0xbeef: managed yes -> no",
    ),
    plant(
      "gpu.rom",
      "other.rom",
      "hostdev pci 0000:65:00.0: rom file /usr/share/vgabios/gpu.rom -> /usr/share/vgabios/other.rom",
    ),
    plant("intremap='on'", "intremap='off'", "iommu: driver intremap on -> off"),
  ],
  "interfaces-emulated": [
    plant("<link state='down'/>", "", "interface 52:54:00:20:00:01: link state down removed"),
    plant(
      "tx_queue_size='256'",
      "tx_queue_size='512'",
      "interface 52:54:00:20:00:01: driver tx_queue_size 256 -> 512",
    ),
    plant("gso='off'", "gso='on'", "interface 52:54:00:20:00:01: driver/host gso off -> on"),
    plant("port='24560'", "port='24599'", "interface 52:54:00:20:00:02: source port 24560 -> 24599"),
    plant("type='rtl8139'", "type='e1000'", "interface 52:54:00:20:00:03: model rtl8139 -> e1000"),
    plant("<acpi index='3'/>", "<acpi index='4'/>", "interface 52:54:00:20:00:05: acpi index 3 -> 4"),
    removed("interface", "52:54:00:20:00:04", "interface 52:54:00:20:00:04 removed"),
    plant("<boot order='2'/>", "", "interface 52:54:00:20:00:01: boot order 2 removed"),
  ],
  "interfaces-host": [
    plant("type='mcast'", "type='client'", "interface 52:54:00:30:00:08: mcast -> client"),
    plant(
      "network='default' portgroup='engineering'",
      "network='lab' portgroup='engineering'",
      "interface 52:54:00:30:00:01: network default -> lab",
    ),
    plant(
      "portgroup='engineering'",
      "portgroup='sales'",
      "interface 52:54:00:30:00:01: source portgroup engineering -> sales",
    ),
    plant(
      "type='bridge'>",
      "type='bridge' trustGuestRxFilters='yes'>",
      "interface 52:54:00:30:00:02: trustGuestRxFilters yes added",
    ),
    plant(
      /type='bridge'([^]*?)bridge='br0'/,
      "type='network'$1network='default'",
      "interface 52:54:00:30:00:02: bridge br0 -> network default",
    ),
    plant(
      "value='10.0.0.1'",
      "value='10.0.0.2'",
      "interface 52:54:00:30:00:01: filterref/parameter IP value 10.0.0.1 -> 10.0.0.2",
    ),
    plant(
      "mode='bridge'",
      "mode='passthrough'",
      "interface 52:54:00:30:00:03: direct eth1 bridge -> direct eth1 passthrough",
    ),
    plant("tag id='42'", "tag id='43'", "interface 52:54:00:30:00:05: vlan/tag id 42 -> 43"),
    plant("isolated='yes'", "isolated='no'", "interface 52:54:00:30:00:02: port isolated yes -> no"),
  ],
  "qemu-commandline": [
    plant("s3cr3t-token", "n3w-token", "qemu:commandline changed"),
    plant(/<qemu:commandline>[^]*<\/qemu:commandline>/, "", "qemu:commandline removed"),
  ],
  "seclabel-none": [
    plant("relabel='no'", "relabel='yes'", "disk vda: source/seclabel dac relabel no -> yes"),
    plant("<seclabel type='none' model='none'/>", "", "seclabel none removed"),
  ],
  "tuning-cgroups": [
    plant("<quota>50000", "<quota>100000", "cputune/quota 50000 -> 100000"),
    plant("<weight>800", "<weight>500", "blkiotune/weight 800 -> 500"),
    plant(
      "<hard_limit unit='KiB'>2097152",
      "<hard_limit unit='KiB'>4194304",
      "memtune/hard_limit 2 GiB -> 4 GiB",
    ),
    plant("/machine/production", "/machine/test", "resource/partition /machine/production -> /machine/test"),
    plant(/<cputune>[^]*<\/cputune>/, "", "cputune removed"),
  ],
  "clock-timers": [
    plant("basis='utc'", "basis='localtime'", "clock basis utc -> localtime"),
    plant("threshold='123'", "threshold='456'", "clock/timer rtc/catchup threshold 123 -> 456"),
    plant(
      "offset='variable' adjustment='3600' basis='utc'",
      "offset='utc'",
      "clock adjustment 3600 removed",
      "clock basis utc removed",
      "clock offset variable -> utc",
    ),
  ],
  "clock-timezone": [plant("Europe/Zurich", "Asia/Tokyo", "clock timezone Europe/Zurich -> Asia/Tokyo")],
  "shared-memory": [
    plant(/<size unit='M'>4<\/size>/, "<size unit='M'>8</size>", "shmem ring0: size 4 MiB -> 8 MiB"),
    plant("iotlb='on'", "iotlb='off'", "iommu: driver iotlb on -> off"),
    plant("hotplug='off'", "hotplug='on'", "controller pci pcie-root-port #1: target hotplug off -> on"),
    plant("slot='0x03'", "slot='0x04'"),
  ],
  "pc-hyperv": [
    plant("<vapic state='on'/>", "<vapic state='off'/>", "features/hyperv/vapic state on -> off"),
    plant(/<hyperv mode='custom'>[^]*<\/hyperv>/, "", "features/hyperv removed"),
    plant("<hidden state='on'/>", "<hidden state='off'/>", "features/kvm/hidden state on -> off"),
    plant("eoi='on'", "eoi='off'", "features/apic eoi on -> off"),
    plant("<hyperv mode='custom'>", "<hyperv mode='passthrough'>"),
  ],
};
