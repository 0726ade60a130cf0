"""LSTMs with a dropout mask on their recurrent state: one network (`masked`), or K of them (`recurrence`)."""
