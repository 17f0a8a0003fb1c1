//! The kernel's command line as far as `init` reads it. Pure. Unknown words are the kernel's and are left alone.

use crate::slots::Loader;
use nesos_base::slots::Slot;

/// Options that begin with `nesos.`, and the kernel's own idea of the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CommandLine {
    /// `nesos.disk=/dev/vda`: the board's disk, when it is not the one that holds the root.
    pub(crate) disk: Option<String>,
    /// `nesos.shell`: a shell on the serial console.
    pub(crate) shell: bool,
    /// `nesos.watchdog=off`: leave the watchdog alone. QEMU's Raspberry Pi restarts at once when it is armed.
    pub(crate) no_watchdog: bool,
    /// `nesos.boot=uboot|efi`: the boot loader that knows slots; without one there are none.
    pub(crate) loader: Option<Loader>,
    /// `nesos.slot=a|b`: the slot that was started.
    pub(crate) slot: Option<Slot>,
    /// `nesos.trial=1`: that slot has yet to prove itself (U-Boot; systemd-boot tells by the entry's name).
    pub(crate) trial: bool,
    /// `nesos.fallback=a|b`: this slot was to be started and did not come up or could not be loaded (U-Boot).
    pub(crate) fallback: Option<Slot>,
    /// `nesos.*` words that mean nothing to this version, for a warning.
    pub(crate) unknown: Vec<String>,
}

impl CommandLine {
    /// Reads the text of /proc/cmdline.
    pub(crate) fn parse(text: &str) -> CommandLine {
        let mut line = CommandLine::default();
        for word in text.split_ascii_whitespace() {
            let Some(option) = word.strip_prefix("nesos.") else {
                continue;
            };
            match option.split_once('=').unwrap_or((option, "")) {
                ("disk", path) if !path.is_empty() => line.disk = Some(path.to_owned()),
                ("shell", "" | "1") => line.shell = true,
                ("shell", "0") => line.shell = false,
                ("watchdog", "off") => line.no_watchdog = true,
                ("watchdog", "on") => line.no_watchdog = false,
                ("boot", text) if Loader::parse(text).is_some() => {
                    line.loader = Loader::parse(text)
                }
                ("slot", text) if Slot::parse(text).is_some() => line.slot = Slot::parse(text),
                ("trial", "1") => line.trial = true,
                ("fallback", text) if Slot::parse(text).is_some() => {
                    line.fallback = Slot::parse(text);
                }
                _ => line.unknown.push(word.to_owned()),
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_words_are_read_and_the_kernels_are_left_alone() {
        let line = CommandLine::parse(
            "root=/dev/vda2 ro nesos.disk=/dev/vdb nesos.shell nesos.watchdog=off panic=10 nesos.disc=x\n",
        );
        assert_eq!(line.disk.as_deref(), Some("/dev/vdb"));
        assert!(line.shell && line.no_watchdog);
        assert_eq!(line.unknown, ["nesos.disc=x"]);
        assert_eq!(CommandLine::parse(""), CommandLine::default());
    }

    #[test]
    fn the_boot_loaders_words_are_read() {
        let line = CommandLine::parse("nesos.slot=b nesos.boot=uboot nesos.trial=1");
        assert_eq!(
            (line.slot, line.loader, line.trial, line.fallback),
            (Some(Slot::B), Some(Loader::UBoot), true, None)
        );
        let line = CommandLine::parse("nesos.slot=a nesos.boot=efi nesos.fallback=b");
        assert_eq!(
            (line.slot, line.loader, line.trial, line.fallback),
            (Some(Slot::A), Some(Loader::Efi), false, Some(Slot::B))
        );
        let line = CommandLine::parse("nesos.slot=c nesos.boot=grub");
        assert_eq!((line.slot, line.loader), (None, None));
        assert_eq!(line.unknown, ["nesos.slot=c", "nesos.boot=grub"]);
    }
}
