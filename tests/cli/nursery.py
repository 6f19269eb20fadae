"""A process that has loaded mpipipe once, and runs each command that it is asked for in a child of its own.

A child is as good as a new process: it starts MPI itself, has its own streams and signals, and ends as Python ends.
Only the loading is saved, most of the measuring of the host, waiting for the disk to sync, and, unless it is asked for,
the picture. Asked by lines of JSON on standard input; tells the child's number, and then its exit status, by lines on
standard output.
"""

import gc
import importlib
import importlib.util
import json
import os
import resource
import signal
import sys

PRELOADED = (
    "h5py",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "mpipipe.evaluate",
    "mpipipe.generate",
    "mpipipe.look",
    "mpipipe.predict",
    "mpipipe.probe",
    "mpipipe.survey",
    "mpipipe.train",
    "cli.mishaps",
)


def main() -> int:
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
    for name in PRELOADED:
        importlib.import_module(name)
    from mpipipe import preview, survey
    from mpipipe.resources import measure_rates

    survey.measure_rates = preview.measure_rates = lambda: measure_rates(0.01)
    importlib.util.find_spec("mpi4py.MPI")  # loads the MPI library and starts nothing
    os.fsync = lambda descriptor: None
    gc.freeze()  # what is loaded need not be looked through at each end
    for line in sys.stdin:
        wish = json.loads(line)
        child = os.fork()
        if not child:
            return run(wish)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    return 0


def run(wish: dict) -> int:
    """The command, in the child."""
    from cli import mishaps
    from mpipipe import closing
    from mpipipe.cli import main as command
    from mpipipe.report import write_text

    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(wish["cwd"])
    os.environ.update(wish["environment"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor, place in ((1, wish["out"]), (2, wish["err"])):
        os.dup2(open_place(place), descriptor)
    if wish["mishap"]:
        getattr(mishaps, wish["mishap"])()
    if not wish["picture"]:
        closing.draw_loss = lambda rows, path: write_text(path, "no picture")
    if wish["limit"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (wish["limit"], wish["limit"]))
    return command(wish["arguments"])


def open_place(place: str) -> int:
    """A file to write to, or a pipe that nobody reads."""
    if place != "a pipe that nobody reads":
        return os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    reader, writer = os.pipe()
    os.close(reader)
    return writer


if __name__ == "__main__":
    sys.exit(main())
