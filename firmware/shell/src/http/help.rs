//! `/help`: what can be asked of a daemon.
//!
//! Called by the routers of masterd and agentd, each with its own list; tests there hold list and routes together. In Mesos
//! this comes from libprocess, whose actors have names: `/help/ACTOR/ENDPOINT` is one endpoint's part.

use serde_json::json;

use super::Refusal;
use super::query::Query;

/// Paths, each with a sentence.
pub type Endpoints = [(&'static str, &'static str)];

/// What `/help…` answers: the media type and the text. `?format=json` gives JSON.
pub fn help(
    actor: &str,
    endpoints: &Endpoints,
    path: &str,
    query: &Query,
) -> Result<(&'static str, String), Refusal> {
    let wanted = path.strip_prefix("/help").unwrap_or_default();
    let wanted = wanted.strip_prefix(actor).unwrap_or(wanted);
    let shown = endpoints.iter();
    let shown = shown.filter(|(name, _)| wanted.is_empty() || *name == wanted);
    let shown: Vec<_> = shown.collect();
    if shown.is_empty() {
        return Err(Refusal::not_found(format!(
            "No help available for '{wanted}'. /help lists what there is."
        )));
    }
    if query.get("format") == Some("json") {
        let bare = |text: &str| text.trim_start_matches('/').to_owned();
        let endpoint = |(name, text): &&(&str, &str)| json!({"name": bare(name), "text": text});
        let endpoints: Vec<_> = shown.iter().map(endpoint).collect();
        let all = json!({"processes": [{"id": bare(actor), "endpoints": endpoints}]});
        return Ok(("application/json", all.to_string()));
    }
    let line = |(name, text): &&(&str, &str)| format!("{name}\n    {text}\n");
    Ok((
        "text/plain; charset=utf-8",
        shown.iter().map(line).collect(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &Endpoints = &[("/help", "This."), ("/state", "All.")];

    fn told(path: &str, query: &str) -> Option<String> {
        let told = help("/master", LIST, path, &Query::parse(query));
        told.ok().map(|(_, text)| text)
    }

    #[test]
    fn all_endpoints_are_listed_or_one() {
        let one = || Some("/state\n    All.\n".to_owned());
        assert_eq!(told("/help/master/state", ""), one());
        assert_eq!(told("/help/state", ""), one());
        let all = Some("/help\n    This.\n/state\n    All.\n".to_owned());
        assert_eq!(told("/help", ""), all);
        assert_eq!(told("/help/master", ""), all);
        assert_eq!(told("/help/nothing", ""), None);
        let json =
            r#"{"processes":[{"endpoints":[{"name":"state","text":"All."}],"id":"master"}]}"#;
        assert_eq!(told("/help/state", "format=json"), Some(json.to_owned()));
    }
}
