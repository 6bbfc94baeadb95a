"""Learn the equilibrium and the tax policy of a real-business-cycle economy with many strategic agents."""
