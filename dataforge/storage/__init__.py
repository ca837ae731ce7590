"""The only SQL: one module per noun, each function one statement."""
