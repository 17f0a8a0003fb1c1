//! `nesos job`: what is to run at times or after other jobs, through the master's Chronos API.
//!
//! Called by `main`. What a definition may say is the master's to judge.

use hyper::Method;
use serde_json::{Value, json};

use crate::args::{JobAddArgs, JobCommand, Output};
use crate::failure::Failure;
use crate::http::{Client, segment};
use crate::output;
use crate::services::read;

/// Where the API is.
const BASE: &str = "/v1/scheduler";

/// `nesos job`.
pub(crate) async fn run(
    client: &Client,
    command: &JobCommand,
    output: Output,
) -> Result<(), Failure> {
    match command {
        JobCommand::List => list(client, output).await,
        JobCommand::Show(args) => show(client, &args.job, output).await,
        JobCommand::Add(args) => put(client, &definition(args), output).await,
        JobCommand::Put { file } => put(client, &read(file)?, output).await,
        JobCommand::Run(args) => {
            let what = (Method::PUT, job(&args.job), "started");
            change(client, &args.job, what, output).await
        }
        JobCommand::Kill(args) => {
            let path = format!("{BASE}/task/kill/{}", segment(&args.job));
            change(client, &args.job, (Method::DELETE, path, "killed"), output).await
        }
        JobCommand::Remove(args) => {
            let what = (Method::DELETE, job(&args.job), "removed");
            change(client, &args.job, what, output).await
        }
    }
}

fn definition(args: &JobAddArgs) -> Value {
    let environment = args.env.iter();
    let environment = environment.map(|(name, value)| json!({"name": name, "value": value}));
    let mut definition = json!({
        "name": args.name, "command": args.command, "cpus": args.cpus, "mem": args.mem,
        "disk": args.disk, "retries": args.retries, "environmentVariables": environment.collect::<Vec<_>>(),
    });
    match &args.schedule {
        Some(schedule) => definition["schedule"] = json!(schedule),
        None => definition["parents"] = json!(args.after),
    }
    definition
}

async fn list(client: &Client, output: Output) -> Result<(), Failure> {
    let jobs = client.json(&format!("{BASE}/jobs")).await?;
    let jobs = jobs.as_array().into_iter().flatten();
    if output == Output::Json {
        return jobs.into_iter().try_for_each(output::json);
    }
    output::table(&HEADINGS, &jobs.map(row).collect::<Vec<_>>())
}

const HEADINGS: [&str; 6] = ["JOB", "STARTS", "DONE", "FAILED", "LAST SUCCESS", "COMMAND"];

fn row(job: &Value) -> Vec<String> {
    let text = |key: &str| {
        let found = job.get(key).and_then(Value::as_str);
        found.unwrap_or_default().to_owned()
    };
    let count = |key: &str| job.get(key).and_then(Value::as_u64).unwrap_or_default();
    let parents = job.get("parents").and_then(Value::as_array);
    let parents = parents
        .filter(|parents| !parents.is_empty())
        .map(|parents| {
            let names = parents.iter().filter_map(Value::as_str);
            format!("after {}", names.collect::<Vec<_>>().join(", "))
        });
    let is_disabled = job.get("disabled").and_then(Value::as_bool) == Some(true);
    let starts = match is_disabled {
        true => "disabled".to_owned(),
        false => parents.unwrap_or_else(|| text("schedule")),
    };
    vec![
        text("name"),
        starts,
        count("successCount").to_string(),
        count("errorCount").to_string(),
        text("lastSuccess"),
        text("command"),
    ]
}

async fn show(client: &Client, name: &str, output: Output) -> Result<(), Failure> {
    // As many as there can be, so that others whose names begin alike are not in the way.
    let path = format!("{BASE}/jobs/search?limit=1000&name={}", segment(name));
    let found = client.json(&path).await?;
    let mut found = found.as_array().into_iter().flatten();
    let found = found.find(|job| job.get("name").and_then(Value::as_str) == Some(name));
    let found = found.ok_or_else(|| Failure::NoJob(name.to_owned()))?;
    match output {
        Output::Json => output::json(found),
        Output::Table => output::table(&HEADINGS, &[row(found)]),
    }
}

async fn put(client: &Client, definition: &Value, output: Output) -> Result<(), Failure> {
    let is_child = definition.get("schedule").is_none_or(Value::is_null)
        && definition
            .get("parents")
            .is_some_and(|parents| !parents.is_null());
    let path = match is_child {
        true => format!("{BASE}/dependency"),
        false => format!("{BASE}/iso8601"),
    };
    client.change(Method::POST, &path, definition).await?;
    let name = definition.get("name").and_then(Value::as_str);
    told(name.unwrap_or_default(), "kept", output)
}

async fn change(
    client: &Client,
    name: &str,
    (method, path, word): (Method, String, &str),
    output: Output,
) -> Result<(), Failure> {
    client.change(method, &path, &Value::Null).await?;
    told(name, word, output)
}

fn told(name: &str, word: &str, output: Output) -> Result<(), Failure> {
    match output {
        Output::Json => output::json(&json!({"job": name, "state": word})),
        Output::Table => output::line(&format!("job {} is {word}", output::printable(name))),
    }
}

fn job(name: &str) -> String {
    format!("{BASE}/job/{}", segment(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_starts_it() {
        let mut job = json!({
            "name": "b", "command": "true", "schedule": "R//PT1H", "successCount": 2, "errorCount": 1,
            "lastSuccess": "2026-11-22T12:00:00.000Z", "parents": [],
        });
        let time = "2026-11-22T12:00:00.000Z";
        assert_eq!(row(&job), ["b", "R//PT1H", "2", "1", time, "true"]);
        job["parents"] = json!(["a", "c"]);
        assert_eq!(row(&job)[1], "after a, c");
        job["disabled"] = json!(true);
        assert_eq!(row(&job)[1], "disabled");
    }
}
