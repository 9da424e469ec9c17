"""Logging in on an app's own port: tokens that it issues itself, and the sessions behind them."""
