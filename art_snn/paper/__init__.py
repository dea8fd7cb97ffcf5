"""The paper's evaluation: experiments, published numbers, tables and figures. Only the commands import it."""

from art_snn.paper.experiments import Experiment, paper_experiments
from art_snn.paper.figures import epsilon_figure, gamma_figure
from art_snn.paper.published import Published, hart_iclr2024
from art_snn.paper.reproduction import reproduce
from art_snn.paper.retention import RetentionRecord, retention_figure
from art_snn.paper.tables import long_table, wide_table, write_rows, write_table

__all__ = [
    "Experiment",
    "Published",
    "RetentionRecord",
    "epsilon_figure",
    "gamma_figure",
    "hart_iclr2024",
    "long_table",
    "paper_experiments",
    "reproduce",
    "retention_figure",
    "wide_table",
    "write_rows",
    "write_table",
]
