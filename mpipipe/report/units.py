"""Numbers as people read them. Text only; knows nothing of where it is printed."""


def figures(number: float) -> str:
    """About three significant figures, never an exponent for what is not tiny: `1234`, `85.2`, `0.31`, `0.0042`."""
    size = abs(number)
    if size >= 99.95:
        return f"{number:.0f}"
    if size >= 9.995:
        return f"{number:.1f}"
    return f"{number:.2f}" if size >= 0.1 or size == 0 else f"{number:.2g}"


def milliseconds(seconds: float) -> str:
    """Without the unit, for a column: as `figures`, with two decimals at the most."""
    ms = seconds * 1e3
    return figures(ms) if abs(ms) >= 0.1 else f"{ms:.2f}"


def human_bytes(size: float) -> str:
    """Binary units: `512 B`, `1.2 GiB`."""
    if abs(size) < 1024:
        return f"{size:.0f} B"
    return _scaled(size, 1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB"))


def human_flops(rate: float) -> str:
    """Decimal units: `85.2 GFLOP/s`."""
    return _scaled(rate, 1000, ("FLOP/s", "kFLOP/s", "MFLOP/s", "GFLOP/s", "TFLOP/s"))


def human_rate(rate: float, what: str = "samples") -> str:
    """Such as `3041 samples/s`."""
    return f"{figures(rate)} {what}/s"


def human_seconds(seconds: float) -> str:
    """The two largest units that matter: `4.2 ms`, `12.3 s`, `3 min 12 s`, `2 h 5 min`, `3 d 4 h`."""
    if abs(seconds) < 0.9995:
        return f"{figures(seconds * 1000)} ms" if abs(seconds) >= 0.0001 else f"{figures(seconds * 1e6)} us"
    if abs(seconds) < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"


def _scaled(number: float, base: int, units: tuple[str, ...]) -> str:
    power = 0
    # Compared as it will be printed: 1023.99 MiB is 1.0 GiB, not 1024.0 MiB.
    while round(abs(number), 1) >= base and power < len(units) - 1:
        number, power = number / base, power + 1
    return f"{number:.1f} {units[power]}"


def faster_text(times: float) -> str:
    """What is so many times as fast: `12% faster`; `not faster`, also where less than half a percent is gained."""
    gain = f"{times - 1:.0%}"
    return f"{gain} faster" if times > 1 and gain != "0%" else "not faster"


def plural(count: int, word: str, ending: str = "s") -> str:
    """`1 rank`, `2 ranks`."""
    return f"{count} {word}" if count == 1 else f"{count} {word}{ending}"
