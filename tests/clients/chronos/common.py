"""What the scripts here share: a client, waiting with a deadline, and files that jobs write to. Nothing here knows Nesos."""
import os
import sys
import time
import traceback

import chronos

# A machine that compiles beside is slow.
SECONDS = 120


def fail(sentence):
    print(sentence, flush=True)
    os._exit(1)


def expect(found, wanted):
    if found != wanted:
        raise AssertionError("expected %r, found %r" % (wanted, found))


def wait(what, condition):
    """Until the condition is true; then what it found."""
    deadline = time.monotonic() + SECONDS
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError("not within %s s: %s" % (SECONDS, what))
        time.sleep(0.05)


class Jobs:
    """A client, and where jobs write."""

    def __init__(self, master, folder, **more):
        self.client = chronos.connect([master], **more)
        self.folder = folder

    def add(self, name, command, update=False, **more):
        job = {"name": name, "command": command, "owner": "me@example.com", "disabled": False, "async": False,
               "epsilon": "PT15M", "cpus": 0.01, "mem": 16, "disk": 8}
        job.update(more)
        expect(self.client.add(job, update=update), None)

    def get(self, name):
        found = [job for job in self.client.list() if job["name"] == name]
        return found[0] if found else None

    def file(self, name):
        return os.path.join(self.folder, name)

    def lines(self, name):
        try:
            with open(self.file(name)) as file:
                return file.read().splitlines()
        except FileNotFoundError:
            return []

    def counts(self, name):
        job = self.get(name)
        return job["successCount"], job["errorCount"]

    def until_counts(self, name, *counts):
        wait("%s has %s" % (name, counts), lambda: self.counts(name) == counts)

    def state(self, name):
        nodes = [line.split(",") for line in self.client.scheduler_graph().splitlines()]
        return [node[3] for node in nodes if node[:2] == ["node", name]]


def part(name, play):
    """One part of a script; the test waits for its name."""
    try:
        play()
    except Exception as error:
        traceback.print_exc()
        fail("%s: %s: %s" % (name, type(error).__name__, error))
    print(name, flush=True)


def go_on():
    sys.stdin.readline()
