"""Settings: the configurations of runs and of everything else that is run, and their files."""
