"""How results look in a notebook."""

from html import escape

import pandas as pd


SHOWN = 30  # rows


def html(head: str, frame: pd.DataFrame, index: bool = False) -> str:
    """A line and a table below it, of which the last rows are shown if it is long."""
    note = f"<p>the last {SHOWN} of {len(frame):,} rows</p>" if len(frame) > SHOWN else ""
    table = frame.tail(SHOWN).to_html(index=index, border=0, na_rep="-", float_format=lambda x: f"{x:.4g}")
    return f"<p><b>{escape(head)}</b></p>{note}{table}"
