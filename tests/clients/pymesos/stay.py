"""A scheduler on pymesos whose tasks outlive the master that took them.

Usage: stay.py HOST:PORT COUNT. Launches COUNT tasks `stay-N`, which count, and says `running ID` with the framework's id. When it has read a
line it waits until it is registered again, asks after its tasks, and says `again ID` when all run. With the next line it kills them.
Ends with 1 and a sentence when something else happens, or too late. Nothing here knows Nesos.
"""
import getpass
import os
import queue
import socket
import sys

from pymesos import MesosSchedulerDriver, Scheduler

# Emulated boards on a loaded machine are slow.
SECONDS = 180
# Between two questions after the same tasks: masters do not answer for agents that may yet come back.
PATIENCE = 5
COUNT = "i=0; while :; do echo $i; i=$((i+1)); sleep 0.5; done"
AMOUNTS = {"cpus": 0.05, "mem": 4}


class Stayer(Scheduler):
    """Launches what is waiting; passes the rest on to the story."""

    def __init__(self, count):
        self.waiting = ["stay-%d" % number for number in range(count)]
        self.names = list(self.waiting)
        self.statuses, self.again = queue.Queue(), queue.Queue()

    def resourceOffers(self, driver, offers):
        for offer in offers:
            held = {amount["name"]: amount["scalar"]["value"] for amount in offer["resources"] if "scalar" in amount}
            # An even share for each of two agents, so that no board has them all.
            room = min(held.get(name, 0) // amount for name, amount in AMOUNTS.items())
            share = min(int(room), (len(self.names) + 1) // 2, len(self.waiting))
            names, self.waiting = self.waiting[:share], self.waiting[share:]
            driver.launchTasks(offer["id"], [task(name, offer["agent_id"]) for name in names])

    def reregistered(self, driver, master_info):
        self.again.put(driver.framework_id)

    def statusUpdate(self, driver, update):
        print(update, file=sys.stderr)
        self.statuses.put(update)

    def error(self, driver, message):
        fail("error: %s" % message)


def task(name, agent):
    amounts = [{"name": name, "type": "SCALAR", "scalar": {"value": value}} for name, value in AMOUNTS.items()]
    return dict(name=name, task_id={"value": name}, agent_id=agent, resources=amounts, command={"value": COUNT})


def fail(sentence):
    print(sentence, flush=True)
    os._exit(1)


def pause(word):
    print(word, flush=True)
    sys.stdin.readline()


class Story:
    def __init__(self, driver, stayer):
        self.driver, self.stayer = driver, stayer

    def all_are(self, state, passing=()):
        """Waits until the next status of each task is this one; `passing` ones may come before."""
        left = set(self.stayer.names)
        while left:
            status = self.stayer.statuses.get(timeout=SECONDS)
            name, found = status["task_id"]["value"], status["state"]
            if found == state:
                left.discard(name)
            elif found not in passing:
                fail("%s is %s: %s" % (name, found, status))

    def ask(self):
        """Asks after all tasks until there is an answer about each."""
        left = set(self.stayer.names)
        for _ in range(SECONDS // PATIENCE):
            self.driver.reconcileTasks([{"task_id": {"value": name}} for name in left])
            try:
                while left:
                    status = self.stayer.statuses.get(timeout=PATIENCE)
                    name, found = status["task_id"]["value"], status["state"]
                    if found != "TASK_RUNNING":
                        fail("%s is %s: %s" % (name, found, status))
                    left.discard(name)
                return
            except queue.Empty:
                pass
        fail("no word of %s" % sorted(left))

    def tell(self):
        self.all_are("TASK_RUNNING", ["TASK_STAGING", "TASK_STARTING"])
        pause("running " + self.driver.framework_id)
        framework = self.stayer.again.get(timeout=SECONDS)
        self.ask()
        pause("again " + framework)
        for name in self.stayer.names:
            self.driver.killTask({"value": name})
        self.all_are("TASK_KILLED", ["TASK_RUNNING", "TASK_KILLING"])


def main():
    stayer = Stayer(int(sys.argv[2]))
    framework = {"user": getpass.getuser(), "name": "pymesos stayer", "hostname": socket.gethostname(), "checkpoint": True}
    driver = MesosSchedulerDriver(stayer, framework, sys.argv[1], use_addict=False)
    driver.start()
    try:
        Story(driver, stayer).tell()
    except queue.Empty:
        fail("nothing happened for %d s" % SECONDS)
    driver.stop()
    driver.join()
    print("done", flush=True)
    os._exit(0)


main()
