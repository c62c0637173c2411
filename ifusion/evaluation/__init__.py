"""Scores, and what may be concluded from them.

`outcomes` holds predictions and scores them by the formulas in `metrics` and
`agreement`; `selection` chooses on dev; `significance` compares pairs; `result` gathers
all that a run found.
"""
