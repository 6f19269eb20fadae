"""What the reader gets: the run folder, its files, tables, progress, the picture. Only here and in cli is printed."""

from mpipipe.report.checkpoints import differences_table, entries_table, facts_text
from mpipipe.report.explained import explained_table
from mpipipe.report.folder import (
    RESULTS,
    RunFolder,
    drop_unused,
    existing_folder,
    latest_folder,
    make_folder,
    new_folder,
    write_json,
    write_text,
)
from mpipipe.report.lock import locked
from mpipipe.report.measured import layers_table, links_table
from mpipipe.report.metrics import MetricsLog, MetricsRow, open_log, read_metrics
from mpipipe.report.picture import draw_loss
from mpipipe.report.progress import Moment, Progress, progress
from mpipipe.report.replace import check_writable, replacing
from mpipipe.report.show import dispensable, show, standard_output, terminal_columns, warn
from mpipipe.report.summary import Memory, Summary, memory_text
from mpipipe.report.tables import hosts_table, plan_table, plan_text
from mpipipe.report.texts import bits, bits_text, of_errors, of_tokens
from mpipipe.report.units import faster_text, human_bytes, human_flops, human_rate, human_seconds, plural

__all__ = [
    "RESULTS",
    "MetricsLog",
    "MetricsRow",
    "Moment",
    "Progress",
    "RunFolder",
    "Memory",
    "Summary",
    "memory_text",
    "bits",
    "bits_text",
    "check_writable",
    "draw_loss",
    "explained_table",
    "differences_table",
    "dispensable",
    "drop_unused",
    "faster_text",
    "entries_table",
    "existing_folder",
    "facts_text",
    "hosts_table",
    "human_bytes",
    "human_flops",
    "human_rate",
    "human_seconds",
    "latest_folder",
    "layers_table",
    "locked",
    "links_table",
    "make_folder",
    "new_folder",
    "of_errors",
    "of_tokens",
    "open_log",
    "plan_table",
    "plan_text",
    "plural",
    "progress",
    "read_metrics",
    "replacing",
    "show",
    "standard_output",
    "terminal_columns",
    "warn",
    "write_json",
    "write_text",
]
