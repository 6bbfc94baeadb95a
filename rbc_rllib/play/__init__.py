"""Playing the economy: many at once as arrays, agent by agent, and by whom."""
