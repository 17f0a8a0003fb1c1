"""A scheduler on pymesos whose tasks have an executor of its own (worker.py beside this file).

Usage: executor.py HOST:PORT
Launches two tasks with one executor; prints "running"; at a line on its input talks to the executor and prints "heard"; gives the
same executor a third task, prints "reused"; lets one finish, kills one and prints "ended"; at another line leaves with one task
still running. Ends with 0 if all went well. Nothing here knows Nesos.
"""
import getpass
import os
import socket
import sys
import threading
import time

from pymesos import MesosSchedulerDriver, Scheduler, decode_data, encode_data

WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "worker.py")
SECONDS = 120


def amounts(cpus, mem):
    amount = lambda name, value: {"name": name, "type": "SCALAR", "scalar": {"value": value}}
    return [amount("cpus", cpus), amount("mem", mem)]


class Foreman(Scheduler):
    def __init__(self):
        self.waiting = ["one", "two"]
        self.states = {}
        self.heard = set()
        self.agent = None
        self.offered_executors = []
        self.changed = threading.Condition()

    def resourceOffers(self, driver, offers):
        for offer in offers:
            if not self.waiting or self.agent not in (None, offer["agent_id"]["value"]):
                driver.declineOffer(offer["id"], {"refuse_seconds": 0.2})
                continue
            self.agent = offer["agent_id"]["value"]
            self.offered_executors.append([one["value"] for one in offer.get("executor_ids", [])])
            tasks = [self.task(name, offer["agent_id"]) for name in self.waiting]
            self.waiting = []
            driver.launchTasks(offer["id"], tasks)

    def task(self, name, agent):
        return {
            "name": name,
            "task_id": {"value": name},
            "agent_id": agent,
            "resources": amounts(0.1, 16),
            "data": encode_data(("for " + name).encode()),
            # Without its framework's id and a type, as older schedulers send it.
            "executor": {
                "executor_id": {"value": "worker"},
                "name": "the worker",
                "command": {"value": "exec %s %s" % (sys.executable, WORKER)},
                "resources": amounts(0.1, 32),
                "data": encode_data(b"hello"),
            },
        }

    def statusUpdate(self, driver, update):
        name, state = update["task_id"]["value"], update["state"]
        word = decode_data(update["data"]).decode() if "data" in update else ""
        print("%s %s %s" % (name, state, update.get("message", "")), file=sys.stderr, flush=True)
        with self.changed:
            self.states[name] = (state, word)
            self.changed.notify_all()

    def frameworkMessage(self, driver, executor_id, agent_id, message):
        with self.changed:
            self.heard.add((executor_id["value"], decode_data(message).decode()))
            self.changed.notify_all()

    def error(self, driver, message):
        print("error: %s" % message, file=sys.stderr)
        os._exit(1)

    def wait(self, what, condition):
        with self.changed:
            if not self.changed.wait_for(condition, SECONDS):
                print("too late: %s: %s %s" % (what, self.states, self.heard), flush=True)
                os._exit(1)

    def say(self, driver, words):
        """Messages are not reliable: said again until answered."""
        answer, deadline = ("worker", "heard " + words), time.time() + SECONDS
        while answer not in self.heard and time.time() < deadline:
            driver.sendFrameworkMessage({"value": "worker"}, {"value": self.agent}, encode_data(words.encode()))
            with self.changed:
                self.changed.wait_for(lambda: answer in self.heard, 1)
        self.wait(words, lambda: answer in self.heard)


def main():
    foreman = Foreman()
    is_now = lambda name, *expected: lambda: foreman.states.get(name) == expected
    framework = {
        "user": getpass.getuser(), "name": "pymesos foreman", "hostname": socket.gethostname(), "checkpoint": True,
    }
    driver = MesosSchedulerDriver(foreman, framework, sys.argv[1], use_addict=False)
    driver.start()
    foreman.wait("one", is_now("one", "TASK_RUNNING", "for one"))
    foreman.wait("two", is_now("two", "TASK_RUNNING", "for two"))
    print("running", flush=True)
    sys.stdin.readline()
    foreman.say(driver, "are you there")
    print("heard", flush=True)
    foreman.waiting = ["three"]
    driver.reviveOffers()
    foreman.wait("three", is_now("three", "TASK_RUNNING", "for three"))
    assert foreman.offered_executors[-1] == ["worker"], foreman.offered_executors
    print("reused", flush=True)
    foreman.say(driver, "finish one")
    foreman.wait("one", is_now("one", "TASK_FINISHED", "finished"))
    driver.killTask({"value": "two"})
    foreman.wait("two", is_now("two", "TASK_KILLED", "killed"))
    print("ended", flush=True)
    sys.stdin.readline()
    driver.stop()
    driver.join()
    os._exit(0)


main()
