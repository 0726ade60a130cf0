"""Deep Momentum Networks (Lim, Zohren, Roberts 2019): the paper's study, tables and figures."""
