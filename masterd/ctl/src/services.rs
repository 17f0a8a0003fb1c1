//! `nesos service`: what is to be kept running, through the master's Marathon API.
//!
//! Called by `main`. What a definition may say is the master's to judge. Invariant: a command that waits ends with 0 only when all is
//! as it was asked for.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};

use crate::args::{ChangeArgs, Output, ServiceCommand, ServiceRunArgs};
use crate::failure::Failure;
use crate::http::{Client, segment};
use crate::output::{self, Progress, number};

/// How often is asked how far a deployment is.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// Largest definition that is read; the master takes less.
const MAX_DEFINITION: u64 = 1024 * 1024;
/// Of [`row`].
const HEADINGS: [&str; 7] = [
    "SERVICE",
    "INSTANCES",
    "READY",
    "STATE",
    "CPUS",
    "MEM",
    "COMMAND",
];

/// `nesos service`.
pub(crate) async fn run(
    client: &Client,
    command: &ServiceCommand,
    output: Output,
) -> Result<(), Failure> {
    match command {
        ServiceCommand::List => list(client, output).await,
        ServiceCommand::Show(args) => show(client, &args.service, output).await,
        ServiceCommand::Versions(args) => versions(client, &args.service, output).await,
        ServiceCommand::Run(args) => {
            let definition = definition(args);
            put(client, &definition, args.change, output).await
        }
        ServiceCommand::Put { file, change } => put(client, &read(file)?, *change, output).await,
        ServiceCommand::Scale {
            service,
            instances,
            change,
        } => {
            client.json(&app(service)).await?;
            let wish = json!({"instances": instances});
            let what = (Method::PUT, app(service), wish);
            apply(client, service, what, *change, output).await
        }
        ServiceCommand::Rollback {
            service,
            version,
            change,
        } => {
            client.json(&app(service)).await?;
            let what = (Method::PUT, app(service), json!({"version": version}));
            apply(client, service, what, *change, output).await
        }
        ServiceCommand::Restart { service, change } => {
            let path = format!("{}/restart", app(service));
            let what = (Method::POST, path, Value::Null);
            apply(client, service, what, *change, output).await
        }
        ServiceCommand::Remove { service, change } => {
            let what = (Method::DELETE, app(service), Value::Null);
            apply(client, service, what, *change, output).await
        }
    }
}

/// A JSON value from a file, or from standard input.
pub(crate) fn read(file: &Path) -> Result<Value, Failure> {
    let named = |reason: String| Failure::Definition {
        file: file.to_owned(),
        reason,
    };
    let source: Box<dyn Read> = match file.as_os_str() == "-" {
        true => Box::new(std::io::stdin()),
        false => Box::new(std::fs::File::open(file).map_err(|error| named(error.to_string()))?),
    };
    let mut text = Vec::new();
    let read = source.take(MAX_DEFINITION + 1).read_to_end(&mut text);
    read.map_err(|error| named(error.to_string()))?;
    if text.len() as u64 > MAX_DEFINITION {
        return Err(named(format!("it has more than {MAX_DEFINITION} bytes")));
    }
    serde_json::from_slice(&text).map_err(|error| named(error.to_string()))
}

/// The image of a container as Mesos has it.
fn container(image: &str) -> Value {
    json!({"type": "MESOS", "docker": {"image": image}})
}

fn definition(args: &ServiceRunArgs) -> Value {
    let environment = args.env.iter();
    let environment = environment.map(|(name, value)| (name.clone(), json!(value)));
    let ports = args.port.iter();
    let ports: Vec<Value> = ports.map(|name| json!({"port": 0, "name": name})).collect();
    let mut definition = json!({
        "id": args.service, "instances": args.instances, "cpus": args.cpus, "mem": args.mem,
        "env": environment.collect::<serde_json::Map<_, _>>(), "portDefinitions": ports,
    });
    match args.command.as_slice() {
        [] => {}
        [text] => definition["cmd"] = json!(text),
        program => definition["args"] = json!(program),
    }
    if let Some(text) = &args.health {
        let check =
            json!({"protocol": "COMMAND", "command": {"value": text}, "intervalSeconds": 10});
        definition["healthChecks"] = json!([check]);
    }
    if args.spread {
        definition["constraints"] = json!([["hostname", "UNIQUE"]]);
    }
    if let Some(image) = &args.image {
        definition["container"] = container(image);
    }
    definition
}

async fn list(client: &Client, output: Output) -> Result<(), Failure> {
    let answer = client.json("/v2/apps").await?;
    let apps = answer.get("apps").and_then(Value::as_array);
    let apps = apps.into_iter().flatten();
    if output == Output::Json {
        return apps.into_iter().try_for_each(output::json);
    }
    output::table(&HEADINGS, &apps.map(row).collect::<Vec<_>>())
}

fn row(app: &Value) -> Vec<String> {
    let count = |key: &str| app.get(key).and_then(Value::as_u64).unwrap_or_default();
    let amount = |key: &str| number(app.get(key).and_then(Value::as_f64).unwrap_or_default());
    let is_checked = app.get("healthChecks").and_then(Value::as_array);
    let is_checked = is_checked.is_some_and(|checks| !checks.is_empty());
    let ready = if is_checked {
        "tasksHealthy"
    } else {
        "tasksRunning"
    };
    let deployments = app.get("deployments").and_then(Value::as_array);
    let is_moving = deployments.is_some_and(|deployments| !deployments.is_empty());
    let state = match (is_moving, count(ready) >= count("instances")) {
        (true, _) => "deploying",
        (false, true) => "running",
        (false, false) => "incomplete",
    };
    let arguments = app.get("args").and_then(Value::as_array);
    let arguments = arguments.map(|words| {
        let words = words.iter().filter_map(Value::as_str);
        words.collect::<Vec<_>>().join(" ")
    });
    vec![
        text(app, "id"),
        count("instances").to_string(),
        count(ready).to_string(),
        state.to_owned(),
        amount("cpus"),
        amount("mem"),
        arguments.unwrap_or_else(|| text(app, "cmd")),
    ]
}

