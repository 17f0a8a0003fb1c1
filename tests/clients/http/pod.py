"""A scheduler on nothing but HTTP that runs two pods of two tasks each.

Usage: pod.py HOST:PORT
In the first pod one task fails and the other would sleep; in the second both finish. Prints the last states by task as JSON, then
tears its framework down. Needs Python's standard library only. Nothing here knows Nesos.
"""
import http.client
import json
import os
import sys
import threading

MASTER, PATH = sys.argv[1], "/api/v1/scheduler"
HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}
PODS = [
    ("failing", {"a": "echo begun; sleep 1; exit 3", "b": "exec sleep 1000"}),
    ("finishing", {"c": "echo $MESOS_EXECUTOR_ID > said", "d": "sleep 0.1"}),
]


class Framework:
    def __init__(self):
        self.stream = http.client.HTTPConnection(MASTER)
        info = {"user": os.environ.get("USER", "root"), "name": "pods", "roles": ["*"], "capabilities": [{"type": "MULTI_ROLE"}]}
        call = {"type": "SUBSCRIBE", "subscribe": {"framework_info": info}}
        self.stream.request("POST", PATH, json.dumps(call), HEADERS)
        self.answer = self.stream.getresponse()
        assert self.answer.status == 200, self.answer.read()
        self.stream_id = self.answer.headers["Mesos-Stream-Id"]
        self.id = None

    def events(self):
        while True:
            length = self.answer.readline()
            yield json.loads(self.answer.read(int(length)))

    def call(self, kind, **member):
        connection = http.client.HTTPConnection(MASTER)
        headers = dict(HEADERS, **{"Mesos-Stream-Id": self.stream_id})
        call = dict({"type": kind, "framework_id": self.id}, **member)
        connection.request("POST", PATH, json.dumps(call), headers)
        answer = connection.getresponse()
        assert answer.status == 202, answer.read()


def amounts(cpus, mem):
    amount = lambda name, value: {"name": name, "type": "SCALAR", "scalar": {"value": value}}
    return [amount("cpus", cpus), amount("mem", mem)]


def launch_group(framework, agent, name, commands):
    task = lambda task, command: {
        "name": task, "task_id": {"value": task}, "agent_id": agent, "resources": amounts(0.1, 32),
        "command": {"value": command},
    }
    executor = {
        "type": "DEFAULT", "executor_id": {"value": name}, "framework_id": framework, "resources": amounts(0.1, 32),
    }
    group = {"tasks": [task(*one) for one in sorted(commands.items())]}
    return {"type": "LAUNCH_GROUP", "launch_group": {"executor": executor, "task_group": group}}


def main():
    watchdog = threading.Timer(120, lambda: os._exit(1))
    watchdog.daemon = True
    watchdog.start()
    framework, waiting, states = Framework(), list(PODS), {}
    for event in framework.events():
        if event["type"] == "SUBSCRIBED":
            framework.id = event["subscribed"]["framework_id"]
        elif event["type"] == "OFFERS":
            for offer in event["offers"]["offers"]:
                pods, waiting = waiting[:1], waiting[1:]
                operations = [launch_group(framework.id, offer["agent_id"], *pod) for pod in pods]
                accept = {"offer_ids": [offer["id"]], "operations": operations, "filters": {"refuse_seconds": 0.2}}
                framework.call("ACCEPT", accept=accept)
        elif event["type"] == "UPDATE":
            status = event["update"]["status"]
            print(status["task_id"]["value"], status["state"], status.get("message", ""), file=sys.stderr, flush=True)
            states.setdefault(status["task_id"]["value"], []).append([status["state"], status["executor_id"]["value"]])
            container = status["container_status"]["container_id"]
            assert container["value"] != container["parent"]["value"], container
            acknowledge = {key: status[key] for key in ("agent_id", "task_id", "uuid") if key in status}
            if "uuid" in status:
                framework.call("ACKNOWLEDGE", acknowledge=acknowledge)
        over = ("TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_LOST", "TASK_ERROR")
        if len(states) == 4 and all(seen[-1][0] in over for seen in states.values()):
            break
    print(json.dumps(states), flush=True)
    framework.call("TEARDOWN")


main()
