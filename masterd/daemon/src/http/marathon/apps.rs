//! `/v2/apps`: apps listed, shown, put, taken back to an earlier version, started anew, removed.
//!
//! Not their tasks (`tasks`). Called by `mod`.

use hyper::{Method, StatusCode};
use nesos_api::marathon::shown::ShownApp;
use nesos_api::marathon::{App, AppUpdate, id, time};
use nesos_wire::builtin::ServiceVersion;
use serde_json::{Value, json};

use super::change::Changes;
use super::path::Apps;
use super::seen::{self, Seen, SeenService};
use super::view::{self, Embed};
use super::{Answer, Asked, Refused, changed, invalid, no_app, refuse, refused, stopping, tasks};

pub(super) async fn handle(asked: &Asked<'_>, wanted: Apps) -> Answer {
    match (asked.method.as_str(), wanted) {
        ("GET", Apps::All) => list(asked, "apps", "/").await,
        ("GET", Apps::Within(group)) => list(asked, "*", &group).await,
        ("POST", Apps::All) => create(asked).await,
        ("PUT" | "PATCH", Apps::All) => put_all(asked).await,
        (_, Apps::All) => Err(asked.not_allowed("GET, POST, PUT, PATCH")),
        (_, Apps::Within(_)) => Err(asked.not_allowed("GET")),
        ("GET", Apps::App(id)) => show(asked, id).await,
        ("PUT" | "PATCH", Apps::App(id)) => put(asked, id).await,
        ("DELETE", Apps::App(id)) => remove(asked, id).await,
        (_, Apps::App(_)) => Err(asked.not_allowed("GET, PUT, PATCH, DELETE")),
        ("GET", Apps::Versions(id)) => versions(asked, id).await,
        ("GET", Apps::Version(id, version)) => show_version(asked, id, &version).await,
        (_, Apps::Versions(_) | Apps::Version(..)) => Err(asked.not_allowed("GET")),
        ("POST", Apps::Restart(id)) => restart(asked, id).await,
        (_, Apps::Restart(_)) => Err(asked.not_allowed("POST")),
        (_, Apps::Tasks(id)) => tasks::of_app(asked, id).await,
        (_, Apps::TasksWithin(group)) => tasks::within(asked, group).await,
        (_, Apps::Task(id, task)) => tasks::of_id(asked, id, task).await,
    }
}

async fn list(asked: &Asked<'_>, name: &str, group: &str) -> Answer {
    let part = asked.query.get("id").map(str::to_owned);
    let group = group.to_owned();
    let seen = asked
        .see(move |path| {
            id::is_within(path, &group) && part.as_ref().is_none_or(|part| path.contains(part))
        })
        .await?;
    let labels = asked.query.get("label").map(Selector::parse).transpose();
    let labels = labels.map_err(|sentence| refuse(StatusCode::UNPROCESSABLE_ENTITY, sentence))?;
    let cmd = asked.query.get("cmd");
    let embed = Embed::LISTED.with(&asked.query);
    let shown = seen.services.iter();
    let shown = shown.filter_map(|service| view::app(service, embed, &seen));
    let suits = |shown: &ShownApp| {
        let app = &shown.app;
        let line = app.cmd.as_deref().unwrap_or_default();
        cmd.is_none_or(|cmd| line.contains(cmd))
            && labels.as_ref().is_none_or(|labels| labels.suits(app))
    };
    let apps: Vec<_> = shown.filter(suits).collect();
    super::json(StatusCode::OK, &json!({ name: apps }))
}

async fn show(asked: &Asked<'_>, id: String) -> Answer {
    let (seen, id) = see_one(asked, id).await?;
    let service = seen.service(&id).ok_or_else(|| no_app(&id))?;
    let embed = Embed::SINGLE.with(&asked.query);
    let shown = view::app(service, embed, &seen).ok_or_else(|| no_app(&id))?;
    super::json(StatusCode::OK, &json!({ "app": shown }))
}

async fn create(asked: &Asked<'_>) -> Answer {
    let app = App::from_json(&asked.body, "/").map_err(|refusal| invalid(&refusal))?;
    let _turn = asked.context.app.marathon.turn.lock().await;
    let seen = asked.see(|_| true).await?;
    put_new(asked, &seen, app).await
}

/// 201 with the whole app.
async fn put_new(asked: &Asked<'_>, seen: &Seen, app: App) -> Answer {
    let mut changes = Changes::new(seen);
    changes.add(app, None, true)?;
    let done = changes.carry_out(asked, Vec::new()).await?;
    let app = done.apps.into_iter().next().ok_or_else(stopping)?;
    let shown = view::new_app(app, done.version, &done.deployment);
    let response = super::json(StatusCode::CREATED, &shown)?;
    Ok(super::answer::header(
        response,
        super::DEPLOYMENT,
        &done.deployment,
    ))
}

