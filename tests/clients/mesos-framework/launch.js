"use strict";
// A scheduler on mesos-framework: launches COUNT short tasks with a port each, prints each one's states as JSON when all have
// ended, and tears its framework down.
//
// Usage: node launch.js MODULE HOST:PORT COUNT SECONDS
// Ends with 0 when every task has ended, with 1 when SECONDS have passed. Nothing here knows Nesos.

const [, , library, master, count, seconds] = process.argv;
const { Scheduler, Mesos } = require(library);
const mesos = Mesos.getMesos();
const TERMINAL = ["TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_LOST", "TASK_ERROR"];
const [host, port] = master.split(":");

const command = new mesos.CommandInfo(null, null, true, "test -n \"$HOST\" && echo hello from $HOST", null, null);
const scheduler = new Scheduler({
    masterUrl: host,
    port: Number(port),
    frameworkName: "mesos-framework launcher",
    masterConnectionTimeout: 60,
    restartStates: [],
    logging: { level: "error" },
    tasks: {
        hello: {
            priority: 1,
            instances: Number(count),
            commandInfo: command,
            resources: { cpus: 0.1, mem: 16, ports: 1, disk: 0 },
        },
    },
});
const states = {};
let framework = null;

function finish(code) {
    console.log(JSON.stringify({ framework, tasks: states }));
    process.exit(code);
}

scheduler.on("subscribed", (event) => { framework = event.frameworkId; });
scheduler.on("update", (update) => {
    const { task_id: id, state, message } = update.status;
    const seen = states[id.value] = states[id.value] || [];
    if (seen[seen.length - 1] !== state) {
        seen.push(state);
    }
    if (TERMINAL.includes(state)) {
        console.error(id.value, state, message || "");
    }
    const ended = Object.values(states).filter((all) => TERMINAL.includes(all[all.length - 1]));
    if (ended.length === Number(count)) {
        // The last acknowledgement is on its way: the framework ends after it.
        setTimeout(() => scheduler.teardown(), 500);
    }
});
scheduler.on("sent_teardown", () => finish(0));
scheduler.on("error", (error) => {
    // Its connection ends with the framework.
    if (framework === null || !String(error.message).includes("closed")) {
        console.error("error:", error.message || error);
        finish(1);
    }
});
scheduler.on("ready", () => scheduler.subscribe());
setTimeout(() => finish(1), Number(seconds) * 1000);
