"""An operator on pymesos: asks a master and an agent for all they tell, and changes what can be changed.

Usage: operate.py HOST:PORT, of a master with one agent. Says `done`; ends with 1 and a sentence when an answer is not what Mesos's would be.
Nothing here knows Nesos.
"""
import getpass
import os
import queue
import socket
import sys
import threading
import traceback

from pymesos import (
    MesosOperatorAgentDriver, MesosOperatorMasterDriver, MesosSchedulerDriver, OperatorMaster, Scheduler, decode_data,
)

SECONDS = 60
SECOND = 10 ** 9


def amounts(cpus, mem):
    return [
        {"name": "cpus", "type": "SCALAR", "scalar": {"value": cpus}},
        {"name": "mem", "type": "SCALAR", "scalar": {"value": mem}},
    ]


class Watcher(OperatorMaster):
    """Keeps every event with the name of the method that told it."""

    def __init__(self):
        self.events = queue.Queue()

    def taskAdded(self, task_info):
        self.events.put(("taskAdded", task_info["task_id"]["value"]))

    def taskUpdated(self, task_info):
        self.events.put((task_info["state"], task_info["status"]["task_id"]["value"]))

    def frameworkAdded(self, framework_info):
        self.events.put(("frameworkAdded", framework_info["framework_info"]["name"]))

    def frameworkRemoved(self, framework_info):
        self.events.put(("frameworkRemoved", framework_info["name"]))

    def wait(self, *wanted):
        """Until each has come."""
        left = set(wanted)
        while left:
            left.discard(self.events.get(timeout=SECONDS))


class Launcher(Scheduler):
    """Runs one task until somebody ends it."""

    def __init__(self):
        self.has_launched = False

    def resourceOffers(self, driver, offers):
        for offer in offers:
            tasks = [] if self.has_launched else [{
                "name": "t", "task_id": {"value": "t"}, "agent_id": offer["agent_id"], "resources": amounts(0.1, 32),
                "command": {"value": "echo here; exec sleep 1000"},
            }]
            self.has_launched = True
            driver.launchTasks(offer["id"], tasks)


def fail(sentence):
    print(sentence, flush=True)
    os._exit(1)


def expect(found, wanted):
    if found != wanted:
        fail("expected %r, found %r" % (wanted, found))


def told(answer, *path):
    """What stands in the answer, whose type names its member."""
    found = answer.get(answer.get("type", "").lower())
    for name in path:
        if not isinstance(found, dict) or name not in found:
            fail("no %s in %s" % (".".join(path), answer))
        found = found[name]
    return found


def both(driver):
    """What masters and agents tell alike."""
    expect(told(driver.getHealth(), "healthy"), True)
    for part in told(driver.getVersion(), "version_info", "version").split("."):
        int(part)
    if not told(driver.getFlags(), "flags"):
        fail("no flags")
    if len(told(driver.getMetrics(5 * SECOND), "metrics")) < 10:
        fail("hardly any metrics")
    level = told(driver.getLoggingLevel(), "level")
    driver.setLoggingLevel(level + 1, SECOND)
    expect(told(driver.getLoggingLevel(), "level"), level + 1)
    if "frameworks" not in told(driver.getState(), "get_frameworks"):
        fail("no frameworks in the state")
    names = [framework["framework_info"]["name"] for framework in told(driver.getFrameworks(), "frameworks")]
    expect(names, ["pymesos launcher"])
    driver.getExecutors()


def shares(master):
    master.updateWeights([{"role": "web", "weight": 2.5}])
    expect(told(master.getWeights(), "weight_infos"), [{"role": "web", "weight": 2.5}])
    master.setQuota({"role": "web", "guarantee": amounts(0.1, 16)})
    expect([info["role"] for info in told(master.getQuota(), "status", "infos")], ["web"])
    if "web" not in [role["name"] for role in told(master.getRoles(), "roles")]:
        fail("web is no role")
    master.removeQuota("web")
    expect(told(master.getQuota(), "status").get("infos", []), [])


