"""The same Seawall, made to believe that it is on macOS, where there is no epoll: Trio waits for each socket."""

from __future__ import annotations

import importlib
import sys

for honest in ("jwt", "trio_websocket"):  # and Trio with it: what lies below Seawall has to know where it is
    importlib.import_module(honest)
sys.platform = "darwin"
importlib.import_module("benchmarks.servers.seawall")
