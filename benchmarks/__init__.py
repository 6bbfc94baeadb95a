"""How fast, against what limit, and how it grows: measurements of sampling and learning."""
