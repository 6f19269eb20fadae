"""Starting a command on every rank, and what becomes of whatever is raised: an error, never a hang.

What a user can mend is one line from rank 0 and status 2 everywhere. Anything else names rank, host, stage and action
above its traceback, and ends all ranks at once.
"""

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import NoReturn

from threadpoolctl import threadpool_limits

from mpipipe.errors import InterruptedRunError, MpipipeError, StallError, UserError
from mpipipe.launcher import launched_rank, note_outcome, under_open_mpi, undo_binding
from mpipipe.runtime.collect import WRITER
from mpipipe.runtime.lifeline import Lifeline, call_witness, hold_on
from mpipipe.runtime.member import ActionError
from mpipipe.runtime.signals import Signals
from mpipipe.runtime.witness import ENDING_S
from mpipipe.runtime.world import Stopped, World, open_world

LOST_HOST_ENDING_S = 3.0
"""Seconds that mpirun has to end once a rank has been silent for too long: it may wait for that host for ever."""

Body = Callable[[World, Signals], int]


def run_ranks(body: Body) -> int:
    """Run `body` on this rank, to its exit status."""
    # Worker threads are the parallelism here: BLAS threads on top of them would multiply, and change bits.
    threadpool_limits(limits=1)
    undo_binding()
    lifeline = Lifeline()
    try:
        signals = Signals()
        lifeline = call_witness()
        world = open_world()
        world.lifeline = hold_on(lifeline, world.share, world.rank, world.size, world.host)
    except UserError as error:  # which other hosts may not have met
        print_error(error)
        lifeline.leave(fault=True)
        return error.status
    except KeyboardInterrupt:
        _interrupted_early(lifeline)
    _note(world, "ready")  # every rank has come this far, or MPI would not have started, and handles signals
    try:
        status = body(world, signals)
    except Stopped as stopped:
        status = stopped.status
    except (KeyboardInterrupt, InterruptedRunError) as error:
        status = InterruptedRunError.status
        _interrupted(world, str(error) or "interrupted")
    except UserError as error:
        print_error(error)
        status = error.status
        if not world.told:
            _abort(world, status)
    except BaseException as error:
        _fault(world, error)
        status = error.status if isinstance(error, MpipipeError) else 1
        _abort(world, status, LOST_HOST_ENDING_S if isinstance(error, StallError) else ENDING_S)
    signals.calm()
    _note(world, f"ended {status}")
    world.lifeline.leave()
    if any(thread.name == WRITER for thread in threading.enumerate()):
        sys.stdout.flush()
        os._exit(status)  # the interpreter's own end would wait for HDF5's lock, which that thread holds, for ever
    return status


def print_error(error: MpipipeError) -> None:
    """One line on standard error."""
    print(f"mpipipe: error: {error}", file=sys.stderr, flush=True)


def _interrupted_early(lifeline: Lifeline) -> NoReturn:
    """Before this rank knew of the others: mpirun, or srun, ends them as well."""
    said, text = launched_rank() in (None, 0), "mpipipe: interrupted before the ranks were ready"
    if said and not lifeline.say(text):
        print(text, file=sys.stderr, flush=True)
    if said:
        note_outcome(f"ended {InterruptedRunError.status}")
    lifeline.leave(ending_s=ENDING_S)
    os._exit(InterruptedRunError.status)  # MPI may be half started, and its own end would wait for others


def _interrupted(world: World, text: str) -> None:
    said = world.rank == 0 and world.lifeline.say(f"mpipipe: {text}")  # mpirun copies no more of what ranks write
    world.lifeline.leave(ending_s=ENDING_S)
    _note(world, f"ended {InterruptedRunError.status}")
    if world.rank == 0 and not said:
        print(f"mpipipe: {text}", file=sys.stderr, flush=True)
    elif world.rank:
        time.sleep(2)  # rank 0 has the last word, and ends this rank before that
    if under_open_mpi():
        os._exit(InterruptedRunError.status)  # mpirun ends the others; MPI_Abort would only add a page of text
    _abort(world, InterruptedRunError.status)


def _fault(world: World, error: BaseException) -> None:
    where = f"rank {world.rank} of {world.size} on host {world.host}"
    if isinstance(error, MpipipeError) and not isinstance(error, ActionError):
        print_error(error if world.rank == 0 else MpipipeError(f"{where}: {error}"))
        return
    if isinstance(error, ActionError) and error.__cause__ is not None:
        where, error = f"{where}, {error}", error.__cause__
    text = "".join(traceback.format_exception(error))
    print(f"### {where}:\n{text}", file=sys.stderr, end="", flush=True)


def _note(world: World, line: str) -> None:
    if world.rank == 0:
        note_outcome(line)


def _abort(world: World, status: int, ending_s: float = ENDING_S) -> None:
    _note(world, f"ended {status}")
    sys.stdout.flush()
    world.lifeline.leave(fault=True, ending_s=ending_s)
    if world.size > 1:
        world.abort(status)
