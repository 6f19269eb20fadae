"""One small function a command: from its arguments to its story.

Each loads what it needs when it is called: inspect, plan, schedule and timeline must not load MPI, nor ask a
launcher who they are: each task of a launcher may look at something else.
"""

from pathlib import Path

from mpipipe.arguments import Arguments, decimal, durations, number, request_of
from mpipipe.launcher import launched_size


def _train(arguments: Arguments) -> int:
    from mpipipe.guard import run_ranks
    from mpipipe.train import train

    request = request_of(arguments)
    return run_ranks(lambda world, signals: train(world, request, signals))


def _evaluate(arguments: Arguments) -> int:
    from mpipipe.evaluate import evaluate
    from mpipipe.guard import run_ranks

    request = request_of(arguments)
    return run_ranks(lambda world, signals: evaluate(world, request))


def _predict(arguments: Arguments) -> int:
    from mpipipe.guard import run_ranks
    from mpipipe.predict import predict

    request = request_of(arguments)
    return run_ranks(lambda world, signals: predict(world, request, arguments["INPUT"]))


def _generate(arguments: Arguments) -> int:
    from mpipipe.generate import Wish, check_wish, generate
    from mpipipe.guard import run_ranks
    from mpipipe.layers import Sampling

    count, top_k, seed = (number(arguments, key) or 0 for key in ("--count", "--top-k", "--seed"))
    sampling = Sampling(decimal(arguments, "--temperature"), top_k, decimal(arguments, "--top-p"))
    wish = check_wish(Wish(arguments["PROMPT"], count, sampling, seed))
    request = request_of(arguments)
    return run_ranks(lambda world, signals: generate(world, request, wish))


def _probe(arguments: Arguments) -> int:
    from mpipipe.guard import run_ranks
    from mpipipe.probe import probe

    request = request_of(arguments)
    return run_ranks(lambda world, signals: probe(world, request, arguments["--save"]))


def _plan(arguments: Arguments) -> int:
    from mpipipe.guard import run_ranks
    from mpipipe.preview import PlanRequest, plan_alone
    from mpipipe.probe import probe_and_plan

    request = PlanRequest(request_of(arguments), arguments["--cluster"], arguments["--save"], arguments["--explain"])
    if request.cluster is None and (launched_size()[1] > 1 or request.run.pretend):
        return run_ranks(lambda world, signals: probe_and_plan(world, request))
    return plan_alone(request)


def _inspect(arguments: Arguments) -> int:
    from mpipipe.look import show_checkpoint, show_differences

    path = Path(arguments["CHECKPOINT"])
    if arguments["--diff"]:
        return show_differences(path, Path(arguments["--diff"]))
    return show_checkpoint(path, arguments["--stats"])


def _schedule(arguments: Arguments) -> int:
    from mpipipe.look import Drawing, show_schedule
    from mpipipe.schedule import Units

    stages, micros, in_flight, chunks = (
        number(arguments, key) or 0 for key in ("--stages", "--micros", "--in-flight", "--chunks")
    )
    units = Units(*durations(arguments, "--times", 3), *durations(arguments, "--message", 1))
    files = arguments["--svg"], arguments["--trace"], arguments["--csv"]
    return show_schedule(Drawing(arguments["--name"], stages, micros, in_flight, chunks, units, *files))


def _timeline(arguments: Arguments) -> int:
    from mpipipe.compare_run import show_timeline

    return show_timeline(arguments["RUN"], number(arguments, "--step"), arguments["--svg"], arguments["--trace"])


def _bench(arguments: Arguments) -> int:
    from mpipipe.bench.command import BenchRequest, bench

    return bench(
        BenchRequest(
            models=tuple(arguments["MODEL"]),
            ranks=number(arguments, "--ranks"),
            rounds=number(arguments, "--rounds") or 0,
            steps=number(arguments, "--steps"),
            isa=arguments["--isa"],
            save=arguments["--save"],
            quiet=arguments["--quiet"],
        )
    )


COMMANDS = {
    "train": _train,
    "evaluate": _evaluate,
    "predict": _predict,
    "generate": _generate,
    "inspect": _inspect,
    "probe": _probe,
    "plan": _plan,
    "schedule": _schedule,
    "timeline": _timeline,
    "bench": _bench,
}
