"""The rules of `decide`, one module per kind of question. All pure."""
