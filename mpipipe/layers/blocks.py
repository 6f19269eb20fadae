"""Shorthands: names in a job that stand for blocks made of other layers."""

from dataclasses import dataclass

from mpipipe.errors import JobError, nearest
from mpipipe.layers.activations import Gelu
from mpipipe.layers.attention import Attention
from mpipipe.layers.linear import Linear
from mpipipe.layers.norm import LayerNorm
from mpipipe.layers.residual import Residual
from mpipipe.layers.rmsnorm import RmsNorm
from mpipipe.layers.swiglu import SwiGlu
from mpipipe.layers.types import Layer

NORMS: dict[str, Layer] = {"layernorm": LayerNorm(), "rmsnorm": RmsNorm()}
ACTIVATIONS: dict[str, Layer] = {"gelu": Gelu(), "swiglu": SwiGlu()}


@dataclass(frozen=True)
class Mlp:
    """kind = "mlp": a residual block of norm, linear, activation, linear: y = x + f(x), x (..., width).

    With "swiglu" the first linear layer makes twice the `hidden` features. `gain` is that of the last linear layer.
    """

    width: int
    hidden: int
    activation: str = "gelu"
    norm: str = "layernorm"
    bias: bool = True
    gain: float = 1.0

    def layers(self, where: str) -> list[Layer]:
        """The block. Raises JobError for an unknown norm or activation."""
        for key, value, known in (("norm", self.norm, NORMS), ("activation", self.activation, ACTIVATIONS)):
            if value not in known:
                raise JobError(f"{where}.{key}", f"'{value}'", f"one of {', '.join(known)}", nearest(value, known))
        wide = self.hidden * (2 if self.activation == "swiglu" else 1)
        first, last = Linear(wide, self.bias), Linear(self.width, self.bias, self.gain)
        return [Residual((NORMS[self.norm], first, ACTIVATIONS[self.activation], last))]


@dataclass(frozen=True)
class Transformer:
    """kind = "transformer": a residual block of norm and causal attention, then an mlp block; x (places, width).

    To the planner they are two layers. `hidden` is four times the width unless given; `gain` is that of the layers
    that write into the sum: 1 / sqrt(twice the number of blocks) keeps its size (Radford et al. 2019, section 2.3).
    """

    width: int
    heads: int
    hidden: int = 0
    key_value_heads: int = 0
    rotary: bool = False
    activation: str = "gelu"
    norm: str = "layernorm"
    bias: bool = True
    gain: float = 1.0

    def layers(self, where: str) -> list[Layer]:
        """The two blocks. Raises JobError for an unknown norm or activation."""
        hidden = self.hidden or 4 * self.width
        mlp = Mlp(self.width, hidden, self.activation, self.norm, self.bias, self.gain).layers(where)
        attention = Attention(self.heads, self.key_value_heads, self.rotary, self.bias, self.gain)
        return [Residual((NORMS[self.norm], attention)), *mlp]
