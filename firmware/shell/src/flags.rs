//! Flags of the daemons: one declarative table, filled from command line, environment, a file's values and defaults.
//!
//! Not for the CLI (clap) and not the schema of cluster.toml (`nesos_base::cluster_config`): a daemon reads that file and
//! hands its values to [`Values::fill`]. Order of precedence: command line, `NESOS_<FLAG>`, file, default. Invariant: a
//! [`Values`] holds only values that passed their flag's [`Kind`], so reading them cannot fail.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

mod text;

pub use text::{parse_bytes, parse_duration};

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A path; `file://` in front is dropped (Mesos writes paths so).
    Path,
    /// `--flag`, `--no-flag`, `--flag=true|false`.
    Bool,
    /// A whole number in this range.
    Number(u64, u64),
    /// A duration such as `15secs` in this range of seconds.
    Duration(u64, u64),
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// One flag.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// Name with underscores, as Mesos writes it.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Its value when nobody gives one.
    pub default: Option<&'static str>,
    /// A sentence for `--help`.
    pub help: &'static str,
}

/// A daemon's flags.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// Name of the program.
    pub program: &'static str,
    /// Its version.
    pub version: &'static str,
    /// What it is, in a sentence.
    pub about: &'static str,
    /// The flags, in the order in which `--help` lists them.
    pub flags: &'static [Flag],
}

/// Why the program does not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// `--help` or `--version`: print this to standard output, exit 0.
    Answer(String),
    /// Wrong usage: print this to standard error, exit 2.
    Usage(String),
}

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    Default,
    File,
    Environment,
    CommandLine,
}

/// The values of all flags.
#[derive(Debug, Clone)]
pub struct Values {
    table: Table,
    values: BTreeMap<&'static str, (String, Origin)>,
}

impl Table {
    /// Reads this process's arguments and environment; prints and exits when there is nothing to run.
    pub fn from_process(self) -> Values {
        match self.parse(std::env::args_os().skip(1), |name| std::env::var_os(name)) {
            Ok(values) => values,
            Err(stop) => stop.exit(self.program),
        }
    }

    /// Reads arguments (without the program's name) and environment.
    pub fn parse(
        self,
        arguments: impl IntoIterator<Item = OsString>,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Values, Stop> {
        let mut values = Values {
            table: self,
            values: BTreeMap::new(),
        };
        let mut parser = lexopt::Parser::from_args(arguments);
        while let Some(argument) = parser.next().map_err(|e| Stop::Usage(e.to_string()))? {
            match argument {
                lexopt::Arg::Long("help") | lexopt::Arg::Short('h') => {
                    return Err(Stop::Answer(self.help()));
                }
                lexopt::Arg::Long("version") => {
                    return Err(Stop::Answer(format!("{} {}\n", self.program, self.version)));
                }
                lexopt::Arg::Long(name) => {
                    let name = name.replace('-', "_");
                    values.argument(&name, &mut parser)?;
                }
                lexopt::Arg::Short(letter) => {
                    return Err(Stop::Usage(format!("unknown flag '-{letter}'")));
                }
                lexopt::Arg::Value(value) => {
                    return Err(Stop::Usage(format!(
                        "unexpected argument '{}'",
                        value.to_string_lossy()
                    )));
                }
            }
        }
        for flag in self.flags {
            let variable = format!("NESOS_{}", flag.name.to_ascii_uppercase());
            if let Some(value) = environment(&variable) {
                let value = value
                    .into_string()
                    .map_err(|_| Stop::Usage(format!("{variable} is not UTF-8 text")))?;
                values
                    .set(flag, &value, Origin::Environment)
                    .map_err(|e| Stop::Usage(format!("{variable}: {e}")))?;
            }
            if let Some(value) = flag.default {
                values
                    .set(flag, value, Origin::Default)
                    .map_err(Stop::Usage)?;
            }
        }
        Ok(values)
    }

    fn find(&self, name: &str) -> Option<&'static Flag> {
        self.flags.iter().find(|flag| flag.name == name)
    }

    fn unknown(&self, name: &str) -> Stop {
        let near = self
            .flags
            .iter()
            .map(|f| (text::distance(name, f.name), f.name))
            .min();
        Stop::Usage(match near {
            Some((distance, near)) if distance <= 2 + near.len() / 6 => {
                format!("unknown flag '--{name}', did you mean '--{near}'?")
            }
            _ => format!(
                "unknown flag '--{name}'; '{} --help' lists them",
                self.program
            ),
        })
    }

