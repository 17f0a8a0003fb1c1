//! The kernel's command line as far as `init` reads it. Pure. Unknown words are the kernel's and are left alone.

/// Options that begin with `nesos.`, and the kernel's own idea of the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CommandLine {
    /// `nesos.disk=/dev/vda`: the board's disk, when it is not the one that holds the root.
    pub(crate) disk: Option<String>,
    /// `nesos.shell`: a shell on the serial console.
    pub(crate) shell: bool,
    /// `nesos.watchdog=off`: leave the watchdog alone. QEMU's Raspberry Pi restarts at once when it is armed.
    pub(crate) no_watchdog: bool,
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
}
