"""The commands of `qn` beside run, report and paper: what each is told, and what it prints."""
