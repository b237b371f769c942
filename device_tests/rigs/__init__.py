"""Devices for tests, made from Debian packages on this machine: a phone behind adb and a 64-bit ARM board behind ssh.

Everything listens on loopback only, and everything that a rig starts ends with the process that started it. Times measured on a rig say
nothing about any device: the board is emulated and the phone is this machine.
"""
