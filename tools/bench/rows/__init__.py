"""One module per row, or per rows that are measured together."""
