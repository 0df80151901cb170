"""Bluetooth LE: the laptop's station serves a token over GATT, the phone finds and reads it (docs/ble.md)."""
