"""Front doors of other fault injectors."""