async fn put(asked: &Asked<'_>, id: String) -> Answer {
    let id = id::resolve(&id, "/").map_err(|fault| {
        refuse(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!("id '{id}': {fault}"),
        )
    })?;
    let update = AppUpdate::from_json(&asked.body).map_err(|refusal| invalid(&refusal))?;
    let _turn = asked.context.app.marathon.turn.lock().await;
    let seen = asked.see(|_| true).await?;
    let Some(service) = seen.service(&id) else {
        let AppUpdate::Fields(mut fields) = update else {
            return Err(no_app(&id));
        };
        fields.insert("id".into(), Value::String(id));
        let app = App::from_value(&Value::Object(fields), "/");
        return put_new(asked, &seen, app.map_err(|refusal| invalid(&refusal))?).await;
    };
    let mut changes = Changes::new(&seen);
    let is_whole = asked.method == Method::PUT && asked.says("partialUpdate") == Some(false);
    add_update(&mut changes, service, update, is_whole)?;
    let done = changes.carry_out(asked, Vec::new()).await?;
    changed(StatusCode::OK, done.version, &done.deployment)
}

/// Several apps at once; those that are not there are created.
async fn put_all(asked: &Asked<'_>) -> Answer {
    let updates: Vec<Value> = serde_json::from_slice(&asked.body).map_err(|error| {
        let status = match error.classify() {
            serde_json::error::Category::Data => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::BAD_REQUEST,
        };
        refuse(status, format!("expected a list of apps: {error}"))
    })?;
    let _turn = asked.context.app.marathon.turn.lock().await;
    let seen = asked.see(|_| true).await?;
    let mut changes = Changes::new(&seen);
    for (index, update) in updates.into_iter().enumerate() {
        let at = |fault: String| {
            refuse(
                StatusCode::UNPROCESSABLE_ENTITY,
                format!("({index})/id: {fault}"),
            )
        };
        let path = update.get("id").and_then(Value::as_str);
        let path = path.ok_or_else(|| at("error.path.missing".into()))?;
        let path = id::resolve(path, "/").map_err(at)?;
        match seen.service(&path) {
            Some(service) => {
                let update = AppUpdate::from_value(update).map_err(|refusal| invalid(&refusal))?;
                let is_whole = asked.says("partialUpdate") == Some(false);
                add_update(&mut changes, service, update, is_whole)?;
            }
            None => {
                let app = App::from_value(&update, "/").map_err(|refusal| invalid(&refusal))?;
                changes.add(app, None, true)?;
            }
        }
    }
    let done = changes.carry_out(asked, Vec::new()).await?;
    changed(StatusCode::OK, done.version, &done.deployment)
}

/// What an app is to be after an update.
fn add_update(
    changes: &mut Changes,
    service: &SeenService,
    update: AppUpdate,
    is_whole: bool,
) -> Result<(), Refused> {
    let before = service.app().ok_or_else(|| no_app(service.id()))?;
    let app = match update {
        AppUpdate::Version(version) => at_version(service, version)?,
        AppUpdate::Fields(mut fields) if is_whole => {
            fields.insert("id".into(), Value::String(before.id.clone()));
            App::from_value(&Value::Object(fields), "/").map_err(|refusal| invalid(&refusal))?
        }
        AppUpdate::Fields(fields) => before
            .updated(&fields)
            .map_err(|refusal| invalid(&refusal))?,
    };
    changes.add(app, Some(&before), false)
}

/// What an app was in this version.
pub(super) fn at_version(service: &SeenService, version: u64) -> Result<App, Refused> {
    let mut versions = service.record.versions.iter();
    let found = versions.find(|one| one.version == version);
    let app = found.and_then(|found| seen::read(service.id(), found));
    app.ok_or_else(|| no_version(service.id(), &time::write(version)))
}

fn no_version(id: &str, version: &str) -> Refused {
    let sentence = format!("App '{id}' does not exist in version '{version}'");
    refuse(StatusCode::NOT_FOUND, sentence)
}

async fn remove(asked: &Asked<'_>, id: String) -> Answer {
    let _turn = asked.context.app.marathon.turn.lock().await;
    let (seen, id) = see_one(asked, id).await?;
    if seen.service(&id).is_none() {
        return Err(no_app(&id));
    }
    let done = Changes::new(&seen).carry_out(asked, vec![id]).await?;
    changed(StatusCode::OK, done.version, &done.deployment)
}

async fn restart(asked: &Asked<'_>, id: String) -> Answer {
    let deployment = super::new_id()?;
    let (force, of) = (asked.is_forced(), deployment.clone());
    let engine = &asked.context.app.engine;
    let _turn = asked.context.app.marathon.turn.lock().await;
    let done = engine
        .operate(move |builtin, moment| builtin.restart_service(&id, &of, force, moment))
        .await;
    let version = done
        .ok_or_else(stopping)?
        .map_err(|error| refused(&error))?;
    changed(StatusCode::OK, version, &deployment)
}

