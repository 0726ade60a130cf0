"""QuantNet (Koshiyama et al. 2020): the paper's study, and its tables and figures from a finished run."""