    fn help(&self) -> String {
        let mut out = format!(
            "{} {}: {}\n\nUsage: {} [--flag=value ...]\nEach flag may also be given as environment variable NESOS_<FLAG>.\n\nFlags:\n",
            self.program, self.version, self.about, self.program
        );
        for flag in self.flags {
            let head = match flag.kind {
                Kind::Bool => format!("  --[no-]{}", flag.name),
                kind => format!("  --{}={}", flag.name, text::placeholder(kind)),
            };
            let default = flag.default.map(|d| format!(" [{d}]")).unwrap_or_default();
            out.push_str(&format!("{head}\n        {}{default}\n", flag.help));
        }
        out.push_str("  --help, --version\n");
        out
    }
}

impl Stop {
    /// Prints and ends the process.
    pub fn exit(&self, program: &str) -> ! {
        use std::io::Write;
        match self {
            // A closed pipe is no reason to fail: the reader has seen enough.
            Self::Answer(text) => drop(std::io::stdout().write_all(text.as_bytes())),
            Self::Usage(text) => drop(writeln!(std::io::stderr(), "{program}: {text}")),
        }
        std::process::exit(if matches!(self, Self::Answer(_)) {
            0
        } else {
            2
        })
    }
}

impl Values {
    /// A file's value: counts unless command line or environment gave one. `Err` names flag and expectation.
    pub fn fill(&mut self, name: &str, value: &str) -> Result<(), String> {
        let flag = self
            .table
            .find(name)
            .ok_or_else(|| format!("there is no flag '{name}'"))?;
        self.set(flag, value, Origin::File)
    }

    /// The value as text; for [`Kind::Text`], [`Kind::Path`], [`Kind::Choice`].
    pub fn text(&self, name: &str) -> Option<&str> {
        debug_assert!(
            self.table.find(name).is_some(),
            "flag {name} is not in the table"
        );
        self.values.get(name).map(|(value, _)| value.as_str())
    }

    /// The value of a flag that has a default; empty text if the table has none.
    pub fn text_or_empty(&self, name: &str) -> &str {
        self.text(name).unwrap_or_default()
    }

    /// The value of a [`Kind::Path`].
    pub fn path(&self, name: &str) -> Option<std::path::PathBuf> {
        self.text(name).map(Into::into)
    }

    /// Whether a [`Kind::Bool`] is on.
    pub fn is_on(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    /// The value of a [`Kind::Number`].
    pub fn number(&self, name: &str) -> Option<u64> {
        self.text(name).and_then(|text| text.parse().ok())
    }

    /// The value of a [`Kind::Duration`].
    pub fn duration(&self, name: &str) -> Option<Duration> {
        self.text(name).and_then(parse_duration)
    }

    /// Whether somebody gave the value, rather than its default counting.
    pub fn is_given(&self, name: &str) -> bool {
        self.values
            .get(name)
            .is_some_and(|(_, origin)| *origin > Origin::Default)
    }

    /// Every flag that has a value, for `/flags` and `/state`.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.values
            .iter()
            .map(|(name, (value, _))| (*name, value.as_str()))
    }

    fn argument(&mut self, name: &str, parser: &mut lexopt::Parser) -> Result<(), Stop> {
        let usage = |text: String| Stop::Usage(format!("--{name}: {text}"));
        let table = self.table;
        let (flag, value) = match (
            table.find(name),
            name.strip_prefix("no_").and_then(|n| table.find(n)),
        ) {
            (Some(flag), _) if flag.kind == Kind::Bool => (
                flag,
                parser.optional_value().unwrap_or_else(|| "true".into()),
            ),
            (Some(flag), _) => (
                flag,
                parser
                    .value()
                    .map_err(|_| usage("a value is missing".into()))?,
            ),
            (None, Some(flag)) if flag.kind == Kind::Bool => (flag, "false".into()),
            _ => return Err(table.unknown(name)),
        };
        if self.values.contains_key(flag.name) {
            return Err(usage("given twice".into()));
        }
        let value = value
            .into_string()
            .map_err(|_| usage("the value is not UTF-8 text".into()))?;
        self.set(flag, &value, Origin::CommandLine).map_err(usage)
    }

    fn set(&mut self, flag: &'static Flag, value: &str, origin: Origin) -> Result<(), String> {
        if self
            .values
            .get(flag.name)
            .is_some_and(|(_, have)| *have >= origin)
        {
            return Ok(());
        }
        let value = text::check(flag.kind, value)?;
        self.values.insert(flag.name, (value, origin));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
