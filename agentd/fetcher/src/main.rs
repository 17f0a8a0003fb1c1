//! `nesos-fetcher copy|unpack|layer`: one step of bringing files into a sandbox, as a process that can do nothing else.
//!
//! A filter: `copy` writes a local file to its standard output, `unpack` unpacks the archive on its standard input into its
//! working directory and says how many bytes that took; `layer` does the same with a layer of a container image. Started by
//! `agentd`, which opens the files; says on standard error why it fails. Invariant: before the first byte of a stranger is
//! read, the process has become the task's user (not for layers, whose files have many owners), sees no directory but the
//! target (if it was root), has no capabilities but those that owners need, and bounds on files, memory and time.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lexopt::{Arg, Parser, ValueExt};
use nesos_fetcher::{Budget, Disk, Format, unpack, unpack_layer};
use nesos_sys::confine::{Confinement, Identity, capability, working_directory};
use nesos_sys::tree::{Links, Tree};

/// Exit code for a wrong command line.
const USAGE: u8 = 2;
/// The largest dictionaries, and as much again.
const MEMORY: u64 = 384 * 1024 * 1024;
/// Seconds of processor time: agentd gives up after as many by the clock.
const CPU: u64 = 600;

const HELP: &str = "usage: nesos-fetcher copy --max-bytes N [--user UID:GID,…] PATH > FILE
       nesos-fetcher unpack --format FORMAT --max-bytes N [--user UID:GID,…] [--name NAME] < ARCHIVE
       nesos-fetcher layer --sha256 DIGITS --max-bytes N < LAYER";

/// The command line.
#[derive(Debug, Default)]
struct Order {
    verb: String,
    path: Option<PathBuf>,
    format: Option<Format>,
    name: Option<PathBuf>,
    sha256: Option<[u8; 32]>,
    user: Option<Identity>,
    max_bytes: u64,
}

fn main() -> ExitCode {
    let order = match parse() {
        Ok(order) => order,
        Err(error) => {
            eprintln!("{error}\n{HELP}");
            return ExitCode::from(USAGE);
        }
    };
    match run(order) {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("{sentence}");
            ExitCode::FAILURE
        }
    }
}

fn run(order: Order) -> Result<(), String> {
    match (order.verb.as_str(), &order.path, order.format) {
        ("copy", Some(path), _) => copy(&order, path),
        ("unpack", _, Some(format)) => unpack_here(&order, format),
        ("layer", ..) => layer_here(&order),
        _ => Err(HELP.into()),
    }
}

fn copy(order: &Order, path: &Path) -> Result<(), String> {
    confine(order, &[capability::DAC_READ_SEARCH], false)?;
    let said = |error: io::Error| error.to_string();
    // Not blocking: a pipe without a writer would be waited for.
    let mut options = File::options();
    let options = options.read(true).custom_flags(nesos_sys::fs::NONBLOCK);
    let source = options.open(path).map_err(said)?;
    let metadata = source.metadata().map_err(said)?;
    if !metadata.is_file() {
        return Err("it is not a regular file".into());
    }
    let too_large = || {
        format!(
            "it is larger than the {} bytes there is room for",
            order.max_bytes
        )
    };
    if metadata.len() > order.max_bytes {
        return Err(too_large());
    }
    let target = io::stdout().as_fd().try_clone_to_owned().map_err(said)?;
    let mut source = source.take(order.max_bytes + 1);
    let copied = io::copy(&mut source, &mut File::from(target)).map_err(said)?;
    if copied > order.max_bytes {
        return Err(too_large());
    }
    Ok(())
}

fn unpack_here(order: &Order, format: Format) -> Result<(), String> {
    let root = confine(order, &[], true)?;
    let archive = io::stdin().as_fd().try_clone_to_owned();
    let archive = File::from(archive.map_err(|error| error.to_string())?);
    let mut sink = Disk::new(Tree::new(root, Links::Beneath), false);
    let mut budget = Budget::new(order.max_bytes);
    unpack(
        format,
        archive,
        order.name.as_deref(),
        &mut sink,
        &mut budget,
    )
    .map_err(|error| error.to_string())?;
    println!("{}", budget.used());
    Ok(())
}

fn layer_here(order: &Order) -> Result<(), String> {
    let sha256 = order.sha256.as_ref().ok_or(HELP)?;
    let capabilities = [
        capability::CHOWN,
        capability::DAC_OVERRIDE,
        capability::FOWNER,
        capability::FSETID,
        capability::MKNOD,
        capability::SETFCAP,
    ];
    let root = confine(order, &capabilities, true)?;
    let layer = io::stdin().as_fd().try_clone_to_owned();
    let layer = File::from(layer.map_err(|error| error.to_string())?);
    let mut disk = Disk::new(Tree::new(root, Links::InRoot), true);
    let mut budget = Budget::new(order.max_bytes);
    unpack_layer(layer, sha256, &mut disk, &mut budget).map_err(|error| error.to_string())?;
    println!("{}", budget.used());
    Ok(())
}

fn confine(
    order: &Order,
    capabilities: &[u32],
    inside: bool,
) -> Result<std::os::fd::OwnedFd, String> {
    let directory = working_directory().map_err(|error| error.to_string())?;
    let confinement = Confinement {
        root: inside.then_some(&directory),
        identity: order.user.as_ref(),
        capabilities,
        // One more, so that the look whether a file ends at the limit is not an offence.
        file_size: order.max_bytes.saturating_add(1),
        memory: MEMORY,
        cpu: CPU,
    };
    confinement.enter().map_err(|error| error.to_string())?;
    Ok(directory)
}

fn parse() -> Result<Order, lexopt::Error> {
    let mut order = Order::default();
    let mut parser = Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("max-bytes") => order.max_bytes = parser.value()?.parse()?,
            Arg::Long("user") => order.user = Some(parser.value()?.parse_with(identity)?),
            Arg::Long("name") => order.name = Some(parser.value()?.into()),
            Arg::Long("format") => {
                let known = |name: &str| Format::parse(name).ok_or("no such format");
                order.format = Some(parser.value()?.parse_with(known)?);
            }
            Arg::Long("sha256") => order.sha256 = Some(parser.value()?.parse_with(sha256)?),
            Arg::Value(verb) if order.verb.is_empty() => order.verb = verb.string()?,
            Arg::Value(path) if order.path.is_none() => order.path = Some(path.into()),
            other => return Err(other.unexpected()),
        }
    }
    Ok(order)
}

/// 64 hexadecimal digits.
fn sha256(text: &str) -> Result<[u8; 32], &'static str> {
    let wrong = "expected 64 hexadecimal digits";
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong);
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        let pair = text.get(2 * at..2 * at + 2).ok_or(wrong)?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong)?;
    }
    Ok(bytes)
}

/// `UID:GID[,GID…]`
fn identity(text: &str) -> Result<Identity, String> {
    let wrong = || format!("expected UID:GID,… and found '{text}'");
    let (uid, groups) = text.split_once(':').ok_or_else(wrong)?;
    let groups: Vec<u32> = groups
        .split(',')
        .map(str::parse)
        .collect::<Result<_, _>>()
        .map_err(|_| wrong())?;
    Ok(Identity {
        uid: uid.parse().map_err(|_| wrong())?,
        gid: *groups.first().ok_or_else(wrong)?,
        groups,
    })
}
