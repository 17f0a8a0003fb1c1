"""What http-parser's set-up uses of the module `imp`, which Python 3.12 dropped. On PYTHONPATH while http-parser is built."""

import importlib.util
import sys


def load_source(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
