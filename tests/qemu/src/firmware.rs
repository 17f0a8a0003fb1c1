//! One emulated board that boots a disk image file through its boot loader, as often as a test wants, with the same disk.
//!
//! Called by the tests, which panic. Invariants: a machine has lost its power when its value is gone, its disk has not; its network, where
//! it has one, is QEMU's own and leads nowhere.

use std::cell::Cell;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use nesos_base::slots::Slot;
use nesos_cluster_tests::{Running, eventually};
use nesos_image::{Artifacts, BootPartition};
use tempfile::TempDir;

use crate::{BOOT, Shell};

/// Debian's u-boot-qemu.
const U_BOOT: &str = "/usr/lib/u-boot/qemu_arm64/u-boot.bin";
/// Debian's qemu-efi-aarch64.
const EDK2: &str = "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd";
/// What EDK2 needs at least, MiB.
const EDK2_MEMORY: u32 = 192;
/// What opens a [`Shell`].
const SHELL: &str = "nesos.shell";

/// What starts the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// QEMU itself (`-kernel`): no boot loader, no slots.
    Kernel,
    /// U-Boot: Debian's for QEMU, and on a Raspberry Pi the one of the image.
    UBoot,
    /// EDK2, with a device tree instead of ACPI.
    Edk2,
}

/// A copy of a board's image.
#[derive(Debug)]
pub struct Disk {
    image: Artifacts,
    path: PathBuf,
    folder: TempDir,
    boots: Cell<u32>,
    has_network: bool,
}

/// A machine that is on.
#[derive(Debug)]
pub struct Machine {
    process: Running,
    console: PathBuf,
    log: PathBuf,
    board: String,
}

impl Disk {
    /// A fresh copy of the image of `board`, whose kernels will open a shell on the console.
    ///
    /// # Panics
    /// The image is not built.
    #[must_use]
    pub fn new(board: &str) -> Self {
        let image = nesos_image::artifacts(board).unwrap_or_else(|error| panic!("{error}"));
        let folder = tempfile::Builder::new()
            .prefix("nesos-disk-")
            .tempdir()
            .expect("a folder");
        let path = folder.path().join("disk.img");
        std::fs::copy(&image.image, &path).expect("copy the image");
        let disk = Self {
            image,
            path,
            folder,
            boots: Cell::new(0),
            has_network: true,
        };
        let emulation = disk.image.manifest.qemu.append.as_deref();
        disk.append(&[SHELL, emulation.unwrap_or_default()].join(" "));
        disk
    }

    /// For machines without a network: EDK2 would look for a kernel there for minutes before it gives up.
    #[must_use]
    pub fn without_network(mut self) -> Self {
        self.has_network = false;
        self
    }

    /// The image file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its boot partition and boot records. Only while no machine has it.
    #[must_use]
    pub fn boot_partition(&self) -> BootPartition {
        BootPartition::new(&self.path)
    }

    /// Adds words to the kernel command lines that the boot loaders read.
    ///
    /// # Panics
    /// The image is none of ours.
    pub fn append(&self, words: &str) {
        let files = self.boot_partition();
        let slots = Slot::ALL.map(|slot| format!("{}/boot.env", slot.folder()));
        let entries = files.list("loader/entries").unwrap_or_default();
        let entries = entries.iter().map(|name| format!("loader/entries/{name}"));
        for path in entries.chain(slots) {
            let Ok(text) = files.read(&path) else {
                continue;
            };
            let text = String::from_utf8(text).expect("text");
            let line = |line: &str| match line {
                line if line.starts_with("cmdline=") || line.starts_with("options ") => {
                    format!("{line} {words}\n")
                }
                line => format!("{line}\n"),
            };
            let text: String = text.lines().map(line).collect();
            files.write(&path, text.as_bytes()).expect("write");
        }
    }

    /// Fills slot B with what slot A has: kernel, device trees, command line, root.
    ///
    /// # Panics
    /// The image is none of ours.
    pub fn fill_b(&self) {
        let files = self.boot_partition();
        let [a, b] = Slot::ALL;
        for name in files.list(a.folder()).expect("slot A") {
            let mut bytes = files
                .read(&format!("{}/{name}", a.folder()))
                .expect("a file of slot A");
            match name.as_str() {
                "committed" => continue,
                "boot.env" => bytes = in_slot_b(&bytes),
                _ => {}
            }
            files
                .write(&format!("{}/{name}", b.folder()), &bytes)
                .expect("a file of slot B");
        }
        let layout = files.layout().expect("partitions");
        let mut file = File::options()
            .read(true)
            .write(true)
            .open(&self.path)
            .expect("the disk");
        let mut root = vec![0; usize::try_from(layout.root_a.length).expect("a size")];
        file.seek(SeekFrom::Start(layout.root_a.start))
            .and_then(|_| file.read_exact(&mut root))
            .expect("root A");
        file.seek(SeekFrom::Start(layout.root_b.start))
            .and_then(|_| file.write_all(&root))
            .expect("root B");
    }

    /// Writes an entry of systemd-boot's for slot B, made from that for slot A, into the file `name`.
    ///
    /// # Panics
    /// The image has none for slot A.
    pub fn write_entry_b(&self, name: &str, generation: u32) {
        let files = self.boot_partition();
        let text = files.read("loader/entries/nesos-a.conf").expect("entry A");
        let text = String::from_utf8(in_slot_b(&text)).expect("text");
        let text = text
            .replace("slot-a", "slot-b")
            .replace("nesos.slot=a", "nesos.slot=b")
            .replace("version 1", &format!("version {generation}"));
        files
            .write(&format!("loader/entries/{name}"), text.as_bytes())
            .expect("entry B");
    }