async fn versions(asked: &Asked<'_>, id: String) -> Answer {
    let (seen, id) = see_one(asked, id).await?;
    let service = seen.service(&id).ok_or_else(|| no_app(&id))?;
    let newest_first = service.record.versions.iter().rev();
    let versions: Vec<String> = newest_first.map(|one| time::write(one.version)).collect();
    super::json(StatusCode::OK, &json!({ "versions": versions }))
}

async fn show_version(asked: &Asked<'_>, id: String, version: &str) -> Answer {
    let (seen, id) = see_one(asked, id).await?;
    let service = seen.service(&id).ok_or_else(|| no_app(&id))?;
    let wanted = time::read(version);
    let mut versions = service.record.versions.iter();
    let found = versions.find(|one: &&ServiceVersion| Some(one.version) == wanted);
    let app = found.and_then(|found| Some((found, seen::read(&id, found)?)));
    let (found, app) = app.ok_or_else(|| no_version(&id, version))?;
    super::json(StatusCode::OK, &ShownApp::plain(app, found.version))
}

/// What there is of one app.
async fn see_one(asked: &Asked<'_>, id: String) -> Result<(Seen, String), Refused> {
    let wanted = id.clone();
    let seen = asked.see(move |path| path == wanted).await?;
    Ok((seen, id))
}

/// Which labels are wanted: `a==b,c!=d,e,f in (g,h)`.
#[derive(Debug, PartialEq, Eq)]
struct Selector(Vec<Label>);

#[derive(Debug, PartialEq, Eq)]
struct Label {
    key: String,
    /// None given: any.
    values: Option<Vec<String>>,
    is_refused: bool,
}

impl Selector {
    fn parse(text: &str) -> Result<Self, String> {
        let mut parts = vec![String::new()];
        let mut depth = 0_u32;
        for letter in text.chars() {
            match letter {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                ',' if depth == 0 => {
                    parts.push(String::new());
                    continue;
                }
                _ => {}
            }
            if let Some(part) = parts.last_mut() {
                part.push(letter);
            }
        }
        let labels = parts.iter().map(|part| Label::parse(part.trim()));
        labels.collect::<Result<_, _>>().map(Self)
    }

    fn suits(&self, app: &App) -> bool {
        self.0.iter().all(|label| {
            let value = app.labels.get(&label.key);
            let is_there = match &label.values {
                None => value.is_some(),
                Some(wanted) => value.is_some_and(|value| wanted.contains(value)),
            };
            is_there != label.is_refused
        })
    }
}

impl Label {
    fn parse(text: &str) -> Result<Self, String> {
        let one = |key: &str, value: &str, is_refused| Self {
            key: key.trim().to_owned(),
            values: Some(vec![value.trim().to_owned()]),
            is_refused,
        };
        let label = if let Some((key, value)) = text.split_once("==") {
            one(key, value, false)
        } else if let Some((key, value)) = text.split_once("!=") {
            one(key, value, true)
        } else if let Some((key, list)) =
            text.strip_suffix(')').and_then(|text| text.split_once('('))
        {
            let key = key.trim_end();
            let (key, is_refused) = match key.strip_suffix(" notin") {
                Some(key) => (key, true),
                None => (key.strip_suffix(" in").unwrap_or_default(), false),
            };
            let values = list.split(',').map(|value| value.trim().to_owned());
            Self {
                key: key.trim().to_owned(),
                values: Some(values.collect()),
                is_refused,
            }
        } else {
            Self {
                key: text.to_owned(),
                values: None,
                is_refused: false,
            }
        };
        match label.key.is_empty() || label.key.contains([' ', '=', '(', ')']) {
            true => Err(format!(
                "label: {text:?} is no selector, expected KEY, KEY==VALUE, KEY!=VALUE, KEY in (VALUE,...) or KEY notin (VALUE,...)"
            )),
            false => Ok(label),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn labels_select() {
        let app = App::from_json(
            br#"{"id":"a","cmd":"x","labels":{"k":"v","env":"test"}}"#,
            "/",
        )
        .unwrap();
        for (text, suits) in [
            ("k", true),
            ("k==v", true),
            ("k == w", false),
            ("k!=w", true),
            ("k!=v", false),
            ("none!=v", true),
            ("none", false),
            ("k in (v, w)", true),
            ("k notin (v,w)", false),
            ("k==v,env in (prod,test)", true),
            ("k==v,env in (prod)", false),
        ] {
            assert_eq!(Selector::parse(text).unwrap().suits(&app), suits, "{text}");
        }
        for text in ["", "k v", "(v)", "k on (v)", "k=v"] {
            assert!(Selector::parse(text).is_err(), "{text}");
        }
    }
}
