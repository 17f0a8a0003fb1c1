"""An executor on pymesos: its tasks run until they are killed, or it is told "finish"; "die" ends it without a word.

Says who it is (process id, and the data that its framework gave it) in each status; leaves the file `shutdown` in its sandbox
when it is asked to end. Nothing here knows Nesos.
"""
import os

from pymesos import Executor, MesosExecutorDriver, decode_data, encode_data


class Holder(Executor):
    def __init__(self):
        self.tasks = []
        self.who = b""

    def registered(self, driver, executor_info, framework_info, agent_info):
        self.who = b"%d %s" % (os.getpid(), decode_data(executor_info["data"]))

    def launchTask(self, driver, task):
        self.tasks.append(task["task_id"])
        self.update(driver, task["task_id"], "TASK_RUNNING")

    def killTask(self, driver, task_id):
        self.tasks.remove(task_id)
        self.update(driver, task_id, "TASK_KILLED")

    def frameworkMessage(self, driver, message):
        text = decode_data(message)
        if text == b"die":
            os._exit(3)
        if text == b"finish":
            while self.tasks:
                self.update(driver, self.tasks.pop(), "TASK_FINISHED")
        driver.sendFrameworkMessage(encode_data(text + b" heard by " + self.who))

    def update(self, driver, task_id, state):
        labels = {"labels": [{"key": "made", "value": "by hand"}]}
        status = {"task_id": task_id, "state": state, "data": encode_data(self.who), "labels": labels}
        driver.sendStatusUpdate(status)

    def shutdown(self, driver):
        with open(os.path.join(os.environ["MESOS_SANDBOX"], "shutdown"), "w") as file:
            file.write("asked\n")


MesosExecutorDriver(Holder(), use_addict=False).run()
