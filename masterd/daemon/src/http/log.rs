//! `/files/browse|read|download|debug`, LIST_FILES and READ_FILE: the master has one file, its log.
//!
//! Called by the router and the operator API. The log is the newest lines, from memory: see [`nesos_shell::log::recent`].

use hyper::header::{CONTENT_DISPOSITION, X_CONTENT_TYPE_OPTIONS};
use hyper::{Response, StatusCode};
use nesos_shell::http::Refusal;
use nesos_shell::http::files::{self, Part, Piece};
use nesos_shell::log::recent;

use super::answer::{self, Body};
use super::query::Query;

/// Where the log is found.
const LOG: &str = "/master/log";

/// Answers `/files/<what>?path=`.
pub(super) fn handle(what: &str, query: &Query) -> Response<Body> {
    let answered = match what {
        "browse" => files::path(query).and_then(browse),
        "read" => files::path(query).and_then(|path| {
            let part = Part::of(query)?;
            Ok(answer::json(read(path, part)?.to_json(part)))
        }),
        "download" => files::path(query).and_then(download),
        "debug" => Ok(answer::json(format!("{{\"{LOG}\":\"memory\"}}"))),
        _ => Err(Refusal::not_found(
            "There are /files/browse, /files/read, /files/download and /files/debug.",
        )),
    };
    answered.unwrap_or_else(answer::refusal)
}

/// Part of a file.
pub(super) fn read(path: &str, part: Part) -> Result<Piece, Refusal> {
    check(path)?;
    Ok(Piece::of_log(part))
}

/// Nothing is listed below a file that is no directory, as in Mesos.
pub(super) fn check(path: &str) -> Result<(), Refusal> {
    (path == LOG).then_some(()).ok_or_else(files::missing)
}

fn browse(path: &str) -> Result<Response<Body>, Refusal> {
    check(path)?;
    Ok(answer::json(b"[]".to_vec()))
}

fn download(path: &str) -> Result<Response<Body>, Refusal> {
    check(path)?;
    let (_, bytes) = recent::read(0, recent::MAX);
    let response = answer::answer(StatusCode::OK, "application/octet-stream", bytes);
    let response = answer::header(response, X_CONTENT_TYPE_OPTIONS, "nosniff");
    let name = "attachment; filename=log";
    Ok(answer::header(response, CONTENT_DISPOSITION, name))
}
