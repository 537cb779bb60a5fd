"""How a chart is read, whatever is looked for in it."""
