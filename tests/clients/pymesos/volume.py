"""A scheduler on pymesos that keeps data on a persistent volume.

Usage: volume.py HOST:PORT
Reserves disk, makes a volume and lets a task write to it; prints "written" and waits for a line on its input; lets a second
task read what the first one wrote; prints "read"; deletes the volume and the reservation; prints "gone". Each step takes
what the offers show, as a real framework does. Ends with 0 if all went well. Nothing here knows Nesos.
"""
import getpass
import os
import socket
import sys
import threading

from pymesos import MesosSchedulerDriver, Scheduler

ROLE, PRINCIPAL, DISK = "db", "keeper", 32


def amount(name, value, **more):
    return dict({"name": name, "type": "SCALAR", "scalar": {"value": value}}, **more)


RESERVATION = {"role": ROLE, "reservation": {"principal": PRINCIPAL}}
RESERVED = amount("disk", DISK, **RESERVATION)
VOLUME = amount("disk", DISK, disk={
    "persistence": {"id": "kept", "principal": PRINCIPAL},
    "volume": {"container_path": "data", "mode": "RW"},
}, **RESERVATION)


def is_volume(resource):
    return resource.get("disk", {}).get("persistence", {}).get("id") == "kept"


class Keeper(Scheduler):
    def __init__(self):
        self.step = "write"
        self.waiting = threading.Event()
        self.done = threading.Event()

    def resourceOffers(self, driver, offers):
        for offer in offers:
            operations = self.operations(offer)
            if operations:
                driver.acceptOffers([offer["id"]], operations, {"refuse_seconds": 0})
            else:
                driver.declineOffer(offer["id"], {"refuse_seconds": 0.2})

    def operations(self, offer):
        has_volume = any(is_volume(resource) for resource in offer["resources"])
        if self.step == "write":
            self.step = "writing"
            return [
                {"type": "RESERVE", "reserve": {"resources": [RESERVED]}},
                {"type": "CREATE", "create": {"volumes": [VOLUME]}},
                self.launch("writer", offer, "echo precious > data/file"),
            ]
        if self.step == "read" and has_volume:
            self.step = "reading"
            return [self.launch("reader", offer, "grep -x precious data/file")]
        if self.step == "delete" and has_volume:
            self.step = "deleting"
            return [
                {"type": "DESTROY", "destroy": {"volumes": [VOLUME]}},
                {"type": "UNRESERVE", "unreserve": {"resources": [RESERVED]}},
            ]
        if self.step == "deleting" and not any(r.get("role", "*") != "*" for r in offer["resources"]):
            self.step = "gone"
            self.done.set()
        return None

    def launch(self, name, offer, command):
        task = {
            "name": name,
            "task_id": {"value": name},
            "agent_id": offer["agent_id"],
            "resources": [amount("cpus", 0.1), amount("mem", 16), VOLUME],
            "command": {"value": command},
        }
        return {"type": "LAUNCH", "launch": {"task_infos": [task]}}

    def statusUpdate(self, driver, update):
        name, state = update["task_id"]["value"], update["state"]
        print("%s %s %s" % (name, state, update.get("message", "")), file=sys.stderr)
        if state in ("TASK_STARTING", "TASK_RUNNING"):
            return
        if state != "TASK_FINISHED":
            os._exit(1)
        # An update whose acknowledgement a crash has swallowed comes again, so only the first counts.
        if (name, self.step) == ("writer", "writing"):
            self.step = "written"
            print("written", flush=True)
            threading.Thread(target=self.go_on, daemon=True).start()
        elif (name, self.step) == ("reader", "reading"):
            self.step = "delete"
            print("read", flush=True)

    def go_on(self):
        sys.stdin.readline()
        self.step = "read"

    def error(self, driver, message):
        print("error: %s" % message, file=sys.stderr)
        os._exit(1)


def main():
    keeper = Keeper()
    framework = {
        "user": getpass.getuser(), "name": "pymesos keeper", "hostname": socket.gethostname(),
        "role": ROLE, "principal": PRINCIPAL,
    }
    driver = MesosSchedulerDriver(keeper, framework, sys.argv[1], use_addict=False)
    driver.start()
    in_time = keeper.done.wait(120)
    print("gone" if in_time else "too late in step " + keeper.step, flush=True)
    driver.stop()
    driver.join()
    os._exit(0 if in_time else 1)


main()
