"""What marathon-python 0.13.0 uses of the module `collections`, which Python 3.10 moved. On PYTHONPATH while it runs."""

import collections
import collections.abc

if not hasattr(collections, "Iterable"):
    collections.Iterable = collections.abc.Iterable
