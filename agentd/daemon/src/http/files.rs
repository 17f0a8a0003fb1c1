//! `/files/browse|read|download|debug`, and what LIST_FILES and READ_FILE need of it.
//!
//! Called by the router and the operator API. Which files there are is said by `roots`.

use hyper::header::{CONTENT_DISPOSITION, X_CONTENT_TYPE_OPTIONS};
use hyper::{Response, StatusCode};
use nesos_shell::http::Refusal;
use nesos_shell::http::files::{self, Entry, Part, Piece};
use nesos_shell::http::query::Query;
use nesos_shell::log::recent;

use super::answer::{self, Body};
use crate::roots::{LOG, Place};
use crate::view::View;

/// Answers `/files<what>?path=`.
pub(super) fn handle(view: &View, what: &str, query: &Query) -> Result<Response<Body>, Refusal> {
    match what {
        "/browse" => Ok(answer::json(&list(view, files::path(query)?)?)),
        "/read" => {
            let part = Part::of(query)?;
            let piece = read(view, files::path(query)?, part)?;
            Ok(answer::json_bytes(piece.to_json(part)))
        }
        "/download" => download(view, files::path(query)?),
        "/debug" => Ok(answer::json(&view.roots())),
        _ => Err(Refusal::not_found(
            "There are /files/browse, /files/read, /files/download and /files/debug.",
        )),
    }
}

/// The entries of a directory.
pub(super) fn list(view: &View, path: &str) -> Result<Vec<Entry>, Refusal> {
    Place::find(&view.settings.work_dir, path)?.list(path)
}

/// Part of a file.
pub(super) fn read(view: &View, path: &str, part: Part) -> Result<Piece, Refusal> {
    Place::find(&view.settings.work_dir, path)?.read(part)
}

fn download(view: &View, path: &str) -> Result<Response<Body>, Refusal> {
    const MEDIA_TYPE: &str = "application/octet-stream";
    let response = match Place::find(&view.settings.work_dir, path)? {
        Place::Log => {
            let (_, bytes) = recent::read(0, recent::MAX);
            answer::answer(StatusCode::OK, MEDIA_TYPE, bytes)
        }
        place => {
            let file = place.open()?;
            let size = file.metadata().map_or(0, |metadata| metadata.len());
            let body = Body::File {
                file,
                offset: 0,
                size,
            };
            answer::with_body(StatusCode::OK, MEDIA_TYPE, body)
        }
    };
    // What a task wrote must not become a page of the agent's, nor its name a header.
    let response = answer::header(response, X_CONTENT_TYPE_OPTIONS, "nosniff");
    let name = path.rsplit('/').next().unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    let name: String = name
        .chars()
        .map(|c| if is_plain(c) { c } else { '_' })
        .collect();
    let disposition = format!("attachment; filename={name}");
    Ok(answer::header(response, CONTENT_DISPOSITION, &disposition))
}

impl View {
    /// `/files/debug`: what stands where.
    fn roots(&self) -> std::collections::BTreeMap<String, String> {
        let mut roots = self.sandboxes();
        roots.insert(LOG.into(), "memory".into());
        roots
    }
}
