"""What a picture is made of: its texts, figures and marks, and how much is sent for it."""

from __future__ import annotations

import json
from typing import Any

import bqplot as bq
from ipywidgets import HTML, HBox
from ipywidgets.embed import dependency_state


def texts(widget: Any) -> str:
    return " ".join(child.value for child in widget.children if isinstance(child, HTML))


def figures(widget: Any) -> list[bq.Figure]:
    inside = [c for w in widget.children for c in (w.children if isinstance(w, HBox) else [w])]
    return [child for child in inside if isinstance(child, bq.Figure)]


def of_kind(figure: bq.Figure, kind: type) -> list[Any]:
    return [mark for mark in figure.marks if isinstance(mark, kind)]


def size(widget: Any) -> int:
    return len(json.dumps(dependency_state(widget)))
