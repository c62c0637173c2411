"""Views of a result: `views` are tables, `figures` figures, `report` one page of all.

Nothing is decided here: every number comes from `ifusion.evaluation`.
"""
