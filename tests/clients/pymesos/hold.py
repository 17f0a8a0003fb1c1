"""A scheduler on pymesos whose tasks share one executor of its own, and then form pods.

Usage: hold.py HOST:PORT. Says a word for each thing that has happened, and goes on when it reads a line.
Ends with 1 and a sentence when something else happens, or too late. Nothing here knows Nesos.
"""
import getpass
import os
import queue
import socket
import sys
import threading

from pymesos import MesosSchedulerDriver, Scheduler, decode_data, encode_data

EXECUTOR_PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "holder.py")
SECONDS = 60


def amounts(cpus, mem):
    return [
        {"name": "cpus", "type": "SCALAR", "scalar": {"value": cpus}},
        {"name": "mem", "type": "SCALAR", "scalar": {"value": mem}},
    ]


EXECUTOR = {
    "executor_id": {"value": "holder:1"},
    "name": "holder",
    "command": {"value": "exec %s %s" % (sys.executable, EXECUTOR_PROGRAM)},
    "resources": amounts(0.1, 32),
    "data": encode_data(b"some data"),
}
POD = {"executor_id": {"value": "pod"}, "type": "DEFAULT", "resources": amounts(0.1, 32)}


def task(name, agent, **rest):
    return dict(name=name, task_id={"value": name}, agent_id=agent, resources=amounts(0.1, 16), **rest)


class Keeper(Scheduler):
    """Passes everything on to the story, which waits for it."""

    def __init__(self):
        self.offers, self.change = {}, threading.Condition()
        self.statuses, self.rest = queue.Queue(), queue.Queue()

    def resourceOffers(self, driver, offers):
        with self.change:
            self.offers.update((offer["id"]["value"], offer) for offer in offers)
            self.change.notify()

    def offerRescinded(self, driver, offer_id):
        with self.change:
            self.offers.pop(offer_id["value"], None)

    def disconnected(self, driver):
        with self.change:
            self.offers.clear()

    def take(self):
        """All offers, which are of one agent, as soon as they hold enough."""
        with self.change:
            if not self.change.wait_for(self.has_enough, SECONDS):
                fail("not offered enough in %d s: %s" % (SECONDS, self.offers))
            taken, self.offers = list(self.offers.values()), {}
            return taken

    def has_enough(self):
        held = [amount for offer in self.offers.values() for amount in offer["resources"] if amount["name"] == "cpus"]
        return sum(amount["scalar"]["value"] for amount in held) >= 1

    def statusUpdate(self, driver, update):
        print(update, file=sys.stderr)
        self.statuses.put(update)

    def frameworkMessage(self, driver, executor_id, agent_id, message):
        self.rest.put((executor_id["value"], decode_data(message)))

    def executorLost(self, driver, executor_id, agent_id, status):
        self.rest.put((executor_id["value"], status))

    def error(self, driver, message):
        fail("error: %s" % message)


def fail(sentence):
    print(sentence, flush=True)
    os._exit(1)


def expect(found, wanted):
    if found != wanted:
        fail("expected %r, found %r" % (wanted, found))


class Story:
    def __init__(self, driver, keeper):
        self.driver, self.keeper = driver, keeper
        self.agent = None
        self.seen = {}

    def launch(self, *names):
        offers = self.offer_ids()
        tasks = [task(name, self.agent, executor=EXECUTOR) for name in names]
        operation = {"type": "LAUNCH", "launch": {"task_infos": tasks}}
        self.driver.acceptOffers(offers, [operation], {"refuse_seconds": 0})

    def pod(self, *commands):
        offers = self.offer_ids()
        tasks = [task(name, self.agent, command={"value": command}) for name, command in commands]
        group = {"executor": POD, "task_group": {"tasks": tasks}}
        operation = {"type": "LAUNCH_GROUP", "launch_group": group}
        self.driver.acceptOffers(offers, [operation], {"refuse_seconds": 0})

    def offer_ids(self):
        offers = self.keeper.take()
        self.agent = offers[0]["agent_id"]
        return [offer["id"] for offer in offers]

    def wait(self, state, *names):
        """Until each of the tasks has had this state; the statuses."""
        while not all((name, state) in self.seen for name in names):
            status = self.keeper.statuses.get(timeout=SECONDS)
            self.seen.setdefault((status["task_id"]["value"], status["state"]), status)
        return [self.seen[name, state] for name in names]

    def ask(self, text, answer):
        """Says it until the answer comes: messages get lost while somebody is away."""
        for _ in range(SECONDS):
            try:
                self.driver.sendFrameworkMessage(EXECUTOR["executor_id"], self.agent, encode_data(text))
                while self.keeper.rest.get(timeout=1) != ("holder:1", answer):
                    pass
                return
            except (queue.Empty, OSError):
                pass
        fail("no %r came of %r in %d s" % (answer, text, SECONDS))

    def executors(self):
        self.launch("t0", "t1")
        first, second = self.wait("TASK_RUNNING", "t0", "t1")
        expect(first["data"], second["data"])
        expect(first["executor_id"], EXECUTOR["executor_id"])
        expect(first["labels"], {"labels": [{"key": "made", "value": "by hand"}]})
        who = decode_data(first["data"])
        expect(who.split(b" ", 1)[1], b"some data")
        pause("running")
        # It has lived through whatever happened to master and agent.
        self.ask(b"hello", b"hello heard by " + who)
        self.driver.killTask({"value": "t0"})
        self.wait("TASK_KILLED", "t0")
        self.launch("t2")
        expect(self.wait("TASK_RUNNING", "t2")[0]["data"], first["data"])
        self.ask(b"finish", b"finish heard by " + who)
        self.wait("TASK_FINISHED", "t1", "t2")
        pause("idle")
        self.launch("t3")
        self.wait("TASK_RUNNING", "t3")
        self.ask(b"die", 3 << 8)
        expect(self.wait("TASK_FAILED", "t3")[0]["reason"], "REASON_EXECUTOR_TERMINATED")
        self.launch("t4")
        again = self.wait("TASK_RUNNING", "t4")[0]["data"]
        if again == first["data"]:
            fail("a new executor has the process id of the old one")
        pause("again")

    def pods(self):
        self.pod(("p0", "sleep 1000"), ("p1", "sleep 1000"))
        self.wait("TASK_RUNNING", "p0", "p1")
        self.pod(("p2", "true"), ("p3", "sleep 1"))
        self.wait("TASK_FINISHED", "p2", "p3")
        pause("pods")
        # The end of one is the end of its group.
        self.driver.killTask({"value": "p0"})
        self.wait("TASK_KILLED", "p0", "p1")
        # A pod without tasks is over; what came for it before that is heard would be lost.
        while self.keeper.rest.get(timeout=SECONDS) != ("pod", 0):
            pass
        # A failure, too, is the end of a group.
        self.pod(("p4", "exit 7"), ("p5", "sleep 1000"))
        self.wait("TASK_FAILED", "p4")
        self.wait("TASK_KILLED", "p5")


def pause(word):
    print(word, flush=True)
    sys.stdin.readline()


def main():
    keeper = Keeper()
    framework = {
        "user": getpass.getuser(), "name": "pymesos holder", "hostname": socket.gethostname(), "checkpoint": True,
    }
    driver = MesosSchedulerDriver(keeper, framework, sys.argv[1], use_addict=False)
    driver.start()
    story = Story(driver, keeper)
    try:
        story.executors()
        story.pods()
    except queue.Empty:
        fail("nothing happened for %d s" % SECONDS)
    driver.stop()
    driver.join()
    print("done", flush=True)
    os._exit(0)


main()
