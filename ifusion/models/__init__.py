"""Flax modules and the pure functions over their parameters.

Only these and `ifusion.core` import flax: the rest of the package sees dicts of arrays.
"""
