"""The rows of Tables 1 and 2, the panels of Fig. 1, and controls: one file a system."""
