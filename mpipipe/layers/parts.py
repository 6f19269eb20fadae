"""The tasks that W of a stage is made of: tiles of its layers' weights, put together until they are worth a task."""

from collections.abc import Iterable, Iterator, Sequence

from mpipipe.layers.types import Layer, Shape, Tile

PART_FLOPS = 1e8
"""Tiles of W are put together to tasks of at least this much work; it changes no bit, since each tile stays itself."""

Part = list[tuple[int, Tile]]
"""Tiles, each with the number of its layer within the stage."""


def group_tiles(layers: Sequence[Layer], shapes: Sequence[Shape], tile_rows: int, rows: int) -> list[Part]:
    """Tiles of about `tile_rows` rows, for micro-batches of `rows` samples, in order."""
    tiles, works = [], []
    for i, (layer, shape) in enumerate(zip(layers, shapes, strict=False)):
        mine = layer.tiles(shape, tile_rows)
        tiles += [(i, tile) for tile in mine]
        works += [layer.cost(shape).grad_weight.flops * rows / max(1, len(mine))] * len(mine)
    groups: list[Part] = []
    for tile, begins in zip(tiles, _begin_parts(works), strict=True):
        if begins:
            groups.append([])
        groups[-1].append(tile)
    return groups


def count_parts(tiles: Iterable[int], flops: Iterable[float]) -> int:
    """How many parts there are, given how many tiles each layer has, and the work of W of a micro-batch."""
    works = [work / count for count, work in zip(tiles, flops, strict=True) for _ in range(count)]
    return sum(map(bool, _begin_parts(works)))


def _begin_parts(works: Iterable[float]) -> Iterator[bool]:
    """Of each tile in turn, whether a part begins with it."""
    room = 0.0
    for work in works:
        begins = room <= 0
        room = (PART_FLOPS if begins else room) - work
        yield begins
