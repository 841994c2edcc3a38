"""What Python gets: a run, a verification and the rest as small objects with a table and a picture."""
