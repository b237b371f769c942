"""Where artifacts are measured: this machine, phones over adb, boards over ssh."""
