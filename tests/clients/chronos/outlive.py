"""Jobs before and after their master has died.

Usage: outlive.py HOST:PORT FOLDER. Prints `running`, waits for a line, prints `done`. Nothing here knows Nesos.
"""
import sys

import chronos

from common import Jobs, expect, go_on, part, wait

FAR = "R5/2090-01-01T00:00:00Z/P1D"
jobs = Jobs(sys.argv[1], sys.argv[2])
gate, order = jobs.file("gate"), jobs.file("order")


def running():
    jobs.add("parent", "echo begun >> %s; until [ -e %s ]; do sleep 0.1; done" % (order, gate), schedule=FAR)
    jobs.add("child", "echo child >> %s" % order, parents=["parent"])
    jobs.add("other", "true", schedule=FAR)
    expect(jobs.client.run("other"), None)
    jobs.until_counts("other", 1, 0)
    expect(jobs.client.run("parent"), None)
    wait("it runs", lambda: jobs.lines("order") == ["begun"])


def answers():
    try:
        return jobs.client.list()
    except (chronos.ChronosAPIError, OSError):
        return None


def done():
    found = wait("the master answers", answers)
    expect([job["name"] for job in found], ["child", "other", "parent"])
    expect(jobs.counts("other"), (1, 0))
    expect(jobs.state("parent"), ["1 running"])
    with open(gate, "w"):
        pass
    jobs.until_counts("child", 1, 0)
    expect(jobs.counts("parent"), (1, 0))
    expect(jobs.lines("order"), ["begun", "child"])


part("running", running)
go_on()
part("done", done)
