"""Views of a result: `views` are tables, `figures` figures, `report` a page of both.

Nothing is decided here: every number comes from `ifusion.evaluation`.
"""
