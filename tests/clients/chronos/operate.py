"""Whatever chronos-python can call.

Usage: operate.py HOST:PORT FOLDER. Prints the name of each part that went well. Nothing here knows Nesos.
"""
import datetime
import logging
import sys

import chronos

from common import Jobs, expect, part, wait

FAR = "R/2090-01-01T00:00:00Z/P1D"
jobs = Jobs(sys.argv[1], sys.argv[2])
client = jobs.client


class Heard(logging.Handler):
    """What the client logs."""

    def __init__(self):
        super().__init__()
        self.sentences = []

    def emit(self, record):
        self.sentences.append(record.getMessage())


def nothing():
    expect(client.list(), [])
    expect(client.search(name="x"), [])
    if not client.metrics():
        raise AssertionError("no metrics")
    client.scheduler_graph()


def by_time():
    """R2 runs exactly twice."""
    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1)
    schedule = "R2/%s/PT2S" % soon.strftime("%Y-%m-%dT%H:%M:%SZ")
    jobs.add("twice", "echo run >> %s" % jobs.file("twice"), schedule=schedule)
    jobs.until_counts("twice", 2, 0)
    # A third one would come in this time.
    jobs.add("later", "true", schedule="R1//PT2S")
    jobs.until_counts("later", 1, 0)
    jobs.add("latest", "sleep 3", schedule="R1//PT2S")
    jobs.until_counts("latest", 1, 0)
    expect(jobs.lines("twice"), ["run", "run"])
    job = jobs.get("twice")
    expect((job["successCount"], job["disabled"], job["schedule"][:3]), (2, True, "R0/"))
    if not job["lastSuccess"]:
        raise AssertionError("no lastSuccess")


def family():
    """A child runs after each success of its parent, and a job that is scheduled far ahead runs now."""
    order = jobs.file("order")
    jobs.add("parent", "echo parent >> %s" % order, schedule=FAR)
    jobs.add("child", "echo $CHRONOS_JOB_NAME $CHRONOS_JOB_OWNER $CHRONOS_RESOURCE_MEM $CHRONOS_JOB_RUN_ATTEMPT >> %s" % order,
             parents=["parent"])
    expect(jobs.get("child")["parents"], ["parent"])
    for count in (1, 2):
        expect(client.run("parent"), None)
        jobs.until_counts("child", count, 0)
    expect(jobs.lines("order"), ["parent", "child me@example.com 16.0 0"] * 2)
    if "link,parent,child" not in client.scheduler_graph().splitlines():
        raise AssertionError(client.scheduler_graph())


def tasks():
    """Killed: neither a success nor an error."""
    jobs.add("long", "echo begun >> %s; sleep 1000" % jobs.file("long"), schedule=FAR)
    expect(client.run("long"), None)
    wait("it runs", lambda: jobs.lines("long") == ["begun"])
    expect(jobs.state("long"), ["1 running"])
    expect(client.delete_tasks("long"), None)
    wait("it has ended", lambda: jobs.state("long") == ["idle"])
    expect(jobs.counts("long"), (0, 0))
    # With its job its task goes.
    expect(client.run("long"), None)
    wait("it runs again", lambda: len(jobs.lines("long")) == 2)
    expect(client.delete("long"), None)
    expect(jobs.get("long"), None)


def failure():
    """One attempt and one retry are one error."""
    jobs.add("bad", "echo $CHRONOS_JOB_RUN_ATTEMPT >> %s; exit 3" % jobs.file("bad"), schedule=FAR, retries=1)
    expect(client.run("bad"), None)
    jobs.until_counts("bad", 0, 1)
    expect(jobs.lines("bad"), ["0", "1"])
    expect(jobs.get("bad")["errorsSinceLastSuccess"], 1)
    history = client.job_stat("bad")["taskStatHistory"]
    expect([end["status"] for end in history], ["Fail", "Fail"])


def shown():
    expect(sorted(job["name"] for job in client.search(name="PARENT")), ["parent"])
    expect([job["name"] for job in client.search(command="exit 3")], ["bad"])
    stat = client.job_stat("parent")
    expect((stat["histogram"]["count"], len(stat["taskStatHistory"])), (2, 2))
    for ask in (client.scheduler_stat_99th, client.scheduler_stat_98th, client.scheduler_stat_95th,
                client.scheduler_stat_75th, client.scheduler_stat_median, client.scheduler_stat_mean):
        times = {entry["jobNameLabel"]: entry["time"] for entry in ask()}
        expect(sorted(times), sorted(job["name"] for job in client.list()))
        if not times["latest"] >= 2.5:
            raise AssertionError(times)
    # What is shown can be sent back.
    job = jobs.get("bad")
    job.update(command="true", description="mended")
    expect(client.update(job), None)
    expect(client.run("bad"), None)
    jobs.until_counts("bad", 1, 1)
    expect(jobs.get("bad")["description"], "mended")


def names():
    name = "my job #1.x_y-z"
    jobs.add(name, "true", schedule=FAR)
    expect(client.run(name), None)
    jobs.until_counts(name, 1, 0)
    expect(client.job_stat(name)["taskStatHistory"][0]["jobName"], name)
    expect(client.delete(name), None)


def refused():
    heard = Heard()
    logging.getLogger("chronos").addHandler(heard)

    def refuses(call, words):
        heard.sentences.clear()
        try:
            call()
        except chronos.ChronosAPIError:
            # What the server said is in the client's log only.
            if words not in " ".join(heard.sentences):
                raise AssertionError("expected %r, heard %r" % (words, heard.sentences))
        else:
            raise AssertionError("not refused: %r" % words)

    for call in (client.run, client.delete, client.delete_tasks, client.job_stat):
        refuses(lambda: call("nobody"), 'job "nobody" not found')
    refuses(lambda: jobs.add("x", "true", schedule="every day"), "schedule: expected R[n]")
    refuses(lambda: jobs.add("x", "true", schedule=FAR, scheduleTimeZone="Europe/Berlin"), "scheduleTimeZone: expected")
    refuses(lambda: jobs.add("x", "true", parents=["nobody"]), 'parents: there is no job "nobody"')
    refuses(lambda: jobs.add("parent", "true", parents=["child"]), 'parents: "child" is started by "parent" itself')
    refuses(lambda: jobs.add("a/b", "true", schedule=FAR), "name: expected")
    refuses(lambda: jobs.add("x", "true", schedule=FAR, mem="much"), "mem: expected a number")
    expect(jobs.get("x"), None)
    expect(jobs.get("parent")["schedule"], "R/2090-01-01T00:00:00.000Z/P1D")


def older():
    """Clients of Chronos before 3: no version in paths, and PUT for what is there already."""
    old = Jobs(sys.argv[1], sys.argv[2], scheduler_api_version=None)
    old.add("old", "true", schedule=FAR)
    old.add("old", "false", update=True, schedule=FAR)
    expect(old.get("old")["command"], "false")
    for job in ("child", "parent"):
        expect(old.client.delete(job), None)


def done():
    for job in client.list():
        expect(client.delete(job["name"]), None)
    expect(client.list(), [])


for name, play in [("nothing", nothing), ("time", by_time), ("family", family), ("tasks", tasks), ("failure", failure),
                   ("shown", shown), ("names", names), ("refused", refused), ("older", older), ("done", done)]:
    part(name, play)
