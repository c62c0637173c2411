"""Scores, and what may be concluded from them.

`outcomes` holds what predictors said and scores it, with the formulas of `metrics` and
`agreement`; `selection` chooses on dev; `significance` compares pairs; `result` gathers
all that a run found.
"""
