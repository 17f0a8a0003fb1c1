"""Operators of services on marathon-python: each story asks for something and looks at what comes of it.

Usage: stories.py HOST:PORT STORY, of a master with two agents and no services. Says `done`; ends with 1 and a sentence when an answer is not
what Marathon's would be. Nothing here knows Nesos.
"""
import os
import queue
import sys
import threading
import time
import traceback
import urllib.error
import urllib.request

from marathon import MarathonClient, MarathonHttpError, NotFoundError
from marathon.exceptions import ConflictError
from marathon.models import MarathonApp, MarathonConstraint, MarathonGroup, MarathonHealthCheck
from marathon.models.app import MarathonUpgradeStrategy, PortDefinition

SECONDS = 90
PAUSE = threading.Event()
BASE = "http://" + sys.argv[1]
SMALL = {"cpus": 0.05, "mem": 16}
SLEEP = "exec sleep 1000"


def fail(sentence):
    print(sentence, flush=True)
    os._exit(1)


def expect(found, wanted):
    if found != wanted:
        fail("expected %r, found %r\n%s" % (wanted, found, "".join(traceback.format_stack(limit=3))))


def check(is_so, *told):
    if not is_so:
        fail("%s\n%s" % (told, "".join(traceback.format_stack(limit=3))))


