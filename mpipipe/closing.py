"""What a run leaves at its end: first what was reached, written and said; then what could be done without."""

import time

from mpipipe.launcher import note_outcome
from mpipipe.report import (
    Memory,
    Summary,
    bits,
    bits_text,
    dispensable,
    draw_loss,
    human_seconds,
    memory_text,
    of_errors,
    of_tokens,
    plural,
    read_metrics,
    show,
    warn,
    write_json,
)
from mpipipe.report.compared_table import bubble_lines
from mpipipe.resources import peak_since
from mpipipe.run import Run
from mpipipe.runtime.crew import CONDUCTOR
from mpipipe.steps import Steps


def leave(run: Run, steps: Steps) -> None:
    """summary.json and the closing lines; then loss.png. Raises UserError where the former cannot be written."""
    note_outcome(f"stopped {steps.stopped}")
    if steps.row is None:
        show(f"nothing is left to train: step {steps.position.step} of {run.total_steps} was reached before", run.quiet)
        return
    summary = _summary(run, steps)
    try:
        write_json(run.folder.summary, summary)
    finally:
        for line in _closing(run, summary):
            show(line)
    with dispensable("the comparison with the plan", lambda text: warn(text, run.quiet)):
        for line in bubble_lines(run.folder):
            show(line)
    show(f"results are in {run.folder.path}")
    with dispensable(run.folder.picture.name, lambda text: warn(text, run.quiet)):
        draw_loss(read_metrics(run.folder.metrics), run.folder.picture)


def _summary(run: Run, steps: Steps) -> Summary:
    assert steps.row is not None
    row, plan = steps.row, steps.conductor.plan
    loss, accuracy = steps.validated
    speed = steps.samples_done / steps.train_s if steps.train_s else None
    return Summary(
        job=run.job.name,
        steps=steps.position.step,
        epochs=steps.position.epoch,
        samples=steps.position.epoch * run.samples.data.train.count + steps.position.offset,
        loss=row.loss,
        accuracy=row.accuracy,
        validation_loss=loss,
        validation_accuracy=accuracy,
        validation_bits=bits(run.samples.data, loss),
        seconds=time.monotonic() - steps.began,
        samples_per_s=speed,
        ranks=plan.ranks,
        stages=len(plan.stages),
        schedule=plan.schedule,
        bubble=row.bubble,
        checkpoint=steps.newest.name if steps.newest else None,
        stopped=steps.stopped,
        memory=_memory(run, steps),
    )


def _memory(run: Run, steps: Steps) -> tuple[Memory, ...]:
    """What each rank took, of what was planned; rank 0 up to now, the others up to the last step."""
    plan, member = steps.conductor.plan, steps.conductor.member
    taken = dict(zip(plan.lanes, steps.peak_bytes, strict=False))
    taken[CONDUCTOR] = peak_since(member.start_bytes)
    planned = steps.replanner.planned_bytes
    return tuple(Memory(rank, planned[rank], taken[rank]) for rank in plan.lanes)


def _closing(run: Run, summary: Summary) -> list[str]:
    reached = f"trained {summary.steps} of {plural(run.total_steps, 'step')} in {human_seconds(summary.seconds)}"
    if summary.samples_per_s:
        reached += f", {summary.samples_per_s:,.0f} samples/s"
    lines = [f"{reached}, on {len(run.brief.plan.lanes)} of {plural(summary.ranks, 'rank')}"]
    data = run.samples.data
    held = f"on the {data.validation.count:,} held-back samples{of_tokens(data)}"
    if summary.validation_accuracy is not None:
        lines.append(f"accuracy {held}: {summary.validation_accuracy:.2%}{bits_text(data, summary.validation_bits)}")
    elif summary.validation_loss is not None:
        lines.append(f"loss{of_errors(data)} {held}: {summary.validation_loss:.6g}")
    lines.append(memory_text(summary.memory))
    if summary.stopped != "finished":
        lines.append(f"stopped before the end; go on with: python -m mpipipe train --resume --out {run.folder.path}")
    return lines
