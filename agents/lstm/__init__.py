"""LSTMs with a dropout mask on their recurrent state: one network (`masked`), or K of them (`recurrence`).

`members` is an LSTM in the place of torch's own that `torch.func.vmap` reads for many networks at once.
"""