async fn show(client: &Client, service: &str, output: Output) -> Result<(), Failure> {
    let answer = client.json(&app(service)).await?;
    let app = answer.get("app").cloned().unwrap_or_default();
    if output == Output::Json {
        return output::json(&app);
    }
    output::table(&HEADINGS, &[row(&app)])?;
    if let Some(failure) = app.get("lastTaskFailure").filter(|one| one.is_object()) {
        let told = ["timestamp", "state", "host", "message"].map(|key| text(failure, key));
        output::line(&format!(
            "last failure: {}",
            output::printable(&told.join(" "))
        ))?;
    }
    let tasks = app.get("tasks").and_then(Value::as_array);
    let rows = tasks.into_iter().flatten().map(|task| {
        let ports = task.get("ports").and_then(Value::as_array);
        let ports = ports.into_iter().flatten().map(Value::to_string);
        vec![
            text(task, "id"),
            text(task, "host"),
            ports.collect::<Vec<_>>().join(","),
            text(task, "state"),
            text(task, "startedAt"),
        ]
    });
    output::table(
        &["TASK", "HOST", "PORTS", "STATE", "STARTED"],
        &rows.collect::<Vec<_>>(),
    )
}

async fn versions(client: &Client, service: &str, output: Output) -> Result<(), Failure> {
    let answer = client.json(&format!("{}/versions", app(service))).await?;
    let versions = answer.get("versions").and_then(Value::as_array);
    let versions = versions.into_iter().flatten().filter_map(Value::as_str);
    versions.into_iter().try_for_each(|version| match output {
        Output::Json => output::json(&json!({"version": version})),
        Output::Table => output::line(&output::printable(version)),
    })
}

async fn put(
    client: &Client,
    definition: &Value,
    change: ChangeArgs,
    output: Output,
) -> Result<(), Failure> {
    let service = text(definition, "id");
    let what = (Method::PUT, app(&service), definition.clone());
    apply(client, &service, what, change, output).await
}

/// Makes a change, and waits until the deployment that it began is over.
async fn apply(
    client: &Client,
    service: &str,
    (method, path, body): (Method, String, Value),
    change: ChangeArgs,
    output: Output,
) -> Result<(), Failure> {
    // A definition is the whole of it, not what is to be changed of the one that was.
    let is_whole = body.get("id").is_some();
    let path = format!("{path}?force={}&partialUpdate={}", change.force, !is_whole);
    let answer = client.change(method, &path, &body).await?;
    // Who is new is answered with the whole of it.
    let begun = answer.pointer("/deployments/0/id");
    let begun = begun.or_else(|| answer.get("deploymentId"));
    let deployment = begun.and_then(Value::as_str).unwrap_or_default().to_owned();
    if !change.no_wait {
        wait(client, service, &deployment).await?;
    }
    match output {
        Output::Json => output::json(&json!({
            "service": service, "deployment": deployment, "done": !change.no_wait,
        })),
        Output::Table if change.no_wait => output::line(&format!(
            "service {service}: deployment {deployment} has begun"
        )),
        Output::Table => output::line(&format!("service {service} is as it is to be")),
    }
}

async fn wait(client: &Client, service: &str, deployment: &str) -> Result<(), Failure> {
    let mut progress = Progress::new();
    loop {
        let all = client.json("/v2/deployments").await?;
        let mut all = all.as_array().into_iter().flatten();
        let goes_on = all.any(|one| text(one, "id") == deployment);
        // A service that is being removed is not there any more.
        let shown = client.json(&app(service)).await.ok();
        let shown = shown.as_ref().and_then(|answer| answer.get("app"));
        if !goes_on {
            progress.clear();
            let others = shown.and_then(|app| app.get("deployments")?.as_array());
            return match others.is_some_and(|others| !others.is_empty()) {
                true => Err(Failure::Superseded(service.to_owned())),
                false => Ok(()),
            };
        }
        let count = |key: &str| {
            shown
                .and_then(|app| app.get(key)?.as_u64())
                .unwrap_or_default()
        };
        progress.now(&format!(
            "{service}: {} of {} running, {} starting",
            count("tasksRunning"),
            count("instances"),
            count("tasksStaged")
        ));
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Where a service is found.
fn app(service: &str) -> String {
    let segments = service.split('/').filter(|part| !part.is_empty());
    let path: Vec<String> = segments.map(segment).collect();
    format!("/v2/apps/{}", path.join("/"))
}

fn text(value: &Value, key: &str) -> String {
    let found = value.get(key).and_then(Value::as_str);
    found.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_found_by_their_path() {
        assert_eq!(app("/shop/web"), "/v2/apps/shop/web");
        assert_eq!(app("shop/we b/"), "/v2/apps/shop/we%20b");
    }

    #[test]
    fn a_row_says_how_far_it_is() {
        let mut app = json!({
            "id": "/web", "instances": 2, "tasksRunning": 2, "tasksHealthy": 1, "cpus": 0.5,
            "mem": 32.0, "args": ["sleep", "9"], "deployments": [],
        });
        assert_eq!(
            row(&app),
            ["/web", "2", "2", "running", "0.5", "32", "sleep 9"]
        );
        app["healthChecks"] = json!([{}]);
        assert_eq!(row(&app)[2..4], ["1", "incomplete"]);
        app["deployments"] = json!([{"id": "d"}]);
        assert_eq!(row(&app)[3], "deploying");
    }
}
