"""One file to one checked table: CSV, ARFF, Parquet, npz, npy or HDF5.

`table` is what comes out, `reading` makes it of any format, `checks` refuses what no
corpus can hold. `delimited`, `arff`, `parquet` and `arrays` know one format each.
"""
