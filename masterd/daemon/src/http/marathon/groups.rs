//! `/v2/groups`: apps by the folders that their paths stand in, put and removed together.
//!
//! Groups are not kept: one is there while an app stands in it. So its versions are those of its apps. Called by `mod`.

use std::collections::BTreeSet;

use hyper::StatusCode;
use nesos_api::marathon::group::GroupUpdate;
use nesos_api::marathon::shown::{Group, ShownApp};
use nesos_api::marathon::{App, id, time};

use super::change::{Changes, Done};
use super::path::Groups;
use super::seen::{self, Seen, SeenService};
use super::view::{self, Embed};
use super::{Answer, Asked, Refused, changed, invalid, refuse};

pub(super) async fn handle(asked: &Asked<'_>, wanted: Groups) -> Answer {
    match (asked.method.as_str(), wanted) {
        ("GET", Groups::Group(id)) => show(asked, id).await,
        ("POST", Groups::Group(base)) => create(asked, base).await,
        ("PUT" | "PATCH", Groups::Group(base)) => put(asked, base).await,
        ("DELETE", Groups::Group(id)) => remove(asked, id).await,
        (_, Groups::Group(_)) => Err(asked.not_allowed("GET, POST, PUT, PATCH, DELETE")),
        ("GET", Groups::Versions(id)) => versions(asked, id).await,
        ("GET", Groups::Version(id, version)) => show_version(asked, id, &version).await,
        ("PUT", Groups::Version(id, version)) => {
            let version = time::read(&version).ok_or_else(|| no_group(&id))?;
            apply(asked, GroupUpdate::Version { id, version }).await
        }
        (_, Groups::Versions(_)) => Err(asked.not_allowed("GET")),
        (_, Groups::Version(..)) => Err(asked.not_allowed("GET, PUT")),
    }
}

async fn show(asked: &Asked<'_>, id: String) -> Answer {
    let seen = see(asked, &id).await?;
    let embed = Embed::LISTED.with(&asked.query);
    let apps = seen.services.iter().filter_map(|service| {
        let version = service.current()?.version;
        Some((version, view::app(service, embed, &seen)?))
    });
    super::json(StatusCode::OK, &Group::of(&id, apps.collect()))
}

async fn create(asked: &Asked<'_>, base: String) -> Answer {
    let update = read(asked, &base)?;
    let _turn = asked.context.app.marathon.turn.lock().await;
    let seen = asked.see(|_| true).await?;
    let GroupUpdate::Apps { id, apps, .. } = &update else {
        let sentence = "a group that is new has neither 'scaleBy' nor 'version'";
        return Err(refuse(StatusCode::UNPROCESSABLE_ENTITY, sentence));
    };
    let is_there = |service: &SeenService| id::is_within(service.id(), id);
    if id != "/" && seen.services.iter().any(is_there) {
        let sentence = format!("Group {id} is already created. Use PUT to change this group.");
        return Err(refuse(StatusCode::CONFLICT, sentence));
    }
    if let Some(known) = apps.iter().find(|app| seen.service(&app.id).is_some()) {
        let sentence = format!("An app with id [{}] already exists.", known.id);
        return Err(refuse(StatusCode::CONFLICT, sentence));
    }
    let done = put_apps(asked, &seen, apps.clone(), Vec::new()).await?;
    changed(StatusCode::CREATED, done.version, &done.deployment)
}

async fn put(asked: &Asked<'_>, base: String) -> Answer {
    apply(asked, read(asked, &base)?).await
}

fn read(asked: &Asked<'_>, base: &str) -> Result<GroupUpdate, Refused> {
    let base = id::resolve(base, "/");
    let base = base.map_err(|fault| refuse(StatusCode::UNPROCESSABLE_ENTITY, fault))?;
    GroupUpdate::from_json(&asked.body, &base).map_err(|refusal| invalid(&refusal))
}