def reservations(master, agent):
    plain = {"name": "disk", "type": "SCALAR", "scalar": {"value": 8}}
    reserved = dict(plain, reservations=[{"type": "DYNAMIC", "role": "db"}])
    volume = dict(reserved, disk={
        "persistence": {"id": "v"}, "volume": {"container_path": "v", "mode": "RW"},
    })
    master.reserveResources(agent, [reserved])
    master.createVolumes(agent, [volume])
    held = told(master.getAgents(), "agents")[0]["total_resources"]
    expect([amount["disk"]["persistence"]["id"] for amount in held if "disk" in amount], ["v"])
    master.destroyVolumes(agent, [volume])
    master.unreserveResources(agent, [reserved])
    held = told(master.getAgents(), "agents")[0]["total_resources"]
    expect([amount for amount in held if amount.get("reservations")], [])


def maintenance(master):
    machine = {"hostname": "elsewhere", "ip": "192.0.2.1"}
    window = {"machine_ids": [machine], "unavailability": {"start": {"nanoseconds": 0}}}
    master.updateMaintenanceSchedule([window])
    expect(len(told(master.getMaintenanceSchedule(), "schedule", "windows")), 1)
    master.startMaintenance([machine])
    expect(told(master.getMaintenanceStatus(), "status").get("down_machines"), [machine])
    master.stopMaintenance([machine])
    expect(told(master.getMaintenanceStatus(), "status").get("down_machines", []), [])


def inside(agent, container):
    """Another command beside the task."""
    nested = {"value": "beside", "parent": container}
    agent.launchNestedContainer({"container_id": nested, "command": {"value": "echo beside > beside"}})
    agent._send({"type": "WAIT_NESTED_CONTAINER", "wait_nested_container": {"container_id": nested}})
    agent._send({"type": "REMOVE_NESTED_CONTAINER", "remove_nested_container": {"container_id": nested}})
    agent.pruneImages()


def sandbox(agent):
    executors = told(agent.getExecutors(), "executors")
    info = executors[0]["executor_info"]
    folder = "/frameworks/%s/executors/%s/runs/latest" % (info["framework_id"]["value"], info["executor_id"]["value"])
    files = told(agent.listFiles(folder), "file_infos")
    path = [file["path"] for file in files if file["path"].endswith("/stdout")][0]
    expect(decode_data(told(agent.readFile(path, 4, 1), "data")), b"ere\n")


def main():
    watcher, launcher = Watcher(), Launcher()
    master = MesosOperatorMasterDriver(sys.argv[1], watcher)
    master.start()
    agents = told(master.getAgents(), "agents")
    info = agents[0]["agent_info"]
    framework = {"user": getpass.getuser(), "name": "pymesos launcher", "hostname": socket.gethostname()}
    driver = MesosSchedulerDriver(launcher, framework, sys.argv[1], use_addict=False)
    driver.start()
    watcher.wait(("frameworkAdded", framework["name"]), ("taskAdded", "t"), ("TASK_RUNNING", "t"))
    both(master)
    expect(told(master.getMaster(), "master_info", "port"), int(sys.argv[1].split(":")[1]))
    expect([task["name"] for task in told(master.getTasks(), "tasks")], ["t"])
    shares(master)
    reservations(master, info["id"]["value"])
    maintenance(master)
    # `slave(1)@127.0.0.1:5051`
    agent = MesosOperatorAgentDriver(agents[0]["pid"].split("@")[1])
    both(agent)
    expect([task["name"] for task in told(agent.getTasks(), "launched_tasks")], ["t"])
    containers = told(agent.getContainers(True, True), "containers")
    inside(agent, containers[0]["container_id"])
    sandbox(agent)
    driver.killTask({"value": "t"})
    watcher.wait(("TASK_KILLED", "t"))
    driver.stop()
    driver.join()
    watcher.wait(("frameworkRemoved", framework["name"]))
    print("done", flush=True)
    os._exit(0)


def run():
    try:
        main()
    except Exception as error:  # A driver's refusal, or nothing heard in time.
        traceback.print_exc()
        fail("%s: %s" % (type(error).__name__, error))


threading.excepthook = lambda args: fail("in a thread: %s" % (args.exc_value,))
run()
