"""The command lines that we tell people to paste."""

import shlex

from orchestrator.deciding.situation import Situation


def recovery_command(situation: Situation, environment: str) -> str:
    """A command that brings `environment` up, with or without an orchestrator alive."""
    world = situation.world
    return shlex.join((*world.launcher, "switch", "--workspace", world.workspace, environment))


def restart_advice(situation: Situation) -> str:
    """What to do when we have stopped trying."""
    world = situation.world
    restart = shlex.join((*world.launcher, "restart", "--workspace", world.workspace))
    return f"look at the log above, mend the environment, then run: {restart}"
