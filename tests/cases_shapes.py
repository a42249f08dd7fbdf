"""Cases of derivative_cases.py, continued."""
