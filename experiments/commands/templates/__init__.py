"""What `qn new-agent` copies: one working agent of every kind, under the name that is asked for."""
