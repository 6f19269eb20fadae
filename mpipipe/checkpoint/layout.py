"""What a checkpoint holds and where: pieces (one array each) under /layers and /optimizer, and what is said of them.

    /                       attributes: format, version, step, epoch, offset, seed, random_keys, job, plan,
                            versions, data
    /layers/NAME/PATH       the weights, such as /layers/001_residual/1_linear/weight
    /optimizer/NAME/PATH/S  the optimizer's state S of that weight, of the same shape
    /scaling/shift, factor  how features are scaled: (x - shift) * factor
    /scaling/target_shift, target_factor  how targets are, where they are values; loss and outputs are scaled back

Every data set carries its SHA-256 as attribute `sha256`. The file begins with a user block of 512 bytes of text, which
holds the SHA-256 of all that follows it, so that no byte of the file can change unnoticed. Layers are named by their
place in the model: nothing here depends on how many ranks held it.
"""

from dataclasses import dataclass, field

from mpipipe.data import Identity
from mpipipe.errors import CheckpointError
from mpipipe.layers import Model, Shape, shape_leaves, state_names

FORMAT = "mpipipe checkpoint"
VERSION = 1
BLOCK = 512
RANDOM_KEYS = (
    "Philox streams keyed by (seed, 0, layer, inner...) to draw weights, (seed, 1, layer, step, micro, inner...)"
)


@dataclass(frozen=True)
class Piece:
    """One array of the model's state: of `layer`, the weight at `path`, or (where `state` is set) that state of it."""

    layer: int
    name: str
    path: str
    state: str
    shape: Shape

    @property
    def place(self) -> str:
        """Where it stands in the file."""
        if self.state:
            return f"/optimizer/{self.name}/{self.path}/{self.state}"
        return f"/layers/{self.name}/{self.path}"


@dataclass(frozen=True)
class DataFacts:
    """What evaluating and predicting need to know of the data that the model was trained on.

    `tokens` is "characters" or "bytes" for a text, else empty; `classes` are its characters then. The `identity` of
    the samples is empty in files of older versions.
    """

    source: str = ""
    input_shape: tuple[int, ...] = ()
    target_shape: tuple[int, ...] = ()
    labels: bool = True
    classes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    scale: str = "none"
    tokens: str = ""
    identity: Identity = Identity()


@dataclass(frozen=True)
class Position:
    """Where training stood: `step` updates done; `offset` samples of `epoch` used."""

    step: int = 0
    epoch: int = 0
    offset: int = 0


@dataclass(frozen=True)
class Facts:
    """All attributes of a checkpoint. `job` is TOML, `plan` and `versions` are JSON."""

    position: Position
    seed: int
    job: str
    plan: str
    versions: str
    data: DataFacts = field(default_factory=DataFacts)


def pieces(model: Model, optimizer: str) -> tuple[Piece, ...]:
    """All arrays in the order in which they travel and are written: layer by layer, each weight before its state."""
    every = []
    for i, (layer, name) in enumerate(zip(model.layers, model.names, strict=True)):
        for path, shape in shape_leaves(layer.parameters(model.shapes[i])):
            states = ("", *state_names(optimizer, path))
            every += [Piece(i, name, path, state, shape) for state in states]
    return tuple(every)


def compare_models(found: dict[str, Shape], model: Model, where: str) -> None:
    """Raises CheckpointError naming the first weight whose place or shape differs from the model's."""
    needed = {piece.place: piece.shape for piece in pieces(model, "sgd") if not piece.state}
    places = list(needed) + [place for place in found if place not in needed]
    for place in sorted(places):
        if found.get(place) != needed.get(place):
            raise CheckpointError(
                where,
                f"another model: {place.removeprefix('/layers/')} has {_shape(found.get(place))} in the checkpoint",
                f"{_shape(needed.get(place))}, as the job's model says",
                "give the job that wrote it, or start anew without --resume",
            )


def _shape(shape: Shape | None) -> str:
    return "no such weight" if shape is None else f"shape {shape}"
