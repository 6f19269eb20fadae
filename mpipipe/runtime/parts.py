"""The tasks that W of a stage is made of: tiles of its layers' weights, put together until they are worth a task."""

from collections.abc import Sequence

from mpipipe.layers import Layer, Shape, Tile

PART_FLOPS = 1e8
"""Tiles of W are put together to tasks of at least this much work; it changes no bit, since each tile stays itself."""

Part = list[tuple[int, Tile]]
"""Tiles, each with the number of its layer within the stage."""


def group_tiles(layers: Sequence[Layer], shapes: Sequence[Shape], tile_rows: int, rows: int) -> list[Part]:
    """Tiles of about `tile_rows` rows, for micro-batches of `rows` samples, in order."""
    groups: list[Part] = []
    room = 0.0
    for i, (layer, shape) in enumerate(zip(layers, shapes, strict=False)):
        tiles = layer.tiles(shape, tile_rows)
        work = layer.cost(shape).grad_weight.flops * rows / max(1, len(tiles))
        for tile in tiles:
            if room <= 0:
                groups.append([])
                room = PART_FLOPS
            groups[-1].append((i, tile))
            room -= work
    return groups
