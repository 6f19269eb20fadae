"""What a rank has of a layer between two steps: its weights and the optimizer's state."""

from dataclasses import dataclass

from mpipipe.layers import Array, Layer, Shape, Tree, leaves, make_tree, state_names, touched
from mpipipe.runtime.slots import DTYPE


@dataclass(frozen=True)
class Held:
    """Weights, and by their paths the state of each."""

    weights: Tree
    state: dict[str, Tree]

    def array(self, path: str, state: str) -> Array:
        """The weight at `path`, or that state of it."""
        array: Array = self.state[path][state] if state else dict(leaves(self.weights))[path]
        return array


def make_held(layer: Layer, shape: Shape, optimizer: str) -> Held:
    """All zeros, for a layer that takes samples of `shape`."""
    weights = make_tree(layer.parameters(shape), DTYPE)
    state = {
        path: {name: touched(array.shape, DTYPE) for name in state_names(optimizer, path)}
        for path, array in leaves(weights)
    }
    return Held(weights, state)
