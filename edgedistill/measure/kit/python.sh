#!/bin/sh
# Starts the Python of this folder with the loader and the C library of this folder. It takes no setting from PYTHON* variables and leaves
# none to the programs that it starts; those that start sys.executable come through here again.
here=$(CDPATH= cd "${0%/*}" && pwd) || exit 127
# Libraries for another C library would crash this one.
unset LD_PRELOAD
exec "$here/lib/@LOADER@" --inhibit-cache --library-path "$here/lib" --argv0 "$here/python" \
  "$here/bin/python3.13" -E -s -X utf8 -X pycache_prefix="$here/.pyc" "$@"
