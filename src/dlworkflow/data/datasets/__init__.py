"""One file for each data set, each with a function that returns `Splits`. The table is in `dlworkflow.data`."""
