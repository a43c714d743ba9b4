"""The command lines that we tell people to paste."""

import shlex

from orchestrator.deciding.situation import Situation
from projections.generations import latest_of


def recovery_command(situation: Situation, environment: str) -> str:
    """A command that brings `environment` up, with or without an orchestrator alive."""
    world = situation.world
    return shlex.join((*world.launcher, "switch", "--workspace", world.workspace, environment))


def restart_advice(situation: Situation) -> str:
    """What to do when we have stopped trying; and how to see what has changed since that environment was healthy."""
    world, state = situation.world, situation.state
    where = ("--workspace", world.workspace)
    restart = shlex.join((*world.launcher, "restart", *where))
    advice = f"look at the log above, mend the environment, then run: {restart}"
    healthy = latest_of(state.generations, state.environment)
    if healthy is None or healthy.kept is None:
        return advice
    plan = shlex.join((*world.launcher, "rollback", *where, "--to", str(healthy.generation), "--dry-run"))
    return f"{advice}; what has changed since it was healthy, custom nodes too: {plan}"