def until(what, condition):
    """Looks at a condition until it is so; gives what it says."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        PAUSE.wait(0.05)
    fail("in vain for %s" % what)


def refused(error, status, call, *arguments, **named):
    """The refusal that a call ends with."""
    try:
        answer = call(*arguments, **named)
    except error as refusal:
        expect(refusal.status_code, status)
        return refusal
    fail("expected %d, found %r" % (status, answer))


def running(client, app):
    return sorted(task.id for task in client.list_tasks(app) if task.state == "TASK_RUNNING")


def ready(client, app, count):
    """Until so many tasks run and nothing is under way."""
    def is_ready():
        found = client.get_app(app)
        return len(running(client, app)) == count and found.tasks_running == count and not found.deployments
    until("%s to have %d tasks" % (app, count), is_ready)
    return running(client, app)


def page(host_port, path):
    with urllib.request.urlopen("http://%s%s" % (host_port, path), timeout=10) as answer:
        return answer.read().decode()


def lifecycle(client):
    created = client.create_app("web", MarathonApp(cmd=SLEEP, instances=2, labels={"tier": "front"}, **SMALL))
    expect((created.id, created.instances, len(created.deployments)), ("/web", 2, 1))
    client.create_app("/shop/db", MarathonApp(cmd=SLEEP, constraints=[MarathonConstraint("hostname", "UNIQUE")], **SMALL))
    refused(ConflictError, 409, client.create_app, "/web", MarathonApp(cmd=SLEEP, **SMALL))
    first = ready(client, "/web", 2)
    ready(client, "shop/db", 1)

    expect(sorted(app.id for app in client.list_apps()), ["/shop/db", "/web"])
    expect([app.id for app in client.list_apps(label="tier==front")], ["/web"])
    expect([app.id for app in client.list_apps(app_id="shop")], ["/shop/db"])
    expect([app.id for app in client.list_apps(cmd="nothing")], [])
    listed = {app.id: app for app in client.list_apps(embed_tasks=True, embed_counts=True, embed_task_stats=True)}
    web = listed["/web"]
    expect((len(web.tasks), web.tasks_running, web.task_stats.total_summary.stats.counts.running), (2, 2, 2))
    expect([app.tasks for app in client.list_apps()], [[], []])
    db = client.get_app("/shop/db")
    expect([(c.field, c.operator) for c in db.constraints], [("hostname", "UNIQUE")])
    expect((db.cpus, db.mem, db.backoff_factor, db.upgrade_strategy.minimum_health_capacity), (0.05, 16, 1.15, 1))

    two = client.get_app("web").version
    client.scale_app("web", instances=4)
    four = ready(client, "/web", 4)
    check(set(first) < set(four), first, four)
    client.scale_app("web", delta=-1)
    three = ready(client, "/web", 3)
    check(set(three) < set(four), three, four)
    versions = client.list_versions("web")
    expect(len(versions), 3)
    expect(client.get_version("web", two).instances, 2)
    client.rollback_app("web", two)
    back = ready(client, "/web", 2)
    check(set(back) < set(three), back, three)

    expect(sorted(client.delete_app("web")), ["deploymentId", "version"])
    until("no tasks", lambda: not [task for task in client.list_tasks() if task.app_id == "/web"])
    until("no deployments", lambda: not client.list_deployments())
    refused(NotFoundError, 404, client.get_app, "web")
    refused(NotFoundError, 404, client.delete_app, "web")
    refused(NotFoundError, 404, client.list_versions, "web")
    refused(NotFoundError, 404, client.restart_app, "web")
    refused(NotFoundError, 404, client.get_version, "shop/db", "1999-01-01T00:00:00.000Z")
    refused(NotFoundError, 404, client.rollback_app, "shop/db", "1999-01-01T00:00:00.000Z")
    refusal = refused(MarathonHttpError, 422, client.create_app, "bad", MarathonApp(cmd="x", cpus=-1))
    expect([detail["path"] for detail in refusal.error_details], ["/cpus"])
    expect(refusal.error_message, "Object is not valid")


def replacing(client):
    """Old tasks go only as new ones come, whatever is changed."""
    strategy = MarathonUpgradeStrategy(minimum_health_capacity=1, maximum_over_capacity=1)
    client.create_app("web", MarathonApp(cmd=SLEEP, instances=3, env={"A": "1"}, upgrade_strategy=strategy, **SMALL))
    before = ready(client, "web", 3)
    counts, stop = [], threading.Event()

    def watch():
        watcher = MarathonClient(BASE)
        while not stop.is_set():
            counts.append(len(running(watcher, "web")))

    watching = threading.Thread(target=watch)
    watching.start()
    until("a first look", lambda: counts)
    client.update_app("web", MarathonApp(env={"A": "2"}))
    after = until("three others", lambda: replaced(client, before))
    client.restart_app("web")
    last = until("three others again", lambda: replaced(client, after))
    stop.set()
    watching.join()
    check(min(counts) >= 3 and max(counts) <= 6, counts)
    app = client.get_app("web")
    expect((app.env, app.instances, app.cmd), ({"A": "2"}, 3, SLEEP))
    check(not set(last) & set(before), before, last)
    oldest = client.list_versions("web")[-1]
    client.rollback_app("web", oldest)
    until("the first definition", lambda: replaced(client, last))
    expect(client.get_app("web").env, {"A": "1"})


def replaced(client, old):
    now = running(client, "web")
    is_done = len(now) == 3 and not set(now) & set(old) and not client.get_app("web").deployments
    return now if is_done else None


def tasks(client):
    """A program finds its ports in its environment; what is killed comes back, unless it is not to."""
    line = "env > told; exec python3 -m http.server $PORT0 --bind 127.0.0.1"
    ports = [PortDefinition(port=0, name="web", protocol="tcp", labels={}), PortDefinition(port=0, protocol="tcp")]
    app = MarathonApp(cmd=line, instances=2, port_definitions=ports, env={"MINE": "yes"}, labels={"K": "v"}, cpus=0.1, mem=32)
    client.create_app("/shop/web", app)
    before = ready(client, "/shop/web", 2)
    found = client.list_tasks("/shop/web")
    all_ports = [port for task in found for port in task.ports]
    expect((len(all_ports), len(set(all_ports))), (4, 4))
    task = found[0]
    expect((len(task.service_ports), task.app_id, bool(task.started_at)), (2, "/shop/web", True))
    check(min(task.service_ports) >= 10000, task.service_ports)

    def told():
        try:
            return page("127.0.0.1:%d" % task.ports[0], "/told")
        except (urllib.error.URLError, ConnectionError):
            return None
    lines = dict(line.split("=", 1) for line in until("its page", told).splitlines() if "=" in line)
    wanted = {
        "MARATHON_APP_ID": "/shop/web", "MARATHON_APP_VERSION": task.version, "MARATHON_APP_LABEL_K": "v",
        "MESOS_TASK_ID": task.id, "HOST": task.host, "MINE": "yes", "PORT": str(task.ports[0]),
        "PORT0": str(task.ports[0]), "PORT1": str(task.ports[1]), "PORT_WEB": str(task.ports[0]),
        "PORTS": "%d,%d" % tuple(task.ports), "MARATHON_APP_RESOURCE_CPUS": "0.1",
    }
    expect({name: lines.get(name) for name in wanted}, wanted)
    endpoints = client.list_endpoints()
    expect(sorted({(e.app_id, e.host) for e in endpoints}), sorted({("/shop/web", t.host) for t in found}))

    killed = client.kill_task("/shop/web", task.id)
    expect(killed.id, task.id)
    until("another one", lambda: task.id not in running(client, "/shop/web") and len(running(client, "/shop/web")) == 2)
    check(before[1] in running(client, "/shop/web") or before[0] in running(client, "/shop/web"))
    now = running(client, "/shop/web")
    expect(sorted(task.id for task in client.kill_tasks("/shop/web")), now)
    until("two others", lambda: len(running(client, "/shop/web")) == 2 and not set(running(client, "/shop/web")) & set(now))
    now = running(client, "/shop/web")
    check(client.kill_given_tasks([now[0], "nobody"]))
    until("one other", lambda: now[0] not in running(client, "/shop/web") and len(running(client, "/shop/web")) == 2)
    now = running(client, "/shop/web")
    expect(sorted(client.kill_task("/shop/web", now[0], scale=True)), ["deploymentId", "version"])
    expect(ready(client, "/shop/web", 1), [now[1]])
    expect(client.get_app("/shop/web").instances, 1)
    refused(NotFoundError, 404, client.kill_task, "/shop/web", "nobody")
    refused(NotFoundError, 404, client.list_tasks, "/nobody")


def health(client):
    """Who is not healthy is counted so, and in the end killed; a deployment waits for health."""
    def checked(**check_):
        return MarathonHealthCheck(grace_period_seconds=60, interval_seconds=0.2, timeout_seconds=5, **check_)
    by_command = checked(protocol="COMMAND", command="test -e well", max_consecutive_failures=0, delay_seconds=0.1)
    client.create_app("command", MarathonApp(cmd="touch well; " + SLEEP, health_checks=[by_command], **SMALL))
    server = "echo here > index.html; exec python3 -m http.server $PORT0 --bind 127.0.0.1"
    by_page = checked(protocol="HTTP", path="/index.html", port_index=0, max_consecutive_failures=3)
    client.create_app("page", MarathonApp(cmd=server, health_checks=[by_page], cpus=0.1, mem=32))
    by_port = checked(protocol="MESOS_TCP", port_index=0, max_consecutive_failures=3, delay_seconds=0.1)
    client.create_app("port", MarathonApp(cmd=server, health_checks=[by_port], cpus=0.1, mem=32))
    for name in ["command", "page", "port"]:
        until("%s to be healthy" % name, lambda: client.get_app(name).tasks_healthy == 1)
        until("%s to be deployed" % name, lambda: not client.get_app(name).deployments)
        results = client.get_app(name).tasks[0].health_check_results
        expect([(result.alive, result.consecutive_failures) for result in results], [(True, 0)])
        check(results[0].first_success and results[0].task_id, results)
        expect([found.protocol for found in client.get_app(name).health_checks][0] in ("COMMAND", "HTTP", "MESOS_TCP"), True)
    ill = MarathonHealthCheck(
        protocol="COMMAND", command="false", grace_period_seconds=0, interval_seconds=0.2, timeout_seconds=5,
        max_consecutive_failures=2, delay_seconds=0.1,
    )
    client.create_app("ill", MarathonApp(cmd=SLEEP, health_checks=[ill], **SMALL))
    failure = until("a failure", lambda: client.get_app("ill").last_task_failure)
    expect(failure.app_id, "/ill")
    check(client.get_app("ill").deployments, "it cannot be deployed")


def events(client):
    """What is asked for is told as it happens."""
    heard, filtered = queue.Queue(), queue.Queue()

    def listen(into, types):
        for event in MarathonClient(BASE).event_stream(event_types=types):
            into.put(event)

    threading.Thread(target=listen, args=(heard, None), daemon=True).start()
    expect(heard.get(timeout=SECONDS).event_type, "event_stream_attached")
    only = ["deployment_success", "event_stream_attached"]
    threading.Thread(target=listen, args=(filtered, only), daemon=True).start()
    expect(filtered.get(timeout=SECONDS).event_type, "event_stream_attached")
    created = client.create_app("web", MarathonApp(cmd=SLEEP, health_checks=[MarathonHealthCheck(
        protocol="COMMAND", command="true", interval_seconds=1, timeout_seconds=5, grace_period_seconds=1, delay_seconds=0.1,
    )], **SMALL))
    deployment = created.deployments[0].id
    seen, status = [], None
    while not seen or seen[-1].event_type != "deployment_success":
        seen.append(heard.get(timeout=SECONDS))
        if seen[-1].event_type == "status_update_event" and seen[-1].task_status == "TASK_RUNNING":
            status = seen[-1]
    types = [event.event_type for event in seen]
    for name in ["api_post_event", "deployment_info", "health_status_changed_event", "deployment_step_success"]:
        check(name in types, name, types)
    expect(seen[-1].id, deployment)
    info = seen[types.index("deployment_info")]
    expect((info.plan.id, [action.app for action in info.plan.steps[0].actions]), (deployment, ["/web"]))
    expect([app["id"] for app in info.plan.target.apps], ["/web"])
    task = client.list_tasks("web")[0]
    told = (status.app_id, status.task_id, status.host, status.ports, status.slave_id)
    expect(told, ("/web", task.id, task.host, task.ports, task.slave_id))
    expect(filtered.get(timeout=SECONDS).id, deployment)
    removed = client.delete_app("web")["deploymentId"]
    expect(filtered.get(timeout=SECONDS).id, removed)
    seen = []
    while not seen or seen[-1].event_type != "deployment_success":
        seen.append(heard.get(timeout=SECONDS))
    statuses = [event.task_status for event in seen if event.event_type == "status_update_event"]
    expect(statuses[-1], "TASK_KILLED")
    check("app_terminated_event" in [event.event_type for event in seen], seen)


def waiting(client):
    """What fits nowhere waits and is told of; a deployment is taken back, or given up."""
    client.create_app("big", MarathonApp(cmd=SLEEP, cpus=1000, mem=16, instances=2))
    item = until("the queue", lambda: client.list_queue())[0]
    expect((item.app.id, item.count, item.delay.overdue), ("/big", 2, True))
    until("unused offers", lambda: client.list_queue()[0].processed_offers_summary["unusedOffersCount"] > 0)
    deployments = client.list_deployments()
    expect([(d.affected_apps, d.total_steps) for d in deployments], [(["/big"], 1)])
    expect([action.action for action in deployments[0].current_actions], ["StartApplication"])
    refusal = refused(ConflictError, 409, client.scale_app, "big", 3)
    check("locked" in refusal.error_message, refusal.error_message)
    client.scale_app("big", 3, force=True)
    until("three to wait", lambda: [item.count for item in client.list_queue()] == [3])
    forced = client.list_deployments()
    expect(len(forced), 1)
    check(forced[0].id != deployments[0].id, forced)
    back = client.delete_deployment(forced[0].id)
    expect(sorted(back), ["deploymentId", "version"])
    until("two to wait", lambda: [item.count for item in client.list_queue()] == [2])
    expect(client.delete_deployment(client.list_deployments()[0].id, force=True), {})
    until("no deployments", lambda: not client.list_deployments())
    refused(NotFoundError, 404, client.delete_deployment, "nobody")
    client.update_app("big", MarathonApp(cpus=0.05))
    ready(client, "big", 2)
    expect(client.list_queue(), [])

    client.create_app("short", MarathonApp(cmd="exit 3", backoff_seconds=3600, max_launch_delay_seconds=7200, **SMALL))
    delayed = until("a delay", lambda: [i for i in client.list_queue() if i.app.id == "/short" and not i.delay.overdue])
    check(delayed[0].delay.time_left_seconds > 1000, delayed[0].delay)
    failure = client.get_app("short").last_task_failure
    expect((failure.state, failure.app_id), ("TASK_FAILED", "/short"))
    client.reset_delay("short")
    until("another failure", lambda: client.get_app("short").last_task_failure.task_id != failure.task_id)


def groups(client):
    """Apps of a group come, change and go together."""
    def app(name, **more):
        return MarathonApp(id=name, cmd=SLEEP, **dict(SMALL, **more))
    inner = MarathonGroup(id="back", apps=[app("db")])
    created = client.create_group(MarathonGroup(id="/shop", apps=[app("web", dependencies=["/shop/back"])], groups=[inner]))
    expect(sorted(created), ["deploymentId", "version"])
    ready(client, "/shop/web", 1)
    ready(client, "/shop/back/db", 1)
    group = client.get_group("shop")
    expect((group.id, [app.id for app in group.apps]), ("/shop", ["/shop/web"]))
    expect([(g.id, [app.id for app in g.apps]) for g in group.groups], [("/shop/back", ["/shop/back/db"])])
    expect([group.id for group in client.list_groups()], ["/shop"])
    kept = running(client, "/shop/back/db")
    refused(ConflictError, 409, client.create_group, MarathonGroup(id="/shop", apps=[app("web")]))
    refused(NotFoundError, 404, client.get_group, "nobody")
    client.scale_group("shop", 2)
    ready(client, "/shop/web", 2)
    check(set(kept) < set(ready(client, "/shop/back/db", 2)))
    client.update_group("shop", MarathonGroup(apps=[app("web", instances=1), app("cache")]))
    ready(client, "/shop/cache", 1)
    ready(client, "/shop/web", 1)
    expect(client.get_app("/shop/back/db").instances, 2)
    client.rollback_group("shop", group.version)
    until("no cache", lambda: "/shop/cache" not in [app.id for app in client.list_apps()])
    ready(client, "/shop/web", 1)
    ready(client, "/shop/back/db", 1)
    client.update_apps([app("/shop/web", instances=2), app("/lone")])
    ready(client, "/lone", 1)
    ready(client, "/shop/web", 2)
    client.delete_group("shop")
    until("the group to go", lambda: [app.id for app in client.list_apps()] == ["/lone"])
    until("its tasks to go", lambda: {task.app_id for task in client.list_tasks()} == {"/lone"})

    info = client.get_info()
    expect((info.framework_id, info.elected, info.leader), ("nesos", True, sys.argv[1]))
    expect(client.get_leader(), {"leader": sys.argv[1]})
    expect(client.ping(), b"pong")


STORIES = {
    story.__name__: story for story in [lifecycle, replacing, tasks, health, events, waiting, groups]
}


def run():
    try:
        STORIES[sys.argv[2]](MarathonClient(BASE))
        print("done", flush=True)
        os._exit(0)
    except Exception as error:  # The library's refusal, or nothing heard in time.
        traceback.print_exc()
        fail("%s: %s" % (type(error).__name__, error))


threading.excepthook = lambda args: fail("in a thread: %r" % (args.exc_value,))
run()
