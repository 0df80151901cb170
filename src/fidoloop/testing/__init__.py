"""What the pytest plugin's fixtures give to tests (docs/pytest.md)."""
