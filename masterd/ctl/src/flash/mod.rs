//! `nesos flash`: an image onto a card, or onto a shelf of cards one after another.
//!
//! Which disks may be written and the writing are `nesos_image::flash`'s; what stands in `cluster.toml` is `cards`'. Called by
//! `main`. Invariant: nothing is written before the person has seen what it is written to and has agreed, or said `--yes`.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use nesos_image::flash::{self, ChooseError, DisksError, FlashError, Source, Target};
use nesos_image::{CLUSTER_FILE, PersonaliseError};
use serde_json::json;

use crate::args::{FlashArgs, Output};
use crate::failure::Failure;
use crate::output;

mod ask;
mod cards;

use cards::{Card, CardError, Cards, Wishes};

/// Largest file of `--config` or `--ssh-key`.
const FILE_MAX: usize = nesos_base::cluster_config::MAX_FILE;
/// Where a Wi-Fi password may come from, for scripts.
const PASSWORD: &str = "NESOS_WIFI_PASSWORD";

/// Why no card was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FlashCommandError {
    /// A file that was named on the command line.
    #[error("read {path}: {reason}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// What was named is neither a disk nor a file.
    #[error("{0} is neither a disk nor a plain file")]
    Kind(PathBuf),
    /// Files of several cards need several names.
    #[error("{0}: the name of {1} files needs {{}} for their numbers")]
    Names(PathBuf, u16),
    /// The disks of this machine.
    #[error(transparent)]
    Disks(#[from] DisksError),
    /// Which disk.
    #[error(transparent)]
    Choose(#[from] ChooseError),
    /// Writing.
    #[error(transparent)]
    Flash(#[from] FlashError),
    /// The configuration.
    #[error(transparent)]
    Card(#[from] CardError),
    /// Writing the configuration.
    #[error(transparent)]
    Personalise(#[from] PersonaliseError),
    /// The configuration that is read back is another one.
    #[error("{CLUSTER_FILE} on {0} is not what was written: the card is worn out")]
    Forgot(PathBuf),
    /// The image is not the one that its manifest tells of.
    #[error(
        "{image} is damaged: its SHA-256 is {found}, its manifest says {expected}. What was written to {target} is of no use"
    )]
    Damaged {
        /// The image.
        image: PathBuf,
        /// What it was written to.
        target: PathBuf,
        /// Digest of what was read.
        found: String,
        /// Digest of the manifest.
        expected: String,
    },
    /// The person said no.
    #[error("nothing was written")]
    Declined,
    /// Nobody can be asked.
    #[error("nobody is there to ask: say --yes to write over {0}")]
    Unasked(String),
    /// The question cannot be asked.
    #[error("ask on the terminal: {0}")]
    Ask(#[source] io::Error),
}

/// `nesos flash`.
pub(crate) fn flash(args: &FlashArgs, output: Output) -> Result<(), Failure> {
    if args.list {
        return list(output);
    }
    let image = args.image.clone().unwrap_or_default();
    let image = crate::image::locate(&image);
    let cards = Cards::new(wishes(args)?, nesos_shell::tls::generate_cluster_key).map_err(error)?;
    // All of them before the first is written: a wrong name of the last would come after an hour.
    let last = args.first + (args.count - 1);
    let all: Vec<Card> = (args.first..=last)
        .map(|number| cards.card(number))
        .collect::<Result<_, _>>()
        .map_err(error)?;
    let mut previous = None;
    for (number, card) in (args.first..=last).zip(&all) {
        let target = place(args, number)?;
        if args.count > 1 && target.is_disk() {
            next_card(args, &target, number, last, card, previous.as_ref())?;
        }
        let done = one(args, &image, &target, card)?;
        report(number, &done, output)?;
        previous = Some(done);
    }
    if let Some(token) = cards.token().map_err(error)? {
        match output {
            Output::Json => output::json(&json!({"token": token}))?,
            Output::Table => output::line(&format!(
                "join token of the new cluster, for more cards: {token}"
            ))?,
        }
    }
    Ok(())
}

/// What is written to.
enum Place {
    /// A disk, or the only one there is.
    Disk(Option<PathBuf>),
    File(PathBuf),
}

impl Place {
    fn is_disk(&self) -> bool {
        matches!(self, Self::Disk(_))
    }
}

fn place(args: &FlashArgs, number: u16) -> Result<Place, FlashCommandError> {
    let Some(path) = &args.disk else {
        return Ok(Place::Disk(None));
    };
    match fs::metadata(path) {
        Ok(facts) if facts.file_type().is_block_device() => {
            // Links such as those of /dev/disk/by-id are followed: the kernel's name counts.
            let path = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            return Ok(Place::Disk(Some(path)));
        }
        Ok(facts) if !facts.is_file() => return Err(FlashCommandError::Kind(path.clone())),
        // A name of /dev that is not there is a mistake, not a wish for a file in memory.
        Err(_) if path.starts_with("/dev") => return Ok(Place::Disk(Some(path.clone()))),
        _ => {}
    }
    let name = path.to_string_lossy();
    if args.count > 1 && !name.contains("{}") {
        return Err(FlashCommandError::Names(path.clone(), args.count));
    }
    Ok(Place::File(PathBuf::from(
        name.replace("{}", &number.to_string()),
    )))
}

/// What was done.
struct Done {
    path: PathBuf,
    name: Option<String>,
    written: flash::Written,
    seconds: f64,
    ejected: bool,
}

fn one(
    args: &FlashArgs,
    image: &Path,
    place: &Place,
    card: &Card,
) -> Result<Done, FlashCommandError> {
    let mut source = Source::open(image).map_err(FlashError::from)?;
    let (path, target) = match place {
        Place::File(path) => {
            let there = fs::metadata(path).is_ok_and(|facts| facts.len() > 0);
            if there && !args.yes {
                ask::agree(&format!("Write over the file {}?", path.display()))?;
            }
            (path.clone(), Target::file(path)?)
        }
        Place::Disk(asked) => {
            let disks = flash::disks(Path::new("/"))?;
            let choice = flash::choose(&disks, asked.as_deref(), args.force, source.length())?;
            for forced in &choice.forced {
                eprintln!(
                    "nesos: writing to {} though {forced}",
                    choice.disk.describe()
                );
            }
            if !args.yes {
                let what = choice.disk.describe();
                ask::agree(&format!("Write to {what}? All that is on it will be lost."))?;
            }
            let path = choice.disk.path.clone();
            let target = Target::disk(&path, !choice.forced.is_empty())?;
            (path, target)
        }
    };
    let started = Instant::now();
    let length = source.length();
    let mut bar = ask::Bar::new("writing", length);
    let written = flash::write(&mut source, &target, &mut |at| bar.at(at))?;
    let mut bar = ask::Bar::new("reading back", length);
    flash::verify(&target, &written, &mut |at| bar.at(at))?;
    drop(bar);
    check_manifest(image, &path, &written.sha256)?;
    if let Some(toml) = &card.toml {
        nesos_image::personalise(&path, toml.as_bytes())?;
        target.flush()?;
        if flash::read_file(&path, CLUSTER_FILE)?.as_deref() != Some(toml.as_bytes()) {
            return Err(FlashCommandError::Forgot(path));
        }
    }
    drop(target);
    Ok(Done {
        ejected: place.is_disk() && args.count == 1 && !args.no_eject && eject(&path),
        path,
        name: card.name.clone(),
        written,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// Compares with the manifest that the image builder writes beside its images, if there is one.
fn check_manifest(image: &Path, target: &Path, found: &str) -> Result<(), FlashCommandError> {
    match crate::image::digest_of(image) {
        Some(expected) if expected != found => Err(FlashCommandError::Damaged {
            image: image.to_owned(),
            target: target.to_owned(),
            found: found.to_owned(),
            expected,
        }),
        _ => Ok(()),
    }
}

/// Asks for the next card of a shelf, and again if the last one is still in.
fn next_card(
    args: &FlashArgs,
    place: &Place,
    number: u16,
    last: u16,
    card: &Card,
    previous: Option<&Done>,
) -> Result<(), FlashCommandError> {
    let (Some(previous), false) = (previous, args.yes && args.count == 1) else {
        return Ok(());
    };
    let Place::Disk(_) = place else { return Ok(()) };
    let name = card.name.as_deref().unwrap_or("unnamed");
    loop {
        ask::wait(&format!(
            "Card {number} of {last} ({name}): put it in and press Enter; q ends"
        ))?;
        let held = flash::read_file(&previous.path, CLUSTER_FILE)
            .ok()
            .flatten();
        let held =
            held.and_then(|bytes| nesos_base::cluster_config::ClusterConfig::parse(&bytes).ok());
        match held.and_then(|config| config.name) {
            Some(held) if Some(&held) == previous.name.as_ref() => {
                eprintln!("nesos: this is still the card of {held}");
            }
            _ => return Ok(()),
        }
    }
}

/// Asks the system's `eject`, where there is one. The data is on the card already, whatever it says.
fn eject(path: &Path) -> bool {
    let status = Command::new("eject")
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

fn report(number: u16, done: &Done, output: Output) -> Result<(), Failure> {
    let Done {
        path,
        name,
        written,
        seconds,
        ejected,
    } = done;
    match output {
        Output::Json => output::json(&json!({
            "number": number, "name": name, "target": path, "bytes": written.bytes, "written": written.changed,
            "sha256": written.sha256, "verified": true, "ejected": ejected, "seconds": seconds,
        })),
        Output::Table => {
            let who = name
                .as_deref()
                .map(|name| format!(" for {name}"))
                .unwrap_or_default();
            let out = if *ejected {
                "; it may be taken out"
            } else {
                ""
            };
            output::line(&format!(
                "{}: {:.0} MB written and read back in {seconds:.0} s{who}{out}",
                path.display(),
                written.bytes as f64 / 1e6,
            ))
        }
    }
}

fn list(output: Output) -> Result<(), Failure> {
    let disks = flash::disks(Path::new("/")).map_err(FlashCommandError::from)?;
    let reasons = |disk: &flash::Disk| -> Vec<String> {
        disk.refusals(0).iter().map(ToString::to_string).collect()
    };
    if output == Output::Json {
        for disk in &disks {
            output::json(&json!({
                "disk": disk.path, "model": disk.model, "bytes": disk.bytes, "removable": disk.removable,
                "bus": format!("{:?}", disk.bus).to_lowercase(), "refusals": reasons(disk),
            }))?;
        }
        return Ok(());
    }
    let rows: Vec<Vec<String>> = disks
        .iter()
        .map(|disk| {
            let against = reasons(disk).join("; ");
            let size = format!("{:.1} GB", disk.bytes as f64 / 1e9);
            vec![
                disk.path.display().to_string(),
                disk.model.clone(),
                size,
                against,
            ]
        })
        .collect();
    output::table(&["DISK", "MODEL", "SIZE", "NOT WRITTEN SINCE"], &rows)
}

fn wishes(args: &FlashArgs) -> Result<Wishes, FlashCommandError> {
    let config = args
        .config
        .as_deref()
        .map(read)
        .transpose()?
        .unwrap_or_default();
    let mut ssh_keys = Vec::new();
    for path in &args.ssh_key {
        let text = read(path)?;
        let lines = text.lines().map(str::trim);
        ssh_keys.extend(
            lines
                .filter(|l| !l.is_empty() && !l.starts_with('#'))
                .map(str::to_owned),
        );
    }
    let wifi = match &args.wifi {
        None => None,
        Some(ssid) => {
            let password = match std::env::var(PASSWORD) {
                Ok(password) => password,
                Err(_) => ask::password(&format!("Password of {ssid} (none: an open network): "))?,
            };
            let key = match password.len() {
                0 => None,
                // What is too short or too long the board's parser refuses, by name.
                8..=63 => Some(cards::wifi_key(ssid, &password)),
                _ => Some(password),
            };
            Some((ssid.clone(), key))
        }
    };
    Ok(Wishes {
        config,
        name: args.name.clone(),
        cluster: args.cluster.clone(),
        token: args.token.clone(),
        role: args.role.map(crate::args::CardRole::name),
        wifi,
        ssh_keys,
        count: args.count,
        masters: args.masters,
    })
}

fn read(path: &Path) -> Result<String, FlashCommandError> {
    let failed = |reason: String| FlashCommandError::Read {
        path: path.to_owned(),
        reason,
    };
    let length = fs::metadata(path).map_err(|e| failed(e.to_string()))?.len();
    if length > FILE_MAX as u64 {
        return Err(failed(format!(
            "it has {length} bytes, at most {FILE_MAX} are allowed"
        )));
    }
    fs::read_to_string(path).map_err(|e| failed(e.to_string()))
}

fn error(error: CardError) -> FlashCommandError {
    error.into()
}
