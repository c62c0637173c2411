"""Systems, one per file: rows of Tables 1 and 2, panels of Fig. 1, and controls."""
