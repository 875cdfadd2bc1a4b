"""Forecasts through time."""