async fn apply(asked: &Asked<'_>, update: GroupUpdate) -> Answer {
    let _turn = asked.context.app.marathon.turn.lock().await;
    let seen = asked.see(|_| true).await?;
    let within = |id: &str| {
        let id = id.to_owned();
        let all = seen.services.iter();
        all.filter(move |service| id::is_within(service.id(), &id))
    };
    let mut leaving = Vec::new();
    let apps: Vec<App> = match &update {
        GroupUpdate::Apps { apps, .. } => {
            let all = seen.services.iter().map(SeenService::id);
            leaving.extend(all.filter(|id| update.drops(id)).map(str::to_owned));
            apps.clone()
        }
        GroupUpdate::Scale { id, by } => {
            let apps = within(id).filter_map(SeenService::app);
            let scaled = apps.map(|app| App {
                instances: (f64::from(app.instances) * by).ceil() as u32,
                ..app
            });
            scaled.collect()
        }
        GroupUpdate::Version { id, version } => {
            let at = |service: &SeenService| at(service, *version);
            let apps: Vec<App> = within(id).filter_map(at).collect();
            let newer = within(id).filter(|service| !apps.iter().any(|app| app.id == service.id()));
            leaving.extend(newer.map(|service| service.id().to_owned()));
            apps
        }
    };
    if apps.is_empty() && !matches!(update, GroupUpdate::Apps { .. }) {
        let (GroupUpdate::Apps { id, .. }
        | GroupUpdate::Scale { id, .. }
        | GroupUpdate::Version { id, .. }) = &update;
        return Err(no_group(id));
    }
    let done = put_apps(asked, &seen, apps, leaving).await?;
    changed(StatusCode::OK, done.version, &done.deployment)
}

async fn put_apps(
    asked: &Asked<'_>,
    seen: &Seen,
    apps: Vec<App>,
    leaving: Vec<String>,
) -> Result<Done, Refused> {
    let mut changes = Changes::new(seen);
    for app in apps {
        let before = seen.service(&app.id).and_then(SeenService::app);
        // What is as it was is left alone.
        if before.as_ref() != Some(&with_ports_of(before.as_ref(), &app)) {
            changes.add(app, before.as_ref(), false)?;
        }
    }
    changes.carry_out(asked, leaving).await
}

/// The app with the service ports that it would keep.
fn with_ports_of(before: Option<&App>, app: &App) -> App {
    let mut app = app.clone();
    let had = before.map(App::service_ports).unwrap_or_default();
    // None is left: it will be told when the app is put.
    let _ = nesos_api::marathon::ports::choose(&mut app, &had, &BTreeSet::new());
    app
}

async fn remove(asked: &Asked<'_>, id: String) -> Answer {
    let _turn = asked.context.app.marathon.turn.lock().await;
    let seen = see(asked, &id).await?;
    let all = seen.services.iter().map(|service| service.id().to_owned());
    let all = all.collect();
    let done = Changes::new(&seen).carry_out(asked, all).await?;
    changed(StatusCode::OK, done.version, &done.deployment)
}

async fn versions(asked: &Asked<'_>, id: String) -> Answer {
    let seen = see(asked, &id).await?;
    let versions = seen
        .services
        .iter()
        .flat_map(|service| &service.record.versions);
    let versions: BTreeSet<u64> = versions.map(|one| one.version).collect();
    let newest_first: Vec<String> = versions.into_iter().rev().map(time::write).collect();
    super::json(StatusCode::OK, &newest_first)
}

async fn show_version(asked: &Asked<'_>, id: String, version: &str) -> Answer {
    let seen = see(asked, &id).await?;
    let version = time::read(version).ok_or_else(|| no_group(&id))?;
    let apps = seen.services.iter().filter_map(|service| {
        let shown = ShownApp::plain(at(service, version)?, version);
        Some((version, shown))
    });
    let apps: Vec<_> = apps.collect();
    match apps.is_empty() {
        true => Err(no_group(&id)),
        false => super::json(StatusCode::OK, &Group::of(&id, apps)),
    }
}

/// What an app was at a time, if it was there and that is still known.
fn at(service: &SeenService, time: u64) -> Option<App> {
    let mut older = service.record.versions.iter().rev();
    let version = older.find(|one| one.version <= time)?;
    seen::read(service.id(), version)
}

/// What there is in a group; the root group is always there.
async fn see(asked: &Asked<'_>, id: &str) -> Result<Seen, Refused> {
    let group = id.to_owned();
    let seen = asked.see(move |path| id::is_within(path, &group)).await?;
    match seen.services.is_empty() && id != "/" {
        true => Err(no_group(id)),
        false => Ok(seen),
    }
}

fn no_group(id: &str) -> Refused {
    refuse(
        StatusCode::NOT_FOUND,
        format!("Group '{id}' does not exist"),
    )
}