    /// Gives a machine with this disk its power.
    ///
    /// # Panics
    /// QEMU or the firmware is not installed (`scripts/setup`).
    #[must_use]
    pub fn boot(&self, firmware: Firmware) -> Machine {
        let number = self.boots.get() + 1;
        self.boots.set(number);
        let file = |name: &str| self.folder.path().join(format!("{name}-{number}"));
        let (console, log) = (file("console"), file("log"));
        let facts = &self.image.manifest.qemu;
        let mut command = Command::new("qemu-system-aarch64");
        command.args(["-nodefaults", "-no-user-config", "-display", "none"]);
        let machine = match firmware {
            Firmware::Edk2 => format!("{},acpi=off", facts.machine),
            _ => facts.machine.clone(),
        };
        let memory = match firmware {
            Firmware::Edk2 => facts.memory_mib.max(EDK2_MEMORY),
            _ => facts.memory_mib,
        };
        command.args(["-M", &machine, "-m", &memory.to_string()]);
        if let Some(cpu) = &facts.cpu {
            command.args(["-cpu", cpu]);
        }
        self.add_devices(&mut command);
        self.add_firmware(&mut command, firmware);
        let channel = format!(
            "socket,id=console,server=on,wait=off,path={},logfile={}",
            console.display(),
            log.display()
        );
        command.args(["-chardev", &channel, "-serial", "chardev:console"]);
        let board = self.image.board.clone();
        Machine {
            process: Running::start(command, &format!("qemu with the disk of {board}")),
            console,
            log,
            board,
        }
    }

    fn is_virt(&self) -> bool {
        self.image.manifest.qemu.machine == "virt"
    }

    fn add_devices(&self, command: &mut Command) {
        let disk = self.path.display();
        if !self.is_virt() {
            command.args([
                "-drive",
                &format!("if=sd,format=raw,cache=unsafe,file={disk}"),
            ]);
            // The first serial port is the PL011, which on this board belongs to Bluetooth; the console is the second.
            command.args(["-serial", "null"]);
            return;
        }
        let disk = format!("if=none,id=disk,format=raw,cache=unsafe,file={disk}");
        command.args(["-drive", &disk, "-device", "virtio-blk-pci,drive=disk"]);
        if self.has_network {
            let link = "virtio-net-pci,netdev=link,mac=52:54:00:00:00:01,romfile=";
            command.args(["-netdev", "user,id=link,restrict=on", "-device", link]);
        }
        command.args(["-device", "virtio-rng-pci"]);
        command.args(["-device", "i6300esb", "-action", "watchdog=reset"]);
    }

    fn add_firmware(&self, command: &mut Command, firmware: Firmware) {
        let manifest = &self.image.manifest;
        match firmware {
            Firmware::Kernel => {
                let words = manifest.qemu.append.as_deref().unwrap_or_default();
                let line = format!("{} {words} {SHELL}", manifest.command_line);
                command
                    .arg("-kernel")
                    .arg(&self.image.kernel)
                    .args(["-append", &line]);
                if let Some(tree) = &self.image.device_tree {
                    command.arg("-dtb").arg(tree);
                }
            }
            Firmware::UBoot if self.is_virt() => {
                command.arg("-bios").arg(installed(U_BOOT));
            }
            // The part of the GPU's firmware is QEMU's: it loads what config.txt names, from the card.
            Firmware::UBoot => {
                let files = self.boot_partition();
                let of_card = |name: &str| {
                    let path = self.folder.path().join(name);
                    let bytes = files.read(name).expect("a file of the card");
                    std::fs::write(&path, bytes).expect("a copy of it");
                    path
                };
                let tree = manifest.qemu.device_tree.as_deref().expect("a device tree");
                command.arg("-kernel").arg(of_card("u-boot.bin"));
                command.arg("-dtb").arg(of_card(tree));
            }
            Firmware::Edk2 => {
                command.arg("-bios").arg(installed(EDK2));
            }
        }
    }
}

impl Machine {
    /// Everything that the console has printed.
    #[must_use]
    pub fn console(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until the console has printed `wanted` for the `count`th time.
    ///
    /// # Panics
    /// It does not.
    pub fn wait(&self, wanted: &str, count: usize) {
        let what = format!("the console of {} says {wanted:?}", self.board);
        eventually(&what, BOOT, || {
            (self.console().matches(wanted).count() >= count).then_some(())
        });
    }

    /// Waits until `condition` holds.
    ///
    /// # Panics
    /// It does not come to that.
    pub fn until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        eventually(what, BOOT, || condition().then_some(()));
    }

    /// Lets it run for so long: for what is to happen to it at any moment.
    pub fn runs_for(&self, time: std::time::Duration) {
        std::thread::park_timeout(time);
    }

    /// Waits until init is done, and opens the shell.
    ///
    /// # Panics
    /// It does not come to that.
    #[must_use]
    pub fn shell(&self) -> Shell {
        self.wait(" ready ", 1);
        Shell::connect(&self.console, &self.board)
    }

    /// Waits until init is done; the kernel's command line.
    ///
    /// # Panics
    /// It does not come to that.
    #[must_use]
    pub fn command_line(&self) -> String {
        self.shell().run("cat /proc/cmdline").0
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}\n{}", self.process.stderr(), self.console());
        }
    }
}

/// A command line of slot A as slot B has it.
fn in_slot_b(text: &[u8]) -> Vec<u8> {
    let [a, b] = Slot::ALL.map(Slot::root_argument);
    String::from_utf8_lossy(text).replace(&a, &b).into_bytes()
}

fn installed(path: &str) -> &Path {
    let path = Path::new(path);
    assert!(
        path.is_file(),
        "{} is missing: scripts/setup installs it",
        path.display()
    );
    path
}
