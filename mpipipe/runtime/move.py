"""Moving layers between ranks, between two steps: a new plan takes the place of the one at hand.

Weights and the optimizer's state go from each layer's old rank to its new one; what stays is kept where it is. Slots
and gradients, which hold nothing between two steps, are let go first, so that a rank never has more than its old and
its new layers at once, and the slots of one plan. No bit of the result depends on the plan, so none changes.
"""

import json
from dataclasses import replace
from typing import Any

import numpy as np

from mpipipe.checkpoint import pieces
from mpipipe.plan import Plan
from mpipipe.records import from_plain, to_plain
from mpipipe.runtime.crew import CONDUCTOR, Crew, shares_of
from mpipipe.runtime.held import Held
from mpipipe.runtime.member import Member
from mpipipe.runtime.messages import Tag
from mpipipe.runtime.stage import Stage


def send_plan(member: Member, plan: Plan, ranks: list[int]) -> None:
    """Rank 0: tell the others the plan, whose size in bytes (`plan_bytes`) they know from the order."""
    array = _packed(plan)
    requests = [member.transport.send(array, rank, Tag.MOVE.of(0)) for rank in ranks]
    member.wait(requests, "telling the new plan")


def receive_plan(member: Member, size: int) -> Plan:
    """The other ranks: the plan that rank 0 tells."""
    array = np.empty(size, np.uint8)
    member.wait([member.transport.receive(array, CONDUCTOR, Tag.MOVE.of(0))], "waiting for the new plan")
    return from_plain(Plan, json.loads(array.tobytes()), "plan")


def plan_bytes(plan: Plan) -> int:
    """Bytes of the message that tells a plan."""
    return len(_packed(plan))


def _packed(plan: Plan) -> Any:
    return np.frombuffer(json.dumps(to_plain(plan)).encode(), np.uint8)


def leaving_bytes(old: Plan, crew: Crew) -> dict[int, int]:
    """Bytes of weights and state that leave each rank, from the old plan to the crew's. No rank lets go of them before
    it has what it gets."""
    found: dict[int, int] = {}
    for piece in pieces(crew.model, crew.job.train.optimizer):
        sender = old.rank_of(piece.layer)
        if sender != crew.plan.rank_of(piece.layer):
            found[sender] = found.get(sender, 0) + 4 * int(np.prod(piece.shape))
    return found


def move(member: Member, plan: Plan) -> None:
    """Every rank calls this between two steps, with no checkpoint under way."""
    old, new = member.crew, replace(member.crew, plan=plan)
    kept: dict[int, Held] = {}
    for stage in member.stages:
        kept |= stage.let_go()
    stays = {layer: held for layer, held in kept.items() if plan.rank_of(layer) == new.rank}
    stages = tuple(Stage(share, stays) for share in shares_of(new))
    member.stages = stages
    requests = []
    for number, piece in enumerate(pieces(new.model, new.job.train.optimizer), 1):
        sender, receiver = old.plan.rank_of(piece.layer), plan.rank_of(piece.layer)
        if sender == receiver:
            continue
        if sender == new.rank:
            array = kept[piece.layer].array(piece.path, piece.state)
            requests.append(member.transport.send(array, receiver, Tag.MOVE.of(number)))
        if receiver == new.rank:
            array = member.stage_with(piece.layer).array(piece.layer, piece.path, piece.state)
            requests.append(member.transport.receive(array, sender, Tag.MOVE.of(number)))
    member.wait(requests, "moving layers")
    member.adopt(new, stages)
