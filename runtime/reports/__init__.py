"""What people read of runs: text, pages, plots, data sets, moments."""
