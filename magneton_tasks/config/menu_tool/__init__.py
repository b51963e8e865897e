"""Configs of the menu tool, read and translated."""
