"""How a paper's tables and figures are set and written: numbers as text, files, and one page."""
