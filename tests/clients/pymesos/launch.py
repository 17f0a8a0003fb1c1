"""A scheduler on pymesos: launches COUNT short tasks and prints each one's states as JSON when all have ended.

Usage: launch.py HOST:PORT COUNT SECONDS
Ends with 0 when every task has ended, with 1 when SECONDS have passed. Nothing here knows Nesos.
"""
import getpass
import json
import os
import socket
import sys
import threading

from pymesos import MesosSchedulerDriver, Scheduler, decode_data, encode_data

TERMINAL = {
    "TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_LOST", "TASK_ERROR", "TASK_DROPPED", "TASK_GONE",
}
CPUS, MEM = 0.1, 16


class Launcher(Scheduler):
    def __init__(self, count):
        self.waiting = ["task-%d" % number for number in range(count)]
        self.states = {}
        self.framework = None
        self.count = count
        self.done = threading.Event()

    def registered(self, driver, framework_id, master_info):
        self.framework = framework_id["value"]
        print("registered as %s with %s" % (self.framework, master_info), file=sys.stderr)

    def resourceOffers(self, driver, offers):
        for offer in offers:
            left = {"cpus": 0.0, "mem": 0.0}
            for resource in offer["resources"]:
                if resource["name"] in left:
                    left[resource["name"]] += resource["scalar"]["value"]
            tasks = []
            while self.waiting and left["cpus"] >= CPUS and left["mem"] >= MEM:
                left["cpus"] -= CPUS
                left["mem"] -= MEM
                tasks.append(self.task(self.waiting.pop(0), offer["agent_id"]))
            driver.launchTasks(offer["id"], tasks)

    def task(self, name, agent):
        return {
            "name": name,
            "task_id": {"value": name},
            "agent_id": agent,
            "resources": [
                {"name": "cpus", "type": "SCALAR", "scalar": {"value": CPUS}},
                {"name": "mem", "type": "SCALAR", "scalar": {"value": MEM}},
            ],
            "command": {
                "value": "echo $GREETING from %s" % name,
                "environment": {"variables": [{"name": "GREETING", "value": "hello"}]},
            },
            "data": encode_data(b"opaque"),
        }

    def statusUpdate(self, driver, update):
        name, state = update["task_id"]["value"], update["state"]
        states = self.states.setdefault(name, [])
        if not states or states[-1] != state:
            states.append(state)
        if state in TERMINAL:
            print("%s %s %s" % (name, state, update.get("message", "")), file=sys.stderr)
        if sum(1 for states in self.states.values() if states[-1] in TERMINAL) == self.count:
            self.done.set()

    def error(self, driver, message):
        print("error: %s" % message, file=sys.stderr)
        os._exit(1)


def main():
    master, count, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    launcher = Launcher(count)
    framework = {"user": getpass.getuser(), "name": "pymesos launcher", "hostname": socket.gethostname()}
    driver = MesosSchedulerDriver(launcher, framework, master, use_addict=False)
    driver.start()
    in_time = launcher.done.wait(seconds)
    driver.stop()
    driver.join()
    assert decode_data(encode_data(b"x")) == b"x"
    print(json.dumps({"framework": launcher.framework, "tasks": launcher.states}))
    sys.stdout.flush()
    os._exit(0 if in_time else 1)


main()
