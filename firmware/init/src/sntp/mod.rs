//! The wall clock's upper rungs: what was saved on the data partition at the last ending, and what time servers say.
//!
//! The lower ones, the time of the image's build and a real-time clock, are `boot`'s. Called by `boot` (a phase, then a task for ever) and
//! `shutdown`. Nothing waits for the clock: certificates are checked at a fixed date. Invariant: the clock is never set to before the
//! image's build, and a server that does not answer costs a question an hour.

mod message;

use crate::board::{Board, Configuration, DATA};
use crate::phase::Outcome;
use crate::runtime::{Either, Watched, either};
use embassy_time::{Duration, Timer};
use nesos_sys::clock;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::rc::Rc;

/// Where the time is saved: seconds since 1970, and a newline that says that the line is whole.
const SAVED: &str = "/data/.clock";
/// Where name servers are listed.
const RESOLV_CONF: &str = "/run/resolv.conf";
const NTP_PORT: u16 = 123;
const DNS_PORT: u16 = 53;
/// How long an answer is waited for.
const ANSWER: Duration = Duration::from_secs(2);
/// Between two questions when the last one was answered: crystals are wrong by a second or so in that time at most.
const EVERY: Duration = Duration::from_secs(6 * 3600);
/// After the first failure; doubled up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_secs(8);
const PAUSE_MAX: Duration = Duration::from_secs(3600);
/// Differences that are left alone: answers are on their way for some of that time.
const DRIFT: u64 = 1;

/// The image's build time in seconds since 1970: no board's clock can rightly be before it.
pub(crate) fn build_time() -> u64 {
    // 2026-01-01 for builds that were not told the time, such as tests.
    option_env!("SOURCE_DATE_EPOCH")
        .and_then(|text| text.parse().ok())
        .unwrap_or(1_767_225_600)
}

/// The phase: goes on where the last ending left the clock, if that is later than what it shows.
pub(crate) fn restore() -> Outcome {
    let Some(saved) = read_saved() else {
        return Outcome::Done("nothing saved".to_owned());
    };
    if saved <= clock::wall_seconds() {
        return Outcome::Done("the clock is ahead of what was saved".to_owned());
    }
    match clock::set_wall_seconds(saved) {
        Ok(()) => Outcome::Done(format!("{saved} as saved")),
        Err(errno) => Outcome::Degraded(format!("set the clock: {errno}")),
    }
}

/// Saves the time, for the next start. Called where the board writes anyway: at its ending, and when a server has said the time.
pub(crate) fn save() {
    if !fs::exists(DATA).unwrap_or(false) {
        return;
    }
    // A clock that goes back to what was saved before is no reason not to end.
    let _ = File::create(SAVED).and_then(|mut file| {
        file.write_all(format!("{}\n", clock::wall_seconds()).as_bytes())?;
        file.sync_all()
    });
}

fn read_saved() -> Option<u64> {
    let mut text = String::new();
    File::open(SAVED)
        .ok()?
        .take(32)
        .read_to_string(&mut text)
        .ok()?;
    parse_saved(&text, build_time())
}

fn parse_saved(text: &str, floor: u64) -> Option<u64> {
    let seconds = text.strip_suffix('\n')?.parse().ok()?;
    message::is_plausible(seconds, floor).then_some(seconds)
}

/// Asks the servers of cluster.toml for the time, for ever; ends at once where there are none.
pub(crate) async fn keep(board: Rc<Board>) {
    let servers = match &*board.configuration.borrow() {
        Configuration::Read(config) => config.ntp.clone(),
        _ => Vec::new(),
    };
    if servers.is_empty() {
        return;
    }
    let (mut pause, mut complained) = (PAUSE, false);
    loop {
        while board.network.borrow().is_none() {
            board.network_changed.heard().await;
        }
        let mut reasons = Vec::new();
        let mut answered = false;
        for server in &servers {
            match ask(server).await {
                Ok(time) => {
                    set(&board, server, time);
                    answered = true;
                    break;
                }
                Err(reason) => reasons.push(format!("{server}: {reason}")),
            }
        }
        if answered {
            (pause, complained) = (PAUSE, false);
            Timer::after(EVERY).await;
            continue;
        }
        if !complained {
            board.say(
                "clock",
                &format!("no time server answers, asking on: {}", reasons.join("; ")),
            );
            complained = true;
        }
        Timer::after(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

fn set(board: &Board, server: &str, time: u64) {
    let now = clock::wall_seconds();
    if now.abs_diff(time) <= DRIFT {
        return;
    }
    match clock::set_wall_seconds(time) {
        Ok(()) => {
            board.say("clock", &format!("{time} from {server}, was {now}"));
            save();
        }
        Err(errno) => board.say("clock", &format!("set the clock: {errno}")),
    }
}

async fn ask(server: &str) -> Result<u64, String> {
    let address = match server.parse() {
        Ok(address) => address,
        Err(_) => resolve(server).await?,
    };
    let nonce = drawn().map_err(|e| format!("draw a number: {e}"))?;
    let answer = exchange(address, NTP_PORT, &message::question(nonce)).await?;
    message::time(&answer, nonce, build_time())
        .ok_or_else(|| "an answer that is no time of today".to_owned())
}

async fn resolve(name: &str) -> Result<Ipv4Addr, String> {
    let text = fs::read_to_string(RESOLV_CONF).unwrap_or_default();
    let first = text
        .lines()
        .find_map(|line| line.strip_prefix("nameserver ")?.trim().parse().ok());
    let server = first.ok_or("no name server is known")?;
    let [high, low, ..] = drawn().map_err(|e| format!("draw a number: {e}"))?;
    let question =
        message::dns_question(name, u16::from_be_bytes([high, low])).ok_or("not a host's name")?;
    let answer = exchange(server, DNS_PORT, &question).await?;
    message::dns_address(&answer, &question).ok_or_else(|| "no such name".to_owned())
}

/// Sends and waits for one answer from the same address.
async fn exchange(address: Ipv4Addr, port: u16, question: &[u8]) -> Result<Vec<u8>, String> {
    let open = || -> io::Result<Watched<UdpSocket>> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.set_nonblocking(true)?;
        socket.connect((address, port))?;
        socket.send(question)?;
        Watched::new(socket)
    };
    let socket = open().map_err(|e| e.to_string())?;
    let receive = async {
        let mut buffer = [0; 512];
        loop {
            socket.readable().await;
            match socket.get().recv(&mut buffer) {
                Ok(count) => return Ok(buffer[..count].to_vec()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Nobody listens there: the kernel has been told so.
                Err(error) => return Err(error.to_string()),
            }
        }
    };
    match either(receive, Timer::after(ANSWER)).await {
        Either::First(answer) => answer,
        Either::Second(()) => Err("no answer".to_owned()),
    }
}

fn drawn() -> io::Result<[u8; 8]> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_time_counts_only_if_it_is_whole_and_possible() {
        let floor = 1_767_225_600;
        assert_eq!(parse_saved("1767225601\n", floor), Some(1_767_225_601));
        for text in [
            "",
            "176722560",
            "1767225599\n",
            "99999999999\n",
            "x\n",
            "-1\n",
            "\0\0\0\n",
        ] {
            assert_eq!(parse_saved(text, floor), None, "{text:?}");
        }
    }
}
