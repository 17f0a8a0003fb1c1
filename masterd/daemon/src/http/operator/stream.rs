//! SUBSCRIBE of the operator API: a stream of RecordIO that begins with everything and goes on with what happens.
//!
//! Called by the dispatcher. Reading is open to all, so the engine bounds how many may watch and how far behind.

use std::sync::Arc;

use hyper::{Response, StatusCode};
use tokio::sync::oneshot;

use super::{Refused, refuse};
use crate::convert::event::Format;
use crate::engine::{self, Input};
use crate::http::answer::{self, Body};
use crate::http::{Context, new_stream};

/// Opens the stream.
pub(super) async fn open(context: &Context, format: Format) -> Result<Response<Body>, Refused> {
    let stream = new_stream().ok_or_else(|| {
        refuse(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The system's random source failed",
        )
    })?;
    let engine = &context.app.engine;
    let control = Arc::clone(&context.control);
    let (sender, mut body) = engine::stream_channel(stream, format, control, engine.clone());
    let (first, state) = oneshot::channel();
    body.begin_with(state);
    let watch = Input::Watch {
        stream,
        sender,
        first,
    };
    if !engine.send(watch).await {
        return Err(Box::new(answer::stopping()));
    }
    let body = Body::stream(body);
    Ok(answer::with_body(StatusCode::OK, format.media_type(), body))
}
