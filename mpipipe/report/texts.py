"""What the reader is told where the data are a text: how long its samples are, and the loss in bits.

Bits per character (or byte) compare with what a compressor needs; the loss itself is in nats, per token.
"""

from math import log

from mpipipe.data import DataSet


def bits(data: DataSet, loss: float | None) -> float | None:
    """A mean loss of a token in bits; None for data that are no text, and for no loss."""
    return loss / log(2) if data.tokens and loss is not None else None


def bits_text(data: DataSet, value: float | None) -> str:
    """To go on a line with: `, 2.3141 bits per character`; nothing for None."""
    return "" if value is None else f", {value:.4f} bits per {data.tokens.removesuffix('s')}"


def of_tokens(data: DataSet) -> str:
    """To follow the word samples: ` of 128 characters`; nothing for data that are no text."""
    return f" of {data.validation.shape[0]} {data.tokens}" if data.tokens else ""


def of_errors(data: DataSet) -> str:
    """What a loss is and in which unit, where targets are values; nothing for labels, whose loss has no unit."""
    return "" if data.labels else " (mean squared error, in the unit of the targets squared)"
