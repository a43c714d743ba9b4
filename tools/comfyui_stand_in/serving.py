"""One life of the stand-in, in ComfyUI's order: load everything, open the port last."""

import asyncio
import logging
import shutil
import signal
import sys
import time
from pathlib import Path

from comfyui_stand_in import custom_nodes, server
from comfyui_stand_in.command_line import Arguments
from comfyui_stand_in.misbehaviour import Misbehaviour

log = logging.getLogger(__name__)


def run(home: Path, arguments: Arguments, orders: Misbehaviour) -> None:
    """Load, serve, and return after SIGINT. Raises OSError when the port is taken.

    The temp folder is deleted first, whoever uses it; it outlives any end but SIGINT.
    """
    temp = arguments.temp_folder(home)
    shutil.rmtree(temp, ignore_errors=True)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    prompt_server = server.PromptServer(loop, orders)
    _load(home, arguments, prompt_server)
    if arguments.quick_test_for_ci:
        sys.exit(0)
    temp.mkdir(parents=True, exist_ok=True)
    try:
        loop.run_until_complete(prompt_server.run(arguments))
    except KeyboardInterrupt:
        log.info("\nStopped server")
        # As in ComfyUI, a second SIGINT now kills at once, without a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    shutil.rmtree(temp, ignore_errors=True)
    time.sleep(prompt_server.misbehaviour.stop_delay_s)


def _load(home: Path, arguments: Arguments, prompt_server: server.PromptServer) -> None:
    orders = prompt_server.misbehaviour
    time.sleep(orders.start_delay_s)
    sys.modules["server"] = server
    folder = home / "custom_nodes"
    prompt_server.loop.run_until_complete(custom_nodes.load(folder, arguments))
    prompt_server.add_routes()
    while orders.hang:
        time.sleep(1)
