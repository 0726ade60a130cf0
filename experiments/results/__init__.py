"""Results: what agents earned, from daily returns to tables, a ranking and the evidence behind it."""
