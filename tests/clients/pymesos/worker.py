"""A custom executor on pymesos: its tasks are nothing but their states, and messages are echoed.

Started by an agent. A task is running at once; the message "finish ID" ends one; a kill kills one. Nothing here knows Nesos.
"""
import time

from pymesos import Executor, MesosExecutorDriver, decode_data, encode_data


class Worker(Executor):
    def registered(self, driver, executor_info, framework_info, agent_info):
        self.greeting = decode_data(executor_info["data"]).decode()
        print("registered for %s on %s" % (framework_info["name"], agent_info["hostname"]), flush=True)

    def reregistered(self, driver, agent_info):
        print("reregistered", flush=True)

    def launchTask(self, driver, task):
        self.tell(driver, task["task_id"], "TASK_RUNNING", decode_data(task["data"]).decode())

    def killTask(self, driver, task_id):
        self.tell(driver, task_id, "TASK_KILLED", "killed")

    def frameworkMessage(self, driver, message):
        words = decode_data(message).decode().split()
        if words[0] == "finish":
            self.tell(driver, {"value": words[1]}, "TASK_FINISHED", "finished")
        driver.sendFrameworkMessage(encode_data(" ".join(["heard"] + words).encode()))

    def tell(self, driver, task_id, state, word):
        driver.sendStatusUpdate({
            "task_id": task_id,
            "state": state,
            "timestamp": time.time(),
            "message": "%s %s" % (self.greeting, word),
            "data": encode_data(word.encode()),
        })


driver = MesosExecutorDriver(Worker(), use_addict=False)
driver.run()
